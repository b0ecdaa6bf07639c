"""The values: releases, entries, identity, and the manifests that are shipped."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from antscache.catalog.catalog import SHIPPED, Catalog, encode_manifest
from antscache.core.layout import Layout
from antscache.core.manifest import Entry, Manifest, Release, changes, entry, fetchable, parse_release
from antscache.errors import ManifestError

CATALOG = Catalog(Path("/nonexistent"), offline=True)
VERSIONS = "0.1.1 0.1.2 0.1.3 0.1.4 0.1.5 0.1.6 0.1.7 0.1.8 0.1.9 0.2.0 0.2.1 0.2.2 0.2.3 0.2.8 0.2.9 0.3.0 0.3.1 0.3.2"


def shipped(version: str) -> Manifest:
    return CATALOG.manifest(Release("antspynet", version))


@pytest.mark.parametrize("text", ["antspynet==0.3.2", "0.3.2", " antspynet == 0.3.2 ", "AntsPyNet==v0.3.2", "00.3.2"])
def test_a_release_is_read_as_people_write_it(text: str) -> None:
    assert str(parse_release(text)) == "antspynet==0.3.2"


@pytest.mark.parametrize(
    "text", ["", "antspynet", "antspynet>=0.3", "numpy==1.0", "0.3.2/..", "../x", "x==..", "1!2.0", "0.3.2;rm"]
)
def test_what_does_not_name_one_release_is_an_error_with_a_hint(text: str) -> None:
    with pytest.raises(ManifestError) as caught:
        parse_release(text)
    assert caught.value.hint


@given(st.text(max_size=40))
def test_no_text_makes_a_release_that_leaves_its_directory(text: str) -> None:
    try:
        release = parse_release(text)
    except ManifestError:
        return
    layout = Layout(Path("/root"))
    for path in layout.view(release), layout.selections(release):
        assert ".." not in path.parts
        assert str(path).startswith("/root/")


@given(st.text(max_size=40), st.text(max_size=40), st.one_of(st.none(), st.text(max_size=40)))
def test_no_entry_has_a_file_or_identifier_that_leaves_its_directory(
    name: str, file: str, identifier: str | None
) -> None:
    try:
        made = entry("data", name, file, identifier=identifier, reason=None if identifier else "x")
    except msgspec.ValidationError:
        return
    assert PurePosixPath(made.file).name == made.file
    if made.identifier:
        assert Layout(Path("/root")).record(made.identifier).parent == Path("/root/identifiers/figshare")


def test_an_entry_has_either_an_identifier_or_a_reason() -> None:
    for identifier, reason in ((None, None), ("figshare:1", "both")):
        with pytest.raises(ValueError, match="either an identifier or a reason"):
            entry("data", "a", "a.h5", identifier=identifier, reason=reason)


ENTRIES = st.lists(
    st.builds(
        lambda kind, name, number: Entry(kind, name, f"{name}.h5", f"figshare:{number}"),
        st.sampled_from(["data", "network"]),
        st.from_regex(r"\A[a-z]{1,3}\Z"),
        st.integers(1, 99),
    ),
    unique_by=lambda each: (each.kind, each.name),
    max_size=8,
)


@given(ENTRIES, st.randoms(use_true_random=False))
def test_the_identity_depends_on_what_is_asked_for_and_not_on_order_version_or_artifact(entries, random) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
    shuffled = random.sample(entries, len(entries))
    one = Manifest(Release("antspynet", "1"), tuple(entries))
    other = Manifest(Release("antspynet", "2"), tuple(shuffled))
    assert one.identity == other.identity
    if entries:
        assert one.identity != Manifest(one.release, tuple(entries[1:])).identity


def test_every_published_release_is_shipped_with_the_artifact_it_was_read_from() -> None:
    names = {release.version for release in CATALOG.releases() if release.package == "antspynet"}
    assert names == set(VERSIONS.split())
    for release in CATALOG.releases():
        artifact = CATALOG.manifest(release).artifact
        assert artifact is not None
        assert artifact.file.startswith(f"{release.package}-{release.version}")
        assert artifact.digest.startswith("sha256:")


def test_shipped_manifests_have_the_sizes_that_were_counted() -> None:
    counts = {
        version: tuple(sum(e.kind == kind for e in fetchable(shipped(version).entries)) for kind in ("data", "network"))
        for version in ("0.1.1", "0.2.9", "0.3.2")
    }
    assert counts == {"0.1.1": (18, 56), "0.2.9": (52, 142), "0.3.2": (55, 156)}
    everything = [entry for version in VERSIONS.split() for entry in shipped(version).entries]
    assert len({(entry.kind, entry.name) for entry in everything}) == 250
    assert len({entry.identifier for entry in everything if entry.identifier}) == 258


def test_seventeen_networks_changed_content_under_one_name() -> None:
    identifiers: dict[str, set[str]] = {}
    for version in VERSIONS.split():
        for each in fetchable(shipped(version).entries):
            identifiers.setdefault(each.file, set()).add(str(each.identifier))
    assert len([file for file, found in identifiers.items() if len(found) > 1]) == 17


def test_six_networks_changed_from_0_2_9_to_0_3_2() -> None:
    found = changes(shipped("0.2.9"), shipped("0.3.2"))
    assert len([change for change in found if change.old and change.new]) == 6


def test_a_shipped_manifest_is_encoded_as_it_is_shipped() -> None:
    for path in SHIPPED.glob("*.json"):
        content = path.read_bytes()
        assert encode_manifest(msgspec.json.decode(content, type=Manifest)) == content
