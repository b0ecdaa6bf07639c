"""Findings in a file that no checksum shows, and the decision which of them refuse it: pure.

    kind         finding
    leads out    the file makes HDF5 read other files: external links and storage, virtual datasets
    code         its configuration names code, files, or classes that Keras's own networks do not need
    form         it does not have the form that its name says, or cannot be scanned

Bytes that lead out are refused from everybody. Code runs only in a network that a release loads with `load_model`, and
is refused there if nothing vouches for the bytes. A defect of form is refused unless the bytes are certainly those of
the identifier, because no check may make a published release unusable.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

    from antscache.core.identifiers import Identifier
    from antscache.core.manifest import Manifest

MAX_FINDING_CHARACTERS = 400  # of one finding in a record; a scan quotes up to two names of 120 characters in one

FindingKind = Literal["leads out", "code", "form"]


class Finding(NamedTuple):
    """Something in a file that no checksum shows; `text` continues "an HDF5 file with ...", unless it is of form."""

    kind: FindingKind
    text: str


def describe_findings(findings: Iterable[Finding]) -> str:
    """Return `findings` in a phrase: "an HDF5 file with an external link '/a' to '/etc/passwd'"."""
    findings = tuple(findings)
    forms = [finding.text for finding in findings if finding.kind == "form"]
    hazards = "; ".join(finding.text for finding in findings if finding.kind != "form")
    return "; ".join([*forms, *([f"an HDF5 file with {hazards}"] if hazards else [])])


def short_texts(findings: Iterable[Finding]) -> tuple[str, ...]:
    """Return the texts of `findings` as records keep them."""
    return tuple(finding.text[:MAX_FINDING_CHARACTERS] for finding in findings)


class Delivery(NamedTuple):
    """The facts that vouch for the bytes of a file.

    Attributes:
        known: True if they were compared with a digest or MD5 that was known before.
        from_origin: True if they came from the identifier's own origin, and not from a mirror or a directory.
        confirmed: True if they have the MD5 that this origin says.
    """

    known: bool = False
    from_origin: bool = False
    confirmed: bool = False


@dataclass(frozen=True, slots=True)
class HazardPolicy:
    """The decision which findings refuse a file.

    Attributes:
        strict: True if every finding does.
        weights_only: the networks that no release loads with `load_model`, so that nobody reads their configuration.
    """

    strict: bool = False
    weights_only: frozenset[Identifier] = frozenset()

    def refuses(self, finding: Finding, identifier: Identifier, delivery: Delivery) -> bool:
        """Return True if `finding` refuses the bytes of `identifier` that came by `delivery` (docs/fetching.md)."""
        if self.strict or finding.kind == "leads out":
            return True
        if finding.kind == "form":
            return not (delivery.known or (delivery.from_origin and delivery.confirmed))
        return not (delivery.known or delivery.from_origin or identifier in self.weights_only)

    def split(
        self, findings: Iterable[Finding], identifier: Identifier, delivery: Delivery
    ) -> tuple[tuple[Finding, ...], tuple[Finding, ...]]:
        """Return those of `findings` that refuse the bytes, and the others."""
        refusing, others = list[Finding](), list[Finding]()
        for finding in findings:
            (refusing if self.refuses(finding, identifier, delivery) else others).append(finding)
        return tuple(refusing), tuple(others)


def find_weights_only(manifests: Iterable[Manifest]) -> frozenset[Identifier]:
    """Return the networks that releases of `manifests` ask for, and none of them loads with `load_model`.

    A file serves all releases that name its identifier, so one of them that loads it is enough. A manifest that does
    not say what its release loads may load everything.
    """
    asked, loaded = set[str](), set[str]()
    for manifest in manifests:
        for entry in manifest.entries:
            if entry.identifier and entry.kind == "network":
                read = manifest.loaded is None or entry.name in manifest.loaded
                (loaded if read else asked).add(entry.identifier)
    return frozenset(asked - loaded)
