"""Figshare's protocol: three routes that lead to a signed, short-lived URL at a storage. No sockets here.

    api          /v2/file/download/<id>      302 to the storage      (api.figshare.com)
    ndownloader  /files/<id>                 302 to the storage      (ndownloader.figshare.com)
    figshare     /ndownloader/files/<id>     the bot challenge       (figshare.com)
    storage      /storage/<id>/<original name>?X-Expires=...&X-Signature=...

Each of them may be prefixed with `/misbehaving/<how>`; the prefix stays on the URL that a route leads to, so that no
state is needed. `GET /requests` is the ledger as JSON.
"""

from __future__ import annotations

import hmac
import re
import secrets
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, quote

import msgspec

from antscache.testing.answer import Answer, Span, Unsatisfiable, parse_range, plain, redirect
from antscache.testing.ledger import Ledger, Request
from antscache.testing.misbehaviour import AS_HELD, AS_SENT, AT_ROUTE, Misbehaviour
from antscache.testing.schedule import Schedule

if TYPE_CHECKING:
    from antscache.testing.shelf import Shelf

ROUTES = {"api": "/v2/file/download/", "ndownloader": "/files/", "figshare": "/ndownloader/files/"}
STORAGE = "/storage/"
LAST_MODIFIED = "Fri, 11 Mar 2022 09:30:00 GMT"

_PATH = re.compile(
    r"(?:/misbehaving/(?P<how>[a-z-]+))?"
    rf"(?P<route>{'|'.join([*ROUTES.values(), STORAGE])})(?P<number>[0-9]+)(?P<name>/[^/]+)?"
)
_ROUTE_NAMES = {path: name for name, path in ROUTES.items()} | {STORAGE: "storage"}


@dataclass(frozen=True, slots=True)
class Call:
    """A request as it arrived: `path` and `query` undecoded, and those of its headers that matter."""

    method: str
    path: str
    query: str
    range: str | None
    if_range: str | None
    authorization: str | None


@dataclass(frozen=True, slots=True)
class _Target:
    """What a path names; `how` is its prefix."""

    route: str
    number: str
    how: Misbehaviour | None


class Figshare:
    """Answers calls for what `shelf` holds; tests set its `schedule` and read its `ledger`.

    Args:
        shelf: what the storage holds.
        url: where the server can be reached, for the redirects.
        signed_for: how long a redirect's URL is good, in seconds; with 0 it has expired when it arrives.
    """

    def __init__(self, shelf: Shelf, url: str, signed_for: float) -> None:
        self.ledger = Ledger()
        self.schedule = Schedule()
        self._shelf = shelf
        self._url = url
        self._signed_for = signed_for
        self._secret = secrets.token_bytes(32)

    def answer(self, call: Call) -> Answer:
        """The answer to `call`, which is in the ledger when this returns.

        Raises:
            OSError: the storage's own file cannot be written or read.
        """
        if call.path == "/requests":
            return plain(200, msgspec.json.encode(self.ledger.requests), {"Content-Type": "application/json"})
        target = _target(call.path)
        if target is None or target.number not in self._shelf.files:
            answer, how = _no_such_file(), None
        elif target.route == "storage":
            answer, how = self._at_storage(call, target)
        else:
            answer, how = self._at_route(call, target)
        self.ledger.enter(
            Request(
                method=call.method,
                path=call.path,
                route=target.route if target else "",
                number=target.number if target else "",
                range=call.range,
                status=answer.status,
                misbehaviour=how.value if how else None,
            )
        )
        return answer

    def _at_route(self, call: Call, target: _Target) -> tuple[Answer, Misbehaviour | None]:
        if call.method == "HEAD":
            return plain(200), None
        how = target.how or self.schedule.take(target.number, AT_ROUTE) or self.schedule.due(target.number)
        if how is None and target.route == "figshare":
            how = Misbehaviour.CHALLENGE
        if how is not None and how in AT_ROUTE:
            return AT_ROUTE[how](self._url + call.path), how
        return redirect(self._signed(target)), None

    def _at_storage(self, call: Call, target: _Target) -> tuple[Answer, Misbehaviour | None]:
        if call.method == "HEAD" or not self._is_signed(call):
            return _refused(403, "AccessDenied"), None
        if call.authorization is not None:
            return _refused(400, "InvalidArgument"), None
        how = target.how or self.schedule.take(target.number, AS_HELD.keys() | AS_SENT.keys())
        answer = self._stored(call, target.number, how if how in AS_HELD else None)
        [body] = answer.body
        if how is not None and how in AS_SENT and isinstance(body, Span):
            answer = AS_SENT[how](answer, body)
        return answer, how

    def _stored(self, call: Call, number: str, how: Misbehaviour | None) -> Answer:
        held = self._shelf.held(number, how)
        original = quote(_original_name(self._shelf.files[number]))
        headers = {
            "Content-Type": "application/octet-stream",
            "Content-Disposition": f"attachment; filename={original}",
            "Accept-Ranges": "bytes",
            "ETag": f'"{held.md5}"',
            "Last-Modified": LAST_MODIFIED,
        }
        unchanged = call.if_range in (None, headers["ETag"], headers["Last-Modified"])
        try:
            wanted = parse_range(call.range if unchanged else None, held.size)
        except Unsatisfiable:
            return plain(416, headers={"Content-Range": f"bytes */{held.size}"})
        span = Span(held.path, 0, held.size)
        if wanted is not None:
            headers["Content-Range"] = f"bytes {wanted.start}-{wanted.stop - 1}/{held.size}"
            span = Span(held.path, wanted.start, len(wanted))
        headers["Content-Length"] = str(len(span))
        return Answer(200 if wanted is None else 206, headers, (span,), number=number)

    def _signed(self, target: _Target) -> str:
        """The URL at the storage, good for a while; a prefix stays with it."""
        prefix = f"/misbehaving/{target.how.value}" if target.how else ""
        path = f"{prefix}{STORAGE}{target.number}/{quote(_original_name(self._shelf.files[target.number]))}"
        expires = repr(time.time() + self._signed_for)
        return f"{self._url}{path}?X-Expires={expires}&X-Signature={self._signature(path, expires)}"

    def _is_signed(self, call: Call) -> bool:
        query = parse_qs(call.query)
        expires, signature = query.get("X-Expires", [""])[-1], query.get("X-Signature", [""])[-1]
        good = hmac.compare_digest(signature.encode(), self._signature(call.path, expires).encode())
        return good and time.time() < float(expires)

    def _signature(self, path: str, expires: str) -> str:
        return hmac.new(self._secret, f"{path}?{expires}".encode(), "sha256").hexdigest()


def _target(path: str) -> _Target | None:
    """What `path` names; None where no origin would have it."""
    match = _PATH.fullmatch(path)
    if match is None or (match["route"] == STORAGE) != (match["name"] is not None):
        return None
    try:
        how = Misbehaviour(match["how"]) if match["how"] else None
    except ValueError:
        return None
    return _Target(_ROUTE_NAMES[match["route"]], match["number"], how)


def _original_name(file: str) -> str:
    """The name under which `file` was uploaded: not ANTsPyNet's (field notes, "Figshare as an origin")."""
    return f"original_{file}"


def _no_such_file() -> Answer:
    body = b'{"message": "Entity not found: file", "code": "EntityNotFound"}'
    return plain(404, body, {"Content-Type": "application/json"})


def _refused(status: int, code: str) -> Answer:
    """How the storage refuses."""
    body = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code></Error>'.encode()
    return plain(status, body, {"Content-Type": "application/xml"})
