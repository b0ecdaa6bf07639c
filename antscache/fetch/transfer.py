"""One file on its way into the store: received in one or more answers, checked, published, recorded.

The bytes so far are a draft. A new answer continues the draft only if its bytes provably belong to the same file
(`resume_request`); otherwise a new draft begins. Bytes of two files never meet in one draft.
"""

from __future__ import annotations

import datetime as dt
import time
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from antscache.core import Event, Fetched, Partial, Received, Record, Remarked, Started
from antscache.disk import free_space
from antscache.fetch.attempts import open_at, url_at
from antscache.fetch.draft import Draft, Mismatch, WrongBytes, resume_request
from antscache.fetch.protocol import AnswerHead, RangeRequest, Refusal, checksums_of
from antscache.fetch.segments import FileRanges
from antscache.store import IngestVanished

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from antscache.core import HazardPolicy, Trust, Wanted
    from antscache.fetch.draft import Hdf5Scan
    from antscache.fetch.http import Body, Client
    from antscache.fetch.origins import Origin
    from antscache.fetch.protocol import Checksum
    from antscache.store import Notes, PartialFile, Store

FREED_BYTES = 1 << 20  # cut off a draft when the disk is full, so that `rm` and `gc` have room to work
MIN_RESUMABLE_BYTES = 1 << 20  # a smaller file is fetched anew: that is quicker than to ask for its rest


