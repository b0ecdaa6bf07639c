"""HTTP/1.1 on a loopback socket: what a `Figshare` answers, carried out as fast as Python allows, or as slow as asked.

One thread a connection; bytes of files go to the socket with `sendfile`. Closing the server shuts every connection
down, which ends the threads that wait in one, and joins them.
"""

from __future__ import annotations

import os
import socket
import struct
import time
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from socketserver import TCPServer
from threading import Event, Lock, Thread
from typing import TYPE_CHECKING, Any

from antscache.testing.answer import Answer, Ending, Span
from antscache.testing.figshare import Call, Figshare

if TYPE_CHECKING:
    from collections.abc import Iterator

_PIECE = 1 << 24  # bytes handed to the kernel at once
_PIECES_A_SECOND = 20  # into how many pieces a rate is divided
_CLOSING_LATENCY = 0.02  # seconds until the accepting thread sees that the server closes
_MORE = getattr(socket, "MSG_MORE", 0)  # Linux: head and body leave in one packet


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
        return _PIECE if self.rate is None else max(1, min(_PIECE, int(self.rate / _PIECES_A_SECOND)))


class Server(TCPServer):
    """Listens on 127.0.0.1 from its making until `close()`, and answers from `serve()` on.

    Args:
        port: 0 is any that is free.
        pace: how slow to be.

    Raises:
        OSError: the port is taken.
    """

    allow_reuse_address = True
    request_queue_size = 512

    def __init__(self, port: int, pace: Pace) -> None:
        super().__init__(("127.0.0.1", port), _Connection)
        self.figshare: Figshare
        self.pace = pace
        self.closing = Event()
        self._lock = Lock()
        self._threads: dict[socket.socket, Thread] = {}
        self._accepting: Thread | None = None

    @property
    def url(self) -> str:
        """Where it listens, without a slash at the end."""
        return "http://{}:{}".format(*self.socket.getsockname())

    def serve(self, figshare: Figshare) -> None:
        """Answer what `figshare` answers, in threads, and return at once."""
        self.figshare = figshare
        self._accepting = Thread(target=self.serve_forever, args=(_CLOSING_LATENCY,), daemon=True)
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
                connection.shutdown(socket.SHUT_RDWR)
            thread.join()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Give the connection a thread; called by the accepting thread only, so none is added after it has ended."""
        thread = Thread(target=self._converse, args=(request, client_address), daemon=True)
        with self._lock:
            self._threads[request] = thread
        thread.start()

    def _converse(self, connection: socket.socket, client: tuple[str, int]) -> None:
        """Speak until one side has enough; other errors than the network's are the stand-in's own, and are shown."""
        try:
            with suppress(ConnectionError):
                self.finish_request(connection, client)
        finally:
            self.shutdown_request(connection)
            with self._lock:
                del self._threads[connection]


class _Connection(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Server

    def do_GET(self) -> None:
        self._respond()

    def do_HEAD(self) -> None:
        self._respond()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  http.server's signature
        """Say nothing: the ledger knows."""

    def _respond(self) -> None:
        path, _, query = self.path.partition("?")
        call = Call(
            method=self.command,
            path=path,
            query=query,
            range=self.headers["Range"],
            if_range=self.headers["If-Range"],
            authorization=self.headers["Authorization"],
        )
        if self.server.pace.latency:
            self.server.closing.wait(self.server.pace.latency)
        answer = self.server.figshare.answer(call)
        self._send(answer)
        self._end(answer.ending)

    def _send(self, answer: Answer) -> None:
        headers = {"Date": self.date_time_string(), **answer.headers}
        lines = [f"{self.protocol_version} {answer.status} {HTTPStatus(answer.status).phrase}"]
        head = "\r\n".join([*lines, *(f"{name}: {value}" for name, value in headers.items()), "", ""]).encode()
        body = answer.body if self.command != "HEAD" and any(answer.body) else ()
        self.connection.sendall(head, _MORE if body else 0)
        begun, sent = time.monotonic(), 0
        for piece in _pieces(body, self.server.pace.piece):
            self._send_piece(piece, answer)
            sent += len(piece)
            if self.server.pace.rate is not None:
                self.server.closing.wait(begun + sent / self.server.pace.rate - time.monotonic())
        if answer.chunked and answer.ending is Ending.KEEP:
            self.connection.sendall(b"0\r\n\r\n")

    def _send_piece(self, piece: bytes | Span, answer: Answer) -> None:
        if answer.chunked:
            self.connection.sendall(f"{len(piece):x}\r\n".encode(), _MORE)
        self._send_counted(piece, answer.number)
        if answer.chunked:
            self.connection.sendall(b"\r\n")

    def _send_counted(self, piece: bytes | Span, number: str) -> None:
        """Send `piece`; it is counted before a client can have it, and what a failure left unsent is counted back."""
        ledger, sent = self.server.figshare.ledger, 0
        ledger.count(number, len(piece))
        try:
            if isinstance(piece, Span):
                with piece.path.open("rb", buffering=0) as file:
                    while sent < len(piece):
                        sent += _sendfile(self.connection, file.fileno(), piece.start + sent, len(piece) - sent)
            else:
                self.connection.sendall(piece)
                sent = len(piece)
        finally:
            ledger.count(number, sent - len(piece))

    def _end(self, ending: Ending) -> None:
        if ending is Ending.KEEP:
            return
        self.close_connection = True
        if ending is Ending.STALL:
            while self.connection.recv(1024):  # ends when the client goes away or the server closes
                pass
        elif ending is Ending.RESET:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            os.close(self.connection.detach())  # not by shutdown, which would end the connection in order


def _pieces(body: tuple[bytes | Span, ...], size: int) -> Iterator[bytes | Span]:
    """`body` in pieces of at most `size` bytes."""
    for part in body:
        for start in range(0, len(part), size):
            if isinstance(part, Span):
                yield Span(part.path, part.start + start, min(size, len(part) - start))
            else:
                yield part[start : start + size]


def _sendfile(connection: socket.socket, file: int, start: int, length: int) -> int:
    """Send up to `length` bytes of `file` from `start`, and return how many.

    Raises:
        ConnectionError: the client went away.
        EOFError: the file has become shorter.
    """
    sent = os.sendfile(connection.fileno(), file, start, length)
    if sent == 0:
        raise EOFError("a file that stands in for an identifier became shorter while it was served")
    return sent
