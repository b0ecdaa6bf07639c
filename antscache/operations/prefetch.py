"""Prefetch: make what a plan selects present, verified, and linked in the release's view.

A prefetch writes its selection first and looks again afterwards, so that garbage collections and removals may run
beside it (`gc.py`). It looks four times at what is recorded and held: when it makes the plan, after it has written the
selection, under the lock of each identifier (`fetch`), and after linking.
"""

from __future__ import annotations

import datetime as dt
import os
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import msgspec

from antscache import config, disk
from antscache.catalog import known_blobs
from antscache.core import (
    Fetched,
    Present,
    Remarked,
    ignore_events,
    plan_entries,
    select,
    unread_getters,
    with_optional,
)
from antscache.errors import StoreError, ViewError
from antscache.operations import error_texts
from antscache.views import Linked, home_below, make_view, renew_other_views

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from pathlib import Path

    from antscache.core import Choice, Descriptor, Entry, Identifier, Listener, Manifest, Plan, Release
    from antscache.errors import AntsCacheError
    from antscache.fetch import FetchResult, Need
    from antscache.root import Root

    Sizes = Mapping[Identifier, int]  # in bytes

MAX_PREFETCH_ROUNDS = 3  # of fetching, linking and looking again, while other commands remove files


@dataclass(frozen=True, slots=True)
class Prefetched:
    """The result of a prefetch.

    Attributes:
        home: the view: a directory in the shape of a home.
        fetched: the files that came from an origin.
        elsewhere: the files that another process fetched meanwhile.
        linked: the names that were made in the view.
    """

    home: Path
    fetched: tuple[Fetched, ...]
    elsewhere: tuple[Present, ...]
    linked: Linked


def plan_choice(root: Root, manifest: Manifest, choice: Choice, accepted: Collection[Identifier] = ()) -> Plan:
    """Plan how the entries of `manifest` that `choice` selects become present.

    Raises:
        ManifestError: there is no such name or function, or one of the names can never be fetched.
        StoreError: the root cannot be read.
    """
    offered = with_optional(manifest) if choice else manifest
    entries = select(offered, choice.names, choice.kinds, choice.functions)
    unread = () if choice.functions else unread_getters(manifest, choice.names, choice.kinds)
    return make_plan(root, manifest, entries, accepted).with_unread(unread)


def make_plan(
    root: Root,
    manifest: Manifest,
    entries: Collection[Entry],
    accepted: Iterable[Identifier] = (),
    expected: Mapping[Identifier, Descriptor] | None = None,
) -> Plan:
    """Plan how `entries` of `manifest` become present in `root`. The arguments are those of `core.plan_entries`.

    Raises:
        IntegrityError: other bytes are recorded than are `expected`.
        StoreError: the root cannot be read.
        ManifestError: the shipped lockfile of the release is damaged.
    """
    state = root.present_state(entries)
    plan = plan_entries(manifest, entries, state, accepted, expected)
    if all(each.known for each in plan.fetch):
        return plan
    return replace(plan, locked=known_blobs(manifest.release))


def prefetch_plan(root: Root, plan: Plan, listen: Listener = ignore_events, sizes: Sizes | None = None) -> Prefetched:
    """Make what `plan` selects present, verified, and linked in the release's view.

    It selects first, so that no garbage collection condemns the plan's blobs; then it fetches, links, and looks again,
    because a garbage collection or a removal may have run beside it. For a plan that is already carried out it writes
    nothing. If the root cannot be written, and a lower cache has a view with all files, it returns that view. What
    antscache cannot read in the source is an error at the end, once all other files are there.

    Args:
        root: the files become present there.
        plan: of a release.
        listen: hears each event.
        sizes: of the missing files, in bytes; without it, the sizes that are known without asking an origin.

    Raises:
        Offline: files are missing, and nothing may be fetched.
        FetchError: no origin delivered some files; those that arrived are kept and linked.
        IntegrityError: an origin answered with other bytes than are recorded, and they were not kept.
        StoreError: the root cannot be read or written, the disk has no room for the missing files or is full, or other
            commands keep removing files. What was there before is still there.
        ViewError: the disk refused to link; the fetched files are kept.
        ManifestError: some of what `plan` asks for cannot be read in the source; all other files are there.
    """
    for conflict in plan.state.conflicts:  # a serious one is an error by now
        listen(Remarked(error_texts.displaced(conflict)))
    if not plan.entries:
        plan.check_readable()
    prefetched = _prefetch(root, plan, listen, sizes)
    _confirm_adopted(root, plan, listen)
    plan.check_readable(done="all other files are there; ")
    return prefetched


