"""The values: releases, entries, identity, and the manifests that are shipped."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from antscache.catalog.catalog import SHIPPED_DIRECTORY, Catalog, encode_manifest
from antscache.core.layout import Layout
from antscache.core.manifest import (
    Entry,
    Manifest,
    Release,
    fetchable,
    find_changes,
    identifiers_by_file,
    make_entry,
    parse_release,
)
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
def test_text_that_names_no_release_is_refused(text: str) -> None:
    """Text that names no single release of a known package is an error with a hint."""
    with pytest.raises(ManifestError) as caught:
        parse_release(text)
    assert caught.value.hint


@given(st.text(max_size=40))
def test_no_release_leads_out_of_the_root(text: str) -> None:
    """No text makes a release whose paths leave their directory."""
    try:
        release = parse_release(text)
    except ManifestError:
        return
    layout = Layout(Path("/root"))
    for path in layout.view(release), layout.selections(release):
        assert ".." not in path.parts
        assert str(path).startswith("/root/")


@given(st.text(max_size=40), st.text(max_size=40), st.one_of(st.none(), st.text(max_size=40)))
def test_no_entry_leads_out_of_the_root(name: str, file: str, identifier: str | None) -> None:
    """No entry has a file or identifier whose path leaves its directory."""
    try:
        entry = make_entry("data", name, file, identifier=identifier, reason=None if identifier else "x")
    except msgspec.ValidationError:
        return
    assert PurePosixPath(entry.file).name == entry.file
    if entry.identifier:
        assert Layout(Path("/root")).record(entry.identifier).parent == Path("/root/identifiers/figshare")


def test_entry_has_identifier_reason_or_problem() -> None:
    for values in {}, {"identifier": "figshare:1", "reason": "x"}, {"reason": "x", "problem": "y"}:
        with pytest.raises(ValueError, match="either an identifier or a reason or a problem"):
            make_entry("data", "a", "a.h5", **values)


PUBLISHED_IDENTITIES = {
    "antspynet": "1fc22b2d 1fc22b2d 3c1f801e 606165b9 708d959f 708d959f e8686092 1f2416f4 ba56a4ac e3d4881a c2173998 "
    "b1f48dfe e0f21ab0 7a00007e 09a71da2 eacc871d eacc871d 125a0385",
    "antspyx": "50d3c28b",  # d48de12f before its pcasl had an identifier
}


def test_identities_of_published_releases_stay() -> None:
    identities: dict[str, list[str]] = {}
    for release in CATALOG.releases():
        identities.setdefault(release.package, []).append(CATALOG.manifest(release).identity[len("sha256:") :][:8])
    assert {package: " ".join(digits) for package, digits in identities.items()} == PUBLISHED_IDENTITIES


ENTRIES = st.lists(
    st.builds(
        lambda kind, name, number: Entry(kind, name, f"{name}.h5", f"figshare:{number}"),
        st.sampled_from(["data", "network"]),
        st.from_regex(r"\A[a-z]{1,3}\Z"),
        st.integers(1, 99),
    ),
    unique_by=lambda entry: (entry.kind, entry.name),
    max_size=8,
)


@given(ENTRIES, st.randoms(use_true_random=False))
def test_identity_depends_on_the_entries_alone(entries, random) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
    """Order, version and artifact do not change a manifest's identity; another set of entries does."""
    shuffled = random.sample(entries, len(entries))
    one = Manifest(Release("antspynet", "1"), tuple(entries))
    other = Manifest(Release("antspynet", "2"), tuple(shuffled))
    assert one.identity == other.identity
    if entries:
        assert one.identity != Manifest(one.release, tuple(entries[1:])).identity


def test_every_published_release_is_shipped() -> None:
    """Every published release is shipped, with the name and digest of the file that its manifest was read from."""
    names = {release.version for release in CATALOG.releases() if release.package == "antspynet"}
    assert names == set(VERSIONS.split())
    for release in CATALOG.releases():
        artifact = CATALOG.manifest(release).artifact
        assert artifact is not None
        assert artifact.file.startswith(f"{release.package}-{release.version}")
        assert artifact.digest.startswith("sha256:")


def test_shipped_manifests_have_the_counted_sizes() -> None:
    counts = {
        version: tuple(sum(e.kind == kind for e in fetchable(shipped(version).entries)) for kind in ("data", "network"))
        for version in ("0.1.1", "0.2.9", "0.3.2")
    }
    assert counts == {"0.1.1": (18, 56), "0.2.9": (52, 142), "0.3.2": (55, 156)}
    everything = [entry for version in VERSIONS.split() for entry in shipped(version).entries]
    assert len({(entry.kind, entry.name) for entry in everything}) == 250
    assert len({entry.identifier for entry in everything if entry.identifier}) == 258


def test_seventeen_networks_changed_content_under_one_name() -> None:
    contents = identifiers_by_file(map(shipped, VERSIONS.split()))
    assert len([file for file, identifiers in contents.items() if len(identifiers) > 1]) == 17
    file = "DeepAtroposHcpT1Weights.h5"
    assert contents[file] == {f"figshare:{number}" for number in (49946070, 51906071)}
    assert "allen_sr_weights.h5" not in contents  # no release has a URL for it


def test_six_networks_changed_between_two_releases() -> None:
    """Six networks have other content in 0.3.2 than in 0.2.9."""
    changes = find_changes(shipped("0.2.9"), shipped("0.3.2"))
    assert len([change for change in changes if change.old and change.new]) == 6


def test_shipped_manifests_are_encoded_alike() -> None:
    """Encoding a shipped manifest again gives the same bytes."""
    for path in SHIPPED_DIRECTORY.glob("*.json"):
        content = path.read_bytes()
        assert encode_manifest(msgspec.json.decode(content, type=Manifest)) == content
