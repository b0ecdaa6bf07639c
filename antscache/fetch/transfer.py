"""One file on its way: from whichever origin answers, in as many answers as it takes, checked, into the store.

What has come so far is a draft. It is built on as long as that can be told to be right (`resume_request`), and thrown
away for a new one otherwise; bytes of two files never meet in one draft.
"""

from __future__ import annotations

import datetime as dt
import time
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from antscache.core import Event, Fetched, Partial, Received, Record, Remarked, Started
from antscache.fetch.attempts import open_at, url_at
from antscache.fetch.draft import Draft, Wrong, resume_request
from antscache.fetch.protocol import AnswerHead, RangeRequest, Refusal
from antscache.fetch.segments import Parts
from antscache.store import IngestVanished

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from antscache.core import Wanted
    from antscache.fetch.draft import Walk
    from antscache.fetch.http import Body, Client
    from antscache.fetch.origins import Origin
    from antscache.store import Notes, PartialFile, Store

GIVEN_BACK = 1 << 20  # bytes of a transfer that a full disk has ended, for what else the root has to write
RESUMABLE = 1 << 20  # bytes: what is smaller is fetched anew sooner than it is asked for in parts


@dataclass(slots=True)
class Transfer:
    """A file on its way into the store. Close it.

    Attributes:
        notes: on what is being written, for whoever goes on.
        partials: what other processes have written of the file.
        walk: walks an HDF5 file for hazards.
        listen: hears what happens.
        stopped: whether to put things away and go.
        origin: who answered last.
        parts: of the file, and who receives them.
    """

    wanted: Wanted
    store: Store
    notes: Notes
    partials: Sequence[PartialFile]
    walk: Walk
    listen: Callable[[Event], None]
    stopped: Callable[[], bool]
    origin: Origin | None = None
    parts: Parts = field(init=False)
    _tried: set[Path] = field(default_factory=set)
    _draft: Draft | None = None
    _began: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self.parts = Parts(self.store.layout)

    @property
    def received(self) -> int:
        """How many bytes are here that need not be asked for again."""
        return self._draft.ingest.size if self._draft and self._draft.partial else 0

    @property
    def rest(self) -> int:
        """How many bytes are still to be written; 0 where nobody has said how many there are."""
        draft = self._draft
        return max(0, draft.partial.size - draft.ingest.size) if draft and draft.partial else 0

    def take_from(self, origin: Origin, client: Client) -> None:
        """The file is in the store and recorded, from `origin`.

        Raises:
            Refusal: it is not. What came of it is built on by the next try, if it can be.
            StoreError: the disk refused.
            IntegrityError: another process has recorded other bytes for the identifier meanwhile.
        """
        url_at(origin, self.wanted)
        try:
            asked, then = self._ask(origin), time.monotonic()
            with open_at(origin, self.wanted, asked, client) as body:
                latency = time.monotonic() - then
                draft = self._draft_for(body.reply, origin)
                self.origin = origin
                self.parts.begin(body.reply.start, draft.partial, latency)
                self._receive(body, draft)
            self._join_pieces(draft)
            self._finish(draft, origin)
        except Refusal as refusal:
            self._weigh(refusal)
            raise

    def give_back(self) -> bool:
        """The disk is full: what is left has some room. Whether what has come is worth being kept.

        It is if its digest is compared in the end: what a full disk has taken of it need not be there, and a root that
        is full to the last byte could not even be told to remove something.
        """
        draft = self._draft
        return draft is not None and draft.noted and draft.is_compared and draft.ingest.shorten(GIVEN_BACK)

    def close(self, *, keep: bool) -> None:
        """Nothing is under way any more; if `keep`, what can be gone on from in another run stays for it."""
        self.parts.drop()
        self._discard(keep=keep)

    # What to build on

    def _ask(self, origin: Origin) -> RangeRequest:
        """What to ask `origin` for: the whole file, or what is missing of the draft that is there afterwards."""
        draft, known = self._draft, self.wanted.known
        if draft is None:
            return self._copy_partial(origin) or RangeRequest()
        held, partial = draft.ingest.size, draft.partial
        asked = resume_request(partial, held, origin.name, known, same_boot=True) if partial else None
        if asked is None or asked.start != held:
            self._restart()
            return RangeRequest()
        return RangeRequest(held, self.parts.pieces_begin, asked.size, asked.etag)

    def _copy_partial(self, origin: Origin) -> RangeRequest | None:
        """What `origin` is to be asked for beyond the most that is left over, of which the draft is then a copy."""
        for left in self.partials:
            partial, same_boot = left.partial, left.partial.boot == boot() != ""
            asked = resume_request(partial, left.held, origin.name, self.wanted.known, same_boot=same_boot)
            if asked is None or left.path in self._tried:
                continue
            self._tried.add(left.path)
            draft = self._new_draft(partial, partial.etag)
            draft.answers = 1
            try:
                for chunk in left.chunks(asked.start):
                    draft.write(chunk)
            except Wrong:
                self._restart()  # it never was the beginning of this file
                continue
            if draft.ingest.size == asked.start:
                return asked
            self._restart()
        return None

    def _draft_for(self, reply: AnswerHead, origin: Origin) -> Draft:
        """The draft that the bytes of `reply` belong to: the one there is, or a new one if the file comes anew."""
        draft = self._draft
        if draft is None or reply.start == 0:
            self._restart()
            partial = None
            if reply.size is not None:
                partial = Partial(self.wanted.identifier, reply.size, reply.etag, origin.name, boot())
            draft = self._new_draft(partial, reply.etag)
        draft.answers += 1
        self.listen(Started(self.wanted.identifier, self.wanted.file, origin.name, reply.size, reply.start))
        return draft

    def _new_draft(self, partial: Partial | None, etag: str) -> Draft:
        draft = self._draft = Draft(self.store.ingest(), self.wanted, partial, etag)
        if partial and partial.size >= RESUMABLE and (partial.etag or self.wanted.known):
            self.notes.add(draft.ingest.path, partial)
            draft.noted = True
        return draft

    def _restart(self) -> None:
        """Nothing has come yet. What had is removed, and not written over: somebody may be copying it."""
        self.parts.drop()
        self._discard(keep=False)

    def _discard(self, *, keep: bool) -> None:
        draft, self._draft = self._draft, None
        if draft:
            if keep and draft.noted:
                draft.ingest.keep()
            draft.ingest.close()

    def _weigh(self, refusal: Refusal) -> None:
        """After `refusal`: can what came before it be built on?"""
        draft = self._draft
        if draft and (isinstance(refusal, Wrong) or refusal.discard_partial or not draft.partial):
            if isinstance(refusal, Wrong) and draft.answers > 1:
                refusal.transient = True  # perhaps its parts do not belong together: from the beginning, once more
            self._restart()

    # Receiving

    def _receive(self, body: Body, draft: Draft) -> None:
        """The bytes of `body` are in `draft`, up to where the first piece begins."""
        for received in body:
            if self.stopped():
                raise Refusal("interrupted", transient=True)
            chunk, ended = self.parts.allot(received)
            self.listen(Received(self.wanted.identifier, len(chunk)))
            draft.write(chunk)
            if ended:
                return

    def _join_pieces(self, draft: Draft) -> None:
        """The bytes of the pieces are in `draft`, in their order.

        Raises:
            Refusal: a piece ended before its end; the draft goes as far as it came.
        """
        while piece := self.parts.next_piece():
            for chunk in piece.chunks():
                if self.stopped():
                    raise Refusal("interrupted", transient=True)
                draft.write(chunk)
            here = draft.ingest.size
            self.parts.joined(piece, here)
            if here < piece.stop:
                raise Refusal(f"a piece was cut: {here - piece.start} bytes of it", transient=True)

    # Ending

    def _finish(self, draft: Draft, origin: Origin) -> None:
        """The draft, which is whole, is checked, published and recorded."""
        checks, accepted = draft.check(self.walk)
        self.parts.drop()
        try:
            blob = draft.ingest.publish()
        except IngestVanished:
            raise Refusal("what was written of it was taken away", transient=True, discard_partial=True) from None
        now = dt.datetime.now(dt.timezone.utc).isoformat(timespec="seconds")
        identifier, file = self.wanted.identifier, self.wanted.file
        before = self.store.record(identifier)
        self.store.records.remember(
            Record(identifier, blob.digest, blob.size, origin.trust, origin.name, now, checks, accepted)
        )
        if before and before.descriptor != blob:
            told = f"{file} {identifier} was other bytes on the word of {before.source} ({before.trust})"
            self.listen(Remarked(f"{told}; those of {origin.name} replace them"))
        for left in self.partials:
            left.remove()
        seconds = time.monotonic() - self._began
        self.listen(Fetched(identifier, file, blob, origin.name, seconds, checks, accepted))


@cache
def boot() -> str:
    """What tells one run of this system from another; empty where that cannot be told."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
