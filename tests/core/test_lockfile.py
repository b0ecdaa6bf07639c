"""Lockfiles: equal ones have equal bytes, and a hostile one is one clear error."""

from __future__ import annotations

import os
import re
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support import REPOSITORY

from antscache.core.choice import Choice, choose
from antscache.core.lockfile import (
    MAX_LOCKED_ENTRIES,
    MAX_LOCKFILE_BYTES,
    LockedEntry,
    LockedRelease,
    Lockfile,
    check_same_bytes,
    encode_lockfile,
    find_lock_changes,
    make_lockfile,
    parse_lockfile,
)
from antscache.core.manifest import Entry, Manifest, Release, UnreadGetter, make_entry
from antscache.core.needs import Function, Needs
from antscache.errors import IntegrityError, ManifestError

ZERO, ONE = f"sha256:{'0' * 64}", f"sha256:{'1' * 64}"
A = LockedEntry("data", "a", "a.nii.gz", "figshare:1", ZERO, 7)
B = LockedEntry("network", "b", "b.h5", 'url:https://host.org/b.h5?x="1"&y=\\n', ONE, 8)
OLD = LockedRelease(package="antspynet", version="0.3.2", identity=ZERO, view=ONE, names=("a", "b"), entries=(A, B))
TEXT = encode_lockfile(make_lockfile([OLD])).decode()
SCHEMA = REPOSITORY / "docs/antscache.lock.schema.json"


def refused(content: str | bytes) -> str:
    """Return the text of the error that a lockfile is."""
    with pytest.raises(ManifestError) as caught:
        parse_lockfile(content.encode() if isinstance(content, str) else content, "it")
    assert str(caught.value).startswith("it")
    assert caught.value.hint
    assert str(caught.value).isprintable()
    return str(caught.value)


# Bytes

names = st.from_regex(r"\A[A-Za-z0-9_][A-Za-z0-9_.+-]{0,20}\Z")
digests = st.binary(min_size=32, max_size=32).map(lambda content: f"sha256:{content.hex()}")
printable = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1, max_size=40)
identifiers = st.integers(1, 10**18).map("figshare:{}".format) | st.text(
    st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters="#"), max_size=20
).map("url:https://host.org/{}".format)


@st.composite
def lockfiles(draw: st.DrawFn) -> Lockfile:
    """Make a lockfile without contradictions."""
    blobs = draw(st.dictionaries(identifiers, st.tuples(digests, st.integers(0, 2**63 - 1)), min_size=1, max_size=5))
    releases = []
    for version in draw(st.lists(st.from_regex(r"\A[0-9]{1,3}\.[0-9]{1,3}\Z"), min_size=1, max_size=3, unique=True)):
        entries = tuple(
            LockedEntry(draw(st.sampled_from(["data", "network", "keras"])), name, f"{name}.h5", each, *blobs[each])
            for name, each in zip(draw(st.lists(names, min_size=1, max_size=5, unique=True)), blobs, strict=False)
        )
        release = LockedRelease(
            package="antspynet",
            version=version,
            identity=draw(digests),
            view=draw(digests),
            functions=draw(st.lists(printable, max_size=3).map(tuple)),
            names=draw(st.lists(names, max_size=3).map(tuple)),
            kinds=draw(st.sampled_from([(), ("data",), ("data", "network")])),
            measured=draw(st.sampled_from([None, "2026-11-30"])),
            origins=draw(st.sampled_from([(), ("api.figshare.com",), ("127.0.0.1:80", "host.org")])),
            entries=tuple(sorted(entries)),
        )
        releases.append(release)
    return make_lockfile(releases)


@given(lockfiles())
def test_what_is_written_is_read(lockfile: Lockfile) -> None:
    content = encode_lockfile(lockfile)
    assert parse_lockfile(content, "it") == lockfile
    assert encode_lockfile(parse_lockfile(content, "it")) == content
    assert parse_lockfile(content.replace(b"\n", b"\r\n"), "it") == lockfile  # as git may check it out


