"""The port: listen on loopback, give each connection a thread, and close them all at once.

Closing shuts every connection down, which wakes the thread that waits in it, and joins the threads.
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
    """The slowness of answers.

    Attributes:
        rate: bytes a second on each connection; None means no limit.
        latency: seconds before each answer.

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
        """The bytes to send at once."""
        if self.rate is None:
            return _MAX_PIECE_BYTES
        return max(1, min(_MAX_PIECE_BYTES, int(self.rate / _PIECES_PER_SECOND)))


class Server(TCPServer):
    """HTTP/1.1 on 127.0.0.1: listens from construction until `close()`, and answers from `serve()` on.

    Args:
        port: 0 means any free port.
        pace: of every answer.
        tls: a context with certificate and key, to speak HTTPS; None means plain HTTP.

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
        """The URL of the server, without a slash at the end."""
        return "{}://{}:{}".format("https" if self._tls else "http", *self.socket.getsockname())

    def serve(self, figshare: Figshare) -> None:
        """Send the answers of `figshare` from now on, in threads; return at once."""
        self.figshare = figshare
        self._accepting = Thread(target=self.serve_forever, args=(_CLOSE_POLL_SECONDS,), daemon=True)
        self._accepting.start()

    def close(self) -> None:
        """Shut every connection down and end every thread. A second call does nothing."""
        self.closing.set()
        if self._accepting is not None:
            self.shutdown()
            self._accepting.join()
        self.server_close()
        with self._lock:
            threads = dict(self._threads)
        for connection, thread in threads.items():
            with suppress(OSError):  # its thread has just closed it
                socket.socket.shutdown(connection, socket.SHUT_RDWR)  # ssl's own would drop the encryption at once
            thread.join()

    def wait_for_clients(self) -> None:
        """Wait until each connection that a client has made so far has ended."""
        with socket.create_connection(self.socket.getsockname()) as last:  # accepted after all of them
            last.shutdown(socket.SHUT_WR)
            while last.recv(1024):
                pass
        with self._lock:
            threads = list(self._threads.values())
        for thread in threads:
            thread.join()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Give the connection a thread. Only the accepting thread calls this, so none is added after its end."""
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
        """Close the connection in order: with TLS, first tell the client that nothing was cut off."""
        if isinstance(request, ssl.SSLSocket) and request.fileno() != -1:
            with suppress(OSError, ValueError):
                request.unwrap()  # waits for the client to do the same, to go away, or for the server to close
        super().shutdown_request(request)

    def _serve_client(self, connection: socket.socket, client: tuple[str, int]) -> None:
        """Answer until one side closes. Suppress errors of the network only: any other is a defect of the stand-in."""
        try:
            with suppress(ConnectionError, ssl.SSLError):
                _begin_tls(connection)
                self.finish_request(connection, client)
        finally:
            self.shutdown_request(connection)
            with self._lock:
                del self._threads[connection]


def _begin_tls(connection: socket.socket) -> None:
    """Shake hands on a connection with TLS; leave any other alone.

    Raises:
        ConnectionError: the client went away, does not trust the certificate, or does not speak TLS.
    """
    if isinstance(connection, ssl.SSLSocket):
        try:
            connection.do_handshake()
        except OSError as error:
            raise ConnectionError from error
