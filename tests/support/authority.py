"""A certificate authority for tests, and a server's certificate for the names of Figshare, a mirror and this host."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING

import trustme

if TYPE_CHECKING:
    import datetime as dt
    from pathlib import Path

CERTIFIED_NAMES = (
    "api.figshare.com",
    "ndownloader.figshare.com",
    "figshare.com",
    "localhost",
    "mirror.test",
    "127.0.0.1",
)


@dataclass(frozen=True, slots=True)
class Authority:
    """PEM files: `ca` for clients to trust, `certificate` and `key` for a server under each of `CERTIFIED_NAMES`."""

    ca: Path
    certificate: Path
    key: Path

    @classmethod
    def in_directory(cls, directory: Path, *, not_after: dt.datetime | None = None) -> Authority:
        """Make an authority, with its files in `directory`; its server's certificate is valid until `not_after`."""
        authority = cls(directory / "ca.pem", directory / "certificate.pem", directory / "key.pem")
        ca = trustme.CA()
        issued = ca.issue_cert(*CERTIFIED_NAMES, not_after=not_after)
        ca.cert_pem.write_to_path(str(authority.ca))
        issued.private_key_pem.write_to_path(str(authority.key))
        for pem in issued.cert_chain_pems:
            pem.write_to_path(str(authority.certificate), append=True)
        return authority

    def server(self) -> ssl.SSLContext:
        """Return the TLS context of a server with this certificate."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self.certificate, self.key)
        return context
