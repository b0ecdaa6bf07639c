"""Scan networks that no origin has just delivered: those held, those to adopt, and a program's own.

A scan looks for what no checksum shows. The policy (`core/hazards.py`) decides what refuses a file, by who delivered
the bytes, and by what they were compared with.
"""

from __future__ import annotations

from contextlib import closing, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from antscache.core import (
    TRUST_RANKS,
    Delivery,
    Finding,
    Remarked,
    describe_findings,
    has_checksum,
    ignore_events,
    known_md5,
    short_texts,
)
from antscache.formats import FormError, Hdf5Scanner, ScannerError
from antscache.operations.adoptable import Judged, is_unchanged

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping
    from pathlib import Path

    from antscache.core import Entry, HazardPolicy, Identifier, Listener, Record, Release
    from antscache.root import Root
    from antscache.store import Store

NETWORK_SUFFIX = ".h5"


class Scanned(NamedTuple):
    """The outcome of a scan.

    Attributes:
        refusal: the findings that refuse the bytes, in words; empty if there are none.
        findings: the others, as records keep them.
        complete: False if the file cannot be scanned, so that its record must not say that it was.
    """

    refusal: str
    findings: tuple[str, ...]
    complete: bool


def scan_file(
    scanner: Hdf5Scanner, path: Path, identifier: Identifier, delivery: Delivery, policy: HazardPolicy
) -> Scanned:
    """Scan the network at `path`, whose bytes came by `delivery`.

    Raises:
        ScannerError: the scanner does not work.
    """
    complete = True
    try:
        findings = scanner.scan(path)
    except FormError as error:
        findings, complete = (Finding("form", str(error)),), False
    refusing, others = policy.split(findings, identifier, delivery)
    return Scanned(describe_findings(refusing), short_texts(others), complete)


def not_scanned(error: ScannerError) -> Remarked:
    """Make the remark that networks are not scanned."""
    return Remarked(f"HDF5 files are not scanned: {error}")


def keras_versions(root: Root, entries: Collection[Entry]) -> dict[Identifier, str]:
    """Return the version of Keras that wrote each of the networks among `entries` that are held, where they say it.

    Nothing is returned if the scanner does not work.
    """
    networks = [entry for entry in entries if entry.file.endswith(NETWORK_SUFFIX)]
    held = {str(entry.identifier): blob for entry, blob in root.present_state(networks).held_entries(networks)}
    found: dict[Identifier, str] = {}
    with closing(Hdf5Scanner()) as scanner:
        for identifier, blob in held.items():
            with suppress(FormError, ScannerError):
                if (path := root.store.find(blob)) and (version := scanner.keras_version(path)):
                    found[identifier] = version
    return found


# Networks to adopt


def scan_networks(
    judged: Iterable[Judged],
    scanner: Hdf5Scanner,
    release: Release,
    policy: HazardPolicy,
    listen: Listener = ignore_events,
) -> Iterator[Judged]:
    """Leave alone each network that was to be taken and is refused by a finding; yield every file with its fate.

    If the scanner does not work, `listen` hears it once, and the networks are taken without its check.

    Args:
        judged: the files as `confirm` yields them.
        scanner: of HDF5 files.
        release: of the files.
        policy: decides which findings refuse a file.
        listen: hears why networks are not scanned.
    """
    broken = False
    for file in judged:
        if broken or file.fate != "taken" or not file.seen.path.name.endswith(NETWORK_SUFFIX):
            yield file
            continue
        try:
            yield _scan_judged(file, scanner, release, policy)
        except ScannerError as error:
            broken = True
            listen(not_scanned(error))
            yield file


def _scan_judged(file: Judged, scanner: Hdf5Scanner, release: Release, policy: HazardPolicy) -> Judged:
    """Return `file` after a scan of it.

    Raises:
        ScannerError: the scanner does not work.
    """
    entry, identifier = file.entries[0], str(file.entries[0].identifier)
    delivery = Delivery(known_md5(identifier) is not None, file.trust == "origin", has_checksum(file.checks))
    scanned = scan_file(scanner, file.seen.path, identifier, delivery, policy)
    if scanned.refusal:
        accept = f"antscache prefetch {release} --name {entry.name} --accept {identifier}"
        return file.left(f"{scanned.refusal}: `{accept}` takes it from an origin all the same")
    if not is_unchanged(file.seen):
        return file.left("it changed while it was read")
    checks = (*file.checks, "walk") if scanned.complete else file.checks
    return replace(file, checks=checks, findings=scanned.findings)


# Networks that are held


class HeldNetwork(NamedTuple):
    """A network that is held: a file name of it, its record, and the path of its blob."""

    file: str
    record: Record
    path: Path

    @property
    def delivery(self) -> Delivery:
        """The facts that vouch for the bytes, as the record tells them."""
        record = self.record
        return Delivery("digest" in record.checks, record.rank >= TRUST_RANKS["origin"], has_checksum(record.checks))

    def record_with(self, scanned: Scanned) -> Record:
        """Return the record that says what a complete scan has found."""
        checks = tuple(dict.fromkeys([*self.record.checks, "walk"]))
        return msgspec.structs.replace(self.record, checks=checks, findings=scanned.findings)


def find_held_networks(
    store: Store, entries: Iterable[Entry], records: Mapping[Identifier, Record]
) -> list[HeldNetwork]:
    """Return the networks among `entries` that `store` or a lower cache holds, each identifier once.

    Args:
        store: of a root.
        entries: in use.
        records: those that count, by identifier.
    """
    files = {entry.identifier: entry.file for entry in entries if entry.file.endswith(NETWORK_SUFFIX)}
    found = ((file, records.get(identifier)) for identifier, file in files.items() if identifier)
    held = ((file, record, store.find(record.descriptor)) for file, record in found if record)
    return [HeldNetwork(file, record, path) for file, record, path in held if path]


def scan_held(
    networks: Iterable[HeldNetwork], policy: HazardPolicy, listen: Listener
) -> Iterator[tuple[HeldNetwork, Scanned]]:
    """Scan `networks`, but for those that the user accepts. `listen` hears of findings that are new and do not refuse.

    If the scanner does not work, `listen` hears it, and nothing is scanned.
    """
    with closing(Hdf5Scanner()) as scanner:
        for network in networks:
            record = network.record
            if record.accepted:
                continue
            try:
                scanned = scan_file(scanner, network.path, record.identifier, network.delivery, policy)
            except ScannerError as error:
                listen(not_scanned(error))
                return
            if scanned.findings and scanned.findings != record.findings:
                listen(Remarked(f"found in {network.file} {record.identifier}: {'; '.join(scanned.findings)}"))
            yield network, scanned
