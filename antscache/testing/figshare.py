"""Figshare's protocol, without sockets: three routes that lead to a signed, short-lived URL of a storage.

    api          /v2/file/download/<id>      302 to the storage      (api.figshare.com)
    ndownloader  /files/<id>                 302 to the storage      (ndownloader.figshare.com)
    figshare     /ndownloader/files/<id>     the bot challenge       (figshare.com)
    storage      /storage/<id>/<original name>?X-Expires=...&X-Signature=...

A prefix `/misbehaving/<how>` on any of them lets it misbehave. The prefix stays on the URL that a route leads to, so
this needs no state. `GET /requests` is the ledger as JSON.
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

from antscache.testing.faults import ROUTE_FAULTS
from antscache.testing.ledger import Ledger, Request
from antscache.testing.messages import Answer, IncomingRequest, plain, redirect
from antscache.testing.misbehaviour import Misbehaviour, Schedule
from antscache.testing.storage import Storage

if TYPE_CHECKING:
    from antscache.testing.storage import StorageDirectory

ROUTES = {"api": "/v2/file/download/", "ndownloader": "/files/", "figshare": "/ndownloader/files/"}
STORAGE_PATH = "/storage/"

_PATH = re.compile(
    r"(?:/misbehaving/(?P<how>[a-z0-9-]+))?"
    rf"(?P<route>{'|'.join([*ROUTES.values(), STORAGE_PATH])})(?P<number>[0-9]+)(?P<name>/[^/]+)?"
)
_SIGNED_QUERY = re.compile(r"X-Expires=(?P<expires>[0-9.]+)&X-Signature=(?P<signature>[0-9a-f]+)")
_ROUTE_NAMES = {path: name for name, path in ROUTES.items()} | {STORAGE_PATH: "storage"}


class _Target(msgspec.Struct, frozen=True):
    """The route and the identifier in a path, and the misbehaviour in its prefix."""

    route: str
    number: str
    how: Misbehaviour | None


class Figshare:
    """Figshare with the files of `directory`: it answers as `schedule` says, and keeps a `ledger`.

    Args:
        directory: the storage's files.
        url: of the server, for redirects.
        signed_for: seconds until a redirect's URL expires; with 0 it has expired when the client uses it.
    """

    def __init__(self, directory: StorageDirectory, url: str, signed_for: float) -> None:
        self.ledger = Ledger()
        self.schedule = Schedule()
        self._directory = directory
        self._storage = Storage(directory, self.schedule)
        self._url = url
        self._signed_for = signed_for
        self._secret = secrets.token_bytes(32)

    def answer(self, request: IncomingRequest) -> Answer:
        """Return the answer to `request`, and enter both in the ledger.

        Raises:
            OSError: the storage's file cannot be written or read.
        """
        if request.path == "/requests":
            return plain(200, msgspec.json.encode(self.ledger.requests), {"Content-Type": "application/json"})
        target = _parse_path(request.path)
        if target is None or target.number not in self._directory.files:
            answer, how = _no_such_file(), None
        elif target.route == "storage":
            answer, how = self._at_storage(request, target)
        else:
            answer, how = self._at_route(request, target)
        self.ledger.record(_ledger_entry(request, target, answer, how))
        return answer

    def _at_route(self, request: IncomingRequest, target: _Target) -> tuple[Answer, Misbehaviour | None]:
        if request.method == "HEAD":
            return plain(200), None
        how = target.how or self.schedule.take(target.number, ROUTE_FAULTS)
        if how is None and target.route == "figshare" and not self.schedule.is_set(target.number):
            how = Misbehaviour.CHALLENGE
        if how is not None and how in ROUTE_FAULTS:
            return ROUTE_FAULTS[how](self._url + request.path), how
        return redirect(self._signed_url(target)), None

    def _at_storage(self, request: IncomingRequest, target: _Target) -> tuple[Answer, Misbehaviour | None]:
        if request.method == "HEAD" or not self._has_valid_signature(request):
            return _refuse(403, "AccessDenied"), None
        if request.authorization is not None:
            return _refuse(400, "InvalidArgument"), None
        return self._storage.answer(request, target.number, target.how)

    def _signed_url(self, target: _Target) -> str:
        """Return the storage's URL of `target` with an expiry date and a signature; keep the prefix, if any."""
        prefix = f"/misbehaving/{target.how.value}" if target.how else ""
        path = f"{prefix}{STORAGE_PATH}{target.number}/{quote(self._directory.original_name(target.number))}"
        expires = f"{time.time() + self._signed_for:.6f}"
        return f"{self._url}{path}?X-Expires={expires}&X-Signature={self._signature(path, expires)}"

    def _has_valid_signature(self, request: IncomingRequest) -> bool:
        query = _SIGNED_QUERY.fullmatch(request.query)
        if query is None:
            return False
        good = hmac.compare_digest(query["signature"], self._signature(request.path, query["expires"]))
        return good and time.time() < float(query["expires"])

    def _signature(self, path: str, expires: str) -> str:
        return hashlib.blake2b(f"{path}?{expires}".encode(), key=self._secret, digest_size=16).hexdigest()


@lru_cache(maxsize=1 << 12)  # clients ask for the same paths again and again
def _parse_path(path: str) -> _Target | None:
    """Read a path; return None for one that neither Figshare nor a prefix knows."""
    match = _PATH.fullmatch(path)
    if match is None or (match["route"] == STORAGE_PATH) != (match["name"] is not None):
        return None
    try:
        how = Misbehaviour(match["how"]) if match["how"] else None
    except ValueError:
        return None
    return _Target(_ROUTE_NAMES[match["route"]], match["number"], how)


def _ledger_entry(
    request: IncomingRequest, target: _Target | None, answer: Answer, how: Misbehaviour | None
) -> Request:
    return Request(
        method=request.method,
        path=request.path,
        route=target.route if target else "",
        number=target.number if target else "",
        host=request.host,
        authorization=request.authorization,
        range=request.range,
        if_range=request.if_range,
        status=answer.status,
        misbehaviour=how.value if how else None,
        at=request.at,
    )


def _no_such_file() -> Answer:
    body = b'{"message": "Entity not found: file", "code": "EntityNotFound"}'
    return plain(404, body, {"Content-Type": "application/json"})


def _refuse(status: int, code: str) -> Answer:
    """Return an error of the storage, which speaks XML."""
    body = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code></Error>'.encode()
    return plain(status, body, {"Content-Type": "application/xml"})
