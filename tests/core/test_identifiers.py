"""Identifiers: which URLs have a Figshare number, which are identifiers of their own, and which are none."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from antscache.core.figshare_urls import FIGSHARE_ROUTES
from antscache.core.identifiers import (
    MAX_URL_LENGTH,
    Identifier,
    address_of,
    figshare_number,
    identifier_key,
    identify_url,
    parse_identifier,
    url_of,
)
from antscache.core.layout import FIRST_LAYOUT_VERSION, LAYOUT_VERSION, Layout, needed_layout


@pytest.mark.parametrize(
    "url",
    [
        *(route.format(id=7) for route in FIGSHARE_ROUTES),
        "https://figshare.com/files/7",
        "http://ndownloader.figshare.com/files/7",
        "https://ndownloader.figshare.com/files/7/",
        "https://ndownloader.figshare.com/files/7?private_link=0a1b2c",
        "https://figshare.com/ndownloader/files/7?private_link=0a1b2c",
        "https://figshare.com/s/0a1b2c/files/7",
        "https://api.figshare.com/v2/file/download/7?private_link=0a1b2c",
        "https://www.figshare.com/ndownloader/files/7",
        "HTTPS://NDownloader.Figshare.com:443/files/7#top",
    ],
)
def test_every_known_form_gives_the_number(url: str) -> None:
    assert identify_url(url) == "figshare:7"


@pytest.mark.parametrize(
    "url",
    [
        "http://files.figshare.com/1862041/101_pcasl.nii.gz",
        "https://figshare.com/ndownloader/articles/7/versions/1",
        "https://api.figshare.com/v2/articles/1/files/7",
        "https://ndownloader.figshare.com/files/7/../8",
        "https://ndownloader.figshare.com/files/07",
        "https://ndownloader.figshare.com/files/12345678901234567890",
        "https://ndownloader.figshare.com.evil.org/files/7",
        "https://evil.org/ndownloader.figshare.com/files/7",
        "http://127.0.0.1:8080/a%20b.h5?version=2&x=%7Bid%7D",
        "https://host.org",
        "https://host.org?file=7",
        "https://host.org:65535/",
    ],
)
def test_any_other_url_is_its_own_identifier(url: str) -> None:
    identifier = identify_url(url)
    assert (identifier, url_of(identifier), figshare_number(identifier)) == (f"url:{url}", url, None)
    assert parse_identifier(identifier) == identifier


def test_spellings_of_one_url_are_one_identifier() -> None:
    assert identify_url("HTTPS://Host.org/A.h5#top") == "url:https://host.org/A.h5"


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("", "not an http or https URL"),
        ("files/7", "not an http or https URL"),
        ("ftp://host.org/a.h5", "not an http or https URL"),
        ("file:///etc/passwd", "not an http or https URL"),
        ("s3://bucket/a.h5", "not an http or https URL"),
        ("https://me:secret@host.org/a.h5", "it names a user"),
        ("https://me@ndownloader.figshare.com/files/7", "it names a user"),
        ("https://host.org/a b.h5", "it has the character ' '"),
        ("https://host.org/a\nb.h5", r"it has the character '\n'"),
        ("https://host.org/\0", r"it has the character '\x00'"),
        ("https://host.org/ä.h5", r"it has the character '\xe4'"),
        ("https:///a.h5", "it has no valid host and port"),
        ("https://host.org:0/a.h5", "it has no valid host and port"),
        ("https://host.org:65536/a.h5", "it has no valid host and port"),
        ("https://{host}/a.h5", "it has no valid host and port"),
        ("https://host.org/" + "a" * MAX_URL_LENGTH, "it is longer than 2,048 characters"),
    ],
)
def test_what_cannot_be_an_identifier_says_why(url: str, why: str) -> None:
    with pytest.raises(ValueError, match="cannot be an identifier") as caught:
        identify_url(url)
    message = str(caught.value)
    assert why in message
    assert "secret" not in message
    assert message.isprintable()
    assert len(message) < 300


@given(st.text(max_size=60) | st.from_regex(r"\Ahttps?://[a-z.]{1,9}(/[!-~]*)?\Z"))
@example("https://ndownloader.figshare.com/files/7\n")
def test_every_url_is_an_identifier_or_refused(url: str) -> None:
    """An identifier can be written and read again, and its path leads nowhere else."""
    try:
        identifier = identify_url(url)
    except ValueError:
        return
    assert msgspec.convert(identifier, Identifier) == identifier
    assert identifier.isascii()
    assert identifier.isprintable()
    place = "figshare" if figshare_number(identifier) else "url"
    assert Layout(Path("/root")).record(identifier).parent == Path("/root/identifiers") / place


def test_paths_of_identifiers_are_their_keys() -> None:
    url = "https://host.org/a.h5"
    digits = hashlib.sha256(url.encode()).hexdigest()
    assert (identifier_key("figshare:7"), identifier_key(f"url:{url}")) == ("7", digits)
    assert Layout(Path("/root")).record("figshare:7") == Path("/root/identifiers/figshare/7.json")
    assert Layout(Path("/root")).record(f"url:{url}") == Path(f"/root/identifiers/url/{digits}.json")


@pytest.mark.parametrize("text", ["", "0", "7x", "figshare:", "figshare:07", "url:", "url:ftp://h/x", "٣", "doi:10/1"])
def test_other_texts_are_no_identifiers(text: str) -> None:
    assert parse_identifier(text) is None


def test_only_urls_need_the_second_layout() -> None:
    assert needed_layout([None, "figshare:7"]) == FIRST_LAYOUT_VERSION
    assert needed_layout(["figshare:7", "url:https://host.org/a.h5"]) == LAYOUT_VERSION


@pytest.mark.parametrize(
    ("identifier", "address"),
    [
        ("figshare:34821874", "https://ndownloader.figshare.com/files/34821874"),
        ("url:https://example.org/a_b.h5?c=%20&d=~", "https://example.org/a_b.h5?c=%20&d=~"),
        ("url:http://example.org/{a}|b\\c`<d>^e", "http://example.org/%7Ba%7D%7Cb%5Cc%60%3Cd%3E%5Ee"),
    ],
)
def test_addresses_are_urls(identifier: str, address: str) -> None:
    """Also those of identifiers with characters that no URL may have."""
    assert address_of(identifier) == address
