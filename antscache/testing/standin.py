"""`StandIn`: the storage, the protocol and the server put together, and all that tests set and read."""

from __future__ import annotations

from contextlib import ExitStack, closing
from itertools import repeat
from typing import TYPE_CHECKING

import msgspec

from antscache import catalog
from antscache.core import Manifest, fetchable, figshare_number
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

DEFAULT_FILE_BYTES = 2_000_000
_DOWNLOAD_STATUSES = (200, 206)


class StandIn:
    """Figshare on a loopback port, from construction until `close()` or the end of its `with` block.

    Args:
        files: Figshare number to file name. The name's suffix decides which bytes are made up. None means all files
            of the shipped manifests. Any other number answers 404.
        contents: Figshare number to the bytes to serve, or to a file with them, in place of made-up ones. The file
            is served from its own path and must not change.
        size: bytes of each made-up file.
        sizes: Figshare number to bytes, for files of another size. Gigabytes take disk, but no memory.
        port: 0 means any free port.
        rate: bytes a second on each connection; None means no limit.
        latency: seconds before each answer.
        signed_for: seconds until a storage URL expires; with 0 it has expired when the client uses it.
        tls: a context with certificate and key, to speak HTTPS instead of HTTP.

    Raises:
        OSError: the port is taken, or there is no room for temporary files.
        ValueError: `rate` is not positive, `latency` is negative, or `sizes` names a file that is not made up.
    """

    def __init__(  # noqa: PLR0913  all but the first by name
        self,
        files: Mapping[str, str] | None = None,
        *,
        contents: Mapping[str, bytes | Path] | None = None,
        size: int = DEFAULT_FILE_BYTES,
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
            self._server = server
            self._open = stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop at once, and leave no thread, connection or temporary file. A second call does nothing."""
        self._open.close()

    @property
    def files(self) -> Mapping[str, str]:
        """Figshare number to file name, for every number with an answer other than 404."""
        return dict(self._directory.files)

    @property
    def origins(self) -> str:
        """The value for `ANTSCACHE_ORIGINS`: Figshare's three routes in their order, separated by blanks."""
        return self._templates("")

    def misbehaving_origins(self, how: Misbehaviour) -> str:
        """Return the same with every route misbehaving: by the URL alone, so it works for other processes too."""
        return self._templates(f"/misbehaving/{how.value}")

    def misbehave(self, number: str, how: Misbehaviour, times: int | None = None) -> None:
        """Let `number` misbehave on every route: for the next `times` requests that can show it, or for ever.

        Replaces everything set for `number` before. Requests to the routes count for the misbehaviours of the routes
        (`ROUTE_MISBEHAVIOURS`), requests to the storage for all others. While one is set, figshare.com's route
        answers like the other routes, without its challenge.

        Raises:
            KeyError: the stand-in does not answer for `number`.
            ValueError: `times` is less than one.
        """
        if times is not None and times < 1:
            raise ValueError(f"times: {times} is less than one")
        self.misbehave_in_turn(number, repeat(how) if times is None else repeat(how, times))

    def misbehave_in_turn(self, number: str, hows: Iterable[Misbehaviour | None]) -> None:
        """Let `number` misbehave as each of `hows` in turn, and behave after the last.

        Each lasts for one request that can show it, as with `misbehave`; a misbehaviour of ranges waits for a request
        with a range. None means: behave, for one request to the storage.

        Raises:
            KeyError: the stand-in does not answer for `number`.
        """
        if number not in self._directory.files:
            raise KeyError(number)
        self._figshare.schedule.set(number, hows)

    def behave(self, number: str) -> None:
        """Let `number` behave again; figshare.com's route answers with its challenge again."""
        self._figshare.schedule.set(number, ())

    def prepare(self) -> None:
        """Make up every file now, so that no request waits for it."""
        self._directory.prepare()

    def content(self, number: str) -> bytes:
        """Return the right bytes of `number`.

        Raises:
            KeyError: the stand-in does not answer for `number`.
        """
        return self._directory.file(number).path.read_bytes()

    @property
    def requests(self) -> list[Request]:
        """Every request so far, in the order of the answers. It is listed before its answer is sent."""
        return self._figshare.ledger.requests

    def downloads(self, number: str) -> int:
        """Count the storage's answers with bytes of `number`, whole files and ranges alike, once they have begun."""
        return sum(
            request.route == "storage" and request.number == number and request.status in _DOWNLOAD_STATUSES
            for request in self.requests
        )

    def sent(self, number: str) -> int:
        """Count the bytes of `number` handed to the network: never fewer than clients have received."""
        return self._figshare.ledger.sent(number)

    def wait_for_clients(self) -> None:
        """Wait until every client has gone, or closed its connections: the bytes `sent` are final then."""
        self._server.wait_for_clients()

    def _templates(self, prefix: str) -> str:
        return " ".join(f"{self.url}{prefix}{path}{{id}}" for path in ROUTES.values())


def catalog_files() -> dict[str, str]:
    """Return Figshare number to file name for every identifier of the shipped manifests.

    If releases name an identifier differently, take the name in the first manifest by file name.

    Raises:
        msgspec.DecodeError: a file there is not a manifest.
    """
    files: dict[str, str] = {}
    for path in sorted(catalog.SHIPPED_DIRECTORY.glob("*.json")):
        manifest = msgspec.json.decode(path.read_bytes(), type=Manifest)
        for entry in fetchable(manifest.entries):
            if entry.identifier and (number := figshare_number(entry.identifier)):
                files.setdefault(number, entry.file)
    return files
