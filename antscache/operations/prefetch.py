"""A plan carried out: protected, fetched, linked, and looked at again.

Whoever fetches protects first, and looks again afterwards, so that no garbage collection and no removal beside it is
ever in the way (`gc`).
"""

from __future__ import annotations

from contextlib import closing, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from antscache import config, disk
from antscache.core import (
    Fetched,
    Listener,
    Plan,
    Present,
    Selection,
    Started,
    ignore_events,
    plan_prefetch,
    union,
    with_sizes,
)
from antscache.disk import outlives
from antscache.errors import SHOWN, AntsCacheError, FetchError, IntegrityError, Offline, StoreError, ViewError
from antscache.views import Linked, view_in

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

    from antscache.catalog import Catalog
    from antscache.config import Settings
    from antscache.core import Descriptor, Entry, Identifier, Manifest, Release
    from antscache.fetch import Fetching, Need
    from antscache.store import Store
    from antscache.views import Presence

TRIES = 3  # times that it is looked whether others have taken away what was found


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


class Prefetching:
    """What carries plans out in one root."""

    def __init__(self, settings: Settings, store: Store, catalog: Catalog, presence: Presence) -> None:
        self._settings, self._store, self._catalog, self._presence = settings, store, catalog, presence

    def plan(
        self,
        manifest: Manifest,
        entries: Collection[Entry],
        accepted: Collection[Identifier] = (),
        told: Mapping[Identifier, Descriptor] | None = None,
    ) -> Plan:
        """As `Cache.plan_entries` says."""
        records = [self._store.record(entry.identifier) for entry in entries if entry.identifier]
        held = {record.descriptor for record in records if record and self._store.holds(record.descriptor)}
        # What a user's word alone says of bytes that are not here is no reason to refuse an origin's.
        known = {
            record.identifier: record.descriptor
            for record in records
            if record and (record.descriptor in held or record.trust != "adopted")
        }
        for identifier, blob in (told or {}).items():
            if known.setdefault(identifier, blob) != blob:
                raise IntegrityError(
                    f"{identifier} is recorded as {known[identifier].digest}, and should be {blob.digest}",
                    hint="an identifier's bytes never change: one of the two is wrong",
                )
        return plan_prefetch(manifest, entries, known, held, accepted)

    def pace(self, plan: Plan) -> float:
        """As `Cache.pace` says."""
        from antscache.fetch import parse_origins

        first = parse_origins(self._settings.mirrors, self._settings.origins)[0]
        return self._settings.pace * max(0, len(plan.fetch) - 1) if first.paced else 0.0

    def prefetch(self, plan: Plan, listen: Listener = ignore_events) -> Prefetched:
        """As `Cache.prefetch` says.

        Selection first, so that nothing of it is ever deleted; then bytes, records, links, and the index.
        """
        try:
            plan = self.restored(plan)
        except StoreError as error:
            raise _unwritable(plan, error) from error
        if plan.fetch and self._settings.offline:
            self._mend(plan.release)
            raise _offline(plan)
        self._check_mount(plan)
        plan = self.sized(plan)
        self.check_space(plan)
        try:
            self._protect(plan)
        except StoreError as error:
            if plan.fetch:
                raise _unwritable(plan, error) from error
            if home := self._home_below(plan):
                return Prefetched(home, (), (), Linked())
            raise
        return self.carry_out(plan, listen, Selection(plan.release, plan.entries))

    def _check_mount(self, plan: Plan) -> None:
        """What `plan` fetches is not lost with the container, if that is asked for.

        Raises:
            StoreError: it would be.
        """
        root = self._store.layout.root
        if plan.fetch and self._settings.mounted and not outlives(root):
            raise StoreError(
                f"missing of {plan.release}: {_missing(plan)}; and nothing is fetched into {root}, which is gone with "
                "the container",
                hint=f"mount a directory there: `docker run -v DIR:{root} ...`, `apptainer run --bind DIR:{root} ...`",
            )

    def carry_out(self, plan: Plan, listen: Listener, selection: Selection | None = None) -> Prefetched:
        """Fetch, link, and look again; with a `selection`, also whether somebody removed that meanwhile."""
        happened: list[Fetched | Present] = []
        for _ in range(TRIES):
            some, error = self._fetch(plan, listen)
            happened += some
            try:
                linked = self._presence.make_view(plan.release, plan.entries)
            except (StoreError, ViewError):
                if error:
                    raise error from None
                raise
            if error:
                raise error
            plan = self._again(plan)  # a garbage collection may have been at work
            removed = selection is not None and not self._store.refs.is_selected(selection)
            if not plan.fetch and not linked.lost and not removed:
                break
            if removed:
                self._protect(plan)
            plan = self.restored(plan)
            if plan.fetch and self._settings.offline:
                raise _offline(plan)
        else:
            raise StoreError(
                f"other commands took away what {plan.release} needs, again and again",
                hint="run the command again, and `antscache gc` beside it with a longer --grace",
            )
        fetched = tuple(event for event in happened if isinstance(event, Fetched))
        elsewhere = tuple(event for event in happened if isinstance(event, Present))
        return Prefetched(self._store.layout.view(plan.release), fetched, elsewhere, linked)

    def _fetch(self, plan: Plan, listen: Listener) -> tuple[list[Fetched | Present], AntsCacheError | None]:
        """Fetch what is missing: what came, and what to raise once it has been linked."""
        happened: list[Fetched | Present] = []
        if not plan.fetch:
            return happened, None
        from antscache.fetch import (
            Fetching,  # urllib3 takes a tenth of a second to import
            Pacer,
            parse_origins,
        )
        from antscache.formats import Hdf5Scanner, is_h5py_installed

        settings = self._settings
        origins = parse_origins(settings.mirrors, settings.origins)
        pace = Pacer(self._store.layout.pace, settings.pace)
        with closing(Hdf5Scanner()) as walker:
            fetching = Fetching(
                plan.fetch,
                origins,
                self._store,
                settings.jobs,
                settings.timeout,
                pace,
                config.tokens(),
                walker if is_h5py_installed() else None,
            )
            sizes: dict[Identifier, int] = {}
            try:
                for event in fetching:
                    if isinstance(event, Fetched | Present):
                        happened.append(event)
                    if isinstance(event, Started) and event.size is not None:
                        sizes[event.identifier] = event.size
                    listen(event)
            except StoreError as error:
                if not disk.is_full(error):
                    raise
                return happened, self._full(with_sizes(plan, sizes), error)
        return happened, _error(fetching, plan)

    def _full(self, plan: Plan, error: StoreError) -> StoreError:
        """`error`, which says that the disk is full, with how much is missing for the rest of `plan`."""
        rest = self.sized(self._again(plan))
        need = self.need(rest)
        unknown = f" ({need.unknown} of unknown size)" if need.unknown else ""
        if need.short:
            more = f": at least {need.short:,} bytes more are needed"
        elif need.room:  # a quota that the disk does not speak of; or space was made meanwhile
            more = f": they need {need.room:,} bytes at least, and the disk does not say how many of them are missing"
        else:
            more = ""
        told = f"{error}; {len(rest.fetch)} of {len(plan.fetch)} files are still to be fetched{unknown}{more}"
        return StoreError(told, hint=error.hint)

    def restored(self, plan: Plan) -> Plan:
        """`plan`, once what of it was condemned and is not gone yet is held again."""
        records = (self._store.record(wanted.identifier) for wanted in plan.fetch)
        recorded = [record.descriptor for record in records if record]
        if not recorded:
            return plan
        self._store.restore(recorded)
        return self._again(plan)

    def _again(self, plan: Plan) -> Plan:
        """`plan`, as things are now."""
        accepted = {wanted.identifier for wanted in plan.fetch if wanted.accepted}
        sizes = {wanted.identifier: wanted.size for wanted in plan.fetch if wanted.size is not None}
        told = {
            each.identifier: each.known for each in plan.fetch if each.known and not self._store.record(each.identifier)
        }
        return with_sizes(self.plan(plan.manifest, (*plan.entries, *plan.unavailable), accepted, told), sizes)

    def _protect(self, plan: Plan) -> None:
        """What `plan` selects is kept alive from now on.

        Raises:
            StoreError: there is something to write, and the root cannot be written to.
        """
        selection = Selection(plan.release, plan.entries)
        if not plan.fetch and self._store.refs.selects(selection):
            return
        try:
            self._store.create()
            self._catalog.keep(plan.manifest, self._store.layout.staging)
            self._store.refs.select(selection)
        except StoreError:  # somebody else's root, where they have selected it: their word has to do
            if plan.fetch or not self._store.refs.is_selected(selection):
                raise

    def _home_below(self, plan: Plan) -> Path | None:
        """The view of a lower cache that has all of `plan`, if there is one."""
        for lower in self._store.lowers:
            with suppress(StoreError):
                view_ = view_in(lower, plan.release)
                if view_ and not view_.missing and set(plan.entries) <= set(union(lower.refs.selections(plan.release))):
                    return view_.home
        return None

    def _mend(self, release: Release) -> None:
        """The view of `release` leads nowhere that has gone, as far as the disk allows."""
        with suppress(StoreError, ViewError):
            if self._store.refs.selections(release):
                self._presence.make_view(release)

    # Space

    def sized(self, plan: Plan, *, ask: bool = False) -> Plan:
        """As `Cache.sized` says."""
        if all(wanted.size is not None for wanted in plan.fetch):
            return plan
        from antscache import fetch
        from antscache.fetch import parse_origins

        settings = self._settings
        origins = parse_origins(settings.mirrors, settings.origins)
        plan = with_sizes(plan, fetch.sizes_at_hand(plan.fetch, self._store.layout, origins))
        if ask and not settings.offline:
            from antscache.fetch import Pacer

            pace = Pacer(self._store.layout.pace, settings.pace)
            asking = fetch.Asking(origins, pace, settings.jobs, settings.timeout, config.tokens())
            plan = with_sizes(plan, asking.sizes(plan.fetch))
        return plan

    def need(self, plan: Plan) -> Need:
        """As `Cache.need` says."""
        from antscache import fetch

        return fetch.need(plan.fetch, self._store.layout, self._settings.jobs)

    def check_space(self, plan: Plan) -> None:
        """As `Cache.check_space` says."""
        if plan.fetch and (need := self.need(plan)).short:
            raise _too_large(plan, need, self._store.layout.root)


