"""How bytes leave through a connection: in the clear, straight from the file; or encrypted, piece by piece."""

from __future__ import annotations

import os
import socket
import ssl
from typing import Protocol

_MORE = getattr(socket, "MSG_MORE", 0)  # Linux: what is sent with it leaves in one packet with what follows
_ENCRYPTED_AT_ONCE = 1 << 18  # bytes


class Outlet(Protocol):
    """Where an answer goes.

    Both methods raise ConnectionError or ssl.SSLError if the client went away.
    """

    def send(self, content: bytes, *, more: bool = False) -> None:
        """Send all of `content`; with `more` it may wait for what is sent next."""

    def send_file(self, file: int, start: int, length: int) -> int:
        """Send up to `length` bytes of the file descriptor `file` from `start`, and return how many.

        Raises:
            EOFError: the file has become shorter.
        """


def outlet(connection: socket.socket) -> Outlet:
    """The outlet of `connection`."""
    return _Encrypted(connection) if isinstance(connection, ssl.SSLSocket) else _Clear(connection)


class _Clear:
    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    def send(self, content: bytes, *, more: bool = False) -> None:
        self._connection.sendall(content, _MORE if more else 0)

    def send_file(self, file: int, start: int, length: int) -> int:
        return _not_nothing(os.sendfile(self._connection.fileno(), file, start, length))


class _Encrypted:
    def __init__(self, connection: ssl.SSLSocket) -> None:
        self._connection = connection
        self._waiting = b""

    def send(self, content: bytes, *, more: bool = False) -> None:
        self._waiting += content
        if not more:
            content, self._waiting = self._waiting, b""
            self._connection.sendall(content)

    def send_file(self, file: int, start: int, length: int) -> int:
        piece = os.pread(file, min(length, _ENCRYPTED_AT_ONCE), start)
        self.send(piece)
        return _not_nothing(len(piece))


def _not_nothing(sent: int) -> int:
    if sent == 0:
        raise EOFError("a file that stands in for an identifier became shorter while it was served")
    return sent
