"""The public object: a method for each verb, with one line of code.

manifest -> plan -> fetch -> store -> view
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from antscache import config, export, fetch, operations, views
from antscache.core import (
    Choice,
    Manifest,
    ignore_events,
    parse_kinds,
    parse_names,
    parse_release,
)
from antscache.errors import StoreError
from antscache.root import Root

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from pathlib import Path

    from antscache.catalog import Catalog
    from antscache.config import LinkMode, Settings
    from antscache.core import (
        Chosen,
        Citation,
        Descriptor,
        Digest,
        Entry,
        Identifier,
        Listener,
        LockedRelease,
        Lockfile,
        Package,
        Plan,
        Record,
        Release,
        UsageRecord,
    )
    from antscache.export import Contents, Target
    from antscache.fetch import Need
    from antscache.operations import Forgotten, Garbage, Judged, Prefetched, Removed, Verified
    from antscache.root import UnusedLowerCache
    from antscache.store import Store
    from antscache.views import EntryLocation, EntryStatus, Linked, Names, ReleaseUsage, View

    Blobs = Mapping[Identifier, Descriptor]
    Usage = Mapping[Release, Collection[UsageRecord]]
    Sizes = Mapping[Identifier, int]  # in bytes


class Cache:
    """A root and everything that antscache does with it.

    Methods that only read write nothing to the root, with one exception: a manifest from the package index is saved for
    the next time. The root is made by the first method that writes to it. All errors are of `antscache.errors`; every
    method that reads or writes the root can raise a StoreError.
    """

    def __init__(self, settings: Settings) -> None:
        self.root = Root.open(settings)

    @classmethod
    def open(cls, root: str | os.PathLike[str] | None = None, **flags: Any) -> Cache:
        """Open the cache under `root`, with settings from flags, the environment and configuration files.

        Nothing is written.

        Args:
            root: a directory, which need not exist; without it, the one that environment and files name.
            flags: settings, named like the flags of the command line: `offline=True`, `jobs=4`, ...

        Raises:
            ConfigError: a setting cannot be used.
            StoreError: the root cannot be read, or has a newer layout.
        """
        return cls(config.load({"root": os.fspath(root) if root is not None else None, **flags}))

    @property
    def settings(self) -> Settings:
        """The settings in force."""
        return self.root.settings

    @property
    def store(self) -> Store:
        """The blobs, records and refs of the root."""
        return self.root.store

    @property
    def catalog(self) -> Catalog:
        """The manifests at hand."""
        return self.root.catalog

    @property
    def unused(self) -> tuple[UnusedLowerCache, ...]:
        """The lower caches that are named in the settings and cannot be used, with the reason."""
        return self.root.unused

    # Which release

    def manifest(
        self,
        release: str | Release | None = None,
        *,
        package: Package = "antspynet",
        python: Path | None = None,
        source: Path | None = None,
        functions: bool = False,
    ) -> Manifest:
        """Return the manifest of a release: of `source`, else of `release`, else of an installation of `package`.

        A manifest that had to be read from the package index is saved in the root, if the root can be written.

        Args:
            release: written like `antspynet==0.3.2` or `0.3.2`.
            package: the package whose installation is read.
            python: the interpreter of the installation; without it, the environment's.
            source: a source tree, a wheel or an sdist to read.
            functions: read the needs of its functions too. Published releases have them anyway.

        Raises:
            ManifestError: there is no such release or installation, or its source is not understood.
            Offline: the manifest would have to be read from the package index.
        """
        if source:
            return self.catalog.source(source, functions=functions)
        if release is None:
            return self.catalog.installed(package, python, functions=functions)
        wanted = self.release(release)
        return self.catalog.find(wanted) or self._saved(self.catalog.manifest(wanted))

    def release(self, release: str | Release) -> Release:
        """Return the release that `release` names, written like `antspynet==0.3.2` or `0.3.2`; 0.3 is 0.3.0.

        Raises:
            ManifestError: it does not name one release of a package that antscache knows.
        """
        return self.catalog.resolve(parse_release(release) if isinstance(release, str) else release)

    def _saved(self, manifest: Manifest) -> Manifest:
        """Save `manifest` for the next time, unless the root cannot be written."""
        with suppress(StoreError):
            self.store.create()
            self.catalog.save(manifest, self.store.layout.staging)
        return manifest

    # The flow

    def plan(
        self,
        release: str | Manifest | None = None,
        *,
        names: str | Collection[str] = (),
        kinds: str | Collection[str] = (),
        functions: str | Collection[str] = (),
        accepted: Collection[Identifier] = (),
    ) -> Plan:
        """Plan how entries of a release become present. Nothing is fetched.

        Args:
            release: its manifest or its name; without it, the release that is installed in the environment.
            names: only entries of these names, with these file names, or that match these patterns; without any, of all
                names.
            functions: the entries that these functions need, written like `brain_extraction:modality=t1`; with `names`,
                those as well.
            kinds: only entries of these kinds, `data`, `network` (or `model`) and `keras`; without any, of the first
                two. Keras's own weights, of kind `keras`, need a name or their kind.
            accepted: identifiers whose bytes you accept although they do not have the form that the file's name says.

        Raises:
            ManifestError: there is no such release, name or function; or one of `names` can never be fetched.
            Offline: the manifest would have to be read from the package index.
            StoreError: the root cannot be read.
        """
        choice = Choice(parse_names(functions), parse_names(names), parse_kinds(kinds))
        if not isinstance(release, Manifest):
            release = self.manifest(release, functions=bool(choice.functions))
        return operations.plan_choice(self.root, release, choice, accepted)

    def plan_entries(
        self,
        manifest: Manifest,
        entries: Collection[Entry],
        accepted: Collection[Identifier] = (),
        expected: Blobs | None = None,
    ) -> Plan:
        """Plan how these `entries` of `manifest` become present. Nothing is written or fetched.

        Args:
            manifest: of the release.
            entries: of `manifest`.
            accepted: as for `plan`.
            expected: the bytes that identifiers must have, where you know them.

        Raises:
            IntegrityError: other bytes are recorded than are `expected`.
            StoreError: the root cannot be read.
        """
        return operations.make_plan(self.root, manifest, entries, accepted, expected)

    def plan_usage(self, usage: Mapping[Release, Collection[UsageRecord]]) -> list[Plan]:
        """Plan how the files in a record of use become present again, with the same bytes; a plan for each release.

        Raises:
            ManifestError: a release has no such entry.
            IntegrityError: other bytes are recorded than were used.
            StoreError: the root cannot be read.
        """
        return operations.plan_usage(self.root, usage)

    def plan_lockfile(self, lockfile: Lockfile) -> list[Plan]:
        """Plan how the files of `lockfile` become present with exactly its bytes; a plan for each release.

        Raises:
            ManifestError: a release has no such entry.
            IntegrityError: other bytes are recorded than are locked.
            StoreError: the root cannot be read.
        """
        return operations.plan_lockfile(self.root, lockfile)

    def prefetch(self, plan: Plan, listen: Listener = ignore_events, sizes: Sizes | None = None) -> Prefetched:
        """Make what `plan` selects present, verified, and linked in the release's view.

        Afterwards the release is in use with these entries: no garbage collection deletes their blobs until you remove
        the release. The selection is written first, then blobs, records, links and the index. If `plan` is already
        carried out, nothing is written. If it is not selected, the root cannot be written, and a lower cache has a view
        with all its files, that view is returned.

        Args:
            plan: of `plan` or `plan_entries`.
            listen: hears each event.
            sizes: of the missing files, in bytes, to check the space on the disk; without it, the sizes that are known
                without asking an origin.

        Raises:
            Offline: files are missing, and nothing may be fetched.
            FetchError: no origin delivered some files; those that arrived are kept and linked.
            IntegrityError: an origin answered with other bytes than are recorded, and they were not kept.
            StoreError: the root cannot be read or written, or the disk has no room for the missing files or is full.
                What was there before is still there; files that were fetched are kept.
            ViewError: the disk refused to link; files that were fetched are kept.
            ManifestError: antscache cannot read some of what `plan` asks for in the source; all other files are there.
        """
        return operations.prefetch_plan(self.root, plan, listen, sizes)

    def sizes(self, plan: Plan, *, ask: bool = False) -> Sizes:
        """Return the sizes of the missing files of `plan`, in bytes, as far as they are known.

        With `ask`, unless offline, origins are asked for the others: for one byte of each file, within the rate limit.

        Raises:
            ConfigError: the origins in the settings cannot be used.
        """
        return fetch.find_sizes(self.root, plan.fetch, ask=ask)

    def need(self, plan: Plan, sizes: Sizes | None = None) -> Need:
        """Return the bytes that `plan` needs on the root's disk, as far as sizes are known, and those free there."""
        return operations.plan_need(self.root, plan, sizes)

    def check_space(self, plan: Plan, sizes: Sizes | None = None) -> None:
        """Check that the disk can hold the missing files of `plan` whose sizes are known.

        Raises:
            StoreError: it cannot.
        """
        operations.check_space(self.root, plan, sizes)

    def least_seconds(self, plan: Plan) -> float:
        """Return the least duration of fetching `plan`, in seconds, that an origin's rate limit imposes."""
        return fetch.least_seconds(self.root, plan.fetch)

    # Views

    def view(self, release: Release) -> View:
        """Find the view of `release`, in the root or else in a lower cache.

        Raises:
            ViewError: nothing of the release is held.
            StoreError: the root cannot be read.
        """
        return views.find_view(self.root, release)

    def selected(
        self, release: Release, *, names: str | Collection[str] = (), kinds: str | Collection[str] = ()
    ) -> tuple[Entry, ...]:
        """Return the selected entries of `release`, in the root or else in a lower cache.

        Args:
            release: in use.
            names: only entries of these names; without any, of all names.
            kinds: only entries of these kinds; without any, of all kinds.

        Raises:
            ViewError: nothing of the release is selected.
            ManifestError: no selected entry has such a name.
            StoreError: the root cannot be read.
        """
        return views.selected_entries(self.root, release, names=parse_names(names), kinds=parse_kinds(kinds))

    def locate(self, manifest: Manifest) -> tuple[EntryLocation, ...]:
        """Return each entry of `manifest` that can be fetched, with the path of its whole file in a view.

        The view may be in the root or in a lower cache. A file counts as whole if it has the recorded size; it is not
        read. Entries and getters that antscache cannot read in the source have no path.
        """
        return views.locate_entries(self.root, manifest)

    def provide(
        self,
        manifest: Manifest,
        entry: Entry,
        *,
        place: Path | None = None,
        listen: Listener = ignore_events,
    ) -> EntryLocation:
        """Return the place of an entry's whole file for a program that asks for it; fetch it first if necessary.

        It is in the view; or at `place`, if the program names one: a whole file there is kept, and an empty or cut one
        replaced. If the file cannot be fetched, one in the user's own `~/.keras/ANTsXNet` is used, if it is whole and
        must be the right one.

        Args:
            manifest: of the release.
            entry: of `manifest`.
            place: the path at which the program looks; another one is returned if it cannot be written to.
            listen: hears a remark on everything but a file in the view.

        Raises:
            ManifestError: the release cannot fetch the entry, and no file of the user's own is whole.
            AntsCacheError: the file is missing and cannot be fetched; the errors are those of `prefetch`.
        """
        return operations.provide_file(self.root, manifest, entry, place=place, listen=listen)

    def files_in_user_home(self, plan: Plan) -> tuple[Path, tuple[str, ...]]:
        """Return the user's own `~/.keras/ANTsXNet`, and the names of missing files of `plan` that it has."""
        return operations.files_in_user_home(plan)

    def link(
        self,
        entries: Collection[Entry],
        directory: Path,
        mode: LinkMode = "auto",
        *,
        home_of: Package | None = None,
    ) -> Linked:
        """Put the files of `entries` into `directory`, so that nothing there points out of it.

        Other files in `directory` stay as they are, and files that have the right bytes already are kept.

        Args:
            entries: held in the root or in a lower cache.
            directory: made if it is not there.
            mode: how to link; "auto" clones, else hard-links, else copies. With "symlink" the files do point out.
            home_of: the package whose home `directory` is: each file gets its place in there.

        Raises:
            ViewError: a file is not held, or a name in `directory` is taken by other bytes, and nothing was changed; or
                the disk refused.
            StoreError: the root cannot be read.
        """
        return views.materialise(self.root, entries, directory, mode, home_of=home_of)

    def view_digest(self, release: Release) -> Digest:
        """Return the digest over the names and bytes of the selected files of `release`, equal for equal views.

        Raises:
            ViewError: nothing of the release is selected, or a file is not held.
            StoreError: the root cannot be read.
        """
        return views.digest_of_view(self.root, release)

    def lock(self, chosen: Chosen, *, adopted: bool = False, expected: Blobs | None = None) -> LockedRelease:
        """Lock the bytes of the entries that were chosen of a release. Nothing is written.

        Args:
            chosen: the entries, whose bytes are recorded or known from a shipped lockfile.
            adopted: also files that only a user vouches for; without it, such a file is an error.
            expected: the bytes that identifiers must have; they count where nothing is recorded.

        Raises:
            ManifestError: the bytes of some entries are not known.
            AntsCacheError: only a user vouches for a file.
            IntegrityError: other bytes are recorded than are `expected`.
            StoreError: the root cannot be read.
        """
        return operations.lock_release(self.root, chosen, adopted=adopted, expected=expected)

    # Upkeep

    def adopt(  # noqa: PLR0913  all but the first two by name
        self,
        directory: Path,
        manifest: Manifest,
        *,
        identifiers: Mapping[str, Identifier] | None = None,
        move: bool = False,
        dry_run: bool = False,
        listen: Listener = ignore_events,
    ) -> tuple[Judged, ...]:
        """Store, record and link the files in `directory` that are of a release; return the fate of each file.

        A file whose bytes are recorded is recognised under any name. Another is taken for the release's file of its
        name, on your word, if it has that file's form, and if no known release gives that name other bytes; its record
        says so, and an origin's word replaces it later. Unless offline, origins are asked first: a file is left alone
        if its size or MD5 differs, and recorded with the origin's trust if its MD5 agrees. All other files are left
        alone, with the reason. If it is interrupted, the next run goes on from there.

        Args:
            directory: a home, its `.keras`, or the directory in which ANTsPyNet keeps its files.
            manifest: of the release.
            identifiers: the identifiers of files, by their names in the directory, on your word.
            move: take the files out of `directory`, and copy only those that cannot be moved.
            dry_run: change nothing, and return the fate that each file would have.
            listen: hears how many bytes were read; and why networks are not scanned, if h5py is broken.

        Raises:
            ManifestError: one of `identifiers` is not of the release, or not of a file in the directory.
            StoreError: the root or `directory` cannot be read, the disk refused, or the files to move are in an
                antscache root. Each file is where it was, or in the store.
            ViewError: the disk refused to link; the files are in the store.
        """
        return operations.adopt_directory(
            self.root, directory, manifest, identifiers=identifiers, move=move, dry_run=dry_run, listen=listen
        )

    def forget(self, identifier: Identifier, *, dry_run: bool = False) -> Forgotten:
        """Remove the record of `identifier`, so that the next prefetch learns its bytes anew.

        The names in views that rest on it are removed. Its blob and the selections stay until a garbage collection.

        Args:
            identifier: recorded in the root, by you.
            dry_run: change nothing, and return the plan.

        Raises:
            StoreError: nothing is recorded for it in the root, or the record is another user's, and nothing was
                changed; or the disk refused.
            ViewError: the disk refused to remove a name from a view; the record is gone.
        """
        return operations.forget_identifier(self.root, identifier, dry_run=dry_run)

    def plan_export(
        self,
        releases: Collection[Release],
        *,
        names: str | Collection[str] = (),
        kinds: str | Collection[str] = (),
        adopted: bool = False,
    ) -> Contents:
        """Plan to export the selected files of `releases`. Nothing is written.

        Args:
            releases: in use; those without an entry of these names and kinds are left out.
            names: only entries of these names; without any, of all names. Each is a name of at least one release.
            kinds: only entries of these kinds; without any, of all kinds.
            adopted: also files that only a user vouches for; without it, such a file is an error.

        Raises:
            ViewError: a release or a name is not in use, or a file is not held.
            ManifestError: no release has such a name, or an entry of these kinds.
            AntsCacheError: only a user vouches for a file.
            ConfigError: SOURCE_DATE_EPOCH is not a time.
        """
        named, of_kinds = parse_names(names), parse_kinds(kinds)
        return export.plan_export(self.root, releases, names=named, kinds=of_kinds, adopted=adopted)

    def plan_locked_export(self, lockfile: Lockfile, *, adopted: bool = False) -> Contents:
        """Plan to export exactly the files of `lockfile`, in use or not. Nothing is written.

        Raises:
            ViewError: a file is not held.
            IntegrityError: other bytes are recorded than are locked.
            AntsCacheError: only a user vouches for a file, and `adopted` is False.
            ConfigError: SOURCE_DATE_EPOCH is not a time.
        """
        return export.plan_locked_export(self.root, lockfile, adopted=adopted)

    def export(self, contents: Contents, target: Target, listen: Listener = ignore_events) -> int:
        """Write `contents` to `target`, as a root that serves as a lower cache elsewhere; return its size in bytes.

        The same contents give the same bytes each time; but an image may differ if another version of the program makes
        it. After an error nothing of the export is left at `target`.

        Args:
            contents: of `plan_export`.
            target: a directory or an image that is not there yet.
            listen: hears how many bytes were read.

        Raises:
            IntegrityError: a blob is damaged.
            StoreError: something is at `target` already, and was not changed; or a blob cannot be read; or the disk
                refused.
            AntsCacheError: a program that makes the image is missing.
        """
        return export.write_export(self.root, contents, target, listen)

    def remove(self, release: Release, *, force: bool = False, dry_run: bool = False) -> Removed:
        """Take your selections of `release` out of use, and remove the files that nobody else selected from its view.

        Their bytes stay until a garbage collection. Files in the view that antscache did not make stay, and the result
        names them. If it is interrupted, the next run goes on from there.

        Args:
            release: in use.
            force: take the selections of others out of use as well.
            dry_run: change nothing, and return the plan.

        Raises:
            ViewError: nothing of the release is in use, and nothing was changed; or the disk refused.
            StoreError: only others have selected the release, only they can take their selections away, or a selection
                cannot be read, and nothing was changed; or the disk refused.
        """
        return operations.remove_release(self.root, release, force=force, dry_run=dry_run)

    def verify(
        self,
        releases: Collection[Release] = (),
        *,
        deep: bool = False,
        repair: bool = False,
        listen: Listener = ignore_events,
    ) -> Verified:
        """Read everything again, or the files of `releases`, and compare it with its checksums.

        A lower cache is read for those of `releases` that are in use there alone. Where there is no root, as in an
        image with data, lower caches are read whole. Damage is no error: the result lists it. Without `repair` nothing
        is changed.

        Args:
            releases: in use; without any, all that are in use.
            deep: repeat the checks of form and the scan of networks, which takes ten times as long.
            repair: move damaged files aside, fetch missing files again unless offline, and make views and index anew,
                with links where a copied root has copies; lower caches are not read.
            listen: hears how many bytes were read, from any thread; and each event of a fetch.

        Raises:
            StoreError: the root cannot be read; or, with `repair`, not written.
            ViewError: one of `releases` is not in use.
        """
        verify = operations.repair_root if repair else operations.verify_root
        return verify(self.root, releases, deep=deep, listen=listen)

    def sums(self, releases: Collection[Release] = ()) -> tuple[tuple[Digest, Path], ...]:
        """Return the digest and path of each blob and name in a view, for `sha256sum -c`. Nothing is read again.

        Raises:
            StoreError: the root cannot be read.
            ViewError: one of `releases` is not in use.
        """
        return operations.list_sums(self.root, releases)

    def gc(self, *, grace: float = operations.GRACE_SECONDS, now: bool = False, dry_run: bool = False) -> Garbage:
        """Condemn the blobs that no release in use needs, and delete those condemned longer ago than `grace` seconds.

        A condemned blob waits in the trash, and the next command that needs it restores it. It is safe to run this
        beside other commands.

        Args:
            grace: in seconds; younger blobs are not condemned either.
            now: condemn and delete at once, however young a blob is. A prefetch that has stored one, and not yet
                recorded it, fetches that file again.
            dry_run: change nothing, and return the plan.

        Raises:
            StoreError: a ref, or a record that it needs, cannot be read, and nothing was deleted; or the disk refused.
        """
        if now:
            return operations.collect_now(self.root, dry_run=dry_run)
        return operations.collect_garbage(self.root, grace=grace, dry_run=dry_run)

    # What is there

    def statuses(self, manifest: Manifest) -> tuple[EntryStatus, ...]:
        """Return each entry of `manifest` with its status: present, missing, unavailable or unreadable.

        Each entry that is present has the record of its bytes: digest, size, trust and checks.
        """
        return views.statuses(self.root, manifest)

    def records(self, entries: Iterable[Entry]) -> Mapping[Identifier, Record]:
        """Return the record of each of `entries` that has one: the trust, and what was found in the file."""
        return self.root.present_state(entries).records

    def cite(self, used: Release | Usage | Lockfile) -> tuple[Citation, ...]:
        """Cite the files of a release, of a record of use, or of a lockfile; return a citation for each release.

        Of a release, these are the selected files, in the root or else in a lower cache. The others are cited whether
        their files are held or not.

        Raises:
            ViewError: nothing of the release is selected, or a selected file is not held.
            ManifestError: the record contradicts itself, or a release has no such entry.
            StoreError: the root cannot be read.
        """
        return operations.cite_used(self.root, used)

    def usages(self) -> tuple[ReleaseUsage, ...]:
        """Return the usage of each release in use, here or in a lower cache: its held files, and their sizes."""
        return views.usages(self.root)

    def names_in_views(self) -> Names:
        """Return how many names the views of the root have, and those that are files of their own, unlike links."""
        return views.names_in_views(self.store)
