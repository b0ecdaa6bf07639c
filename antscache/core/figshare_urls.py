"""Figshare's routes, the forms of its URLs, and its numbers of files.

Source: field notes, "Figshare as an origin".
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from antscache.core.identifiers import Identifier

# In the order in which they answer programs.
FIGSHARE_ROUTES = (
    "https://api.figshare.com/v2/file/download/{id}",
    "https://ndownloader.figshare.com/files/{id}",
    "https://figshare.com/ndownloader/files/{id}",
)
# The API's documentation asks for no more than one request a second; the other routes have no such limit.
PACED_ROUTES = frozenset(route for route in FIGSHARE_ROUTES if urlsplit(route).hostname == "api.figshare.com")

# The forms of URLs in releases' sources; only the number matters (field notes: "Only the id matters").
FIGSHARE_FILE_URL = re.compile(
    r"https?://(?:ndownloader\.figshare\.com|figshare\.com/ndownloader)/files/([1-9][0-9]*)\Z"
)


def figshare_number(identifier: Identifier) -> str:
    """Return Figshare's number of the file `identifier`."""
    return identifier.removeprefix("figshare:")