def _confirm_adopted(root: Root, plan: Plan, listen: Listener) -> None:
    """Record that a lockfile names the bytes of adopted files of `plan`: until now only a user said what they are.

    A record stays as it is if the root cannot be written.
    """
    for identifier, blob in plan.locked.items():
        record = plan.state.records.get(identifier)
        if record and record.is_adopted and record.descriptor == blob and blob in plan.state.held:
            now = dt.datetime.now(dt.timezone.utc).isoformat(timespec="seconds")
            checks = tuple(dict.fromkeys(("digest", *record.checks)))
            with suppress(StoreError):
                root.store.records.remember(
                    msgspec.structs.replace(record, trust="lockfile", recorded=now, checks=checks)
                )
                listen(Remarked(f"{identifier} was adopted, and has the locked bytes: its record says so from now on"))


def _prefetch(root: Root, plan: Plan, listen: Listener, sizes: Sizes | None) -> Prefetched:
    """Make the entries of `plan` present; the errors are those of `prefetch_plan`."""
    plan = refuse_early(root, plan, sizes)
    try:
        selected = root.select(plan)
    except StoreError as error:
        if plan.missing:
            raise error_texts.unwritable(plan, error) from error
        if home := home_below(root, plan):
            return Prefetched(home, (), (), Linked())
        raise
    if selected:
        plan = restore_condemned(root, read_again(root, plan))
    return carry_out(root, plan, listen, sizes, protect=True)


def carry_out(root: Root, plan: Plan, listen: Listener, sizes: Sizes | None = None, *, protect: bool) -> Prefetched:
    """Fetch and link the missing files of `plan`, and look again until none is missing.

    Args:
        root: the files become present there.
        plan: selected already.
        listen: hears each event.
        sizes: as for `prefetch_plan`.
        protect: select the plan again if somebody takes the selection away meanwhile.

    Raises:
        AntsCacheError: the errors of `prefetch_plan`, for the same reasons.
    """
    fetched, elsewhere = list[Fetched](), list[Present]()
    for _ in range(MAX_PREFETCH_ROUNDS):
        before, result = plan, fetch_missing(root, plan, listen, sizes)
        fetched += result.fetched
        elsewhere += result.elsewhere
        plan = look_again(root, plan)
        linked = _link(root, plan, result.disk_full or error_texts.failed(result, before))
        plan = look_again(root, plan)
        removed = protect and not root.is_selected(plan)
        if not plan.missing and not linked.lost and not removed:
            if fetched:
                renew_other_views(root, plan.release)
            return Prefetched(root.layout.view(plan.release), tuple(fetched), tuple(elsewhere), linked)
        if removed:
            root.select(plan)
        plan = restore_condemned(root, plan)
        if plan.missing and root.settings.offline:
            raise error_texts.offline(plan)
    raise StoreError(
        f"other commands keep removing files that {plan.release} needs",
        hint="run the command again once they are done, and `antscache gc` with a longer --grace",
    )