def test_a_lockfile_has_these_bytes() -> None:
    assert (
        rf"""# antscache.lock: made by `antscache lock`. Commit this file; do not edit it.
version = 1

[[release]]
package = "antspynet"
version = "0.3.2"
identity = "{ZERO}"
view = "{ONE}"
names = [
    "a",
    "b",
]

[[release.entry]]
kind = "data"
name = "a"
file = "a.nii.gz"
identifier = "figshare:1"
digest = "{ZERO}"
size = 7

[[release.entry]]
kind = "network"
name = "b"
file = "b.h5"
identifier = "url:https://host.org/b.h5?x=\"1\"&y=\\n"
digest = "{ONE}"
size = 8
"""
        == TEXT
    )


def test_releases_and_entries_are_sorted() -> None:
    other = msgspec.structs.replace(OLD, version="0.3.1", entries=(B, A))
    lockfile = parse_lockfile(encode_lockfile(Lockfile(1, (OLD, other))), "it")
    assert [each.version for each in lockfile.releases] == ["0.3.1", "0.3.2"]
    assert lockfile.releases[0].entries == (A, B)


# Hostile files

HOSTILE = {
    "empty": ("", "no line `version = 1`"),
    "no text": (b"\x80PNG\x00", "no text in UTF-8"),
    "a newer version": (TEXT.replace("version = 1", "version = 2\nother = [1]"), "made by a newer antscache"),
    "version 0": (TEXT.replace("version = 1", "version = 0"), "there is no version 0"),
    "version of a release": (TEXT.replace("version = 1\n", "").replace('"0.3.2"', "1"), "version is missing"),
    "no release": ("version = 1\n", "release is missing"),
    "a release that is a number": ("version = 1\nrelease = 5\n", "it has no [[release]]"),
    "releases that are texts": ('version = 1\nrelease = ["a"]\n', "it has no [[release]]"),
    "no entry": (TEXT.partition("\n[[release.entry]]")[0], "it has no [[release.entry]]"),
    "an entry without release": (TEXT.replace("[[release]]\n", ""), "it"),
    "entries that are texts": (TEXT.partition("\n[[release.entry]]")[0] + 'entry = ["a"]\n', "it has no [[release."),
    "another table": (TEXT + "\n[other]\n", "it, line 30: no lockfile has such a line"),
    "a dotted key": (TEXT + "a.b.c = 1\n", "it, line 29: no lockfile has such a line"),
    "an unknown key": (TEXT + "other = 1\n", "line 22: Object contains unknown field `other`"),
    "an unknown key at the top": (TEXT.replace("version = 1", "version = 1\nother = 1"), "other is unknown"),
    "a key twice": (TEXT + "size = 8\n", "not TOML"),
    "a size that is a text": (TEXT.replace("size = 7", 'size = "7"'), "line 14: size: Expected `int`, got `str`"),
    "a size that is true": (TEXT.replace("size = 7", "size = true"), "line 20: no lockfile has such a line"),
    "a negative size": (TEXT.replace("size = 7", "size = -7"), "line 20: no lockfile has such a line"),
    "a huge size": (TEXT.replace("size = 7", f"size = {10**19}"), "line 14: size: Expected `int`"),
    "an endless size": (TEXT.replace("size = 7", f"size = {'9' * 5_000}"), "line 20: no lockfile has such a line"),
    "a name that is a number": (TEXT.replace('name = "a"', "name = 5"), "line 14: name: Expected `str`, got `int`"),
    "an absolute path": (TEXT.replace('"a.nii.gz"', '"/etc/passwd"'), "line 14: file: it does not have the right form"),
    "a path upwards": (TEXT.replace('"a.nii.gz"', '"../../x"'), "the right form"),
    "dots alone": (TEXT.replace('"a.nii.gz"', '".."'), "the right form"),
    "a control character": (TEXT.replace('"a.nii.gz"', '"a\x1b[2J"'), "line 17: no lockfile has such a line"),
    "one that is escaped": (TEXT.replace('"a.nii.gz"', r'"a\u001b[2J"'), "the right form"),
    "a line break in a name": (TEXT.replace('name = "a"', r'name = "a\n"'), "the right form"),
    "a version with a path": (TEXT.replace('"0.3.2"', '"../0.3.2"'), "the right form"),
    "another package": (TEXT.replace('"antspynet"', '"numpy"'), "line 4: package: Invalid enum value"),
    "a kind of another package": (TEXT.replace('"antspynet"', '"antspyx"'), "antspyx has no entries of kind network"),
    "a short digest": (TEXT.replace(f'digest = "{ZERO}"', 'digest = "sha256:00"'), "the right form"),
    "another algorithm": (TEXT.replace(f'"{ZERO}"', f'"md5:{"0" * 32}"'), "the right form"),
    "an identifier that is a file": (TEXT.replace('"figshare:1"', '"url:file:///etc"'), "the right form"),
    "a release twice": (TEXT + TEXT.partition("version = 1\n")[2], "it names antspynet==0.3.2 twice"),
    "a name twice": (TEXT + TEXT[TEXT.index("\n[[release.entry]]") :], "it names data a twice"),
    "two digests of an identifier": (
        TEXT.replace(TEXT[TEXT.index('identifier = "url') :], f'identifier = "figshare:1"\ndigest = "{ONE}"\nsize = 7'),
        "two digests or sizes of figshare:1",
    ),
    "two identifiers of a file": (TEXT.replace('"b.h5"', '"a.nii.gz"'), "two identifiers of the file a.nii.gz"),
    "too many bytes": (TEXT + "#" * MAX_LOCKFILE_BYTES, "larger than"),
    "a million entries": ("version = 1\n[[release]]\n" + "[[release.entry]]\n" * 1_000_000, "larger than"),
    "too many entries": (TEXT + "[[release.entry]]\n" * MAX_LOCKED_ENTRIES, "more than 10,000 releases and entries"),
    "deep brackets": (TEXT + f"other = {'[' * 100_000}\n", "no lockfile has such a line"),
    "deep keys": (TEXT + f"{'a.' * 100_000}a = 1\n", "no lockfile has such a line"),
    "an array without end": (TEXT + "other = [\n", "not TOML"),
}


