"""Which release the files of a home are of, by their names, sizes and digests: pure.

What a release means by a file name is an identifier. The bytes under that name may be those of any identifier that some
release means by it, but for those that are known to be other bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from antscache.core import Release

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from antscache.core import Descriptor, Identifier

    Names = Mapping[str, frozenset[Identifier]]  # file name -> what a release may mean by it
    Known = Mapping[Identifier, Descriptor]


@dataclass(frozen=True, slots=True)
class Glimpse:
    """A file as far as it was looked at.

    Attributes:
        blob: its bytes, if they were hashed.
        problem: why it cannot be what its name says, if it cannot.
    """

    name: str
    size: int
    blob: Descriptor | None = None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the files of a home are, against one release.

    Attributes:
        release: the one in use, or the one that most of the files are of; None where no file is of any.
        sound: names under which it is what the release asks for, as far as can be told.
        other: names under which it is something else, and what that is.
        elsewhere: names that only other releases ask for, and the newest of those.
        unknown: names that no release asks for.
        untold: names that releases give different bytes, and nothing recorded tells which these are.
    """

    release: Release | None
    sound: tuple[str, ...] = ()
    other: tuple[tuple[str, str], ...] = ()
    elsewhere: tuple[tuple[str, Release], ...] = ()
    unknown: tuple[str, ...] = ()
    untold: tuple[str, ...] = ()


def judge(
    files: Sequence[Glimpse], releases: Mapping[Release, Names], known: Known, in_use: Release | None
) -> Judgement:
    """What `files` are, against the release `in_use`, or else the one that most of them are of; the newest of several.

    Args:
        files: in the home, and no cut ones.
        releases: at hand, the newest last.
        known: what identifiers turned out to be, as far as an origin or a mirror said so.
        in_use: one of `releases`.
    """
    meanings = meanings_of(releases)
    possible = {each.name: _possible(each, meanings.get(each.name, frozenset()), known) for each in files}
    exact = {each.name for each in files if each.blob and each.blob in known.values()}
    fits = {
        release: sum(bool(names.get(name, frozenset()) & found) for name, found in possible.items())
        for release, names in releases.items()
    }
    best = max(reversed(list(releases)), key=lambda each: fits[each], default=None)
    release = in_use or best
    if release is None or not (in_use or fits[release]):
        return Judgement(None, unknown=tuple(possible))
    wanted = releases[release]
    sound, untold = list[str](), list[str]()
    other, elsewhere = list[tuple[str, str]](), list[tuple[str, Release]]()
    for name, found in possible.items():
        if name not in meanings:
            continue
        if name not in wanted:
            elsewhere.append((name, next(each for each in reversed(list(releases)) if name in releases[each])))
        elif not wanted[name] & found:
            other.append((name, _named(name, found, releases, certain=name in exact)))
        else:
            (sound if name in exact or found <= wanted[name] else untold).append(name)
    unknown = tuple(name for name in possible if name not in meanings)
    return Judgement(release, tuple(sound), tuple(other), tuple(elsewhere), unknown, tuple(untold))


def _possible(file: Glimpse, meanings: frozenset[Identifier], known: Known) -> frozenset[Identifier]:
    """The identifiers that the bytes of `file` may be those of."""
    if file.blob and (found := frozenset(each for each, blob in known.items() if blob == file.blob)):
        return found
    return frozenset(
        each for each in meanings if each not in known or (not file.blob and known[each].size == file.size)
    )


def _named(name: str, found: Collection[Identifier], releases: Mapping[Release, Names], *, certain: bool) -> str:
    """What bytes are that may be those of `found`; `certain` if they are."""
    if not found:
        return "bytes that nothing recorded is"
    users = [str(each) for each in reversed(list(releases)) if releases[each].get(name, frozenset()) & frozenset(found)]
    return f"{'' if certain else 'perhaps '}{min(found)}{f' of {users[0]}' if users else ''}"


def meanings_of(releases: Mapping[Release, Names]) -> Names:
    """What any release means by a name."""
    found: dict[str, frozenset[Identifier]] = {}
    for names in releases.values():
        for name, identifiers in names.items():
            found[name] = found.get(name, frozenset()) | identifiers
    return found


def undecided(file: Glimpse, meanings: Names, known: Known) -> bool:
    """Whether to hash `file`, to tell what it is: its name and size leave several, and something is known of one."""
    possible = _possible(file, meanings.get(file.name, frozenset()), known)
    return len(possible) > 1 and not possible.isdisjoint(known)
