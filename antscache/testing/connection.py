"""One client: read its requests, and send the answers of a `Figshare`, as slowly as the server's `Pace` asks.

In the clear, bytes go straight from the file to the socket (`sendfile`); with TLS, piece by piece.
"""

from __future__ import annotations

import os
import socket
import ssl
import struct
import time
from contextlib import suppress
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Protocol

from antscache.testing.messages import Answer, BadRequestError, Ending, IncomingRequest, Span, read_request

if TYPE_CHECKING:
    from collections.abc import Iterator

    from antscache.testing.server import Server

_STATUS_PHRASES = {status.value: status.phrase for status in HTTPStatus}
_MSG_MORE = getattr(socket, "MSG_MORE", 0)  # Linux: send in one packet with the next bytes
_TLS_PIECE_BYTES = 1 << 18


class Connection(BaseHTTPRequestHandler):
    """A connection: answers one request after the other until one side closes it."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Server
    raw_requestline: bytes
    incoming: IncomingRequest

    def setup(self) -> None:
        """Choose the sender for this connection."""
        super().setup()
        self.sender = choose_sender(self.connection)

    def parse_request(self) -> bool:
        """Read the request whose first line is `raw_requestline`; answer a bad one with its status, and close."""
        self.command, self.requestline, self.request_version = "", "", self.protocol_version
        try:
            self.incoming = read_request(self.raw_requestline, self.rfile)
        except BadRequestError as error:
            self.send_error(error.status)
            return False
        self.command, self.close_connection = self.incoming.method, self.incoming.wants_close
        return True

    def do_GET(self) -> None:
        """Answer with a body."""
        self._answer()

    def do_HEAD(self) -> None:
        """Answer without a body."""
        self._answer()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  http.server's signature
        """Log nothing: the ledger has every request."""

    def _answer(self) -> None:
        if self.server.pace.latency:
            self.server.closing.wait(self.server.pace.latency)
        answer = self.server.figshare.answer(self.incoming)
        self._send(answer)
        if answer.endless:
            self._send_endlessly(answer)
        self._end_connection(answer.ending)

    def _send(self, answer: Answer) -> None:
        body = answer.body if self.command != "HEAD" and any(answer.body) else ()
        self.sender.send(self._encode_head(answer), more=bool(body))
        begun, sent, pace = time.monotonic(), 0, self.server.pace
        for index, part in enumerate(body):
            if index and answer.pause:
                self.server.closing.wait(answer.pause)
            for piece in _split(part, pace.piece):
                self._send_piece(piece, answer)
                sent += len(piece)
                if pace.rate is not None:
                    self.server.closing.wait(begun + sent / pace.rate - time.monotonic())
        if answer.chunked and answer.ending is Ending.KEEP:
            self.sender.send(b"0\r\n" + (b"" if answer.endless else b"\r\n"))

    def _send_endlessly(self, answer: Answer) -> None:
        with suppress(OSError):  # the client has gone away
            while not self.server.closing.wait(answer.pause):
                self.sender.send(answer.endless)

    def _encode_head(self, answer: Answer) -> bytes:
        if not answer.status:
            return b""
        lines = [f"HTTP/1.1 {answer.status} {_STATUS_PHRASES[answer.status]}", f"Date: {_http_date(int(time.time()))}"]
        lines += [f"{name}: {value}" for name, value in answer.headers.items()]
        if self.incoming.wants_close and "Connection" not in answer.headers:
            lines.append("Connection: close")
        return "\r\n".join([*lines, "", ""]).encode()

    def _send_piece(self, piece: bytes | Span, answer: Answer) -> None:
        if answer.chunked:
            self.sender.send(f"{len(piece):x}\r\n".encode(), more=True)
        self._send_and_count(piece, answer.number)
        if answer.chunked:
            self.sender.send(b"\r\n")

    def _send_and_count(self, piece: bytes | Span, number: str) -> None:
        """Count `piece` before a client can have it, and send it; take back the bytes that a failure left unsent."""
        ledger, sent = self.server.figshare.ledger, 0
        ledger.count_bytes(number, len(piece))
        try:
            if isinstance(piece, Span):
                with piece.path.open("rb", buffering=0) as file:
                    while sent < len(piece):
                        sent += self.sender.send_file(file.fileno(), piece.start + sent, len(piece) - sent)
            else:
                self.sender.send(piece)
                sent = len(piece)
        finally:
            if sent != len(piece):
                ledger.count_bytes(number, sent - len(piece))

    def _end_connection(self, ending: Ending) -> None:
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
def _http_date(second: int) -> str:
    """Return the date as HTTP writes it. Many answers share a second."""
    return formatdate(second, usegmt=True)


def _split(part: bytes | Span, size: int) -> Iterator[bytes | Span]:
    """Yield `part` in pieces of at most `size` bytes."""
    for start in range(0, len(part), size):
        if isinstance(part, Span):
            yield Span(part.path, part.start + start, min(size, len(part) - start))
        else:
            yield part[start : start + size]


class Sender(Protocol):
    """Sends bytes to a client.

    Both methods raise ConnectionError or ssl.SSLError if the client went away.
    """

    def send(self, content: bytes, *, more: bool = False) -> None:
        """Send all of `content`; with `more`, perhaps only together with the next bytes."""

    def send_file(self, file: int, start: int, length: int) -> int:
        """Send up to `length` bytes of the file descriptor `file` from `start`, and return how many.

        Raises:
            EOFError: the file has become shorter.
        """


def choose_sender(connection: socket.socket) -> Sender:
    """Return the sender for `connection`, with or without TLS."""
    return _TlsSender(connection) if isinstance(connection, ssl.SSLSocket) else _PlainSender(connection)


class _PlainSender:
    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    def send(self, content: bytes, *, more: bool = False) -> None:
        self._connection.sendall(content, _MSG_MORE if more else 0)

    def send_file(self, file: int, start: int, length: int) -> int:
        return _require_progress(os.sendfile(self._connection.fileno(), file, start, length))


class _TlsSender:
    def __init__(self, connection: ssl.SSLSocket) -> None:
        self._connection = connection
        self._waiting = b""

    def send(self, content: bytes, *, more: bool = False) -> None:
        self._waiting += content
        if not more:
            content, self._waiting = self._waiting, b""
            self._connection.sendall(content)

    def send_file(self, file: int, start: int, length: int) -> int:
        piece = os.pread(file, min(length, _TLS_PIECE_BYTES), start)
        self.send(piece)
        return _require_progress(len(piece))


def _require_progress(sent: int) -> int:
    if sent == 0:
        raise EOFError("a file became shorter while it was served")
    return sent
