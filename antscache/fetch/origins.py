"""Origins: mirrors, Figshare's routes and servers of URLs, in the order in which they are asked. Pure.

figshare:34821874                   the mirrors, then Figshare's routes
url:https://host.org/atlas.nii.gz   the mirrors that need no Figshare number, then this URL at host.org
"""

from __future__ import annotations

import functools
import string
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

from antscache.core import PACED_ROUTES, Digest, Identifier, figshare_number, hexadecimal, url_of
from antscache.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

TEMPLATE_FIELDS = {"id", "digest", "file"}


@dataclass(frozen=True, slots=True)
class Origin:
    """A server or directory that can deliver the file of an identifier.

    Attributes:
        template: the URL of a file, with `{id}` (a Figshare number), `{digest}` (64 hex) or `{file}` in it; without any
            of these it is a server, and the identifier is the URL of a file there.
        trust: the trust that a record of its bytes gets.
    """

    template: str
    trust: Literal["origin", "mirror"]

    @property
    def name(self) -> str:
        """The host, and the port if there is one; for a mirror on this host the directory.

        Nothing else of the URL is ever shown: it may contain a token.
        """
        return _name_of(self.template)

    @property
    def is_local(self) -> bool:
        """True if it is a directory of this host."""
        return self.template.startswith("file:")

    @property
    def needs_number(self) -> bool:
        """True if it can be asked for Figshare's numbers alone."""
        return "{id}" in self.template

    @property
    def paced(self) -> bool:
        """True if it has a rate limit."""
        return self.template in PACED_ROUTES

    def url(self, identifier: Identifier, file: str, digest: Digest | None) -> str | None:
        """Return the URL of `identifier` at this origin; None if it needs a digest or a number that is not known."""
        number = figshare_number(identifier)
        if (digest is None and "{digest}" in self.template) or (number is None and self.needs_number):
            return None
        if "{" not in self.template:
            return url_of(identifier)
        return self.template.format(id=number, digest=hexadecimal(digest) if digest else "", file=file)


@functools.cache  # each file asks for it several times
def _name_of(template: str) -> str:
    split = urlsplit(template)
    if split.scheme == "file":
        return split.path.partition("{")[0].rpartition("/")[0] or "/"
    return f"{split.hostname}:{split.port}" if split.port else str(split.hostname)


def parse_origins(mirrors: Sequence[str], routes: Sequence[str]) -> tuple[Origin, ...]:
    """Return the origins in the order in which they are asked: mirrors first.

    Raises:
        ConfigError: a template is not a URL (http, https; of a mirror also file) with the right fields in braces.
    """
    return tuple(
        [_parsed(template, "mirror", number, TEMPLATE_FIELDS) for number, template in enumerate(mirrors, 1)]
        + [_parsed(template, "origin", number, {"id"}) for number, template in enumerate(routes, 1)]
    )


def origins_of(identifier: Identifier, origins: Sequence[Origin]) -> tuple[Origin, ...]:
    """Return the origins to ask for `identifier`, in order, given those of the settings."""
    url = url_of(identifier)
    if url is None:
        return tuple(origins)
    mirrors = (origin for origin in origins if origin.trust == "mirror" and not origin.needs_number)
    split = urlsplit(url)
    return (*mirrors, Origin(f"{split.scheme}://{split.netloc}", "origin"))


def _parsed(template: str, trust: Literal["origin", "mirror"], number: int, allowed: set[str]) -> Origin:
    """Return the origin of `template`, the one with this `number` in the settings.

    Raises:
        ConfigError: it is not a URL with at least one of the `allowed` fields in braces, and no other.
    """
    braces = " or ".join(f"{{{field}}}" for field in sorted(allowed))
    example = "https://host/path/{id} or file:///path/{id}" if trust == "mirror" else "https://host/path/{id}"
    hint = f"write it like {example}, with {braces} in it"
    try:
        fields = {field for _, field, form, _ in string.Formatter().parse(template) if field is not None or form}
        split = urlsplit(template)
        usable = split.scheme in {"http", "https"} and split.hostname and split.port != 0 and "{" not in split.netloc
        local = split.scheme == "file" and split.hostname in {None, "localhost"} and split.path.startswith("/")
    except ValueError:
        raise ConfigError(f"{trust} {number}{_place_of(template)} is not a URL template", hint=hint) from None
    if not (usable or (local and trust == "mirror")) or not fields or not fields <= allowed:
        raise ConfigError(f"{trust} {number}{_place_of(template)} is not a URL template", hint=hint)
    return Origin(template, trust)


def _place_of(template: str) -> str:
    """Name the host of `template`, if it has one, and nothing else: any other part may be secret."""
    try:
        host = urlsplit(template).hostname
    except ValueError:
        return ""
    return f" at {host}" if host else ""
