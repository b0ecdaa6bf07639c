"""The stand-in itself: storage, protocol and server put together, and what tests ask of them."""

from __future__ import annotations

from contextlib import ExitStack, closing
from itertools import repeat
from typing import TYPE_CHECKING

import msgspec

from antscache import catalog
from antscache.manifest import Manifest, fetchable, figshare_number
from antscache.testing.figshare import ROUTES, Figshare
from antscache.testing.server import Pace, Server
from antscache.testing.storage import StorageDirectory

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path
    from ssl import SSLContext
    from types import TracebackType

    from typing_extensions import Self

    from antscache.testing.ledger import Request
    from antscache.testing.misbehaviour import Misbehaviour

DEFAULT_SIZE = 2_000_000
_WITH_BYTES = (200, 206)  # with which a download begins


class StandIn:
    """Figshare on a loopback port, from its making until `close()` or the end of its `with` block.

    Args:
        files: Figshare number to file name, whose suffix says what bytes are made; None is all that the shipped
            manifests name. Any other number answers 404.
        contents: bytes, or files with bytes, for numbers that shall have these and no made ones. A file is served
            from where it is, and must not change.
        size: of each file that is made, in bytes.
        sizes: Figshare number to size, where it is another; files of gigabytes take disk, but no memory.
        port: 0 is any that is free.
        rate: bytes a second on each connection; None is as fast as possible.
        latency: seconds before each answer.
        signed_for: seconds for which the storage's URLs are good; with 0 they have expired when they arrive.
        tls: certificate and key, to speak HTTPS instead of HTTP.

    Raises:
        OSError: the port is taken, or there is no room for temporary files.
        ValueError: `rate` or `latency` make no sense, or `sizes` names what is not made.
    """

    def __init__(  # noqa: PLR0913  all but the first by name
        self,
        files: Mapping[str, str] | None = None,
        *,
        contents: Mapping[str, bytes | Path] | None = None,
        size: int = DEFAULT_SIZE,
        sizes: Mapping[str, int] | None = None,
        port: int = 0,
        rate: float | None = None,
        latency: float = 0.0,
        signed_for: float = 10.0,
        tls: SSLContext | None = None,
    ) -> None:
        with ExitStack() as stack:
            directory = StorageDirectory(catalog_files() if files is None else files, contents or {}, size, sizes or {})
            stack.callback(directory.close)  # after the server, whose threads read from it
            server = stack.enter_context(closing(Server(port, Pace(rate, latency), tls)))
            self.url = server.url
            self._directory = directory
            self._figshare = Figshare(directory, server.url, signed_for)
            server.serve(self._figshare)
            self._open = stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop at once: no thread, connection or temporary file is left. A second call does nothing."""
        self._open.close()

    @property
    def files(self) -> Mapping[str, str]:
        """Figshare number to file name, for everything that it answers for."""
        return dict(self._directory.files)

    @property
    def origins(self) -> str:
        """What to set `ANTSCACHE_ORIGINS` to: Figshare's three routes in their order, blank-separated."""
        return self._templates("")

    def misbehaving_origins(self, how: Misbehaviour) -> str:
        """The same, where every route misbehaves; nothing is remembered, so this works for other processes too."""
        return self._templates(f"/misbehaving/{how.value}")

    def misbehave(self, number: str, how: Misbehaviour, times: int | None = None) -> None:
        """Let `number` misbehave on every route, for the next `times` requests that it can go wrong in, or for ever.

        What is set here replaces what was set for `number` before. A misbehaviour of the storage is counted in
        requests to the storage, one of the routes in requests to the routes. While one is set, figshare.com's route
        does not challenge but misbehaves like the others.

        Raises:
            KeyError: the stand-in does not answer for `number`.
            ValueError: `times` is less than one.
        """
        if times is not None and times < 1:
            raise ValueError(f"times: {times} is less than one")
        self.misbehave_in_turn(number, repeat(how) if times is None else repeat(how, times))

    def misbehave_in_turn(self, number: str, hows: Iterable[Misbehaviour | None]) -> None:
        """Let `number` misbehave in another way each time: first as the first of `hows`, and after the last no more.

        Each is for one request that it can go wrong in, as with `misbehave`; one that needs a range waits for a
        request that has one. None is to behave, for one request to the storage.

        Raises:
            KeyError: the stand-in does not answer for `number`.
        """
        if number not in self._directory.files:
            raise KeyError(number)
        self._figshare.schedule.set(number, hows)

    def behave(self, number: str) -> None:
        """Let `number` behave again; figshare.com's route challenges again."""
        self._figshare.schedule.set(number, ())

    def prepare(self) -> None:
        """Make every file now, so that no request has to wait for one to be made."""
        self._directory.prepare()

    def content(self, number: str) -> bytes:
        """The bytes that `number` stands for.

        Raises:
            KeyError: the stand-in does not answer for `number`.
        """
        return self._directory.file(number).path.read_bytes()

    @property
    def requests(self) -> list[Request]:
        """Every request so far, in the order of the answers; a request is here before its answer is sent."""
        return self._figshare.ledger.requests

    def downloads(self, number: str) -> int:
        """How many answers of the storage with bytes of `number` have begun, whole files and ranges alike."""
        return sum(
            request.route == "storage" and request.number == number and request.status in _WITH_BYTES
            for request in self.requests
        )

    def sent(self, number: str) -> int:
        """How many bytes of `number` were handed to the network: never fewer than clients have received."""
        return self._figshare.ledger.sent(number)

    def _templates(self, prefix: str) -> str:
        return " ".join(f"{self.url}{prefix}{path}{{id}}" for path in ROUTES.values())


def catalog_files() -> dict[str, str]:
    """Figshare number to file name for every identifier in `antscache/manifests/*.json`.

    Where releases have several names for an identifier, the first in the order of the manifests' names is taken.

    Raises:
        msgspec.DecodeError: a file there is no manifest.
    """
    found: dict[str, str] = {}
    for path in sorted(catalog.SHIPPED.glob("*.json")):
        manifest = msgspec.json.decode(path.read_bytes(), type=Manifest)
        for entry in fetchable(manifest.entries):
            if entry.identifier is not None:
                found.setdefault(figshare_number(entry.identifier), entry.file)
    return found
