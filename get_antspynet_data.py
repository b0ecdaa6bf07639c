#!/usr/bin/env python
"""ANTsXNet data and pretrained networks in a `.keras` directory: the script that Dockerfiles call, on top of antscache.

    get_antspynet_data.py /path/to/.keras [doInstall=1] [dataList.txt] [networkList.txt]
    get_antspynet_data.py [--cache-dir /path/to/.keras/ANTsXNet] [--data-keys K ...] [--model-keys K ...]
                          [--data-key-file F] [--model-key-file F] [--strict] [--verbose] [--release R]

It stands in for upstream's `get_antsxnet_data.py` (the first form) and `download_antsxnet_data.py` (the second), and
differs where they were wrong:

- every file is verified, several are fetched at once, and a download that fails makes the script fail (as `--strict`);
- naming data alone fetches no networks, and naming networks alone fetches no data; naming neither fetches everything;
- a file that is there with other bytes (another release's, or cut) is an error: it is neither trusted nor replaced.

It needs antscache (`pip install antscache`). The release is that of the antspynet installed here, or `--release`.
Exit codes are antscache's (`antscache/errors.py`); 0 with `doInstall=0`, which does nothing.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from antscache.cache import Cache
    from antscache.cli import Invocation
    from antscache.core import Entry, Manifest

ANTSXNET = "ANTsXNet"


def parsed(arguments: Sequence[str]) -> argparse.Namespace:
    """The arguments of either form as one: `directory`, `data` and `networks` (None: not named)."""
    parser = argparse.ArgumentParser(
        description=str(__doc__).split("\n\n", maxsplit=1)[0],
        epilog="Naming data alone fetches no networks, and the other way round; naming neither fetches everything.",
    )
    parser.add_argument("keras", nargs="?", type=Path, help="the .keras directory; files go into ANTsXNet below it")
    parser.add_argument("install", nargs="?", type=int, default=1, metavar="doInstall", help="0 does nothing")
    parser.add_argument("data_list", nargs="?", type=Path, metavar="dataList.txt", help="names of data, one a line")
    parser.add_argument("network_list", nargs="?", type=Path, metavar="networkList.txt", help="names of networks")
    parser.add_argument("--cache-dir", type=Path, help="the ANTsXNet directory itself (default: ~/.keras/ANTsXNet)")
    parser.add_argument("--release", help="like antspynet==0.3.2; needed where no antspynet is installed")
    data = parser.add_mutually_exclusive_group()
    data.add_argument("--data-keys", nargs="+", metavar="KEY", help="names of data")
    data.add_argument("--data-key-file", type=Path, help="a file with names of data, one a line")
    models = parser.add_mutually_exclusive_group()
    models.add_argument("--model-keys", nargs="+", metavar="KEY", help="names of networks")
    models.add_argument("--model-key-file", type=Path, help="a file with names of networks, one a line")
    parser.add_argument("--strict", action="store_true", help="accepted; a failed download always fails")
    parser.add_argument("--verbose", action="store_true", help="print where each file is")
    found = parser.parse_args(arguments)
    if found.keras and found.cache_dir:
        parser.error("the path and --cache-dir both name a directory: give one")
    try:
        found.data = found.data_keys or listed(found.data_key_file or found.data_list)
        found.networks = found.model_keys or listed(found.model_key_file or found.network_list)
    except (OSError, UnicodeDecodeError) as error:
        parser.error(f"cannot read a list of names: {error}")
    found.directory = found.cache_dir or (found.keras or Path.home() / ".keras") / ANTSXNET
    return found


def listed(file: Path | None) -> list[str] | None:
    """The names in `file`, one a line; None without a file. `show`, which upstream's lists may carry, is no name."""
    if file is None:
        return None
    lines = [line.strip() for line in file.read_text(encoding="utf-8").splitlines()]
    return [line for line in lines if line and line != "show"]


def chosen(manifest: Manifest, data: list[str] | None, networks: list[str] | None) -> tuple[Entry, ...]:
    """The entries that are named, or all where nothing is.

    Raises:
        ManifestError: the release has no such name, or cannot fetch it.
    """
    from antscache.core import select

    if data is None and networks is None:
        return select(manifest)
    picked = select(manifest, data, ["data"]) if data else ()
    return picked + (select(manifest, networks, ["network"]) if networks else ())


def opened(directory: Path) -> Cache:
    """The cache of whoever calls; in an image that has none mounted, one beside `directory`, which stays there."""
    from antscache.cache import Cache
    from antscache.disk import outlives

    cache = Cache.open()
    if cache.settings.mounted and not outlives(cache.store.layout.root):
        beside = directory.parent if directory.name == ANTSXNET else directory
        cache = Cache.open(beside / "antscache", mounted=False)
    return cache


def install(invocation: Invocation, found: argparse.Namespace) -> None:
    """What is chosen is in the directory, verified.

    Raises:
        AntsCacheError: it is not; the message says why.
    """
    from antscache.cli import carry_out, say_how_linked

    directory = found.directory.absolute()
    cache = opened(directory)
    manifest = cache.manifest(found.release)
    entries = chosen(manifest, found.data, found.networks)
    if not entries:
        invocation.say("nothing is named: nothing to do")
        return
    plan = cache.plan_entries(manifest, entries)
    carry_out(invocation, cache, plan)
    say_how_linked(invocation, cache.link(plan.entries, directory))
    for entry in plan.entries if found.verbose else ():
        print(directory / entry.file)
    invocation.say(f"{len(plan.entries)} files of {manifest.release} are in {directory}")


def main(arguments: Sequence[str]) -> None:
    """Do what upstream's scripts do, and exit."""
    if not arguments and not Path(sys.argv[0]).name.startswith("download"):  # upstream's older script: usage, exit 1
        print(__doc__, file=sys.stderr)
        sys.exit(1)
    found = parsed(arguments)
    if not found.install:
        sys.exit(0)
    try:
        import antscache.cache  # noqa: F401  what it needs may be missing or broken
        from antscache.cli import finish
    except ImportError as error:
        sys.exit(f"error: antscache cannot be imported: {error}\nhint: run `pip install antscache` for this Python")
    finish(lambda invocation: install(invocation, found))


if __name__ == "__main__":
    main(sys.argv[1:])
