"""An identifier: an origin's immutable name for bytes, such as `figshare:34821874`."""

from __future__ import annotations

from typing import Annotated

import msgspec

Identifier = Annotated[str, msgspec.Meta(pattern=r"\Afigshare:[1-9][0-9]{0,18}\Z")]


def parse_identifier(text: str) -> Identifier | None:
    """Return the identifier that `text` (`figshare:34821874`, or just the number) writes; None if it writes none."""
    try:
        return msgspec.convert(text if text.startswith("figshare:") else f"figshare:{text}", Identifier)
    except msgspec.ValidationError:
        return None
