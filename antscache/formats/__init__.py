"""What bytes of a kind look like: whether a file can be what its name says.

forms.py          checks of form while bytes pass (HDF5, NIfTI, ITK transforms, JPEG), and of a whole file
hdf5_scanner.py   looks through networks for what leads out of them, in a subprocess
hdf5_worker.py    the subprocess; it knows nothing of antscache
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from antscache.formats.forms import Form, FormError, Hdf5, Inspection, ItkTransform, NiftiGz, NoFile, form_of, inspect
from antscache.lazy import lazily

if TYPE_CHECKING:
    from antscache.formats.hdf5_scanner import Hdf5Scanner, ScannerError, is_h5py_installed

__all__ = [
    "Form",
    "FormError",
    "Hdf5",
    "Hdf5Scanner",
    "Inspection",
    "ItkTransform",
    "NiftiGz",
    "NoFile",
    "ScannerError",
    "form_of",
    "inspect",
    "is_h5py_installed",
]

__getattr__ = lazily(
    __name__,
    {
        "hdf5_scanner": ("Hdf5Scanner", "ScannerError", "is_h5py_installed"),
    },
)
