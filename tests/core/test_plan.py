"""Plans, which are made before anything is done."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antscache.core.digest import Descriptor, descriptor_of
from antscache.core.manifest import Entry, Manifest, Release
from antscache.core.plan import PresentState, plan_entries, select
from antscache.core.record import Record, Trust
from antscache.errors import IntegrityError, ManifestError

RELEASE = Release("antspynet", "0.3.2")
NEVER = Entry("network", "never", "never.h5", reason="the release has an empty URL for it")
ENTRIES = (
    *(Entry("network" if n % 2 else "data", f"n{n}", f"n{n}.h5", f"figshare:{n // 2 + 1}") for n in range(8)),
    NEVER,
)
MANIFEST = Manifest(RELEASE, ENTRIES)
BLOBS = {f"figshare:{number}": descriptor_of(str(number).encode()) for number in range(1, 6)}


def record(identifier: str, trust: Trust = "origin") -> Record:
    blob = BLOBS[identifier]
    return Record(identifier, blob.digest, blob.size, trust, "a host", "2026-01-01T00:00:00+00:00")


recorded_as = st.dictionaries(st.sampled_from(sorted(BLOBS)), st.sampled_from(["origin", "mirror", "adopted"]))


@given(recorded_as, st.sets(st.sampled_from(sorted(BLOBS.values()))), st.sets(st.sampled_from(ENTRIES)))
def test_each_missing_identifier_is_fetched_once(
    trusts: dict[str, Trust], held: set[Descriptor], entries: set[Entry]
) -> None:
    """Each entry has exactly one status: present, missing or unavailable."""
    state = PresentState(
        {identifier: record(identifier, trust) for identifier, trust in trusts.items()}, frozenset(held)
    )
    plan = plan_entries(MANIFEST, sorted(entries), state)
    present = {entry for entry, _ in plan.present}
    assert present | set(plan.missing) | set(plan.unavailable) == entries
    assert len(present) + len(plan.missing) + len(plan.unavailable) == len(entries)
    assert set(plan.entries) == present | set(plan.missing)
    assert all(BLOBS[str(entry.identifier)] == blob and blob in held for entry, blob in plan.present)
    fetched = [wanted.identifier for wanted in plan.fetch]
    assert sorted(fetched) == sorted({str(entry.identifier) for entry in plan.missing})
    known = {identifier: BLOBS[identifier] for identifier, trust in trusts.items() if trust != "adopted"}
    assert all(wanted.known == known.get(wanted.identifier) for wanted in plan.fetch)


@given(recorded_as, st.sets(st.sampled_from(sorted(BLOBS.values()))), st.data())
def test_expected_bytes_are_never_contradicted(
    trusts: dict[str, Trust], held: set[Descriptor], data: st.DataObject
) -> None:
    """A plan expects the recorded bytes, or is refused. Adopted records of missing bytes do not count."""
    expected = data.draw(st.dictionaries(st.sampled_from(sorted(BLOBS)), st.sampled_from(sorted(BLOBS.values()))))
    state = PresentState(
        {identifier: record(identifier, trust) for identifier, trust in trusts.items()}, frozenset(held)
    )
    wrong = any(
        blob != BLOBS[identifier] and (trusts[identifier] != "adopted" or BLOBS[identifier] in held)
        for identifier, blob in expected.items()
        if identifier in trusts
    )
    if wrong:
        with pytest.raises(IntegrityError, match="is recorded as"):
            plan_entries(MANIFEST, ENTRIES, state, expected=expected)
        return
    for wanted in plan_entries(MANIFEST, ENTRIES, state, expected=expected).fetch:
        assert wanted.known in {expected.get(wanted.identifier), BLOBS[wanted.identifier]} - {None} or (
            wanted.known is None and wanted.identifier not in expected
        )


blobs_of = st.dictionaries(st.sampled_from(sorted(BLOBS)), st.sampled_from(sorted(BLOBS.values())))


@given(recorded_as, blobs_of, blobs_of)
def test_only_unrecorded_bytes_are_called_locked(
    trusts: dict[str, Trust], expected: dict[str, Descriptor], locked: dict[str, Descriptor]
) -> None:
    """A record of somebody's counts most, then the user's file, then a shipped lockfile; a word counts not at all."""
    state = PresentState({identifier: record(identifier, trust) for identifier, trust in trusts.items()})
    counting = {identifier: BLOBS[identifier] for identifier, trust in trusts.items() if trust != "adopted"}
    expected = {identifier: blob for identifier, blob in expected.items() if identifier not in counting}
    plan = dataclasses.replace(plan_entries(MANIFEST, ENTRIES, state, expected=expected), locked=locked)
    for wanted in plan.fetch:
        asked = wanted.identifier
        assert wanted.known == counting.get(asked, expected.get(asked, locked.get(asked)))
        assert wanted.locked == (asked not in counting and asked in locked and wanted.known == locked[asked])


def test_all_entries_are_selected_unless_some_are_named() -> None:
    assert select(MANIFEST) == ENTRIES
    assert [entry.name for entry in select(MANIFEST, ["n3", "n0"])] == ["n0", "n3"]
    assert {entry.kind for entry in select(MANIFEST, kinds=["data"])} == {"data"}
    assert [entry.name for entry in select(MANIFEST, ["n3"], ["network"])] == ["n3"]


def test_every_unknown_name_is_listed() -> None:
    """The error lists every unknown name, and the hint suggests similar names."""
    manifest = Manifest(RELEASE, (Entry("network", "brainExtractionT1", "brainExtractionT1.h5", "figshare:1"),))
    with pytest.raises(ManifestError, match=r"antspynet==0\.3\.2: BRAINextractionT1, zzz") as caught:
        select(manifest, ["BRAINextractionT1", "zzz"])
    assert caught.value.hint == "did you mean brainExtractionT1?"


def test_a_kind_without_entries_is_refused() -> None:
    with pytest.raises(ManifestError, match="no entries of kind network"):
        select(Manifest(RELEASE, ENTRIES[:1]), kinds=["network"])


def test_a_name_of_another_kind_is_unknown() -> None:
    with pytest.raises(ManifestError):
        select(MANIFEST, ["n0"], ["network"])


def test_unavailable_names_are_refused_with_the_reason() -> None:
    with pytest.raises(ManifestError, match="never: the release has an empty URL for it"):
        select(MANIFEST, ["never"])
