"""HTTP/1.1 on a loopback socket: one thread a connection.

Closing the server shuts every connection down, which ends the threads that wait in one, and joins them.
"""

from __future__ import annotations

import socket
import ssl
from contextlib import suppress
from dataclasses import dataclass
from socketserver import TCPServer
from threading import Event, Lock, Thread
from typing import TYPE_CHECKING, Any

from antscache.testing.connection import Connection

if TYPE_CHECKING:
    from antscache.testing.figshare import Figshare

_MAX_PIECE_BYTES = 1 << 24  # handed to the kernel at once
_PIECES_PER_SECOND = 20  # into how many pieces a rate is divided
_CLOSE_POLL_SECONDS = 0.02  # until the accepting thread sees that the server closes


@dataclass(frozen=True, slots=True)
class Pace:
    """How slow to be: `rate` in bytes a second on each connection (None: no limit), `latency` in seconds an answer.

    Raises:
        ValueError: the rate is not positive, or the latency is negative.
    """

    rate: float | None = None
    latency: float = 0.0

    def __post_init__(self) -> None:
        if (self.rate is not None and self.rate <= 0) or self.latency < 0:
            raise ValueError(f"a rate is positive and a latency is not negative: {self}")

    @property
    def piece(self) -> int:
        """How many bytes to send at once."""
        if self.rate is None:
            return _MAX_PIECE_BYTES
        return max(1, min(_MAX_PIECE_BYTES, int(self.rate / _PIECES_PER_SECOND)))


class Server(TCPServer):
    """Listens on 127.0.0.1 from its making until `close()`, and answers from `serve()` on.

    Args:
        port: 0 is any that is free.
        pace: how slow to be.
        tls: certificate and key, to speak HTTPS; None is plain HTTP.

    Raises:
        OSError: the port is taken.
    """

    allow_reuse_address = True
    request_queue_size = 512

    def __init__(self, port: int, pace: Pace, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(("127.0.0.1", port), Connection)
        self.figshare: Figshare
        self.pace = pace
        self.closing = Event()
        self._tls = tls
        self._lock = Lock()
        self._threads: dict[socket.socket, Thread] = {}
        self._accepting: Thread | None = None

    @property
    def url(self) -> str:
        """Where it listens, without a slash at the end."""
        return "{}://{}:{}".format("https" if self._tls else "http", *self.socket.getsockname())

    def serve(self, figshare: Figshare) -> None:
        """Answer what `figshare` answers, in threads, and return at once."""
        self.figshare = figshare
        self._accepting = Thread(target=self.serve_forever, args=(_CLOSE_POLL_SECONDS,), daemon=True)
        self._accepting.start()

    def close(self) -> None:
        """Stop: every connection is shut down and no thread is left. A second call does nothing."""
        self.closing.set()
        if self._accepting is not None:
            self.shutdown()
            self._accepting.join()
        self.server_close()
        with self._lock:
            threads = dict(self._threads)
        for connection, thread in threads.items():
            with suppress(OSError):  # it has just been closed by its thread
                socket.socket.shutdown(connection, socket.SHUT_RDWR)  # ssl's takes the encryption off at once
            thread.join()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Give the connection a thread; called by the accepting thread only, so none is added after it has ended."""
        if self._tls is not None:
            try:
                request = self._tls.wrap_socket(request, server_side=True, do_handshake_on_connect=False)
            except OSError:  # the client has already gone
                return
        thread = Thread(target=self._serve_client, args=(request, client_address), daemon=True)
        with self._lock:
            self._threads[request] = thread
        thread.start()

    def shutdown_request(self, request: Any) -> None:
        """Close the connection in order: with TLS's own end first, which tells a client that nothing was cut off."""
        if isinstance(request, ssl.SSLSocket) and request.fileno() != -1:
            with suppress(OSError, ValueError):
                request.unwrap()  # waits for the client's; it ends when the client goes away or the server closes
        super().shutdown_request(request)

    def _serve_client(self, connection: socket.socket, client: tuple[str, int]) -> None:
        """Speak until one side has enough; other errors than the network's are the stand-in's own, and are shown."""
        try:
            with suppress(ConnectionError, ssl.SSLError):
                _begin_tls(connection)
                self.finish_request(connection, client)
        finally:
            self.shutdown_request(connection)
            with self._lock:
                del self._threads[connection]


def _begin_tls(connection: socket.socket) -> None:
    """Begin TLS, where there is TLS.

    Raises:
        ConnectionError: the client went away, does not trust the certificate, or speaks something else.
    """
    if isinstance(connection, ssl.SSLSocket):
        try:
            connection.do_handshake()
        except OSError as error:
            raise ConnectionError from error
