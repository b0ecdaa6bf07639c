"""Sources of a small antspynet: a tree, a wheel, an sdist, and interpreters that have one installed."""

from __future__ import annotations

import io
import sys
import tarfile
import zipfile
from typing import TYPE_CHECKING

from antscache.catalog.getters import GETTERS
from antscache.core.manifest import Entry

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

DATA, NETWORKS = (getter.module for getter in GETTERS["antspynet"])


def getter(function: str, suffix: str, urls: Mapping[str, int | str]) -> str:
    """Return the source of a getter in upstream's form, for names and Figshare numbers or URLs."""
    table = {
        name: f"https://ndownloader.figshare.com/files/{url}" if isinstance(url, int) else url
        for name, url in urls.items()
    }
    return f"""
import tensorflow as tf

def {function}(file_id=None, target_file_name=None):
    def switch(argument):
        switcher = {table!r}
        return(switcher.get(argument, "Invalid argument."))
    valid_list = {(*urls, "show")!r}
    url = switch(file_id)
    if target_file_name is None:
        target_file_name = file_id + "{suffix}"
    return(tf.keras.utils.get_file(target_file_name, url))
"""


FILES = {
    "antspynet/__init__.py": 'raise RuntimeError("antspynet was imported")\n',
    "antspynet/utilities/__init__.py": 'raise RuntimeError("antspynet.utilities was imported")\n',
    DATA: getter("get_antsxnet_data", ".nii.gz", {"adni": 11}),
    NETWORKS: getter("get_pretrained_network", ".h5", {"brain": 22}),
}
METADATA = "Metadata-Version: 2.1\nName: antspynet\nVersion: {}\n\nVersion: 9\n"
ENTRIES = (Entry("data", "adni", "adni.nii.gz", "figshare:11"), Entry("network", "brain", "brain.h5", "figshare:22"))


def tree(directory: Path, version: str = "", more: dict[str, str] | None = None) -> Path:
    files = dict(FILES) | (more or {})
    if version:
        files[f"antspynet-{version}.dist-info/METADATA"] = METADATA.format(version)
    for name, text in files.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(text)
    return directory


def wheel(directory: Path, version: str, more: dict[str, str] | None = None) -> Path:
    path = directory / f"antspynet-{version}-py3-none-any.whl"
    info = f"antspynet-{version}.dist-info"
    files = (
        FILES
        | (more or {})
        | {
            f"{info}/METADATA": METADATA.format(version),
            f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
            f"{info}/RECORD": "",
        }
    )
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return path


def sdist(directory: Path, version: str, more: dict[str, str] | None = None) -> Path:
    path = directory / f"antspynet-{version}.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for name, text in (FILES | {"PKG-INFO": METADATA.format(version)} | (more or {})).items():
            member = tarfile.TarInfo(f"antspynet-{version}/{name}")
            member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))
    return path


def fake_python(directory: Path, site: Path) -> Path:
    """Make the interpreter of an environment that has the packages of `site`."""
    (directory / "bin").mkdir(parents=True)
    for name in "python", "python3":
        path = directory / "bin" / name
        path.write_text(f'#!/bin/sh\nPYTHONPATH="{site}" exec "{sys.executable}" "$@"\n')
        path.chmod(0o755)
    return directory
