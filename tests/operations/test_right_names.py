"""No order of commands ends with a file under a release's name that is known to be another's.

Random catalogs, in which names have one or more contents; a root and a lower cache; commands on either of them, in any
order, with directories in which any file may lie under any name.
"""

from __future__ import annotations

import tempfile
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from antscache.cache import Cache
from antscache.config import Settings
from antscache.core.digest import descriptor_of
from antscache.core.manifest import Manifest, Release, identifiers_by_file, make_entry
from antscache.errors import AntsCacheError
from antscache.testing import StandIn, content

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from antscache.core.record import Record

NUMBERS = {"a.nii.gz": ("11", "12"), "b.nii.gz": ("21", "22"), "c.nii.gz": ("31",)}  # each has one file name
CONTENTS = {number: content(number, "x.nii.gz", 300) for numbers in NUMBERS.values() for number in numbers}
DIGESTS = {f"figshare:{number}": descriptor_of(some).digest for number, some in CONTENTS.items()}
FILES = sorted(NUMBERS)
RELEASES = [Release("antspynet", version) for version in ("91.1", "91.2", "91.3")]

Catalog = dict[Release, Manifest]
releases, files = st.sampled_from(RELEASES), st.sampled_from(FILES)
identifiers = st.sampled_from(sorted(DIGESTS))


@dataclass
class World:
    """A root, a lower cache, and what the user has said.

    Attributes:
        asserted: the identifiers and digests that a flag has asserted.
    """

    place: Path
    catalog: Catalog
    origin: str
    asserted: set[tuple[str, str]] = field(default_factory=set)

    def cache(self, root: str, *, offline: bool = True) -> Cache:
        lowers = (str(self.place / "lower"),) if root == "upper" else ()
        return Cache(
            Settings(
                str(self.place / root), site_dirs=lowers, origins=(self.origin,), pace=0.0, jobs=2, offline=offline
            )
        )

    def records(self, root: str, *, below: bool) -> list[Record]:
        store = self.cache(root).store
        return store.layers.all() if below else list(store.records.readable())

    def check(self, root: str, release: Release, *, below: bool) -> None:
        """Check that no name of a release has bytes that are known to be another identifier's.

        Args:
            root: with the view.
            release: of the view.
            below: what lower caches have recorded counts as known too.
        """
        known = {
            record.identifier: record.digest for record in self.records(root, below=below) if not record.is_adopted
        }
        contents = identifiers_by_file(self.catalog.values())
        for entry in self.catalog[release].entries:
            path = self.cache(root).store.layout.place_in_view(release, entry)
            if not path.exists():
                continue
            identifier, digest = str(entry.identifier), descriptor_of(path.read_bytes()).digest
            others = {other for other, theirs in known.items() if other != identifier and theirs == digest}
            assert not others, f"{path} has the bytes of {others}"
            assert known.get(identifier, digest) == digest, f"{path} has other bytes than are recorded"
            if len(contents[entry.file]) > 1 and (identifier, digest) not in self.asserted:
                assert digest == DIGESTS[identifier], f"{path} has another content of its name"


@dataclass(frozen=True)
class Prefetch:
    release: Release
    file: str
    offline: bool

    def carry_out(self, world: World, root: str) -> None:
        cache, manifest = world.cache(root, offline=self.offline), world.catalog[self.release]
        cache.prefetch(cache.plan(manifest, names=[self.file.partition(".")[0]]))


@dataclass(frozen=True)
class Adopt:
    release: Release
    files: Mapping[str, str]  # name -> number of the content
    named: bool
    move: bool
    offline: bool

    def carry_out(self, world: World, root: str) -> None:
        manifest = world.catalog[self.release]
        with tempfile.TemporaryDirectory(dir=world.place) as place:
            for name, number in self.files.items():
                Path(place, name).write_bytes(CONTENTS[number])
            entries = [entry for entry in manifest.entries if entry.file in self.files and self.named]
            named = {entry.file: str(entry.identifier) for entry in entries}
            for name, identifier in named.items():
                world.asserted.add((identifier, descriptor_of(CONTENTS[self.files[name]]).digest))
            cache = world.cache(root, offline=self.offline)
            cache.adopt(Path(place), manifest, identifiers=named, move=self.move)


@dataclass(frozen=True)
class Forget:
    identifier: str

    def carry_out(self, world: World, root: str) -> None:
        world.cache(root).forget(self.identifier)


