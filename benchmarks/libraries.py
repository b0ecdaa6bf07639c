"""Fetch files with a library, as its users would. A program, run by the Python of .venvs/benchmark.

    python libraries.py pooch|huggingface_hub|keras FILES.json DIRECTORY

FILES.json lists `name`, `url`, `sha256` and `size` of each file. The Hub is at $HF_ENDPOINT, and has files of its own.
"""

from __future__ import annotations

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

JOBS = 8
Files = list[dict[str, Any]]


def with_pooch(files: Files, directory: Path) -> None:
    """Fetch with eight threads, reads of 1 MiB (the default is 1 KiB), and SHA-256 verified."""
    import pooch  # type: ignore[import-not-found]

    pooch.get_logger().setLevel("WARNING")

    def retrieve(file: dict[str, Any]) -> None:
        downloader = pooch.HTTPDownloader(chunk_size=1 << 20)
        pooch.retrieve(file["url"], f"sha256:{file['sha256']}", file["name"], directory, downloader=downloader)

    with ThreadPoolExecutor(JOBS) as executor:
        for _ in executor.map(retrieve, files):
            pass  # raises the errors of `retrieve`


def with_huggingface_hub(_files: Files, directory: Path) -> None:
    """Fetch with eight threads, and the size verified."""
    from huggingface_hub import snapshot_download  # type: ignore[import-not-found]

    snapshot_download("antscache/standin", cache_dir=directory, max_workers=JOBS, token=False)


def with_keras(files: Files, directory: Path) -> None:
    """Fetch one file after the other, without verification, as ANTsPyNet does."""
    from keras.utils import get_file

    for file in files:
        get_file(file["name"], file["url"], cache_subdir=str(directory))


if __name__ == "__main__":
    library, listed, made = sys.argv[1:]
    fetch = {"pooch": with_pooch, "huggingface_hub": with_huggingface_hub, "keras": with_keras}[library]
    fetch(json.loads(Path(listed).read_text()), Path(made).absolute())
