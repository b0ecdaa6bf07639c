"""Values and decisions, without I/O.

manifest.py       releases, and the entries that each of them asks for
identifiers.py    immutable names for bytes: Figshare's numbers, and URLs
figshare_urls.py  Figshare's routes, and the forms of its URLs
needs.py          what a call of a public function can ask for, by its arguments
choice.py         a user's choice of entries, and what it selects of a release
calls.py          calls as you write them after --for, names and patterns, and the entries that they choose
digest.py         digests and descriptors
escapes.py        texts from outside as one line that a terminal can show
tables.py         tables for people, and as CSV and Markdown
hazards.py        findings that no checksum shows, and which of them refuse a file
record.py         records of identifiers, notes of ingests, selections of releases in use
trust.py          which record counts, and which may replace another
keras_weights.py  Keras's own weights: optional entries, with their MD5s
layout.py         the paths below a root
plan.py           the plan that makes a release's entries present
events.py         the events of an operation, for a progress display
clocks.py         ages of files by the times that other clocks may have given them
lockfile.py       the lockfile `antscache.lock`
usage_log.py      the file that `antscache run --record` writes
citation.py       citations of the files that were used
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from antscache.core.calls import (
    Needed,
    NeededBy,
    any_call,
    describe_function,
    expand_names,
    find_function,
    find_needed,
    known_functions,
    parse_call,
    parse_name_list,
    users_of,
)
from antscache.core.choice import Choice, Chosen, choose, choose_again
from antscache.core.clocks import age, is_misdated
from antscache.core.digest import Descriptor, Digest, Size, descriptor_of, digest_from_hex, digest_of, hexadecimal
from antscache.core.escapes import escape
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
from antscache.core.figshare_urls import FIGSHARE_ROUTES, PACED_ROUTES
from antscache.core.hazards import (
    Delivery,
    Finding,
    HazardPolicy,
    describe_findings,
    find_weights_only,
    short_texts,
)
from antscache.core.identifiers import (
    Identifier,
    address_of,
    figshare_number,
    identifier_key,
    identify_url,
    parse_identifier,
    url_of,
)
from antscache.core.keras_weights import KERAS_WEIGHTS, known_md5, with_optional
from antscache.core.layout import (
    CACHEDIR_TAG,
    FIRST_LAYOUT_VERSION,
    KERAS_DIRECTORY,
    LAYOUT_VERSION,
    TOP_LEVEL_NAMES,
    Description,
    Layout,
    Staging,
    home_directories,
    home_directory,
    needed_layout,
    place_in_home,
)
from antscache.core.lockfile import (
    LOCKFILE_HINT,
    LOCKFILE_NAME,
    LockedEntry,
    LockedRelease,
    Lockfile,
    check_same_bytes,
    encode_lockfile,
    find_lock_changes,
    make_lockfile,
    parse_lockfile,
)
from antscache.core.manifest import (
    KIND_WORDS,
    PACKAGES,
    Artifact,
    Change,
    Entry,
    Kind,
    Manifest,
    Name,
    Package,
    Release,
    UnreadGetter,
    Version,
    fetchable,
    find_changes,
    identifiers_by_file,
    make_entry,
    parse_release,
)
from antscache.core.needs import ANYTHING, GIVEN, ArgumentTest, Asked, Function, Needs, ask, ask_anything, holes
from antscache.core.plan import (
    Plan,
    PresentState,
    Status,
    Wanted,
    find_entries,
    parse_kinds,
    parse_names,
    plan_entries,
    select,
    unknown_names,
    unread_getters,
)
from antscache.core.record import TRUST_RANKS, Check, Partial, Record, Selection, Trust, has_checksum, merge_selections
from antscache.core.tables import aligned_table, csv_table, markdown_table
from antscache.core.trust import (
    RecordBelow,
    RecordConflict,
    as_told,
    choose_record,
    describe_twin,
    find_conflicts,
    find_doubted,
    find_twins,
    find_wrong_one,
    keep_scan,
    may_replace,
)
from antscache.core.usage_log import UsageRecord, check_usage, files_of_usage, read_usage_log
from antscache.lazy import lazily

if TYPE_CHECKING:
    from antscache.core.citation import (
        Citation,
        CitedFile,
        as_bibtex,
        as_csl_json,
        as_facts,
        as_markdown,
        as_text,
    )

__all__ = [
    "ANYTHING",
    "CACHEDIR_TAG",
    "FIGSHARE_ROUTES",
    "FIRST_LAYOUT_VERSION",
    "GIVEN",
    "KERAS_DIRECTORY",
    "KERAS_WEIGHTS",
    "KIND_WORDS",
    "LAYOUT_VERSION",
    "LOCKFILE_HINT",
    "LOCKFILE_NAME",
    "PACED_ROUTES",
    "PACKAGES",
    "TOP_LEVEL_NAMES",
    "TRUST_RANKS",
    "ArgumentTest",
    "Artifact",
    "Asked",
    "BytesRead",
    "Change",
    "Check",
    "Choice",
    "Chosen",
    "Citation",
    "CitedFile",
    "Delivery",
    "Description",
    "Descriptor",
    "Digest",
    "Entry",
    "Event",
    "Failed",
    "Fetched",
    "Finding",
    "Function",
    "HazardPolicy",
    "Identifier",
    "Kind",
    "Layout",
    "Listener",
    "LockedEntry",
    "LockedRelease",
    "Lockfile",
    "Manifest",
    "Name",
    "Needed",
    "NeededBy",
    "Needs",
    "Package",
    "Partial",
    "Plan",
    "Present",
    "PresentState",
    "Received",
    "Record",
    "RecordBelow",
    "RecordConflict",
    "Refused",
    "Release",
    "Remarked",
    "Selection",
    "Size",
    "Staging",
    "Started",
    "Status",
    "Trust",
    "UnreadGetter",
    "UsageRecord",
    "Version",
    "Waiting",
    "Wanted",
    "address_of",
    "age",
    "aligned_table",
    "any_call",
    "as_bibtex",
    "as_csl_json",
    "as_facts",
    "as_markdown",
    "as_text",
    "as_told",
    "ask",
    "ask_anything",
    "check_same_bytes",
    "check_usage",
    "choose",
    "choose_again",
    "choose_record",
    "citation",
    "csv_table",
    "describe_findings",
    "describe_function",
    "describe_twin",
    "descriptor_of",
    "digest_from_hex",
    "digest_of",
    "encode_lockfile",
    "escape",
    "expand_names",
    "fetchable",
    "figshare_number",
    "files_of_usage",
    "find_changes",
    "find_conflicts",
    "find_doubted",
    "find_entries",
    "find_function",
    "find_lock_changes",
    "find_needed",
    "find_twins",
    "find_weights_only",
    "find_wrong_one",
    "has_checksum",
    "hexadecimal",
    "holes",
    "home_directories",
    "home_directory",
    "identifier_key",
    "identifiers_by_file",
    "identify_url",
    "ignore_events",
    "is_misdated",
    "keep_scan",
    "known_functions",
    "known_md5",
    "make_entry",
    "make_lockfile",
    "markdown_table",
    "may_replace",
    "merge_selections",
    "needed_layout",
    "parse_call",
    "parse_identifier",
    "parse_kinds",
    "parse_lockfile",
    "parse_name_list",
    "parse_names",
    "parse_release",
    "place_in_home",
    "plan_entries",
    "read_usage_log",
    "select",
    "short_texts",
    "unknown_names",
    "unread_getters",
    "url_of",
    "users_of",
    "with_optional",
]

__getattr__ = lazily(
    __name__,
    {"citation": ("Citation", "CitedFile", "as_bibtex", "as_csl_json", "as_facts", "as_markdown", "as_text")},
)
