"""A proxy for tests: it records every request, and forwards it to one address, no matter which host is named."""

from __future__ import annotations

import base64
import selectors
import socket
from contextlib import suppress
from socketserver import StreamRequestHandler, ThreadingTCPServer
from threading import Lock, Thread
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

_CLOSE_POLL_SECONDS = 0.02  # until the accepting thread sees that the proxy closes


class Proxy:
    """A proxy on a loopback port, from its construction until `close()` or the end of its `with` block.

    `CONNECT host:port` and `GET http://host/path` both lead to the host and port of `target`, a URL. With `credentials`
    ("name:password"), requests without them are answered 407.

    Attributes:
        url: of the proxy, without credentials.
        requests: (method, target) of every request, refused ones too: `("CONNECT", "api.figshare.com:443")`.
    """

    def __init__(self, target: str, credentials: str | None = None) -> None:
        where = urlsplit(target)
        assert where.hostname is not None
        assert where.port is not None
        self.requests: list[tuple[str, str]] = []
        self._server = _Server((where.hostname, where.port), credentials, self.requests)
        self.url = "http://{}:{}".format(*self._server.socket.getsockname())
        self._accepting = Thread(target=self._server.serve_forever, args=(_CLOSE_POLL_SECONDS,))
        self._accepting.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Shut down every connection at once, and leave no thread."""
        self._server.shutdown()
        self._accepting.join()
        self._server.hang_up()
        self._server.server_close()  # joins the connections' threads


class _Server(ThreadingTCPServer):
    daemon_threads = False

    def __init__(self, target: tuple[str, int], credentials: str | None, requests: list[tuple[str, str]]) -> None:
        super().__init__(("127.0.0.1", 0), _Connection)
        self.target = target
        self.needed = None if credentials is None else b"Basic " + base64.b64encode(credentials.encode())
        self.requests = requests
        self._lock = Lock()
        self._open: set[socket.socket] | None = set()

    def opened(self, connection: socket.socket) -> None:
        """Let `hang_up` shut down `connection`; shut it down now if `hang_up` has been called already."""
        with self._lock:
            if self._open is not None:
                self._open.add(connection)
                return
        _shut_down(connection)

    def closed(self, connection: socket.socket) -> None:
        """Forget `connection`."""
        with self._lock:
            if self._open is not None:
                self._open.discard(connection)

    def hang_up(self) -> None:
        """Shut every connection down."""
        with self._lock:
            connections, self._open = self._open or set(), None
            for connection in connections:
                _shut_down(connection)


class _Connection(StreamRequestHandler):
    server: _Server

    def handle(self) -> None:
        self.server.opened(self.connection)
        try:
            with suppress(ConnectionError):
                self._lead()
        finally:
            self.server.closed(self.connection)

    def _lead(self) -> None:
        """Answer one request. A plain one is the connection's last, so that no later head has to be read."""
        line, fields = self.rfile.readline(), dict[bytes, bytes]()
        while b":" in (field := self.rfile.readline()):
            name, _, value = field.partition(b":")
            fields[name.lower()] = value.strip()
        if not line:
            return
        method, target, _ = line.split()
        self.server.requests.append((method.decode(), target.decode()))
        if self.server.needed not in {None, fields.pop(b"proxy-authorization", None)}:
            refusal = b"Proxy-Authenticate: Basic realm=tests\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
            self.wfile.write(b"HTTP/1.1 407 Proxy Authentication Required\r\n" + refusal)
            return
        with socket.create_connection(self.server.target) as origin:
            self.server.opened(origin)
            try:
                if method == b"CONNECT":
                    self.wfile.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
                else:
                    origin.sendall(_origin_form(method, target, fields))
                _relay(self.connection, origin)
            finally:
                self.server.closed(origin)


def _origin_form(method: bytes, target: bytes, fields: dict[bytes, bytes]) -> bytes:
    where = urlsplit(target.decode())
    path = f"{where.path or '/'}{'?' if where.query else ''}{where.query}".encode()
    kept = {name: value for name, value in fields.items() if not name.startswith(b"proxy-")} | {b"connection": b"close"}
    lines = [method + b" " + path + b" HTTP/1.1", *(name + b": " + value for name, value in kept.items())]
    return b"\r\n".join([*lines, b"", b""])


def _relay(client: socket.socket, origin: socket.socket) -> None:
    """Carry bytes both ways until one side has ended."""
    other = {client: origin, origin: client}
    with selectors.DefaultSelector() as ready:
        for connection in other:
            ready.register(connection, selectors.EVENT_READ)
        while True:
            for key, _ in ready.select():
                arrived = key.fileobj
                assert isinstance(arrived, socket.socket)
                received = arrived.recv(1 << 16)
                if not received:
                    return
                other[arrived].sendall(received)


def _shut_down(connection: socket.socket) -> None:
    with suppress(OSError):  # it has just been closed
        connection.shutdown(socket.SHUT_RDWR)