@pytest.mark.parametrize(("content", "said"), HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_lockfile_is_one_error(content: str | bytes, said: str) -> None:
    text = refused(content)
    assert said in text
    assert len(text) < 1_000


@given(st.data())
def test_any_damage_is_one_error_or_none(data: st.DataObject) -> None:
    """A lockfile of which bytes are replaced, removed or doubled is read, or it is one ManifestError."""
    content = bytearray(TEXT.encode())
    at = data.draw(st.integers(0, len(content)))
    content[at : at + data.draw(st.integers(0, 60))] = data.draw(
        st.binary(max_size=20) | st.integers(0, len(content)).map(lambda start: bytes(content[start : start + 80]))
    )
    check_one_error(bytes(content))


@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: f"version = 1\n{text}".encode()))
@example(b"version = 1\n[[release.entry]]\n[[release]]\n")
@example(b"version = 1\n[[release.entry]]\n")
def test_any_bytes_are_one_error(content: bytes) -> None:
    check_one_error(content)


def check_one_error(content: bytes) -> None:
    try:
        lockfile = parse_lockfile(content, "it")
    except ManifestError as error:
        assert str(error).startswith("it")  # noqa: PT017  either is right
    else:
        assert parse_lockfile(encode_lockfile(lockfile), "it") == lockfile


def test_a_full_lockfile_is_within_the_bounds() -> None:
    """All published releases together are far from the bounds."""
    entries = tuple(
        msgspec.structs.replace(
            A, name=f"n{number}", file=f"{number}{'x' * 60}", identifier=f"figshare:{10**9 + number}"
        )
        for number in range(5_000)
    )
    content = encode_lockfile(make_lockfile([msgspec.structs.replace(OLD, entries=tuple(sorted(entries)))]))
    assert len(parse_lockfile(content, "it").releases[0].entries) == 5_000
    assert len(content) < MAX_LOCKFILE_BYTES / 2


# The choice

MANIFEST = Manifest(
    Release("antspynet", "0.3.3"),
    (
        A.entry,
        make_entry("data", "c", "c.nii.gz", identifier="figshare:3"),
        Entry("data", "never", "n", reason="no URL"),
        make_entry("network", "b", "b.h5", identifier="figshare:4"),
    ),
    functions=(Function("f", ("image",), Needs(data=("c",), network=("b",))),),
)


