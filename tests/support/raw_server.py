"""A server that sends exactly given bytes, whatever it is asked."""

from __future__ import annotations

import socket
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from support import cannot

if TYPE_CHECKING:
    from collections.abc import Iterator


def another_address() -> str:
    """Return an address of this host alone, beside 127.0.0.1; skip the test if it has none."""
    host = "127.0.0.2"
    try:
        socket.create_server((host, 0)).close()
    except OSError:  # macOS has one
        cannot(f"{host} is not of this host")
    return host


@contextmanager
def redirecting_server(target: str) -> Iterator[str]:
    """Redirect the first client that connects to `target`."""
    with raw_server(f"HTTP/1.1 302 Found\r\nLocation: {target}\r\nContent-Length: 0\r\n\r\n".encode()) as url:
        yield url


@contextmanager
def raw_server(answer: bytes, host: str = "127.0.0.1") -> Iterator[str]:
    """Send exactly these bytes to the first client that connects to `host`, and hang up."""
    with socket.create_server((host, 0)) as listening:

        def serve() -> None:
            with suppress(OSError):  # nobody came; or the client hung up before the end
                connection, _ = listening.accept()
                with connection:
                    connection.recv(65536)
                    connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://{host}:{listening.getsockname()[1]}/files/1"
        with suppress(OSError):
            listening.shutdown(socket.SHUT_RDWR)
        thread.join()
