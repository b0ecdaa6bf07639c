"""Prefetch: make what a plan selects present, verified, and linked in the release's view.

Whoever fetches protects first, and looks again afterwards, so that no garbage collection and no removal beside it is
ever in the way (`gc.py`). What is recorded and held is looked at four times: when the plan is made, after its selection
was written, under the lock of each identifier (`fetch`), and after linking.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from antscache import disk
from antscache.core import Fetched, Present, ignore_events, plan_entries
from antscache.errors import StoreError, ViewError
from antscache.operations import error_texts
from antscache.views import Linked, home_below, make_view

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from pathlib import Path

    from antscache.core import Descriptor, Entry, Identifier, Listener, Manifest, Plan, Release
    from antscache.errors import AntsCacheError
    from antscache.fetch import FetchResult, Need
    from antscache.root import Root

    Sizes = Mapping[Identifier, int]  # in bytes

MAX_ROUNDS = 3  # looks whether others have taken away what was found


@dataclass(frozen=True, slots=True)
class Prefetched:
    """What a prefetch did.

    Attributes:
        home: the view: a directory in the shape of a home.
        fetched: what came from an origin.
        elsewhere: what another process fetched meanwhile.
        linked: how the view's names were made.
    """

    home: Path
    fetched: tuple[Fetched, ...]
    elsewhere: tuple[Present, ...]
    linked: Linked


def make_plan(
    root: Root,
    manifest: Manifest,
    entries: Collection[Entry],
    accepted: Iterable[Identifier] = (),
    expected: Mapping[Identifier, Descriptor] | None = None,
) -> Plan:
    """Plan how `entries` of `manifest` become present in `root`, as `core.plan_entries` says.

    Raises:
        IntegrityError: other bytes are recorded than are `expected`.
        StoreError: the root cannot be read.
    """
    return plan_entries(manifest, entries, root.present_state(entries), accepted, expected)


def prefetch_plan(root: Root, plan: Plan, listen: Listener = ignore_events, sizes: Sizes | None = None) -> Prefetched:
    """Make what `plan` selects present, verified, and linked in the release's view.

    Selects first, so that nothing of it is ever condemned; then fetches, links, and looks again, because a garbage
    collection or a removal may have run beside it. A plan that is already carried out writes nothing.

    Args:
        root: where it becomes present.
        plan: of a release.
        listen: hears what happens.
        sizes: in bytes, of what is missing, as far as they are known; without, what is at hand.

    Raises:
        Offline: something is missing, and nothing may be fetched.
        FetchError: no origin delivered some files; what arrived is kept and linked.
        IntegrityError: an origin answered with other bytes than are recorded.
        StoreError, ViewError: the disk refused; what was there before is there still.
    """
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
    """Fetch and link what is missing of `plan`, and look again until nothing is.

    Args:
        root: where it becomes present.
        plan: selected.
        listen: hears what happens.
        sizes: as of `prefetch_plan`.
        protect: select it again if somebody takes the selection away meanwhile.

    Raises:
        AntsCacheError: as `prefetch_plan` says.
    """
    fetched, elsewhere = list[Fetched](), list[Present]()
    for _ in range(MAX_ROUNDS):
        before, result = plan, fetch_missing(root, plan, listen, sizes)
        fetched += result.fetched
        elsewhere += result.elsewhere
        plan = look_again(root, plan)
        linked = _link(root, plan, result.disk_full or error_texts.failed(result, before))
        plan = look_again(root, plan)
        removed = protect and not root.is_selected(plan)
        if not plan.missing and not linked.lost and not removed:
            return Prefetched(root.layout.view(plan.release), tuple(fetched), tuple(elsewhere), linked)
        if removed:
            root.select(plan)
        plan = restore_condemned(root, plan)
        if plan.missing and root.settings.offline:
            raise error_texts.offline(plan)
    raise StoreError(
        f"other commands took away what {plan.release} needs, again and again",
        hint="run the command again, and `antscache gc` beside it with a longer --grace",
    )


def refuse_early(root: Root, plan: Plan, sizes: Sizes | None = None) -> Plan:
    """Return `plan` as things are, unless something can be seen beforehand that keeps it from being carried out.

    Raises:
        Offline: something is missing, and nothing may be fetched.
        StoreError: what would be fetched is gone with the container, or the disk has no room for it.
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
    if root.settings.mounted and not disk.outlives(root.layout.root):
        raise error_texts.not_mounted(plan, root.layout.root)
    check_space(root, plan, sizes)
    return plan


def check_space(root: Root, plan: Plan, sizes: Sizes | None = None) -> None:
    """Check that the disk can hold what `plan` fetches, as far as sizes are known.

    Raises:
        StoreError: it cannot.
    """
    if plan.missing and (need := plan_need(root, plan, sizes)).short:
        raise error_texts.too_large(plan, need, root.layout.root)


def plan_need(root: Root, plan: Plan, sizes: Sizes | None = None) -> Need:
    """Return what `plan` needs on the disk of `root`, as far as `sizes` or what is at hand tells, and what there is."""
    from antscache.fetch import known_sizes, need

    return need(root, plan.fetch, known_sizes(root, plan.fetch) if sizes is None else sizes)


def restore_condemned(root: Root, plan: Plan) -> Plan:
    """Hold again what is missing of `plan`, was condemned and is not gone yet; return the plan as things are then.

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
    """Return `plan` by what is recorded and held now."""
    return plan.with_state(root.present_state(plan.entries))


def look_again(root: Root, plan: Plan) -> Plan:
    """Return `plan` as things are now.

    Where nothing is missing its records are not read again: nothing but the bytes can be taken away from it.
    """
    if plan.missing:
        return read_again(root, plan)
    return plan.with_state(replace(plan.state, held=root.store.held(plan.state.held)))


def fetch_missing(root: Root, plan: Plan, listen: Listener, sizes: Sizes | None = None) -> FetchResult:
    """Fetch what is missing of `plan`, the largest first.

    Raises:
        StoreError: the disk refused; that it is full the result says.
        IntegrityError: another process has recorded other bytes meanwhile.
        ConfigError: the environment names a proxy or certificates that cannot be used.
    """
    from antscache.fetch import FetchResult

    if not plan.missing:
        return FetchResult()
    from antscache.fetch import Fetcher, known_sizes, largest_first

    sizes = known_sizes(root, plan.fetch) if sizes is None else sizes
    result = Fetcher.of(root).run(largest_first(plan.fetch, sizes), listen)
    if result.disk_full:
        rest = read_again(root, plan)
        need = plan_need(root, rest, {**known_sizes(root, rest.fetch), **sizes, **result.sizes})
        result.disk_full = error_texts.disk_full(plan, rest, need, result.disk_full)
    return result


def _link(root: Root, plan: Plan, failure: AntsCacheError | None) -> Linked:
    """Link what is held of `plan`, and raise `failure` then: what came is linked whatever did not."""
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
    """Take care that the view of `release` leads nowhere that has gone, as far as the disk allows."""
    with suppress(StoreError, ViewError):
        if root.store.refs.selections(release):
            make_view(root, release)
