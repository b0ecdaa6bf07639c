"""The errors of a plan that cannot be carried out, and their texts: pure.

Each says what happened, to which files of which release and where; its hint says what to do next.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from antscache.core import find_wrong_one
from antscache.errors import MAX_LISTED_ITEMS, UNTRUSTED_CERTIFICATE, FetchError, IntegrityError, Offline, StoreError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from antscache.core import Entry, Plan, Record, RecordConflict, Release
    from antscache.errors import AntsCacheError
    from antscache.fetch import FetchResult, Need


def missing_files(plan: Plan) -> str:
    """List the missing files of `plan`, the first few by name; and how many of how many they are, of which release."""
    missing, total = len(plan.missing), len(plan.entries)
    more = f" and {missing - MAX_LISTED_ITEMS} more" if missing > MAX_LISTED_ITEMS else ""
    names = ", ".join(entry.file for entry in plan.missing[:MAX_LISTED_ITEMS])
    return f"{names}{more} ({f'{missing} of {total} files of ' if total > 1 else ''}{plan.release})"


def prefetch_command(plan: Plan) -> str:
    """Return the command that fetches the missing files: by their names if they are few, else by their kind."""
    kinds = {entry.kind for entry in plan.entries}
    if len(plan.missing) <= MAX_LISTED_ITEMS:
        chosen = "".join(f" --name {entry.name}" for entry in plan.missing)
    else:
        chosen = f" --kind {kinds.pop()}" if len(kinds) == 1 else ""
    return f"antscache prefetch {plan.release}{chosen}"


def offline(plan: Plan) -> Offline:
    """Make the error for files that are missing while nothing may be fetched."""
    return Offline(
        f"missing and offline: {missing_files(plan)}",
        hint=f"run `{prefetch_command(plan)}` where there is network access",
    )


def not_mounted(plan: Plan, root: Path, keras: Path | None) -> StoreError:
    """Make the error for a root that would be lost with the container, so that nothing is fetched into it.

    Args:
        plan: with missing files.
        root: of the container.
        keras: the user's `~/.keras`, if it is mounted and you may not write to it.
    """
    if keras:
        return StoreError(
            f"missing: {missing_files(plan)}; nothing is fetched into {keras}, because you may not write there",
            hint=f"mount a directory at {keras} that you may write to, or run the container as its owner: "
            "`docker run --user $(id -u):$(id -g) ...`",
        )
    return StoreError(
        f"missing: {missing_files(plan)}; nothing is fetched into {root}, because it would be lost with the container",
        hint=f"mount a directory there: `docker run -v DIR:{root} ...`, `apptainer run --bind DIR:{root} ...`",
    )


def unwritable(plan: Plan, error: StoreError) -> StoreError:
    """Add the missing files to `error`, which keeps `plan` from being carried out."""
    return StoreError(f"{error}; missing: {missing_files(plan)}", hint=error.hint)


def too_large(plan: Plan, need: Need, root: Path) -> StoreError:
    """Make the error for a disk that cannot hold the missing files."""
    unknown = f" (without {need.unknown} of unknown size)" if need.unknown else ""
    return StoreError(
        f"the missing files of {plan.release} need {need.room:,} bytes{unknown}, but the disk of {root} has "
        f"{need.free:,}: {need.short:,} bytes more are needed, and nothing was fetched",
        hint="free some space, name another root with --root, or fetch fewer files with --name or --kind",
    )


def disk_full(plan: Plan, rest: Plan, need: Need, error: StoreError) -> StoreError:
    """Add to `error`, which says that the disk is full, how much space the `rest` of `plan` needs."""
    unknown = f" ({need.unknown} of unknown size)" if need.unknown else ""
    if need.short:
        more = f": at least {need.short:,} bytes more are needed"
    elif need.room:  # a quota that the disk does not report; or somebody freed space meanwhile
        more = f": they need {need.room:,} bytes at least, and the disk does not say how many of these are missing"
    else:
        more = ""
    message = f"{error}; {len(rest.fetch)} of {len(plan.fetch)} files are still to be fetched{unknown}{more}"
    return StoreError(message, hint=error.hint)


def refused_file(path: Path, why: str, release: Release, entry: Entry) -> IntegrityError:
    """Make the error for a program's own file in which something was found that refuses it."""
    accept = f"antscache prefetch {release} --name {entry.name} --accept {entry.identifier}"
    trust = (
        f"; if you trust it, run `{accept}`: a file with the bytes that this fetches is used"
        if entry.identifier
        else ""
    )
    return IntegrityError(f"{path} is refused: {why}", hint=f"remove it, or name another place{trust}")