def _missing(plan: Plan) -> str:
    """The files that are missing, the first few by name."""
    more = f" and {len(plan.missing) - SHOWN} more" if len(plan.missing) > SHOWN else ""
    return ", ".join(entry.file for entry in plan.missing[:SHOWN]) + more


def _unwritable(plan: Plan, error: StoreError) -> StoreError:
    """`error`, which keeps `plan` from being carried out, with what is missing."""
    return StoreError(f"{error}; missing of {plan.release}: {_missing(plan)}", hint=error.hint)


def _too_large(plan: Plan, need: Need, root: Path) -> StoreError:
    unknown = f", not counting what is of unknown size ({need.unknown})" if need.unknown else ""
    return StoreError(
        f"what is missing of {plan.release} needs {need.room:,} bytes{unknown}, and the disk of {root} has "
        f"{need.free:,}: {need.short:,} bytes more are needed, and nothing was fetched",
        hint="free some space, name another root with --root, or fetch some with --name or --kind",
    )


def _offline(plan: Plan) -> Offline:
    return Offline(
        f"{len(plan.missing)} of {len(plan.entries)} files of {plan.release} are missing, and offline nothing is "
        f"fetched: {_missing(plan)}",
        hint=f"run `{_command(plan)}` where there is network access",
    )


def _command(plan: Plan) -> str:
    """What gets what is missing: by name, if that is little."""
    names = "" if len(plan.missing) > SHOWN else "".join(f" --name {entry.name}" for entry in plan.missing)
    return f"antscache prefetch {plan.release}{names}"


def _error(fetching: Fetching, plan: Plan) -> AntsCacheError | None:
    """What to raise for what `fetching` did not get of `plan`."""
    if not fetching.failures:
        return None
    kept = f"what was fetched is kept: `{_command(plan)}` goes on from there"
    if fetching.mismatched:
        told = "\n".join(map(str, fetching.mismatched))
        return IntegrityError(
            f"origins answer with other bytes than are recorded\n{told}",
            hint="an identifier's bytes never change: do not trust that origin; " + kept,
        )
    if fetching.malformed:
        accept = " ".join(f"--accept {failure.identifier}" for failure in fetching.malformed[:SHOWN])
        hint = f"an origin's bytes do not look like the file: if you know better, add {accept}; {kept}"
        return FetchError(fetching.failures, hint=hint)
    return FetchError(
        fetching.failures,
        hint=f"set ANTSCACHE_MIRRORS to another place with these files, or try again later; {kept}",
    )
