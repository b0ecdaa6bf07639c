"""Values and decisions, without I/O: they are tested without any.

manifest.py       what a release asks for: releases, entries, manifests
identifiers.py    origins' immutable names for bytes
figshare_urls.py  all that is known of Figshare: its routes, its URLs, its numbers
digest.py         digests and descriptors
record.py         what is remembered of identifiers, of ingests, and of releases in use
layout.py         where things are below a root
plan.py           what to do to make a release's entries present
events.py         what happens during an operation, for whoever shows progress
usage_log.py      the file that `antscache run --record` writes
"""

from __future__ import annotations

from antscache.core.digest import Descriptor, Digest, Size, descriptor_of, digest_from_hex, digest_of, hexadecimal
from antscache.core.events import (
    BytesRead,
    Event,
    Failed,
    Fetched,
    Listener,
    Present,
    Received,
    Refused,
    Remarked,
    Started,
    Waiting,
    ignore_events,
)
from antscache.core.figshare_urls import FIGSHARE_FILE_URL, FIGSHARE_ROUTES, PACED_ROUTES, figshare_number
from antscache.core.identifiers import Identifier, parse_identifier
from antscache.core.layout import CACHEDIR_TAG, TOP_LEVEL, VERSION, Description, Layout, Staging, home_directory
from antscache.core.manifest import (
    PACKAGES,
    Artifact,
    Change,
    Entry,
    Kind,
    Manifest,
    Name,
    Package,
    Release,
    Version,
    changes,
    entry,
    fetchable,
    parse_release,
)
from antscache.core.plan import Plan, PresentState, Status, Wanted, plan_entries, select, unknown_names
from antscache.core.record import RANK, Check, Partial, Record, Selection, Trust, union
from antscache.core.usage_log import UsageRecord, check_usage, read_usage_log

__all__ = [
    "CACHEDIR_TAG",
    "FIGSHARE_FILE_URL",
    "FIGSHARE_ROUTES",
    "PACED_ROUTES",
    "PACKAGES",
    "RANK",
    "TOP_LEVEL",
    "VERSION",
    "Artifact",
    "BytesRead",
    "Change",
    "Check",
    "Description",
    "Descriptor",
    "Digest",
    "Entry",
    "Event",
    "Failed",
    "Fetched",
    "Identifier",
    "Kind",
    "Layout",
    "Listener",
    "Manifest",
    "Name",
    "Package",
    "Partial",
    "Plan",
    "Present",
    "PresentState",
    "Received",
    "Record",
    "Refused",
    "Release",
    "Remarked",
    "Selection",
    "Size",
    "Staging",
    "Started",
    "Status",
    "Trust",
    "UsageRecord",
    "Version",
    "Waiting",
    "Wanted",
    "changes",
    "check_usage",
    "descriptor_of",
    "digest_from_hex",
    "digest_of",
    "entry",
    "fetchable",
    "figshare_number",
    "hexadecimal",
    "home_directory",
    "ignore_events",
    "parse_identifier",
    "parse_release",
    "plan_entries",
    "read_usage_log",
    "select",
    "union",
    "unknown_names",
]