def displaced(conflict: RecordConflict) -> str:
    """Say which bytes count: those of the lower cache where only a user vouches for the root's, else the first."""
    if conflict.root:
        return f"{conflict}: the first is used; leave out the lower cache that is wrong"
    own, other = conflict.record, conflict.other
    return (
        f"{own.identifier} is recorded here as {own.describe()}; the lower cache {other.root} has other bytes "
        f"({other.record.digest}), which are used; `antscache forget {own.identifier}` ends this note"
    )


def failed(result: FetchResult, plan: Plan) -> AntsCacheError | None:
    """Return the error to raise for the failures in the `result` of fetching `plan`; None if there are none."""
    if not result.failures:
        return None
    kept = f"the fetched files are kept: run `{prefetch_command(plan)}` to fetch the rest"
    if result.mismatched:
        return _mismatched(result, plan, kept)
    if result.malformed:
        accept = " ".join(f"--accept {failure.identifier}" for failure in result.malformed[:MAX_LISTED_ITEMS])
        hint = (
            f"if you trust the bytes in spite of what is found in them, run `{prefetch_command(plan)} {accept}`; {kept}"
        )
        return FetchError(result.failures, hint=hint)
    return FetchError(result.failures, hint=f"{_next_step(result)}; {kept}")


def _next_step(result: FetchResult) -> str:
    """Say what to do if origins cannot be reached: about certificates, if all of them fail because of these."""
    outcomes = [attempt.outcome for failure in result.failures for attempt in failure.attempts]
    elsewhere = "set ANTSCACHE_MIRRORS to another place with these files"
    if not outcomes or not all(UNTRUSTED_CERTIFICATE in outcome for outcome in outcomes):
        return f"{elsewhere}, or try again later"
    if any("not yet valid" in outcome or "expired" in outcome for outcome in outcomes):
        return f"if `date -u` prints another time than it is, set the clock; else {elsewhere}"
    if any("issuer" in outcome or "self-signed" in outcome for outcome in outcomes):
        return f"if your network has certificates of its own, set SSL_CERT_FILE to the file with them; else {elsewhere}"
    return elsewhere


def _mismatched(result: FetchResult, plan: Plan, kept: str) -> IntegrityError:
    """Make the error for origins that answered with other bytes than are recorded, and say which is wrong."""
    records = plan.state.records
    recorded = [records[each] for each in dict.fromkeys(one.identifier for one in result.mismatched) if each in records]
    lines = [f"  recorded {record.recorded}: {record.identifier} as {record.describe()}" for record in recorded]
    failed = {failure.identifier for failure in result.mismatched}
    locked = [
        f"  locked: {wanted.identifier} as {wanted.known.digest}"
        for wanted in plan.fetch
        if wanted.identifier in failed and wanted.locked and wanted.known
    ]
    wrong: dict[str, list[Record]] = {"record": [], "answer": [], "one of them": []}
    for record in recorded:
        wrong[find_wrong_one(record, confirmed=record.identifier in result.confirmed)].append(record)
    hints = []
    if wrong["record"]:
        why = "the record cannot be right, because the origin confirms other bytes by their MD5"
        hints.append(f"{why}: {_forget(wrong['record'])}")
    if wrong["answer"]:
        why = "the answer cannot be right, because the origin confirmed the recorded bytes by their MD5"
        hints.append(f"{why}: do not use what answered")
    if locked:
        hints.append(
            "the bytes of an identifier never change, so do not use what answered; "
            "or, if you trust it, do not use that lockfile"
        )
    elif wrong["one of them"] or not recorded:
        why = "the bytes of an identifier never change, so either the record or the origin is wrong"
        trust = f"if you trust the origin, {_forget(wrong['one of them'])}; " if recorded else ""
        hints.append(f"{why}: {trust}if not, do not use that origin")
    return IntegrityError(
        "origins answered with other bytes than are recorded",
        details=[*(line for failure in result.mismatched for line in failure.lines()), *lines, *locked],
        hint="; ".join([*hints, kept]),
    )


def _forget(records: Sequence[Record]) -> str:
    commands = "; ".join(f"antscache forget {record.identifier}" for record in records[:MAX_LISTED_ITEMS])
    return f"run `{commands}` and prefetch again"
