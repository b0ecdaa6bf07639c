"""A certificate authority for tests, and what it certifies: one server as Figshare, a mirror and this host."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING

import trustme

if TYPE_CHECKING:
    from pathlib import Path

NAMES = (
    "api.figshare.com",
    "ndownloader.figshare.com",
    "figshare.com",
    "localhost",
    "mirror.test",
    "127.0.0.1",
)


@dataclass(frozen=True, slots=True)
class Authority:
    """PEM files: `ca` for clients to trust, `certificate` and `key` for a server under each of `NAMES`."""

    ca: Path
    certificate: Path
    key: Path

    @classmethod
    def in_directory(cls, directory: Path) -> Authority:
        """A new authority, its files in `directory`."""
        made = cls(directory / "ca.pem", directory / "certificate.pem", directory / "key.pem")
        ca = trustme.CA()
        issued = ca.issue_cert(*NAMES)
        ca.cert_pem.write_to_path(str(made.ca))
        issued.private_key_pem.write_to_path(str(made.key))
        for pem in issued.cert_chain_pems:
            pem.write_to_path(str(made.certificate), append=True)
        return made

    def server(self) -> ssl.SSLContext:
        """The context of a server that shows the certificate."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self.certificate, self.key)
        return context