@pytest.mark.parametrize(
    ("choice", "names"),
    [
        (Choice(), ["a", "c", "b"]),
        (Choice(names=("b", "a")), ["a", "b"]),
        (Choice(kinds=("data",)), ["a", "c"]),
        (Choice(functions=("f",)), ["c", "b"]),
        (Choice(functions=("f",), names=("a*",)), ["a", "c", "b"]),
        (Choice(kinds=("keras",)), ["densenet121_imagenet", "vgg19_imagenet"]),
    ],
)
def test_a_choice_selects_as_prefetch_does(choice: Choice, names: list[str]) -> None:
    assert [entry.name for entry in choose(MANIFEST, choice).entries] == names


def test_a_choice_of_unreadable_entries_is_refused() -> None:
    manifest = msgspec.structs.replace(MANIFEST, unread=(UnreadGetter("network", "a loop"),))
    with pytest.raises(ManifestError, match="a loop"):
        choose(manifest, Choice())
    assert len(choose(manifest, Choice(kinds=("data",))).entries) == 2


@pytest.mark.parametrize(
    ("choice", "changes"),
    [
        ({}, [("data", "c", None, "figshare:3"), ("network", "b", B.identifier, "figshare:4")]),
        ({"names": ("a", "b")}, [("network", "b", B.identifier, "figshare:4")]),
        ({"names": ("a", "b", "gone")}, [("network", "b", B.identifier, "figshare:4")]),
        (
            {"functions": ("f",)},
            [
                ("data", "a", "figshare:1", None),
                ("data", "c", None, "figshare:3"),
                ("network", "b", B.identifier, "figshare:4"),
            ],
        ),
        ({"kinds": ("data",)}, [("data", "c", None, "figshare:3"), ("network", "b", B.identifier, None)]),
    ],
)
def test_changes_are_those_of_the_choice(choice: dict[str, Any], changes: list[Any]) -> None:
    locked = msgspec.structs.replace(OLD, **{"names": (), **choice})
    found = find_lock_changes(locked, MANIFEST)
    assert [(c.kind, c.name, c.old and c.old.identifier, c.new and c.new.identifier) for c in found] == changes


def test_an_identifier_keeps_its_bytes() -> None:
    check_same_bytes(OLD, OLD)
    check_same_bytes(OLD, msgspec.structs.replace(OLD, entries=(msgspec.structs.replace(B, identifier="figshare:9"),)))
    with pytest.raises(IntegrityError, match="figshare:1"):
        check_same_bytes(OLD, msgspec.structs.replace(OLD, entries=(msgspec.structs.replace(A, digest=ONE),)))


def test_match_finds_the_release_of_a_package() -> None:
    other = msgspec.structs.replace(OLD, version="0.3.1")
    examples = msgspec.structs.replace(OLD, package="antspyx", version="0.6.3", entries=(A,))
    one, two = make_lockfile([OLD, examples]), make_lockfile([OLD, other])
    assert one.match(Release("antspynet", "0.3.3")) == OLD
    assert two.match(Release("antspynet", "0.3.1")) == other
    for release in Release("antspynet", "0.3.3"), Release("antspyx", "0.6.3"):
        with pytest.raises(ManifestError, match=r"0\.3\.1"):
            two.match(release)


# The schema


def test_the_schema_is_published() -> None:
    schema = msgspec.json.schema(Lockfile)
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "antscache.lock, version 1", **schema}
    text = msgspec.json.format(msgspec.json.encode(schema), indent=2).decode()
    text = text.replace(r"\\A", "^").replace(r"\\Z", "$") + "\n"  # as other languages write them
    if os.environ.get("ANTSCACHE_TESTS_UPDATE") == "1":
        SCHEMA.write_text(text, "utf-8")
    assert text == SCHEMA.read_text("utf-8"), "write it with ANTSCACHE_TESTS_UPDATE=1"
    assert not re.search(r"\\\\[AZ]", text)
