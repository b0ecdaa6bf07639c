"""Find the release that the files of a home belong to, by their names, sizes and digests: pure.

A release gives each of its file names an identifier, and another release may give the same name another one. So a file
may be any of the identifiers that releases give its name, except those whose recorded bytes are others.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from antscache.core import Release

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from antscache.core import Descriptor, Identifier

    IdentifiersByName = Mapping[str, frozenset[Identifier]]  # file name -> the identifiers that a release gives it
    RecordedBlobs = Mapping[Identifier, Descriptor]


@dataclass(frozen=True, slots=True)
class ExaminedFile:
    """A file, read as far as was necessary.

    Attributes:
        blob: the file's descriptor, if it was hashed.
        problem: the reason why the file cannot have the form that its name says; empty if there is none.
    """

    name: str
    size: int
    blob: Descriptor | None = None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Judgement:
    """The files of a home, compared with one release.

    Attributes:
        release: the installed release, or else the one that most files fit; None if no file fits any release.
        fitting: names of the files that the release asks for, as far as can be known.
        mismatched: names that the release asks for, but whose files are others; each with words for what its file is.
        foreign: names that only other releases ask for, each with the newest of these releases.
        unknown: names that no release asks for.
        ambiguous: names that stand for different bytes in different releases, where no record tells which these are.
    """

    release: Release | None
    fitting: tuple[str, ...] = ()
    mismatched: tuple[tuple[str, str], ...] = ()
    foreign: tuple[tuple[str, Release], ...] = ()
    unknown: tuple[str, ...] = ()
    ambiguous: tuple[str, ...] = ()


def judge(
    files: Sequence[ExaminedFile],
    releases: Mapping[Release, IdentifiersByName],
    recorded: RecordedBlobs,
    installed: Release | None,
) -> Judgement:
    """Compare `files` with the `installed` release, or else with the release that most files fit.

    Of several releases that equally many files fit, the newest counts.

    Args:
        files: the files of the home that have the form that their names say.
        releases: the known releases, the newest last.
        recorded: the recorded blob of each identifier, where an origin or a mirror is the source of the record.
        installed: one of `releases`.
    """
    all_names = merge_names(releases)
    possible = {file.name: _possible(file, all_names.get(file.name, frozenset()), recorded) for file in files}
    exact = {file.name for file in files if file.blob and file.blob in recorded.values()}
    fits = {
        release: sum(bool(names.get(name, frozenset()) & identifiers) for name, identifiers in possible.items())
        for release, names in releases.items()
    }
    newest_first = list(reversed(list(releases)))
    best = max(newest_first, key=lambda release: fits[release], default=None)
    release = installed or best
    if release is None or not (installed or fits[release]):
        return Judgement(None, unknown=tuple(possible))
    wanted = releases[release]
    fitting, ambiguous = list[str](), list[str]()
    mismatched, foreign = list[tuple[str, str]](), list[tuple[str, Release]]()
    for name, identifiers in possible.items():
        if name not in all_names:
            continue
        if name not in wanted:
            foreign.append((name, next(other for other in newest_first if name in releases[other])))
        elif not wanted[name] & identifiers:
            mismatched.append((name, _describe(name, identifiers, releases, certain=name in exact)))
        else:
            (fitting if name in exact or identifiers <= wanted[name] else ambiguous).append(name)
    unknown = tuple(name for name in possible if name not in all_names)
    return Judgement(release, tuple(fitting), tuple(mismatched), tuple(foreign), unknown, tuple(ambiguous))


def _possible(file: ExaminedFile, identifiers: frozenset[Identifier], recorded: RecordedBlobs) -> frozenset[Identifier]:
    """Return the identifiers that `file` may be; `identifiers` are those that releases give its name."""
    if file.blob and (same := frozenset(identifier for identifier, blob in recorded.items() if blob == file.blob)):
        return same
    return frozenset(
        identifier
        for identifier in identifiers
        if identifier not in recorded or (not file.blob and recorded[identifier].size == file.size)
    )


def _describe(
    name: str, identifiers: Collection[Identifier], releases: Mapping[Release, IdentifiersByName], *, certain: bool
) -> str:
    """Say in words what a file is that may be any of `identifiers`, or is `certain` to be one of them."""
    if not identifiers:
        return "none of the recorded files"
    users = [
        str(release)
        for release in reversed(list(releases))
        if releases[release].get(name, frozenset()) & frozenset(identifiers)
    ]
    return f"{'' if certain else 'perhaps '}{min(identifiers)}{f' of {users[0]}' if users else ''}"


def merge_names(releases: Mapping[Release, IdentifiersByName]) -> IdentifiersByName:
    """Return for each file name the identifiers that any of `releases` gives it."""
    merged: dict[str, frozenset[Identifier]] = {}
    for names in releases.values():
        for name, identifiers in names.items():
            merged[name] = merged.get(name, frozenset()) | identifiers
    return merged


def needs_digest(file: ExaminedFile, all_names: IdentifiersByName, recorded: RecordedBlobs) -> bool:
    """Return True if the digest of `file` would help to tell its identifier.

    So it is if its name and size leave several identifiers, and at least one of these is recorded.
    """
    possible = _possible(file, all_names.get(file.name, frozenset()), recorded)
    return len(possible) > 1 and not possible.isdisjoint(recorded)
