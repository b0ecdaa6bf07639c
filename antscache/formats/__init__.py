"""Checks of a file's form: can its bytes be the kind of file that its name says?

forms.py            check the form of bytes while they arrive (HDF5, NIfTI, ITK transforms, JPEG), or of a whole file
hdf5_hazards.py     find links and code in an HDF5 file; a script of its own, independent of antscache
keras_classes.py    the classes and functions that a network's configuration may name
hdf5_subprocess.py  run that script with limits of time and memory
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from antscache.formats.forms import (
    CutFile,
    Form,
    FormError,
    Hdf5,
    Inspection,
    ItkTransform,
    NiftiGz,
    NoFile,
    form_of,
    inspect,
)
from antscache.lazy import lazily

if TYPE_CHECKING:
    from antscache.formats.hdf5_subprocess import Hdf5Scanner, ScannerError

__all__ = [
    "CutFile",
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
]

__getattr__ = lazily(
    __name__,
    {
        "hdf5_subprocess": ("Hdf5Scanner", "ScannerError"),
    },
)
