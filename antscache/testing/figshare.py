"""Figshare's protocol: three routes that lead to a signed, short-lived URL at a storage. No sockets here.

    api          /v2/file/download/<id>      302 to the storage      (api.figshare.com)
    ndownloader  /files/<id>                 302 to the storage      (ndownloader.figshare.com)
    figshare     /ndownloader/files/<id>     the bot challenge       (figshare.com)
    storage      /storage/<id>/<original name>?X-Expires=...&X-Signature=...

Each of them may be prefixed with `/misbehaving/<how>`; the prefix stays on the URL that a route leads to, so that no
state is needed. `GET /requests` is the ledger as JSON.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import time
from functools import lru_cache
from typing import TYPE_CHECKING
from urllib.parse import quote

import msgspec

from antscache.testing.faults import AT_ROUTE
from antscache.testing.ledger import Ledger, Request
from antscache.testing.messages import Answer, Call, plain, redirect
from antscache.testing.misbehaviour import Misbehaviour, Schedule
from antscache.testing.storage import Storage

if TYPE_CHECKING:
    from antscache.testing.storage import Shelf

ROUTES = {"api": "/v2/file/download/", "ndownloader": "/files/", "figshare": "/ndownloader/files/"}
STORAGE = "/storage/"

_PATH = re.compile(
    r"(?:/misbehaving/(?P<how>[a-z0-9-]+))?"
    rf"(?P<route>{'|'.join([*ROUTES.values(), STORAGE])})(?P<number>[0-9]+)(?P<name>/[^/]+)?"
)
_SIGNED = re.compile(r"X-Expires=(?P<expires>[0-9.]+)&X-Signature=(?P<signature>[0-9a-f]+)")
_ROUTE_NAMES = {path: name for name, path in ROUTES.items()} | {STORAGE: "storage"}


class _Target(msgspec.Struct, frozen=True):
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
        self._storage = Storage(shelf, self.schedule)
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
        self.ledger.enter(_entered(call, target, answer, how))
        return answer

    def _at_route(self, call: Call, target: _Target) -> tuple[Answer, Misbehaviour | None]:
        if call.method == "HEAD":
            return plain(200), None
        how = target.how or self.schedule.take(target.number, AT_ROUTE)
        if how is None and target.route == "figshare" and not self.schedule.is_set(target.number):
            how = Misbehaviour.CHALLENGE
        if how is not None and how in AT_ROUTE:
            return AT_ROUTE[how](self._url + call.path), how
        return redirect(self._signed(target)), None

    def _at_storage(self, call: Call, target: _Target) -> tuple[Answer, Misbehaviour | None]:
        if call.method == "HEAD" or not self._is_signed(call):
            return _refused(403, "AccessDenied"), None
        if call.authorization is not None:
            return _refused(400, "InvalidArgument"), None
        return self._storage.answer(call, target.number, target.how)

    def _signed(self, target: _Target) -> str:
        """The URL at the storage, good for a while; a prefix stays with it."""
        prefix = f"/misbehaving/{target.how.value}" if target.how else ""
        path = f"{prefix}{STORAGE}{target.number}/{quote(self._shelf.original_name(target.number))}"
        expires = f"{time.time() + self._signed_for:.6f}"
        return f"{self._url}{path}?X-Expires={expires}&X-Signature={self._signature(path, expires)}"

    def _is_signed(self, call: Call) -> bool:
        query = _SIGNED.fullmatch(call.query)
        if query is None:
            return False
        good = hmac.compare_digest(query["signature"], self._signature(call.path, query["expires"]))
        return good and time.time() < float(query["expires"])

    def _signature(self, path: str, expires: str) -> str:
        return hashlib.blake2b(f"{path}?{expires}".encode(), key=self._secret, digest_size=16).hexdigest()


@lru_cache(maxsize=1 << 12)  # the same are asked for again and again
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


def _entered(call: Call, target: _Target | None, answer: Answer, how: Misbehaviour | None) -> Request:
    return Request(
        method=call.method,
        path=call.path,
        route=target.route if target else "",
        number=target.number if target else "",
        host=call.host,
        authorization=call.authorization,
        range=call.range,
        if_range=call.if_range,
        status=answer.status,
        misbehaviour=how.value if how else None,
        at=call.at,
    )


def _no_such_file() -> Answer:
    body = b'{"message": "Entity not found: file", "code": "EntityNotFound"}'
    return plain(404, body, {"Content-Type": "application/json"})


def _refused(status: int, code: str) -> Answer:
    """How the storage refuses."""
    body = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code></Error>'.encode()
    return plain(status, body, {"Content-Type": "application/xml"})
