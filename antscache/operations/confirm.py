"""Ask origins about the files that a user vouches for, before they are believed.

    judge -> ask_about -> compare

An identifier's bytes never change, so an origin's MD5 of them is as good a proof as a first download: what it confirms
is recorded with the origin's trust. A size alone only refutes: networks of one architecture have the same size.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING

from antscache.core import BytesRead, Remarked, Wanted, ignore_events, known_md5
from antscache.disk import hash_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from antscache.core import Descriptor, Identifier, Listener, Release
    from antscache.fetch import Told
    from antscache.operations.adoptable import Judged
    from antscache.root import Root

MIN_REMARKED_SECONDS = 5.0  # a shorter time for the questions is not worth a remark


def ask_about(root: Root, release: Release, judged: Iterable[Judged], listen: Listener) -> Mapping[Identifier, Told]:
    """Ask origins for the size and MD5 of the files that rest on the user's word; return the answers. Offline: none.

    Raises:
        ConfigError: the settings, or the proxy or certificates that the environment names, cannot be used.
    """
    wanted = {
        identifier: Wanted(identifier, file.entries[0].file, release)
        for file in judged
        if (identifier := _questioned(file))
    }
    if root.settings.offline or not wanted:
        return {}
    from antscache.fetch import ask_origins, least_seconds

    seconds = least_seconds(root, [*wanted.values()])
    if seconds >= MIN_REMARKED_SECONDS:
        text = f"asking an origin for the MD5 of {len(wanted)} files takes {seconds:.0f} s; --offline skips that"
        listen(Remarked(text))
    return ask_origins(root, wanted.values())


def confirm(judged: Iterable[Judged], told: Mapping[Identifier, Told], listen: Listener) -> Iterator[Judged]:
    """Yield each file as it is after the answers of origins, and left alone if its MD5 is known to be another.

    Only files with a known MD5, and those whose size fits, are read again.
    """
    for file in judged:
        identifier = _questioned(file)
        answer, md5, known = told.get(identifier), "", known_md5(identifier)
        fits = answer and answer.facts.md5 and file.seen.blob and file.seen.blob.size == answer.facts.size
        if known or fits:
            blob, md5 = read_md5(file.seen.path, listen)
            if blob != file.seen.blob:
                yield file.left("it changed while it was read")
                continue
        if known and md5 != known:
            yield file.left(f"its MD5 is {md5}, and that of {identifier} is {known}")
        else:
            yield compare(file, answer, md5)


def compare(file: Judged, answer: Told | None, md5: str) -> Judged:
    """Return `file` as an origin's `answer` and the file's own `md5` leave it: pure."""
    if answer and file.seen.blob:
        origin, facts, identifier = answer.origin, answer.facts, _questioned(file)
        remedy = f": run `antscache forget {identifier}`" if file.fate == "recognised" else ""
        if file.seen.blob.size != facts.size:
            what = f"it has {file.seen.blob.size} bytes, and {identifier} at {origin.name} has {facts.size}"
            return file.left(what + remedy)
        if facts.md5 and md5 != facts.md5:
            return file.left(f"its MD5 is {md5}, and that of {identifier} at {origin.name} is {facts.md5}{remedy}")
        if facts.md5:
            checks = ("length", "md5", *file.checks)
            return replace(file, doubt="", trust=origin.trust, source=origin.name, checks=checks)
    if file.doubt:
        return file.left(file.doubt)
    return replace(file, checks=("length", *file.checks)) if answer else file


def _questioned(file: Judged) -> Identifier:
    """Return the identifier that `file` has on the user's word alone; empty if it has none, or several."""
    identifiers = {entry.identifier for entry in file.entries}
    return str(*identifiers) if file.trust == "adopted" and len(identifiers) == 1 else ""


def read_md5(path: Path, listen: Listener = ignore_events) -> tuple[Descriptor | None, str]:
    """Return the descriptor and the MD5 of the file at `path`; None if it cannot be read."""
    md5 = hashlib.md5(usedforsecurity=False)

    def look(chunk: memoryview) -> None:
        md5.update(chunk)
        listen(BytesRead(len(chunk)))

    try:
        return hash_file(path, look), md5.hexdigest()
    except OSError:
        return None, ""
