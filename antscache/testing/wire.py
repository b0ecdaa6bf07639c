"""HTTP/1.1 on a loopback socket: what a `Figshare` answers, carried out as fast as Python allows, or as slow as asked.

One thread a connection; bytes of files go to the socket with `sendfile`, unless there is TLS. Closing the server shuts
every connection down, which ends the threads that wait in one, and joins them.
"""

from __future__ import annotations

import os
import socket
import ssl
import struct
import time
from contextlib import suppress
from dataclasses import dataclass
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from socketserver import TCPServer
from threading import Event, Lock, Thread
from typing import TYPE_CHECKING, Any

from antscache.testing.answer import Answer, Ending, Span
from antscache.testing.call import Call
from antscache.testing.head import Head, UnreadableError, read_head
from antscache.testing.outlet import outlet

if TYPE_CHECKING:
    from collections.abc import Iterator

    from antscache.testing.figshare import Figshare

_PIECE = 1 << 24  # bytes handed to the kernel at once
_PIECES_A_SECOND = 20  # into how many pieces a rate is divided
_CLOSING_LATENCY = 0.02  # seconds until the accepting thread sees that the server closes
_PHRASES = {status.value: status.phrase for status in HTTPStatus}


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
        tls: certificate and key, to speak HTTPS; None is plain HTTP.

    Raises:
        OSError: the port is taken.
    """

    allow_reuse_address = True
    request_queue_size = 512

    def __init__(self, port: int, pace: Pace, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(("127.0.0.1", port), _Connection)
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
                socket.socket.shutdown(connection, socket.SHUT_RDWR)  # ssl's takes the encryption off at once
            thread.join()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Give the connection a thread; called by the accepting thread only, so none is added after it has ended."""
        if self._tls is not None:
            try:
                request = self._tls.wrap_socket(request, server_side=True, do_handshake_on_connect=False)
            except OSError:  # the client has already gone
                return
        thread = Thread(target=self._converse, args=(request, client_address), daemon=True)
        with self._lock:
            self._threads[request] = thread
        thread.start()

    def shutdown_request(self, request: Any) -> None:
        """Close the connection in order: with TLS's own end first, which tells a client that nothing was cut off."""
        if isinstance(request, ssl.SSLSocket) and request.fileno() != -1:
            with suppress(OSError, ValueError):
                request.unwrap()  # waits for the client's; it ends when the client goes away or the server closes
        super().shutdown_request(request)

    def _converse(self, connection: socket.socket, client: tuple[str, int]) -> None:
        """Speak until one side has enough; other errors than the network's are the stand-in's own, and are shown."""
        try:
            with suppress(ConnectionError, ssl.SSLError):
                _shake_hands(connection)
                self.finish_request(connection, client)
        finally:
            self.shutdown_request(connection)
            with self._lock:
                del self._threads[connection]


def _shake_hands(connection: socket.socket) -> None:
    """Begin TLS, where there is TLS.

    Raises:
        ConnectionError: the client went away, does not trust the certificate, or speaks something else.
    """
    if isinstance(connection, ssl.SSLSocket):
        try:
            connection.do_handshake()
        except OSError as error:
            raise ConnectionError from error


class _Connection(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Server
    raw_requestline: bytes
    head: Head

    def setup(self) -> None:
        super().setup()
        self.outlet = outlet(self.connection)

    def parse_request(self) -> bool:
        """Read the head of a request whose first line is at hand; or say what is wrong with it, and close."""
        self.arrived = time.monotonic()
        self.command, self.requestline, self.request_version = "", "", self.protocol_version
        try:
            self.head = read_head(self.raw_requestline, self.rfile)
        except UnreadableError as error:
            self.send_error(error.status)
            return False
        self.command, self.close_connection = self.head.method, self.head.is_last
        return True

    def do_GET(self) -> None:
        self._respond()

    def do_HEAD(self) -> None:
        self._respond()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  http.server's signature
        """Say nothing: the ledger knows."""

    def _respond(self) -> None:
        path, _, query = self.head.target.partition("?")
        fields = self.head.fields
        call = Call(
            method=self.command,
            path=path,
            query=query,
            at=self.arrived,
            host=fields.get("host"),
            authorization=fields.get("authorization"),
            range=fields.get("range"),
            if_range=fields.get("if-range"),
        )
        if self.server.pace.latency:
            self.server.closing.wait(self.server.pace.latency)
        answer = self.server.figshare.answer(call)
        if answer.status:
            self._send(answer)
        self._end(answer.ending)

    def _send(self, answer: Answer) -> None:
        body = answer.body if self.command != "HEAD" and any(answer.body) else ()
        self.outlet.send(self._head(answer), more=bool(body))
        begun, sent, pace = time.monotonic(), 0, self.server.pace
        for index, part in enumerate(body):
            if index and answer.pause:
                self.server.closing.wait(answer.pause)
            for piece in _pieces(part, pace.piece):
                self._send_piece(piece, answer)
                sent += len(piece)
                if pace.rate is not None:
                    self.server.closing.wait(begun + sent / pace.rate - time.monotonic())
        if answer.chunked and answer.ending is Ending.KEEP:
            self.outlet.send(b"0\r\n\r\n")

    def _head(self, answer: Answer) -> bytes:
        lines = [f"HTTP/1.1 {answer.status} {_PHRASES[answer.status]}", f"Date: {_date(int(time.time()))}"]
        lines += [f"{name}: {value}" for name, value in answer.headers.items()]
        if self.head.is_last and "Connection" not in answer.headers:
            lines.append("Connection: close")
        return "\r\n".join([*lines, "", ""]).encode()

    def _send_piece(self, piece: bytes | Span, answer: Answer) -> None:
        if answer.chunked:
            self.outlet.send(f"{len(piece):x}\r\n".encode(), more=True)
        self._send_counted(piece, answer.number)
        if answer.chunked:
            self.outlet.send(b"\r\n")

    def _send_counted(self, piece: bytes | Span, number: str) -> None:
        """Send `piece`; it is counted before a client can have it, and what a failure left unsent is counted back."""
        ledger, sent = self.server.figshare.ledger, 0
        ledger.count(number, len(piece))
        try:
            if isinstance(piece, Span):
                with piece.path.open("rb", buffering=0) as file:
                    while sent < len(piece):
                        sent += self.outlet.send_file(file.fileno(), piece.start + sent, len(piece) - sent)
            else:
                self.outlet.send(piece)
                sent = len(piece)
        finally:
            if sent != len(piece):
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


@lru_cache(maxsize=2)
def _date(second: int) -> str:
    """A date of HTTP; it is the same for many answers."""
    return formatdate(second, usegmt=True)


def _pieces(part: bytes | Span, size: int) -> Iterator[bytes | Span]:
    """`part` in pieces of at most `size` bytes."""
    for start in range(0, len(part), size):
        if isinstance(part, Span):
            yield Span(part.path, part.start + start, min(size, len(part) - start))
        else:
            yield part[start : start + size]
