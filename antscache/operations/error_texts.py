"""What operations say of a plan that cannot be carried out: pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from antscache.errors import SHOWN, FetchError, IntegrityError, Offline, StoreError

if TYPE_CHECKING:
    from pathlib import Path

    from antscache.core import Plan
    from antscache.errors import AntsCacheError
    from antscache.fetch import FetchResult, Need


def missing_files(plan: Plan) -> str:
    """List the files that are missing, the first few by name."""
    more = f" and {len(plan.missing) - SHOWN} more" if len(plan.missing) > SHOWN else ""
    return ", ".join(entry.file for entry in plan.missing[:SHOWN]) + more


def prefetch_command(plan: Plan) -> str:
    """Return the command that gets what is missing: by name, if that is little."""
    names = "" if len(plan.missing) > SHOWN else "".join(f" --name {entry.name}" for entry in plan.missing)
    return f"antscache prefetch {plan.release}{names}"


def offline(plan: Plan) -> Offline:
    """Say what is missing, where nothing may be fetched."""
    return Offline(
        f"{len(plan.missing)} of {len(plan.entries)} files of {plan.release} are missing, and offline nothing is "
        f"fetched: {missing_files(plan)}",
        hint=f"run `{prefetch_command(plan)}` where there is network access",
    )


def not_mounted(plan: Plan, root: Path) -> StoreError:
    """Say that what would be fetched is gone with the container."""
    return StoreError(
        f"missing of {plan.release}: {missing_files(plan)}; and nothing is fetched into {root}, which is gone with "
        "the container",
        hint=f"mount a directory there: `docker run -v DIR:{root} ...`, `apptainer run --bind DIR:{root} ...`",
    )


def unwritable(plan: Plan, error: StoreError) -> StoreError:
    """Add to `error`, which keeps `plan` from being carried out, what is missing."""
    return StoreError(f"{error}; missing of {plan.release}: {missing_files(plan)}", hint=error.hint)


def too_large(plan: Plan, need: Need, root: Path) -> StoreError:
    """Say that the disk cannot hold what is missing."""
    unknown = f", not counting what is of unknown size ({need.unknown})" if need.unknown else ""
    return StoreError(
        f"what is missing of {plan.release} needs {need.room:,} bytes{unknown}, and the disk of {root} has "
        f"{need.free:,}: {need.short:,} bytes more are needed, and nothing was fetched",
        hint="free some space, name another root with --root, or fetch some with --name or --kind",
    )


def disk_full(plan: Plan, rest: Plan, need: Need, error: StoreError) -> StoreError:
    """Add to `error`, which says that the disk is full, how much is missing for the `rest` of `plan`."""
    unknown = f" ({need.unknown} of unknown size)" if need.unknown else ""
    if need.short:
        more = f": at least {need.short:,} bytes more are needed"
    elif need.room:  # a quota that the disk does not speak of; or space was made meanwhile
        more = f": they need {need.room:,} bytes at least, and the disk does not say how many of them are missing"
    else:
        more = ""
    told = f"{error}; {len(rest.fetch)} of {len(plan.fetch)} files are still to be fetched{unknown}{more}"
    return StoreError(told, hint=error.hint)


def failed(result: FetchResult, plan: Plan) -> AntsCacheError | None:
    """Return what to raise for what `result` lacks of `plan`; None if it lacks nothing."""
    if not result.failures:
        return None
    kept = f"what was fetched is kept: `{prefetch_command(plan)}` goes on from there"
    if result.mismatched:
        told = "\n".join(map(str, result.mismatched))
        return IntegrityError(
            f"origins answer with other bytes than are recorded\n{told}",
            hint="an identifier's bytes never change: do not trust that origin; " + kept,
        )
    if result.malformed:
        accept = " ".join(f"--accept {failure.identifier}" for failure in result.malformed[:SHOWN])
        hint = f"an origin's bytes do not look like the file: if you know better, add {accept}; {kept}"
        return FetchError(result.failures, hint=hint)
    return FetchError(
        result.failures,
        hint=f"set ANTSCACHE_MIRRORS to another place with these files, or try again later; {kept}",
    )