@dataclass(frozen=True)
class Remove:
    release: Release

    def carry_out(self, world: World, root: str) -> None:
        world.cache(root).remove(self.release)


@dataclass(frozen=True)
class Collect:
    def carry_out(self, world: World, root: str) -> None:
        world.cache(root).gc(grace=0)


@dataclass(frozen=True)
class Verify:
    offline: bool

    def carry_out(self, world: World, root: str) -> None:
        world.cache(root, offline=self.offline).verify(repair=True)


Command = Prefetch | Adopt | Forget | Remove | Collect | Verify
adoptions = st.builds(
    Adopt,
    releases,
    st.dictionaries(files, st.sampled_from(sorted(CONTENTS)), min_size=1, max_size=3),
    st.booleans(),
    st.booleans(),
    st.booleans(),
)
commands: st.SearchStrategy[Command] = st.one_of(
    adoptions,
    adoptions,
    st.builds(Prefetch, releases, files, st.booleans()),
    st.builds(Prefetch, releases, files, st.just(value=False)),
    st.builds(Forget, identifiers),
    st.builds(Remove, releases),
    st.just(Collect()),
    st.builds(Verify, st.booleans()),
)


def catalog_of(*choices: tuple[str, ...]) -> Catalog:
    """Return releases that each give every name one of its contents: one choice of numbers for each release."""
    manifests = {}
    for release, numbers in zip(RELEASES, choices, strict=True):
        named = zip(FILES, numbers, strict=True)
        entries = [make_entry("data", file[0], file, identifier=f"figshare:{number}") for file, number in named]
        manifests[release] = Manifest(release, tuple(entries))
    return manifests


choices = st.tuples(*(st.sampled_from(NUMBERS[file]) for file in FILES))
catalogs = st.builds(catalog_of, choices, choices, choices)
OLD, NEW, NEWEST = RELEASES
TWO_CONTENTS = catalog_of(("11", "21", "31"), ("12", "21", "31"), ("12", "21", "31"))
ADOPTED_FOR_ANOTHER = Adopt(NEW, {"b.nii.gz": "31"}, named=False, move=False, offline=True)


@pytest.fixture(scope="module")
def origin() -> Iterator[str]:
    names = {number: file for file, numbers in NUMBERS.items() for number in numbers}
    with StandIn(names, contents=CONTENTS) as standin:
        yield standin.origins.split()[0]


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(catalogs, st.lists(st.tuples(st.sampled_from(["upper", "upper", "lower"]), commands), max_size=8))
@example(TWO_CONTENTS, [("upper", Adopt(NEW, {"a.nii.gz": "11"}, named=False, move=False, offline=True))])
@example(TWO_CONTENTS, [("upper", ADOPTED_FOR_ANOTHER), ("upper", Prefetch(NEW, "c.nii.gz", offline=False))])
@example(TWO_CONTENTS, [("upper", ADOPTED_FOR_ANOTHER), ("upper", Prefetch(OLD, "c.nii.gz", offline=False))])
@example(TWO_CONTENTS, [("upper", ADOPTED_FOR_ANOTHER), ("lower", Prefetch(OLD, "c.nii.gz", offline=False))])
@example(
    TWO_CONTENTS,
    [
        ("upper", Adopt(NEW, {"a.nii.gz": "11"}, named=True, move=False, offline=True)),
        ("upper", Adopt(NEWEST, {"a.nii.gz": "12"}, named=False, move=False, offline=False)),
    ],
)
def test_no_name_has_bytes_known_to_be_anothers(
    origin: str, catalog: Catalog, steps: list[tuple[str, Command]]
) -> None:
    with tempfile.TemporaryDirectory() as place:
        world = World(Path(place), catalog, origin)
        for root in ("lower", "upper"):
            cache = world.cache(root)
            cache.store.create()
            for manifest in catalog.values():
                cache.catalog.save(manifest, cache.store.layout.staging)
        for root, command in steps:
            with suppress(AntsCacheError):
                command.carry_out(world, root)
            for release in RELEASES:  # by its own records at once; by those of lower caches, once it is used
                used = isinstance(command, Prefetch | Adopt) and command.release == release
                world.check(root, release, below=used)
        for root in ("lower", "upper"):
            for release in RELEASES:
                for file in FILES:
                    with suppress(AntsCacheError):
                        Prefetch(release, file, offline=True).carry_out(world, root)
                world.check(root, release, below=True)
