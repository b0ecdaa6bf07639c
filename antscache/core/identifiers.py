"""An identifier: an immutable name for bytes, `figshare:34821874` or `url:https://host.org/atlas.nii.gz`.

A Figshare number can be asked for at several places. A URL is asked for at that URL and nowhere else, but for mirrors.
"""

from __future__ import annotations

import hashlib
import re
from typing import Annotated

import msgspec

from antscache.core.figshare_urls import find_figshare_number, public_address

MAX_URL_LENGTH = 2_048  # characters; longer ones do not work everywhere
MAX_SHOWN_LENGTH = 120  # characters of a URL in a message
_FIGSHARE, _URL = "figshare:", "url:"
_PORT = "(?:[1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"
# http or https, a host in lower case, perhaps a port, a path, a query: printable ASCII, without a user or a fragment.
_URL_PATTERN = rf"https?://[a-z0-9._-]+(?::{_PORT})?(?:[/?][!-\"$-~]*)?"
# Printable ASCII that no URL may have. Source: RFC 3986, section 2.
_PERCENT_ENCODED = str.maketrans({character: f"%{ord(character):02X}" for character in '"<>\\^`{|}'})

Identifier = Annotated[
    str,
    msgspec.Meta(
        pattern=rf"\A(?:{_FIGSHARE}[1-9][0-9]{{0,18}}|{_URL}{_URL_PATTERN})\Z", max_length=len(_URL) + MAX_URL_LENGTH
    ),
]


def parse_identifier(text: str) -> Identifier | None:
    """Return the identifier that `text` (`figshare:34821874`, its number, `url:...`) writes; None if it writes none."""
    try:
        return msgspec.convert(f"{_FIGSHARE}{text}" if text.isdecimal() else text, Identifier)
    except msgspec.ValidationError:
        return None


def identify_url(url: str) -> Identifier:
    """Return the identifier of the file at `url`: Figshare's number if that is known from the URL, else the URL itself.

    Raises:
        ValueError: the URL cannot be an identifier; the message shows it, without a user, and says why.
    """
    if number := find_figshare_number(url):
        return f"{_FIGSHARE}{number}"
    scheme, _, rest = url.partition("#")[0].partition("://")
    host = re.split("[/?]", rest, maxsplit=1)[0]
    identifier = parse_identifier(f"{_URL}{scheme.lower()}://{host.lower()}{rest[len(host) :]}")
    if identifier is None:
        raise ValueError(f"{_shown(url)} cannot be an identifier: {_defect(url, scheme.lower(), host)}")
    return identifier


def figshare_number(identifier: Identifier) -> str | None:
    """Return Figshare's number of the file `identifier`; None if it has none."""
    return identifier.removeprefix(_FIGSHARE) if identifier.startswith(_FIGSHARE) else None


def url_of(identifier: Identifier) -> str | None:
    """Return the URL that `identifier` consists of; None if it is a number."""
    return identifier.removeprefix(_URL) if identifier.startswith(_URL) else None


def address_of(identifier: Identifier) -> str:
    """Return the public URL of the file `identifier`, with %XX for characters that no URL may have (RFC 3986)."""
    number = figshare_number(identifier)
    return public_address(number) if number else (url_of(identifier) or "").translate(_PERCENT_ENCODED)


def identifier_key(identifier: Identifier) -> str:
    """Return `identifier` as one path component: Figshare's number, or the 64 hex digits of the sha256 of the URL."""
    return figshare_number(identifier) or hashlib.sha256((url_of(identifier) or "").encode()).hexdigest()


def _defect(url: str, scheme: str, host: str) -> str:
    """Say why `url` cannot be an identifier."""
    if len(url) > MAX_URL_LENGTH:
        return f"it is longer than {MAX_URL_LENGTH:,} characters"
    if scheme not in {"http", "https"}:
        return "it is not an http or https URL"
    if strange := re.search("[^!-~]", url):
        return f"it has the character {strange[0]!a}"
    if "@" in host:
        return "it names a user"
    return "it has no valid host and port"


def _shown(url: str) -> str:
    """Return `url` for a message: in printable ASCII, without a user, and cut if it is long."""
    shown = ascii(re.sub("//[^/?#]*@", "//...@", url))
    return shown if len(shown) <= MAX_SHOWN_LENGTH else f"{shown[:MAX_SHOWN_LENGTH]}..."
