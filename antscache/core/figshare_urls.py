"""Figshare's routes, the forms of its URLs, and its numbers of files.

Source: field notes, "Figshare as an origin".
"""

from __future__ import annotations

import re
from urllib.parse import urlsplit

# In the order in which they answer programs.
FIGSHARE_ROUTES = (
    "https://api.figshare.com/v2/file/download/{id}",
    "https://ndownloader.figshare.com/files/{id}",
    "https://figshare.com/ndownloader/files/{id}",
)
# The address of a file for people and browsers.
_PUBLIC_ADDRESS = "https://ndownloader.figshare.com/files/{id}"
# The API's documentation asks for no more than one request a second; the other routes have no such limit.
PACED_ROUTES = frozenset(route for route in FIGSHARE_ROUTES if urlsplit(route).hostname == "api.figshare.com")

# The forms of URLs whose number is known to be a file's; only the number matters (field notes: "Only the id matters").
# Numbers of articles, and those at files.figshare.com, are other numbers.
_FILE_URL = re.compile(
    r"(?i:https?://(?:www\.|ndownloader\.|api\.)?figshare\.com)(?::80|:443)?"
    r"(?:/ndownloader|/v2)?(?:/s/[\w-]+)?/(?:files|file/download)/([1-9][0-9]{0,18})/?(?:[?#][!-~]*)?\Z",
    re.ASCII,
)


def find_figshare_number(url: str) -> str | None:
    """Return Figshare's number of the file at `url`; None if the URL does not have one that is known to be a file's."""
    match = _FILE_URL.match(url)
    return match[1] if match else None


def public_address(number: str) -> str:
    """Return the public URL of the file with Figshare's `number`."""
    return _PUBLIC_ADDRESS.format(id=number)
