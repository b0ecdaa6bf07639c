"""Texts from outside as one line that a terminal can show: names of files, words of origins and of manifests."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_ESCAPED_BYTES = ("\udc80", "\udcff")  # bytes that are no UTF-8, as Python puts them into texts. Source: PEP 383


def escape(text: str | Path) -> str:
    r"""Return `text` with escapes, as Python writes them, in place of all that is not printable.

    A line break becomes `\n`, so that nobody adds a line; the start of a terminal's command becomes `\x1b`; a mark that
    turns the direction of writing `\u202e`; and a byte that is no text `\xff`.
    """
    text = os.fspath(text)
    return text if text.isprintable() else "".join(map(_escape_character, text))


def _escape_character(character: str) -> str:
    if character.isprintable():
        return character
    if _ESCAPED_BYTES[0] <= character <= _ESCAPED_BYTES[1]:
        return f"\\x{os.fsencode(character)[0]:02x}"
    return character.encode("unicode_escape").decode()
