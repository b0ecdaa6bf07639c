"""What bytes of a kind look like: whether a file can be what its name says.

forms.py            check forms while bytes pass (HDF5, NIfTI, ITK transforms, JPEG), and of a whole file
hdf5_hazards.py     find what leads out of an HDF5 file; a program of its own, which knows nothing of antscache
hdf5_subprocess.py  run that program on a network, held to bounds of time and memory
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from antscache.formats.forms import Form, FormError, Hdf5, Inspection, ItkTransform, NiftiGz, NoFile, form_of, inspect
from antscache.lazy import lazily

if TYPE_CHECKING:
    from antscache.formats.hdf5_subprocess import Hdf5Scanner, ScannerError, is_h5py_installed

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
        "hdf5_subprocess": ("Hdf5Scanner", "ScannerError", "is_h5py_installed"),
    },
)
