"""Texts from outside become one line that a terminal can show."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antscache.core import escape

TEXTS = st.text() | st.binary().map(os.fsdecode)


@given(TEXTS)
def test_every_text_can_be_printed(text: str) -> None:
    escaped = escape(text)
    assert escaped.isprintable()
    escaped.encode()


@given(TEXTS)
def test_printable_texts_stay_as_they_are(text: str) -> None:
    assert (escape(text) == text) == text.isprintable()


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("brain\n.h5", r"brain\n.h5"),
        ("\x1b[2J\x9b2J", r"\x1b[2J\x9b2J"),
        ("\u202eh5.exe", r"\u202eh5.exe"),
        (os.fsdecode(b"caf\xe9"), r"caf\xe9"),
        ("café", "café"),
    ],
)
def test_escapes_are_those_of_python(text: str, escaped: str) -> None:
    assert escape(text) == escaped
