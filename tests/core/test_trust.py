"""Records: which of several counts, and which may replace another."""

from __future__ import annotations

from typing import get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from antscache.core.digest import descriptor_of
from antscache.core.record import TRUST_RANKS, Check, Record, Trust
from antscache.core.trust import (
    RecordBelow,
    as_told,
    choose_record,
    find_conflicts,
    find_doubted,
    find_twins,
    find_wrong_one,
    may_replace,
)

TRUSTS: tuple[Trust, ...] = get_args(Trust)


def record(content: bytes, trust: str, identifier: str = "figshare:1") -> Record:
    blob = descriptor_of(content)
    return Record(identifier, blob.digest, blob.size, trust, "host", "2026-01-01T00:00:00+00:00")


records = st.builds(record, st.sampled_from([b"a", b"b"]), st.sampled_from([*TRUSTS, "sigstore"]))
below = st.lists(st.builds(RecordBelow, records.map(as_told), st.just("/lower")), max_size=3)


@pytest.mark.parametrize(
    ("trust", "told"), [("lockfile", "mirror"), ("origin", "mirror"), ("mirror", "mirror"), ("adopted", "adopted")]
)
def test_trust_in_anothers_file_is_a_mirrors(trust: str, told: str) -> None:
    assert as_told(record(b"a", trust)).trust == told


def test_an_unknown_trust_ranks_as_a_mirrors() -> None:
    assert record(b"a", "sigstore").rank == TRUST_RANKS["mirror"]
    assert as_told(record(b"a", "sigstore")).trust == "sigstore"


@given(records, below)
def test_verified_bytes_are_never_displaced(own: Record, others: list[RecordBelow]) -> None:
    """Others' records give way to one's own, but for adopted ones; each that says otherwise is a conflict."""
    chosen = choose_record(own, others)
    better = [one.record for one in others if not one.record.is_adopted]
    assert chosen == (better[0] if own.is_adopted and better else own)
    disagreeing = [one.record for one in others if one.record.digest != own.digest and not one.record.is_adopted]
    assert [conflict.other.record for conflict in find_conflicts(own, others)] == disagreeing


@given(below)
def test_the_first_of_the_most_trusted_counts(others: list[RecordBelow]) -> None:
    chosen = choose_record(None, others)
    assert (chosen is None) == (not others)
    if chosen:
        assert chosen == next(one.record for one in others if one.record.rank == max(o.record.rank for o in others))


@given(below)
def test_disagreeing_lower_caches_are_conflicts(others: list[RecordBelow]) -> None:
    """None of them is serious: the root itself has verified nothing."""
    conflicts, chosen = find_conflicts(None, others), choose_record(None, others)
    expected = [one for one in others if chosen and one.record.digest != chosen.digest and not one.record.is_adopted]
    assert [conflict.other for conflict in conflicts] == expected
    assert all(conflict.record == chosen and conflict.root == "/lower" for conflict in conflicts)
    assert not any(conflict.is_serious for conflict in conflicts)


@given(records, records, st.booleans())
def test_other_bytes_replace_only_what_is_less(new: Record, present: Record, own: bool) -> None:
    if may_replace(new, present, own=own):
        assert present.is_known
        assert new.rank > present.rank
        assert own or present.is_adopted or new.digest == present.digest


@pytest.mark.parametrize(
    ("trust", "checks", "confirmed", "wrong"),
    [
        ("origin", ("length", "md5"), True, "one of them"),  # both confirmed
        ("origin", ("length", "md5"), False, "answer"),
        ("origin", ("length",), True, "record"),
        ("mirror", ("length", "md5"), True, "record"),
        ("mirror", ("length", "md5"), False, "one of them"),  # neither confirmed
        ("lockfile", ("digest",), True, "one of them"),  # somebody has measured it
        ("lockfile", ("digest",), False, "one of them"),
    ],
)
def test_confirmed_bytes_are_right(trust: str, checks: tuple[Check, ...], confirmed: bool, wrong: str) -> None:
    recorded = msgspec.structs.replace(record(b"a", trust), checks=checks)
    assert find_wrong_one(recorded, confirmed=confirmed) == wrong


def test_an_adopted_record_with_anothers_bytes_is_doubted() -> None:
    one, two, three = (f"figshare:{number}" for number in (1, 2, 3))
    verified, word, other_word = (
        record(b"a", "origin", one),
        record(b"a", "adopted", two),
        record(b"b", "adopted", three),
    )
    assert find_twins([verified, word, other_word]) == {two: verified}
    assert find_doubted([verified, word, other_word]) == {two}


def test_two_words_for_the_same_bytes_are_twins() -> None:
    """Which of the two is wrong is not known, so neither is doubted; nor are two that origins answered."""
    one, two = record(b"a", "adopted", "figshare:1"), record(b"a", "adopted", "figshare:2")
    assert find_twins([one, two]) == {"figshare:1": two, "figshare:2": one}
    assert find_doubted([one, two]) == frozenset()
    assert find_twins([record(b"a", "origin", "figshare:1"), record(b"a", "mirror", "figshare:2")]) == {}
