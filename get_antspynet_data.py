#!/usr/bin/env python
"""Fetch ANTsXNet data and pretrained networks into a `.keras` directory, by antscache.

    get_antspynet_data.py /path/to/.keras [doInstall=1] [dataList.txt] [networkList.txt]
    get_antspynet_data.py [--cache-dir /path/to/.keras/ANTsXNet] [--data-keys K ...] [--model-keys K ...]
                          [--data-key-file F] [--model-key-file F] [--strict] [--verbose] [--release R]

Dockerfiles call it in place of upstream's `get_antsxnet_data.py` (the first form) and `download_antsxnet_data.py` (the
second). It takes the same arguments, and differs in these points:

- It verifies every file and fetches several at once. It fails if a download fails, with or without `--strict`.
- If you name data alone, it fetches no networks; if you name networks alone, no data; if you name neither, everything.
- An existing file with other bytes (another release's, or cut) is an error. The file is left as it is.

It needs antscache (`pip install antscache`). The release is that of the antspynet installed here, or `--release`.
Exit codes are antscache's (`antscache/errors.py`). With `doInstall=0` it does nothing and exits with 0.
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

ANTSXNET = "ANTsXNet"  # the directory below .keras


def parse_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    """Parse the arguments of either form into `directory`, `data` and `networks` (None if not named)."""
    parser = argparse.ArgumentParser(
        description=str(__doc__).split("\n\n", maxsplit=1)[0],
        epilog="If you name data alone, no networks are fetched; networks alone, no data; neither, everything.",
    )
    parser.add_argument("keras", nargs="?", type=Path, help="the .keras directory; the files go into its ANTsXNet")
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
    parser.add_argument("--strict", action="store_true", help="has no effect: a failed download is always an error")
    parser.add_argument("--verbose", action="store_true", help="print the path of each file")
    options = parser.parse_args(arguments)
    if options.keras and options.cache_dir:
        parser.error("the path and --cache-dir both name a directory: give one of them")
    try:
        options.data = options.data_keys or read_names(options.data_key_file or options.data_list)
        options.networks = options.model_keys or read_names(options.model_key_file or options.network_list)
    except (OSError, UnicodeDecodeError) as error:
        parser.error(f"cannot read a list of names: {error}")
    options.directory = options.cache_dir or (options.keras or Path.home() / ".keras") / ANTSXNET
    return options


def read_names(file: Path | None) -> list[str] | None:
    """Read the names in `file`, one a line; return None without a file. Skip upstream's `show`."""
    if file is None:
        return None
    lines = [line.strip() for line in file.read_text(encoding="utf-8").splitlines()]
    return [line for line in lines if line and line != "show"]


def select_entries(manifest: Manifest, data: list[str] | None, networks: list[str] | None) -> tuple[Entry, ...]:
    """Return the entries with these names, or all entries if no names are given.

    Raises:
        ManifestError: the release has no such name, or cannot fetch it.
    """
    from antscache.core import select

    if data is None and networks is None:
        return select(manifest)
    selected = select(manifest, data, ["data"]) if data else ()
    return selected + (select(manifest, networks, ["network"]) if networks else ())


def open_cache(directory: Path) -> Cache:
    """Open the user's cache, or a lasting one beside `directory` in a container that has no cache mounted."""
    from antscache.cache import Cache
    from antscache.disk import is_persistent

    cache = Cache.open()
    if cache.settings.mounted and not is_persistent(cache.store.layout.root):
        beside = directory.parent if directory.name == ANTSXNET else directory
        cache = Cache.open(beside / "antscache", mounted=False)
    return cache


def install(invocation: Invocation, options: argparse.Namespace) -> None:
    """Put the chosen files into the directory, verified.

    Raises:
        AntsCacheError: some files are not there; the message gives the reason.
    """
    from antscache.cli import carry_out, print_path, say_how_linked

    directory = options.directory.absolute()
    cache = open_cache(directory)
    manifest = cache.manifest(options.release)
    entries = select_entries(manifest, options.data, options.networks)
    if not entries:
        invocation.say("the lists have no names: nothing to do")
        return
    unread = manifest.unread if options.data is None and options.networks is None else ()
    plan = cache.plan_entries(manifest, entries).with_unread(unread)
    carry_out(invocation, cache, plan)
    say_how_linked(invocation, cache.link(plan.entries, directory))
    for entry in plan.entries if options.verbose else ():
        print_path(directory / entry.file)
    invocation.say(f"{len(plan.entries)} files of {manifest.release} are in {directory}")


def main(arguments: Sequence[str]) -> None:
    """Do what upstream's scripts do, and exit."""
    if not arguments and not Path(sys.argv[0]).name.startswith("download"):  # upstream's older script: usage, exit 1
        print(__doc__, file=sys.stderr)
        sys.exit(1)
    options = parse_arguments(arguments)
    if not options.install:
        sys.exit(0)
    try:
        import antscache.cache  # noqa: F401  a dependency may be missing or broken
        from antscache.cli import finish
    except ImportError as error:
        sys.exit(f"error: antscache cannot be imported: {error}\nhint: run `pip install antscache` for this Python")
    finish(lambda invocation: install(invocation, options))


if __name__ == "__main__":
    main(sys.argv[1:])
