"""`antscache lock`: write down which bytes a selection has, and compare that with today's source."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click

from antscache.cli import render
from antscache.cli.commands.diff import change_facts, count_changes, print_changes
from antscache.cli.commands.prefetch import read_records
from antscache.cli.options import Invocation, as_json, choosing, from_index, manifest, one_release, say_needed, shared
from antscache.core import (
    LOCKFILE_NAME,
    Choice,
    Chosen,
    check_same_bytes,
    choose,
    choose_again,
    encode_lockfile,
    fetchable,
    find_lock_changes,
    make_lockfile,
)
from antscache.errors import ManifestError, ViewError
from antscache.operations import measure_release, read_lockfile, write_lockfile

if TYPE_CHECKING:
    from antscache.cache import Cache
    from antscache.core import Change, LockedRelease, Lockfile, Manifest

STDOUT = Path("-")


@click.command()
@click.argument("releases", metavar="[RELEASE...]", nargs=-1)
@one_release
@from_index
@choosing("Lock")
@click.option(
    "--from-record",
    "records",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Lock the entries and bytes that `antscache run --record FILE` wrote down; may be given again.",
)
@click.option(
    "-o",
    "--output",
    "file",
    type=click.Path(path_type=Path),
    default=Path(LOCKFILE_NAME),
    metavar="FILE",
    help=f"Write, check or update this lockfile; - is stdout. [default: {LOCKFILE_NAME}]",
)
@click.option("--check", is_flag=True, help="Say if the lockfile fits the source of today; exit code 3 if not.")
@click.option("--update", is_flag=True, help="Make the lockfile again by the same choice, and print the difference.")
@click.option("--measured", is_flag=True, help="Lock only files that their origin confirmed by a checksum.")
@click.option("--adopted", is_flag=True, help="Lock adopted files as well, on your word.")
@as_json
@shared
@click.pass_obj
def lock(
    invocation: Invocation,
    releases: tuple[str, ...],
    source: Path | None,
    python: Path | None,
    choice: Choice,
    records: tuple[Path, ...],
    file: Path,
    check: bool,
    update: bool,
    measured: bool,
    adopted: bool,
    json: bool,
) -> None:
    """Write down the digests of a selection in a lockfile.

    Locks the selected entries of the RELEASEs, or those that you choose: with the digests and sizes that are
    recorded here. Nothing is fetched. Prints the path of FILE. Commit FILE; `prefetch`, `run` and `export` take exactly
    its bytes by --lock.

    --check and --update compare FILE with the RELEASEs, or with the installed source.
    """
    _check_usage(check=check, update=update, measured=measured, to_stdout=file == STDOUT)
    if records and (releases or source or python or choice or check or update or measured):
        raise click.UsageError("--from-record names the entries itself: leave out RELEASE and other choices")
    if (check or update) and choice:
        raise click.UsageError("the lockfile has the choice itself: leave out --for, --name and --kind")
    cache = invocation.cache()
    if check or update:
        lockfile = read_lockfile(file)
        comparisons = _compare(cache, lockfile, releases, source, python)
        _print_comparisons(invocation, comparisons, json=json)
        if update:
            write_lockfile(_updated(cache, lockfile, comparisons, adopted=adopted), file)
            invocation.say(f"written: {file}")
        elif any(each.changes for each in comparisons):
            raise _does_not_fit(file, comparisons)
        return
    if records:
        locked = _lock_records(cache, records, adopted=adopted)
    else:
        functions = bool(choice.functions)
        manifests = [manifest(cache, release, source, python, functions=functions) for release in releases or (None,)]
        for wanted in manifests:
            say_needed(invocation, wanted, choice)
        chosen = [_choose(cache, wanted, choice) for wanted in manifests]
        if measured:
            locked = [_measure(invocation, cache, each) for each in chosen]
        else:
            locked = [cache.lock(each, adopted=adopted) for each in chosen]
    _write(invocation, make_lockfile(locked), file, json=json)


def _check_usage(*, check: bool, update: bool, measured: bool, to_stdout: bool) -> None:
    if check + update + measured > 1:
        raise click.UsageError("give one of --check, --update and --measured")
    if to_stdout and (check or update):
        raise click.UsageError("name the lockfile itself with -o")


# Making


def _choose(cache: Cache, wanted: Manifest, choice: Choice) -> Chosen:
    """Return the entries of `wanted` to lock, and the choice that selects them again.

    Without a choice these are the selected ones: the whole release, or else their names are the choice.

    Raises:
        ViewError: without a choice, nothing of the release is selected.
        ManifestError: there are no such entries.
    """
    if choice:
        return choose(wanted, choice)
    try:
        selected = cache.selected(wanted.release)
    except ViewError as error:
        raise ViewError(str(error), hint=f"{error.hint}, or choose entries with --for, --name or --kind") from None
    whole = set(selected) == set(fetchable(wanted.entries))
    return Chosen(wanted, selected, Choice() if whole else Choice(names=tuple(entry.name for entry in selected)))


def _lock_records(cache: Cache, records: tuple[Path, ...], *, adopted: bool) -> list[LockedRelease]:
    """Lock the entries and bytes in `records` of `antscache run --record`."""
    return [
        cache.lock(
            Chosen(plan.manifest, plan.entries, Choice(names=tuple(entry.name for entry in plan.entries))),
            adopted=adopted,
            expected=plan.expected,
        )
        for plan in cache.plan_usage(read_records(records))
    ]


def _measure(invocation: Invocation, cache: Cache, chosen: Chosen) -> LockedRelease:
    """Lock those `chosen` entries that their origin confirmed, and say which are left out."""
    measured = measure_release(cache.root, chosen)
    if measured.left_out:
        invocation.say(
            f"left out of {chosen.manifest.release}, because no origin has confirmed their bytes here: "
            f"{', '.join(measured.left_out)}"
        )
    return measured.locked


def _write(invocation: Invocation, lockfile: Lockfile, file: Path, *, json: bool) -> None:
    """Write `lockfile` to `file` and print its path; or print the lockfile itself, if `file` is "-"."""
    if file == STDOUT:
        render.print_text(encode_lockfile(lockfile))
        return
    write_lockfile(lockfile, file)
    for each in lockfile.releases:
        size = render.size(sum(entry.size for entry in each.entries))
        invocation.say(f"{each.release}: {render.files(len(each.entries))} locked ({size})")
    if json:
        releases = [
            {"release": str(each.release), "view": each.view, "entries": len(each.entries)}
            for each in lockfile.releases
        ]
        render.print_json({"file": str(file), "releases": releases})
    else:
        render.print_path(file)


# Comparing


class _Comparison(NamedTuple):
    """A locked release, the manifest that it is compared with, and the names under which they differ."""

    locked: LockedRelease
    manifest: Manifest
    changes: tuple[Change, ...]


def _compare(
    cache: Cache, lockfile: Lockfile, releases: tuple[str, ...], source: Path | None, python: Path | None
) -> list[_Comparison]:
    """Compare `lockfile` with the RELEASEs, or with --from; else with what is installed of each of its packages.

    Raises:
        ManifestError: one of these is not in the lockfile, or cannot be read; or nothing is installed.
    """
    functions = any(locked.functions for locked in lockfile.releases)
    if releases or source:
        manifests = [manifest(cache, release, source, python, functions=functions) for release in releases or (None,)]
    else:
        packages = dict.fromkeys(locked.package for locked in lockfile.releases)
        manifests = [cache.manifest(package=package, python=python, functions=functions) for package in packages]
    pairs = [(lockfile.match(each.release), each) for each in manifests]
    return [_Comparison(locked, each, find_lock_changes(locked, each)) for locked, each in pairs]


def _print_comparisons(invocation: Invocation, comparisons: list[_Comparison], *, json: bool) -> None:
    if json:
        facts = [
            {"locked": str(each.locked.release), "release": str(each.manifest.release), **change_facts(each.changes)}
            for each in comparisons
        ]
        render.print_json(facts)
        return
    for each in comparisons:
        print_changes(each.changes)
        if each.changes:
            invocation.say(f"{_title(each)}: {count_changes(each.changes)}")
        else:
            invocation.say(f"{_title(each)}: the same {render.files(len(each.locked.entries))}")


def _title(comparison: _Comparison) -> str:
    old, new = comparison.locked.release, comparison.manifest.release
    return f"{old}" if old == new else f"{old} -> {new}"


def _does_not_fit(file: Path, comparisons: list[_Comparison]) -> ManifestError:
    changed = [str(each.manifest.release) for each in comparisons if each.changes]
    return ManifestError(
        f"{file} does not fit {', '.join(changed)}",
        hint=f"run `antscache lock --update -o {shlex.quote(str(file))}`, which names what to prefetch before",
    )


def _updated(cache: Cache, lockfile: Lockfile, comparisons: list[_Comparison], *, adopted: bool) -> Lockfile:
    """Return `lockfile`, made again by its own choices from the manifests that it was compared with.

    Raises:
        ManifestError: nothing is left of a choice, or the bytes of some entries are not known.
        IntegrityError: an identifier has other bytes here than are locked.
    """
    for locked, wanted, _ in comparisons:
        chosen = choose_again(wanted, locked.choice)
        if not chosen.entries:
            raise ManifestError(
                f"nothing that is locked of {locked.release} is in {wanted.release}",
                hint=f"make another lockfile: `antscache lock {wanted.release}`",
            )
        new = cache.lock(chosen, adopted=adopted)
        check_same_bytes(locked, new)
        lockfile = lockfile.replaced(locked, new)
    return lockfile
