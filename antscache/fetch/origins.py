"""Who can answer for an identifier: mirrors and Figshare's routes, URL templates in the order they are asked. Pure."""

from __future__ import annotations

import re
import string
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

from antscache.core import PACED_ROUTES, Digest, Identifier, figshare_number, hexadecimal
from antscache.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

FIELDS = {"id", "digest", "file"}


@dataclass(frozen=True, slots=True)
class Origin:
    """A place that can answer for an identifier.

    Attributes:
        template: its URL, with `{id}`, `{digest}` (64 hex) or `{file}` in it.
        trust: what its word is worth in a record.
    """

    template: str
    trust: Literal["origin", "mirror"]

    @property
    def name(self) -> str:
        """The host, and the port where one is given: all that is ever shown of the URL, which may carry a token.

        Of a mirror on this host, the directory.
        """
        split = urlsplit(self.template)
        if split.scheme == "file":
            return split.path.partition("{")[0].rpartition("/")[0] or "/"
        return f"{split.hostname}:{split.port}" if split.port else str(split.hostname)

    @property
    def is_local(self) -> bool:
        """Whether it is a directory of this host."""
        return self.template.startswith("file:")

    @property
    def paced(self) -> bool:
        """Whether it asks not to be asked often."""
        return self.template in PACED_ROUTES

    def url(self, identifier: Identifier, file: str, digest: Digest | None) -> str | None:
        """Where this origin has `identifier`; None if it goes by a digest that is not known."""
        if digest is None and "{digest}" in self.template:
            return None
        hex_digits = hexadecimal(digest) if digest else ""
        return self.template.format(id=figshare_number(identifier), digest=hex_digits, file=file)


def parse_origins(mirrors: Sequence[str], routes: Sequence[str]) -> tuple[Origin, ...]:
    """The origins in the order they are asked: mirrors first.

    Raises:
        ConfigError: a template is not a URL (http, https; of a mirror also file) with the right fields in braces.
    """
    return tuple(
        [_parsed(template, "mirror", FIELDS) for template in mirrors]
        + [_parsed(template, "origin", {"id"}) for template in routes]
    )


def _parsed(template: str, trust: Literal["origin", "mirror"], allowed: set[str]) -> Origin:
    braces = ", ".join(f"{{{field}}}" for field in sorted(allowed))
    example = "https://host/path/{id} or file:///path/{id}" if trust == "mirror" else "https://host/path/{id}"
    hint = f"write it like {example}; {braces} may stand in it"
    try:
        fields = {field for _, field, form, _ in string.Formatter().parse(template) if field is not None or form}
        split = urlsplit(template)
        usable = split.scheme in {"http", "https"} and split.hostname and split.port != 0 and "{" not in split.netloc
        local = split.scheme == "file" and split.hostname in {None, "localhost"} and split.path.startswith("/")
    except ValueError:
        raise ConfigError(f"not a URL template ({trust}): {_shown(template)}", hint=hint) from None
    if not (usable or (local and trust == "mirror")) or not fields or not fields <= allowed:
        raise ConfigError(f"not a URL template ({trust}): {_shown(template)}", hint=hint)
    return Origin(template, trust)


def _shown(template: str) -> str:
    """`template` without what may be a secret in it: a user's password, a query."""
    return re.sub(r"//[^/]*@", "//...@", template).partition("?")[0]