@dataclass(slots=True)
class Transfer:
    """A file on its way into the store. Close it.

    Attributes:
        wanted: the file.
        store: where it goes.
        notes: tell other processes which file each ingest is the beginning of.
        partials: the beginnings of the file that other processes have left, or are writing.
        scan: scans an HDF5 file for hazards.
        policy: decides which findings refuse the bytes.
        listen: called with each event.
        stopped: returns True once the run is interrupted.
        alone: True if no other process fetches the file meanwhile, so that nobody writes to `partials` any more.
        origin: the origin that answered last.
        ranges: the byte ranges of the file, each received over one connection.
    """

    wanted: Wanted
    store: Store
    notes: Notes
    partials: Sequence[PartialFile]
    scan: Hdf5Scan
    policy: HazardPolicy
    listen: Callable[[Event], None]
    stopped: Callable[[], bool]
    alone: bool = False
    origin: Origin | None = None
    ranges: FileRanges = field(init=False)
    _tried: set[Path] = field(default_factory=set)
    _draft: Draft | None = None
    _asked_at: float = 0.0
    _seconds: float = 0.0  # of earlier attempts

    def __post_init__(self) -> None:
        self.ranges = FileRanges(self.store.layout)

    @property
    def received(self) -> int:
        """The number of bytes that are here and need not be asked for again."""
        return self._draft.ingest.size if self._draft and self._draft.partial else 0

    @property
    def bytes_left(self) -> int:
        """The number of bytes still to be written; 0 if no origin has said the size of the file."""
        draft = self._draft
        return max(0, draft.partial.size - draft.ingest.size) if draft and draft.partial else 0

    def take_from(self, origin: Origin, client: Client) -> None:
        """Fetch the file from `origin` into the store, and record it.

        Raises:
            Refusal: the origin did not deliver it. The draft stays for the next attempt if it can be continued.
            StoreError: the disk refused.
            IntegrityError: another process has recorded other bytes for the identifier meanwhile.
        """
        url_at(origin, self.wanted)
        try:
            request, self._asked_at = self._next_request(origin), time.monotonic()
            with open_at(origin, self.wanted, request, client) as body:
                latency = time.monotonic() - self._asked_at
                draft = self._draft_for(body.head, origin)
                self.origin = origin
                self.ranges.begin(body.head.start, draft.partial, latency)
                self._receive(body, draft)
            self._join_segments(draft)
            self._finish(draft, origin)
        except Refusal as refusal:
            self._seconds += time.monotonic() - self._asked_at
            if isinstance(refusal, Mismatch) and origin.trust != "origin":
                refusal.confirmed = False
            self._restart_unless_usable(refusal)
            raise

    def give_back(self) -> bool:
        """Cut the end off the draft because the disk is full; return True if the rest is worth keeping.

        It is if the whole file is compared in the end, because a full disk may have lost some of its bytes. The cut
        makes room: in a root that is full to the last byte not even `rm` could work.
        """
        draft = self._draft
        return draft is not None and draft.noted and draft.is_compared and draft.ingest.shorten(FREED_BYTES)

    def close(self, *, keep: bool) -> None:
        """End the transfer. With `keep`, a draft that another run can continue stays on the disk."""
        self.ranges.drop()
        self._discard(keep=keep)

    # The draft, and how to continue it

    def _next_request(self, origin: Origin) -> RangeRequest:
        """Return the request to send to `origin`: for the missing bytes of a draft, or for the whole file.

        A partial file of an earlier process becomes the draft if it can be continued. A draft that cannot is removed.
        """
        draft, known = self._draft, self.wanted.known
        if draft is None:
            return self._copy_partial(origin) or RangeRequest()
        held, partial = draft.ingest.size, draft.partial
        request = resume_request(partial, held, origin.name, known, same_boot=True) if partial else None
        if request is None or request.start != held:
            self._restart()
            return RangeRequest()
        return RangeRequest(held, self.ranges.first_segment_start, request.size, request.etag)

    def _copy_partial(self, origin: Origin) -> RangeRequest | None:
        """Copy the longest partial file that can be continued, and return the request for its rest; None if none can.

        Each partial file is tried once. The copy is the draft afterwards, and takes the place of those that are not
        longer: otherwise a file that is interrupted ten times would take ten times its room.
        """
        for left in self.partials:
            partial, same_boot = left.partial, left.partial.boot == boot_id() != ""
            request = resume_request(partial, left.held, origin.name, self.wanted.known, same_boot=same_boot)
            if request is None or left.path in self._tried:
                continue
            self._tried.add(left.path)
            draft = self._new_draft(partial, checksums_of(partial.etag))
            draft.answers = 1
            try:
                for chunk in left.chunks(request.start):
                    draft.write(chunk)
            except WrongBytes:
                self._restart()  # it never was the beginning of this file
                continue
            if draft.ingest.size == request.start:
                if self.alone and draft.noted:
                    self._remove_partials(left.held)
                return request
            self._restart()
        return None

    def _draft_for(self, head: AnswerHead, origin: Origin) -> Draft:
        """Return the draft for the bytes of an answer: the present one, or a new one if they begin at 0."""
        draft = self._draft
        if draft is None or head.start == 0:
            self._restart()
            partial = None
            if head.size is not None:
                partial = Partial(self.wanted.identifier, head.size, head.etag, origin.name, boot_id())
            draft = self._new_draft(partial, (*checksums_of(head.etag), *head.checksums))
        draft.answers += 1
        draft.from_origin = origin.trust == "origin"
        self.listen(Started(self.wanted.identifier, self.wanted.file, origin.name, head.size, head.start))
        return draft

    def _new_draft(self, partial: Partial | None, expected: tuple[Checksum, ...]) -> Draft:
        draft = self._draft = Draft(self.store.ingest(), self.wanted, partial, expected, self.policy)
        if partial and partial.size >= MIN_RESUMABLE_BYTES and (partial.etag or self.wanted.known):
            self.notes.add(draft.ingest.path, partial)
            draft.noted = True
        return draft

    def _restart(self) -> None:
        """Remove the draft. Its file is not reused for the next one: another process may be copying it."""
        self.ranges.drop()
        self._discard(keep=False)

    def _discard(self, *, keep: bool) -> None:
        draft, self._draft = self._draft, None
        if draft:
            if keep and draft.noted:
                draft.ingest.keep()
            draft.ingest.close()

    def _restart_unless_usable(self, refusal: Refusal) -> None:
        """Remove the draft if `refusal` shows that it cannot be continued."""
        draft = self._draft
        if draft and (isinstance(refusal, WrongBytes) or refusal.discard_partial or not draft.partial):
            if isinstance(refusal, WrongBytes) and draft.answers > 1:
                refusal.transient = refusal.joined = True  # perhaps its answers are of different files
            self._restart()

    # Receiving

    def _receive(self, body: Body, draft: Draft) -> None:
        """Append the bytes of `body` to `draft`, up to the first segment."""
        for received in body:
            if self.stopped():
                raise Refusal("interrupted", transient=True)
            chunk, ended = self.ranges.allot(received)
            self.listen(Received(self.wanted.identifier, len(chunk)))
            draft.write(chunk)
            if not (draft.partial or self.wanted.known):
                self._require_room(draft)
            del received, chunk  # the memory of the next ones: see `Body`
            if ended:
                return

    def _require_room(self, draft: Draft) -> None:
        """Check that a file of unknown size leaves as much room as it takes: it must not fill the disk.

        Raises:
            Refusal: it does not.
        """
        free = free_space(self.store.layout.ingest)
        if free is not None and free < draft.ingest.size:
            raise Refusal(f"no length announced, and {draft.ingest.size} bytes take more room than they leave")

    def _join_segments(self, draft: Draft) -> None:
        """Append the bytes of all segments to `draft`, in order.

        Raises:
            Refusal: a segment is incomplete; the draft has all bytes up to the first missing one.
        """
        while segment := self.ranges.next_segment():
            for chunk in segment.chunks():
                if self.stopped():
                    raise Refusal("interrupted", transient=True)
                draft.write(chunk)
            position = draft.ingest.size
            self.ranges.mark_joined(segment, position)
            if position < segment.stop:
                raise Refusal(f"a segment was cut after {position - segment.start} bytes", transient=True)

    # Ending

    def _finish(self, draft: Draft, origin: Origin) -> None:
        """Check the complete draft, publish it as a blob, and record it."""
        checks, accepted, findings = draft.check(self.scan)
        self.ranges.drop()
        try:
            blob = draft.ingest.publish()
        except IngestVanished:
            raise Refusal("its partial file was removed meanwhile", transient=True, discard_partial=True) from None
        now = dt.datetime.now(dt.timezone.utc).isoformat(timespec="seconds")
        identifier, file = self.wanted.identifier, self.wanted.file
        trust: Trust = "lockfile" if self.wanted.locked else origin.trust
        replaced = self.store.records.remember(
            Record(identifier, blob.digest, blob.size, trust, origin.name, now, checks, accepted, findings)
        )
        if replaced and replaced.descriptor != blob:
            before = f"{file} {identifier} was recorded with other bytes from {replaced.source} ({replaced.trust})"
            self.listen(Remarked(f"{before}; those from {origin.name} replace them"))
        self._remove_partials()
        seconds = self._seconds + time.monotonic() - self._asked_at
        self.listen(Fetched(identifier, file, blob, origin.name, seconds, checks, accepted, findings))

    def _remove_partials(self, longest: int | None = None) -> None:
        """Remove the partial files of other processes, or those of up to `longest` bytes."""
        for left in self.partials:
            if longest is None or left.held <= longest:
                left.remove()


@cache
def boot_id() -> str:
    """Return the random identifier of the system's present boot; empty if it cannot be read."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
