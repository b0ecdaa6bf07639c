"""The decision which findings refuse a file: the table in docs/fetching.md, and the networks that nobody loads."""

from __future__ import annotations

import itertools

import msgspec
import pytest

from antscache.core import Delivery, Finding, HazardPolicy, describe_findings, find_weights_only, short_texts
from antscache.core.hazards import MAX_FINDING_CHARACTERS, FindingKind
from antscache.core.manifest import Manifest, make_entry, parse_release
from antscache.core.record import Record
from antscache.core.trust import keep_scan

WEIGHTS, LOADED = "figshare:1", "figshare:2"
POLICY = HazardPolicy(weights_only=frozenset({WEIGHTS}))
CONFIRMED = Delivery(from_origin=True, confirmed=True)
ORIGIN = Delivery(from_origin=True)
KNOWN = Delivery(known=True)
MIRROR = Delivery(confirmed=True)  # a mirror's word for its own bytes
DELIVERIES = [Delivery(*values) for values in itertools.product([False, True], repeat=3)]


@pytest.mark.parametrize(
    ("kind", "identifier", "refused_from", "accepted_from"),
    [
        ("leads out", WEIGHTS, DELIVERIES, []),
        ("leads out", LOADED, DELIVERIES, []),
        ("code", LOADED, [MIRROR, Delivery()], [KNOWN, ORIGIN, CONFIRMED]),
        ("code", WEIGHTS, [], DELIVERIES),
        ("form", LOADED, [MIRROR, ORIGIN, Delivery()], [KNOWN, CONFIRMED]),
        ("form", WEIGHTS, [MIRROR, ORIGIN, Delivery()], [KNOWN, CONFIRMED]),
    ],
)
def test_a_finding_refuses_as_the_table_says(
    kind: FindingKind, identifier: str, refused_from: list[Delivery], accepted_from: list[Delivery]
) -> None:
    finding = Finding(kind, "text")
    assert all(POLICY.refuses(finding, identifier, delivery) for delivery in refused_from)
    assert not any(POLICY.refuses(finding, identifier, delivery) for delivery in accepted_from)


@pytest.mark.parametrize("delivery", DELIVERIES)
@pytest.mark.parametrize("kind", ["leads out", "code", "form"])
def test_strict_refuses_every_finding(kind: FindingKind, delivery: Delivery) -> None:
    policy = HazardPolicy(strict=True, weights_only=frozenset({WEIGHTS}))
    assert policy.refuses(Finding(kind, "text"), WEIGHTS, delivery)


def test_findings_are_described_by_kind() -> None:
    found = [Finding("form", "a cut HDF5 file"), Finding("code", "code"), Finding("leads out", "a link")]
    assert describe_findings(found) == "a cut HDF5 file; an HDF5 file with code; a link"
    assert describe_findings([]) == ""


def test_texts_in_records_are_short() -> None:
    assert short_texts([Finding("code", "x" * 5000)]) == ("x" * MAX_FINDING_CHARACTERS,)


# The networks that nobody loads


def manifest(version: str, loaded: tuple[str, ...] | None, **identifiers: str) -> Manifest:
    entries = [make_entry("network", name, f"{name}.h5", identifier=one) for name, one in identifiers.items()]
    return Manifest(parse_release(version), tuple(entries), loaded=loaded)


def test_one_release_that_loads_a_network_is_enough() -> None:
    """All releases share the file of an identifier."""
    first = manifest("0.1.1", ("a",), a="figshare:1", b="figshare:2")
    second = manifest("0.1.2", (), c="figshare:1", b="figshare:2")
    assert find_weights_only([first, second]) == {"figshare:2"}


def test_a_manifest_that_does_not_say_loads_everything() -> None:
    known = manifest("0.1.1", (), a="figshare:1", b="figshare:2")
    unknown = manifest("0.1.2", None, a="figshare:1")
    assert find_weights_only([known, unknown]) == {"figshare:2"}


def test_an_identity_does_not_depend_on_loading() -> None:
    assert manifest("0.1.1", ("a",), a="figshare:1").identity == manifest("0.1.1", None, a="figshare:1").identity


# The scan in a record

RECORD = Record("figshare:1", f"sha256:{'0' * 64}", 9, "origin", "host", "2026-01-01T00:00:00+00:00", ("digest",))
SCANNED = msgspec.structs.replace(RECORD, trust="mirror", checks=("form", "walk"), findings=("code",))


def test_a_record_keeps_the_scan() -> None:
    kept = keep_scan(RECORD, SCANNED)
    assert (kept.trust, kept.checks, kept.findings) == ("origin", ("digest", "walk"), ("code",))


def test_a_record_of_other_bytes_has_no_scan() -> None:
    other = msgspec.structs.replace(SCANNED, digest=f"sha256:{'1' * 64}")
    assert keep_scan(RECORD, other) == RECORD


def test_a_newer_scan_is_not_replaced() -> None:
    newer = msgspec.structs.replace(RECORD, checks=("digest", "walk"))
    assert keep_scan(newer, SCANNED) == newer


def test_an_older_antscache_ignores_findings() -> None:
    class Older(msgspec.Struct):
        identifier: str
        checks: tuple[str, ...] = ()

    assert msgspec.json.decode(msgspec.json.encode(SCANNED), type=Older).checks == ("form", "walk")
