"""The program `python -m antscache.testing`: serve other processes until SIGINT or SIGTERM.

It writes one line to stdout once it listens, for a shell to evaluate:

    export ANTSCACHE_ORIGINS='http://127.0.0.1:41234/v2/file/download/{id} ...'
"""

from __future__ import annotations

import argparse
import signal
import ssl
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from antscache.testing.standin import DEFAULT_FILE_BYTES, StandIn

if TYPE_CHECKING:
    from collections.abc import Sequence

_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGINT or SIGTERM, and return 0.

    Raises:
        SystemExit: 2, an option cannot be used; stderr names it.
    """
    parser = _make_parser()
    options = parser.parse_args(arguments)
    signal.pthread_sigmask(signal.SIG_BLOCK, _STOP_SIGNALS)  # before threads start: only `sigwait` below receives them
    try:
        standin = StandIn(
            contents=dict(options.file),
            size=options.size,
            sizes=dict(options.size_of),
            port=options.port,
            rate=options.rate,
            latency=options.latency,
            tls=_load_tls(options.certificate, options.key),
        )
    except (OSError, OverflowError, ValueError) as error:
        parser.error(str(error))
    with standin:
        if options.prepare:
            standin.prepare()
        sys.stdout.write(f"export ANTSCACHE_ORIGINS='{standin.origins}'\n")
        sys.stdout.flush()
        signal.sigwait(_STOP_SIGNALS)
    return 0


def _make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m antscache.testing",
        description="Stand in for Figshare on a loopback port, for every identifier of the shipped manifests.",
    )
    parser.add_argument("--port", type=int, default=0, help="the port (default: any free one)")
    parser.add_argument(
        "--size", type=int, default=DEFAULT_FILE_BYTES, metavar="BYTES", help="size of each file (default: %(default)s)"
    )
    parser.add_argument(
        "--size-of",
        type=_parse_size,
        action="append",
        default=[],
        metavar="ID=BYTES",
        help="size of one Figshare number's file; may be repeated",
    )
    parser.add_argument("--rate", type=float, metavar="BYTES_PER_S", help="limit of each connection (default: none)")
    parser.add_argument(
        "--latency", type=float, default=0.0, metavar="SECONDS", help="wait before each answer (default: 0)"
    )
    parser.add_argument(
        "--file",
        type=_parse_file,
        action="append",
        default=[],
        metavar="ID=PATH",
        help="serve this file for a Figshare number; may be repeated",
    )
    parser.add_argument("--certificate", type=Path, metavar="FILE", help="speak HTTPS, with this chain (PEM)")
    parser.add_argument("--key", type=Path, metavar="FILE", help="the certificate's key (default: in the same file)")
    parser.add_argument("--prepare", action="store_true", help="make all files before serving")
    return parser


def _parse_file(text: str) -> tuple[str, Path]:
    """Read `ID=PATH`."""
    number, _, path = text.partition("=")
    if not (_is_number(number) and Path(path).is_file()):
        raise argparse.ArgumentTypeError(f"not a Figshare number and an existing file: {text!r}")
    return number, Path(path)


def _parse_size(text: str) -> tuple[str, int]:
    """Read `ID=BYTES`."""
    number, _, size = text.partition("=")
    if not (_is_number(number) and _is_number(size)):
        raise argparse.ArgumentTypeError(f"not a Figshare number and a size in bytes: {text!r}")
    return number, int(size)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()


def _load_tls(certificate: Path | None, key: Path | None) -> ssl.SSLContext | None:
    """Return a server's context with `certificate`; without one return None.

    Raises:
        OSError: the files cannot be read, or are not a certificate with its key.
        ValueError: there is a key without a certificate.
    """
    if certificate is None:
        if key is not None:
            raise ValueError("--key needs --certificate")
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    return context


if __name__ == "__main__":
    sys.exit(main())
