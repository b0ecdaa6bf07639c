"""What the storage answers to those whom it lets in: a file or part of it, as it should be or gone wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from antscache.testing.answer import Answer, Span, Stored
from antscache.testing.call import parse_range
from antscache.testing.faults import AS_HELD, AS_LABELLED, AS_SENT, FOR_A_RANGE, FOR_ALL, FOR_AN_EMPTY_RANGE, IN_RANGE

if TYPE_CHECKING:
    from antscache.testing.call import Call
    from antscache.testing.misbehaviour import Misbehaviour
    from antscache.testing.schedule import Schedule
    from antscache.testing.shelf import Shelf

LAST_MODIFIED = "Fri, 11 Mar 2022 09:30:00 GMT"
CHANGED = "Sat, 12 Mar 2022 10:00:00 GMT"  # when an identifier came to stand for other bytes


class Storage:
    """Answers for what `shelf` holds, as `schedule` says."""

    def __init__(self, shelf: Shelf, schedule: Schedule) -> None:
        self._shelf = shelf
        self._schedule = schedule
        self._stored: dict[tuple[str, Misbehaviour | None], Stored] = {}

    def answer(self, call: Call, number: str, always: Misbehaviour | None) -> tuple[Answer, Misbehaviour | None]:
        """The answer to `call` for `number`, and the misbehaviour that it shows, if any.

        It is `always`, or where that is None the next that is scheduled; but only one that this request can show: a
        misbehaviour of ranges needs one, for instance.

        Raises:
            OSError: the storage's own file cannot be written or read.
        """
        sound = self._file(number, None)
        among = _showable(_asked(call, sound))
        how = self._schedule.take(number, among) if always is None else always
        if how is None or how not in among:
            return _honest(call, sound), None
        if how in AS_SENT:
            answer = _honest(call, sound)
            [body] = answer.body
            return (AS_SENT[how](answer, body) if isinstance(body, Span) else answer), how
        if how in IN_RANGE:
            return IN_RANGE[how](sound, _asked(call, sound) or range(0)), how
        return _honest(call, self._file(number, how)), how

    def _file(self, number: str, how: Misbehaviour | None) -> Stored:
        if (number, how) not in self._stored:
            self._stored[number, how] = self._looked_up(number, how)
        return self._stored[number, how]

    def _looked_up(self, number: str, how: Misbehaviour | None) -> Stored:
        sound = self._shelf.held(number)
        held = self._shelf.held(number, how) if how in AS_HELD else sound
        labels = {
            "Content-Type": "application/octet-stream",
            "Content-Disposition": f"attachment; filename={quote(self._shelf.original_name(number))}",
            "Accept-Ranges": "bytes",
        }
        tag = AS_LABELLED[how](held.md5) if how is not None and how in AS_LABELLED else f'"{held.md5}"'
        if tag is not None:
            labels |= {"ETag": tag, "Last-Modified": LAST_MODIFIED if held.md5 == sound.md5 else CHANGED}
        return Stored(number, Span(held.path, 0, held.size), labels)


def _asked(call: Call, stored: Stored) -> range | None:
    """The positions that count: those of the range, unless an `If-Range` says that it is of another file."""
    if call.range is None or (call.if_range is not None and not stored.is_labelled(call.if_range)):
        return None
    return parse_range(call.range, len(stored.span))


def _showable(asked: range | None) -> frozenset[Misbehaviour | None]:
    if asked is None:
        return FOR_ALL
    return FOR_A_RANGE if asked else FOR_AN_EMPTY_RANGE


def _honest(call: Call, stored: Stored) -> Answer:
    asked = _asked(call, stored)
    if asked is None:
        return stored.whole()
    return stored.part(asked) if asked else stored.unsatisfiable()