def refuse_early(root: Root, plan: Plan, sizes: Sizes | None = None) -> Plan:
    """Return `plan` with its present state; raise an error if it is clear beforehand that it cannot be carried out.

    Condemned blobs that it needs are restored. If files are missing while offline, its view is mended.

    Raises:
        Offline: files are missing, and nothing may be fetched.
        StoreError: fetched files would be lost with the container, the disk has no room for them, or it refused.
    """
    try:
        plan = restore_condemned(root, look_again(root, plan))
    except StoreError as error:
        raise error_texts.unwritable(plan, error) from error
    if not plan.missing:
        return plan
    if root.settings.offline:
        _mend_view(root, plan.release)
        raise error_texts.offline(plan)
    if root.settings.mounted and not disk.is_persistent(root.layout.root):
        keras = config.mounted_keras()
        unwritable = keras if keras and not os.access(keras, os.W_OK) else None
        raise error_texts.not_mounted(plan, root.layout.root, unwritable)
    check_space(root, plan, sizes)
    return plan


def check_space(root: Root, plan: Plan, sizes: Sizes | None = None) -> None:
    """Check that the disk can hold the missing files of `plan` whose sizes are known.

    Raises:
        StoreError: it cannot.
    """
    if plan.missing and (need := plan_need(root, plan, sizes)).short:
        raise error_texts.too_large(plan, need, root.layout.root)


def plan_need(root: Root, plan: Plan, sizes: Sizes | None = None) -> Need:
    """Return the bytes that `plan` needs on the disk of `root`, and those that are free there.

    Without `sizes` it counts with the sizes that are known without asking an origin.
    """
    from antscache.fetch import collect_known_sizes, measure_need

    return measure_need(root, plan.fetch, collect_known_sizes(root, plan.fetch) if sizes is None else sizes)


def restore_condemned(root: Root, plan: Plan) -> Plan:
    """Restore the condemned blobs that `plan` is missing and the trash still has; return the plan with its new state.

    Raises:
        StoreError: the disk refused.
    """
    records = (plan.state.records.get(wanted.identifier) for wanted in plan.fetch)
    condemned = [record.descriptor for record in records if record]
    if not condemned:
        return plan
    root.store.restore(condemned)
    return read_again(root, plan)


def read_again(root: Root, plan: Plan) -> Plan:
    """Return `plan` with the records and blobs of this moment."""
    return plan.with_state(root.present_state(plan.entries))


def look_again(root: Root, plan: Plan) -> Plan:
    """Return `plan` with its state of this moment.

    If nothing is missing, only its blobs are looked for: others may remove these, but never change its records.
    """
    if plan.missing:
        return read_again(root, plan)
    return plan.with_state(replace(plan.state, held=root.store.held(plan.state.held)))


def fetch_missing(root: Root, plan: Plan, listen: Listener, sizes: Sizes | None = None) -> FetchResult:
    """Fetch the missing files of `plan`, the largest first. The result says which failed, and if the disk is full.

    Raises:
        StoreError: the disk refused for another reason.
        IntegrityError: another process has recorded other bytes meanwhile.
        ConfigError: the environment names a proxy or certificates that cannot be used.
    """
    from antscache.fetch import FetchResult

    if not plan.missing:
        return FetchResult()
    from antscache.fetch import Fetcher, collect_known_sizes, sort_largest_first

    sizes = collect_known_sizes(root, plan.fetch) if sizes is None else sizes
    result = Fetcher.of(root).run(sort_largest_first(plan.fetch, sizes), listen)
    if result.disk_full:
        rest = read_again(root, plan)
        need = plan_need(root, rest, {**collect_known_sizes(root, rest.fetch), **sizes, **result.sizes})
        result.disk_full = error_texts.disk_full(plan, rest, need, result.disk_full)
    return result


def _link(root: Root, plan: Plan, failure: AntsCacheError | None) -> Linked:
    """Link the files of `plan` that are held, then raise `failure`, if there is one."""
    try:
        linked = make_view(root, plan.release, plan.entries, plan.state)
    except (StoreError, ViewError):
        if failure:
            raise failure from None
        raise
    if failure:
        raise failure
    return linked


def _mend_view(root: Root, release: Release) -> None:
    """Link the held files of `release` again and remove broken links from its view, as far as the disk allows."""
    with suppress(StoreError, ViewError):
        if root.store.refs.selections(release):
            make_view(root, release)
