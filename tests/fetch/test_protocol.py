"""Replies: what an origin's status and headers are worth, and where its redirects lead."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from email.utils import formatdate
from typing import TYPE_CHECKING
from unittest.mock import patch
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from urllib3 import HTTPHeaderDict

from antscache.fetch.protocol import (
    LONGEST_ETAG,
    AnswerHead,
    RangeRequest,
    Refusal,
    md5_of,
    next_hop,
    read_head,
    retry_after,
    strong,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

MD5 = '"d41d8cd98f00b204e9800998ecf8427e"'
SIZE = 100
WHOLE = RangeRequest()
REST = RangeRequest(40, None, SIZE, MD5)
PIECE = RangeRequest(40, 60, SIZE, MD5)
EVERY_STATUS = range(100, 1000)
NOW = 1_800_000_000.0

Answer = AnswerHead | Refusal


def answer(status: int, asked: RangeRequest = WHOLE, /, **labels: str) -> Answer:
    """What comes of an answer with these headers; `_` stands for `-` in a header's name."""
    return read({name.replace("_", "-"): value for name, value in labels.items()}, status, asked)


def read(labels: Mapping[str, str], status: int, asked: RangeRequest) -> Answer:
    try:
        return read_head(status, HTTPHeaderDict(labels), asked)
    except Refusal as refusal:
        return refusal


def refused(status: int, asked: RangeRequest = WHOLE, /, **labels: str) -> Refusal:
    found = answer(status, asked, **labels)
    assert isinstance(found, Refusal)
    return found


@st.composite
def asked_for(draw: st.DrawFn) -> RangeRequest:
    """Draw a part of a file, as a transfer that goes on asks for it: at least one byte, within the file."""
    size = draw(st.integers(2, 200))
    start = draw(st.integers(0, size - 1))
    stop = draw(st.integers(start + 1, size) | st.none() if start else st.integers(1, size))
    return RangeRequest(start, stop, size, draw(st.sampled_from(["", MD5, '"state"'])))


numbers = st.one_of(
    st.integers(-2, 210).map(str),
    st.sampled_from(
        ["", "*", "5, 6", "+5", "1_0", "0x1", "1e3", "\u0663", "²", "1" * 19, "9" * 20, "9" * 5000, "\x00", "\x85"]
    ),
)
hostile = numbers | st.text(max_size=30) | st.text("\x00\r\n\t\x7f\xff 0/-,bytes", max_size=30)


def as_told(asked: RangeRequest) -> str:
    stop = asked.size if asked.stop is None else asked.stop
    assert stop is not None
    return f"bytes {asked.start}-{stop - 1}/{asked.size}"


@st.composite
def content_ranges(draw: st.DrawFn, asked: RangeRequest) -> str:
    """Nonsense, what is nearly a Content-Range, and what is nearly the one that was `asked` for."""
    exact = as_told(asked)
    numbered = "{}{} {}-{}/{}".format(
        draw(st.sampled_from(["", "", " ", "x-"])),
        draw(st.sampled_from(["bytes", "bytes", "Bytes", "items", ""])),
        *(draw(numbers) for _ in range(3)),
    )
    off_by_one = re.sub(r"\d+", lambda found: str(max(0, int(found[0]) + draw(st.integers(-1, 1)))), exact)
    return draw(st.sampled_from([numbered, off_by_one, exact, exact.replace("bytes ", "bytes=")]) | hostile)


# Statuses


def test_of_all_statuses_only_200_is_a_whole_file() -> None:
    told = as_told(REST)
    answers = {status: answer(status, Content_Length="100", Content_Range=told, ETag=MD5) for status in EVERY_STATUS}
    assert {status: reply for status, reply in answers.items() if isinstance(reply, AnswerHead)} == {
        200: AnswerHead(0, 100, 100, MD5)
    }


def test_where_the_rest_is_asked_for_only_206_is_the_rest_and_200_is_the_whole_anew() -> None:
    answers = {status: answer(status, REST, Content_Range=as_told(REST), ETag=MD5) for status in EVERY_STATUS}
    assert {status: reply for status, reply in answers.items() if isinstance(reply, AnswerHead)} == {
        200: AnswerHead(0, None, None, MD5),
        206: AnswerHead(40, 60, 100, MD5),
    }


def test_where_a_piece_is_asked_for_only_206_is_it_and_nothing_else_will_do() -> None:
    answers = {status: answer(status, PIECE, Content_Range=as_told(PIECE), ETag=MD5) for status in EVERY_STATUS}
    assert {status: reply for status, reply in answers.items() if isinstance(reply, AnswerHead)} == {
        206: AnswerHead(40, 20, 100, MD5)
    }


@pytest.mark.parametrize("asked", [WHOLE, REST, PIECE])
def test_of_the_statuses_only_those_that_say_later_may_pass(asked: RangeRequest) -> None:
    passing = {
        status for status in EVERY_STATUS if status != 206 and getattr(answer(status, asked), "transient", False)
    }
    assert passing == {408, 425, 429, *range(500, 1000)} | ({416} if asked.partial else set())


@pytest.mark.parametrize("asked", [WHOLE, REST, PIECE])
def test_of_the_statuses_only_those_that_turn_programs_away_are_about_the_whole_origin(asked: RangeRequest) -> None:
    about = {status for status in EVERY_STATUS if getattr(answer(status, asked), "affects_origin", False)}
    assert about == {202, 401, 403, 407}


@pytest.mark.parametrize(
    ("status", "asked", "told"),
    [
        (202, WHOLE, "202 bot challenge (no file)"),
        (206, WHOLE, "206 with a part, where the whole was asked for"),
        (403, WHOLE, "403 Forbidden"),
        (404, WHOLE, "404 Not Found"),
        (416, WHOLE, "416 Requested Range Not Satisfiable"),
        (499, WHOLE, "499"),
        (503, WHOLE, "503 Service Unavailable"),
        (200, PIECE, "ranges are not served"),
        (206, PIECE, "206 without a Content-Range that says which part"),
    ],
)
def test_a_refused_status_is_told_in_our_words(status: int, asked: RangeRequest, told: str) -> None:
    assert str(refused(status, asked)) == told


@pytest.mark.parametrize("asked", [REST, PIECE])
def test_a_range_that_does_not_exist_at_the_origin_says_that_what_came_before_is_not_to_be_built_on(
    asked: RangeRequest,
) -> None:
    assert refused(416, asked, Content_Range="bytes */100").discard_partial
    assert not refused(416).discard_partial


@pytest.mark.parametrize("status", [200, 206, 405, 503])
def test_a_challenge_of_the_firewall_is_one_whatever_its_status(status: int) -> None:
    found = refused(status, x_amzn_waf_action="challenge")
    assert ("bot challenge" in str(found), found.affects_origin, found.transient) == (True, True, False)


@pytest.mark.parametrize("status", [429, 503])
def test_an_origin_that_is_busy_may_say_for_how_long(status: int) -> None:
    assert refused(status, Retry_After="7").retry_after == 7
    assert refused(status).retry_after == 0


@pytest.mark.parametrize("status", [301, 403, 404])
def test_an_answer_that_does_not_pass_is_not_waited_for(status: int) -> None:
    assert refused(status, Retry_After="7").retry_after == 0


# Bodies


@pytest.mark.parametrize("status", [200, 206])
@pytest.mark.parametrize("kind", ["text/html", "TEXT/HTML; charset=utf-8", " text/html ;x", "application/xhtml+xml"])
def test_a_page_for_people_is_no_file(status: int, kind: str) -> None:
    assert "HTML" in str(refused(status, REST, Content_Type=kind, Content_Range=as_told(REST)))


@pytest.mark.parametrize("status", [200, 206])
@pytest.mark.parametrize("encoding", ["gzip", "GZIP", "identity, gzip", "br"])
def test_bytes_in_an_encoding_that_was_not_asked_for_are_refused(status: int, encoding: str) -> None:
    assert "Content-Encoding" in str(refused(status, REST, Content_Encoding=encoding, Content_Range=as_told(REST)))


@pytest.mark.parametrize("encoding", ["identity", "Identity", " identity "])
def test_identity_is_no_encoding(encoding: str) -> None:
    assert answer(200, Content_Encoding=encoding, Content_Length="5") == AnswerHead(0, 5, 5, "")


def test_a_body_that_is_said_to_be_empty_is_no_file() -> None:
    assert "empty body" in str(refused(200, Content_Length="0"))


@pytest.mark.parametrize(
    "length",
    ["", "5, 6", "-5", "+5", "5.0", "5_0", "1e3", "0x10", "\u0665", "²", "five", "5\x00", "9" * 20, "9" * 5000],
)
def test_a_length_that_is_no_plain_number_is_none(length: str) -> None:
    assert answer(200, Content_Length=length) == AnswerHead(0, None, None, "")


# Parts


@given(st.data())
def test_a_part_is_exactly_what_was_asked_for_or_refused(data: st.DataObject) -> None:
    asked = data.draw(asked_for())
    told = data.draw(content_ranges(asked))
    found = answer(206, asked, Content_Range=told, ETag=asked.etag)
    stop = asked.size if asked.stop is None else asked.stop
    assert stop is not None
    if isinstance(found, AnswerHead):
        assert found == AnswerHead(asked.start, stop - asked.start, asked.size, asked.etag)
        assert [int(number) for number in re.findall("[0-9]+", told)] == [asked.start, stop - 1, asked.size]
    else:
        assert (found.transient, found.discard_partial, found.affects_origin) == (True, True, False)


@given(asked_for())
def test_a_part_that_is_exactly_what_was_asked_for_is_taken(asked: RangeRequest) -> None:
    found = answer(206, asked, Content_Range=as_told(asked), ETag=asked.etag)
    assert isinstance(found, AnswerHead)
    assert (found.start, found.size, found.etag) == (asked.start, asked.size, asked.etag)


@pytest.mark.parametrize("asked", [REST, PIECE])
@pytest.mark.parametrize("off", [(-1, 0, 0), (1, 0, 0), (0, -1, 0), (0, 1, 0), (0, 0, -1), (0, 0, 1), (-40, 0, 0)])
def test_a_part_that_is_a_byte_off_is_another(asked: RangeRequest, off: tuple[int, int, int]) -> None:
    exact = (asked.start, (asked.stop or SIZE) - 1, SIZE)
    told = "bytes {}-{}/{}".format(*(number + more for number, more in zip(exact, off, strict=True)))
    found = refused(206, asked, Content_Range=told, ETag=MD5)
    assert (str(found), found.transient, found.discard_partial) == (
        "206 with another part than was asked for",
        True,
        True,
    )


@pytest.mark.parametrize(
    "told", ["bytes 40-99/*", "bytes */100", "bytes 40-99/100, bytes 0-39/100", "bytes \u06640-99/100"]
)
def test_a_part_that_does_not_say_which_is_refused(told: str) -> None:
    assert "which part" in str(refused(206, REST, Content_Range=told, ETag=MD5))


def test_two_content_ranges_are_none() -> None:
    headers = HTTPHeaderDict({"ETag": MD5})
    headers.add("Content-Range", as_told(REST))
    headers.add("Content-Range", as_told(REST))
    with pytest.raises(Refusal, match="which part"):
        read_head(206, headers, REST)


@pytest.mark.parametrize("length", ["59", "61", "100", "0"])
def test_a_part_whose_length_contradicts_its_range_is_refused(length: str) -> None:
    found = refused(206, REST, Content_Range=as_told(REST), Content_Length=length, ETag=MD5)
    assert (str(found), found.discard_partial) == ("206 with another part than was asked for", True)


def test_a_part_of_a_file_whose_size_is_not_known_is_refused() -> None:
    assert isinstance(answer(206, RangeRequest(40), Content_Range="bytes 40-99/100"), Refusal)


@pytest.mark.parametrize(
    "etag",
    [
        '"other"',
        f"W/{MD5}",
        'W/"other"',
        "other",
        MD5.upper().replace("D41", "E41"),
        f'"{"x" * LONGEST_ETAG}"',
        '"a b"',
    ],
)
def test_a_part_with_any_other_etag_is_of_another_file(etag: str) -> None:
    found = refused(206, REST, Content_Range=as_told(REST), ETag=etag)
    assert (str(found), found.transient, found.discard_partial) == ("206 with a part of another file", True, True)


def test_a_part_without_an_etag_is_not_of_the_state_that_was_asked_for() -> None:
    """A 206 has the ETag that a 200 would have had (RFC 9110, 15.3.7): who sends none did not look at If-Range."""
    assert refused(206, REST, Content_Range=as_told(REST)).discard_partial


@pytest.mark.parametrize("etag", ["", '"other"', 'W/"other"', MD5])
def test_where_no_state_was_asked_for_any_etag_will_do(etag: str) -> None:
    found = answer(206, replace(REST, etag=""), Content_Range=as_told(REST), ETag=etag)
    assert found == AnswerHead(40, 60, 100, strong(etag))


# Whatever comes


@given(
    status=st.sampled_from([200, 200, 206, 206, 429]) | st.integers(100, 999),
    labels=st.fixed_dictionaries(
        {},
        optional={
            "Content-Length": hostile,
            "Content-Range": hostile,
            "Content-Type": hostile,
            "Content-Encoding": hostile,
            "ETag": hostile,
            "Retry-After": hostile,
        },
    ),
    asked=asked_for() | st.just(WHOLE),
    exact=st.booleans(),
)
def test_no_headers_crash_or_make_an_absurd_length(
    status: int, labels: dict[str, str], asked: RangeRequest, exact: bool
) -> None:
    reply = read(labels | ({"Content-Range": as_told(asked)} if exact and asked.partial else {}), status, asked)
    if isinstance(reply, Refusal):
        assert 0 <= reply.retry_after < math.inf
        assert str(reply).isprintable()
        return
    assert reply.start in {0, asked.start}
    assert reply.announced is None or 0 < reply.announced < 10**19
    assert reply.size is None or reply.start + (reply.announced or 0) <= reply.size < 10**19
    assert reply.etag == strong(reply.etag)


# ETags


@pytest.mark.parametrize("etag", ['"a"', '""', MD5, '"a-3"', '"' + "x" * (LONGEST_ETAG - 2) + '"'])
def test_an_etag_in_quotes_is_strong(etag: str) -> None:
    assert strong(etag) == etag


@pytest.mark.parametrize(
    "etag",
    [
        "",
        "a",
        'W/"a"',
        'w/"a"',
        '"a',
        'a"',
        '"a"b"',
        '"a b"',
        '"a", "b"',
        '"é"',
        '"a\n"',
        '"a"\n',
        f'"{"x" * 200}"',
        '"',
    ],
)
def test_anything_else_is_not(etag: str) -> None:
    assert not strong(etag)


@given(st.text() | st.text('W/"abc\r\n\x00é ', max_size=12))
def test_no_strong_etag_breaks_out_of_the_header_it_is_sent_in(etag: str) -> None:
    assert strong(etag) in {"", etag}
    assert strong(etag).isascii()
    assert strong(etag).isprintable()
    assert len(strong(etag)) <= LONGEST_ETAG


@given(st.text() | st.from_regex(r'(W/)?"?[0-9a-fA-F]{31,33}(-[0-9])?"?'))
def test_only_32_hexadecimal_digits_in_quotes_are_an_md5(etag: str) -> None:
    found = md5_of(etag)
    assert found is None or (f'"{found}"' == etag.lower() and len(found) == 32)
    assert (found is not None) == bool(re.fullmatch('"[0-9a-fA-F]{32}"', etag))


def test_an_md5_is_told_in_small_letters() -> None:
    assert md5_of(MD5.upper()) == md5_of(MD5) == "d41d8cd98f00b204e9800998ecf8427e"


@pytest.mark.parametrize("etag", [MD5[1:-1], f"W/{MD5}", MD5[:-1] + '-3"', '"\u0663' + MD5[2:], MD5 + "\n", ""])
def test_an_upload_in_parts_or_a_weak_etag_is_no_md5(etag: str) -> None:
    assert md5_of(etag) is None


# What is asked for


@pytest.mark.parametrize(
    ("asked", "headers"),
    [
        (RangeRequest(), {}),
        (RangeRequest(size=9, etag=MD5), {}),
        (RangeRequest(5), {"Range": "bytes=5-"}),
        (RangeRequest(5, size=9, etag=MD5), {"Range": "bytes=5-", "If-Range": MD5}),
        (RangeRequest(0, 5, 9), {"Range": "bytes=0-4"}),
        (RangeRequest(5, 6, 9, MD5), {"Range": "bytes=5-5", "If-Range": MD5}),
    ],
)
def test_a_part_is_asked_for_as_http_does(asked: RangeRequest, headers: dict[str, str]) -> None:
    assert asked.headers() == headers
    assert asked.partial == ("Range" in headers)


# Retry-After


def wait(value: str, now: float = NOW) -> float:
    """Return what `retry_after` says at the time `now`."""
    with patch("time.time", return_value=now):
        return retry_after(value)


@given(st.integers(0, 10**19 - 1))
def test_seconds_are_seconds(seconds: int) -> None:
    assert wait(str(seconds)) == wait(f" {seconds} ") == float(seconds)


@given(st.integers(-(10**9), 10**9))
def test_a_date_is_the_seconds_until_then_and_none_when_it_has_passed(seconds: int) -> None:
    assert wait(formatdate(NOW + seconds, usegmt=True)) == max(0, seconds)


@pytest.mark.parametrize(
    "date", ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"]
)
def test_each_form_that_http_dates_have_had_is_understood(date: str) -> None:
    assert wait(date, 784111777.0 - 60) == 60


date_like = st.lists(
    st.sampled_from(
        ["Sun,", "06", "Nov", "1994", "08:49:37", "GMT", "+", "-", ",", ":", ".", "-0000", "9" * 400, "\u0663", "²"]
    ),
    max_size=9,
)


@given(st.text() | date_like.map(" ".join) | date_like.map("".join))
def test_no_retry_after_is_negative_or_endless_or_a_crash(value: str) -> None:
    assert 0 <= wait(value) < math.inf


@pytest.mark.parametrize(
    "value",
    ["", "soon", "-5", "+5", "5.5", "5, 6", "\u0665", "1e3", "inf", "nan", "9" * 20, "9" * 400, "9" * 5000,
     "Sun, 06 Nov 99999 08:49:37 GMT", "Sun, 06 Nov 2094 08:49:37 +" + "9" * 400],
)  # fmt: skip
def test_nonsense_asks_for_no_wait(value: str) -> None:
    assert wait(value) == 0


# Redirects


def hop(url: str, location: str | None) -> str | Refusal:
    try:
        return next_hop(url, location)
    except Refusal as refusal:
        return refusal


locations = st.text(max_size=60) | st.text("htps:/@[]?#.\\%u1é\t\n", max_size=30).map("http://".__add__)


@given(st.sampled_from(["http", "https"]), locations)
def test_no_location_leads_anywhere_but_to_http_or_https_without_a_user(scheme: str, location: str) -> None:
    found = hop(f"{scheme}://user:secret@host/files/1", location)
    if isinstance(found, Refusal):
        assert "secret" not in str(found)
        assert not found.transient
        return
    target = urlsplit(found)
    assert target.scheme in {"http", "https"}
    assert target.hostname
    assert "@" not in target.netloc
    assert (scheme, target.scheme) != ("https", "http")


@pytest.mark.parametrize(
    ("url", "location", "target"),
    [
        ("https://host/files/1", "/storage/1", "https://host/storage/1"),
        ("https://host/files/1", "2", "https://host/files/2"),
        ("https://host/files/1", "?x=y", "https://host/files/1?x=y"),
        ("https://host/files/1", "https://other/1?x=y", "https://other/1?x=y"),
        ("https://host/files/1", "HTTPS://other/1", "https://other/1"),
        ("https://host/files/1", "https://other:8443/1", "https://other:8443/1"),
        ("https://host/files/1", "https://[::1]:8443/1", "https://[::1]:8443/1"),
        ("http://host/files/1", "https://other/1", "https://other/1"),
        ("http://host/files/1", "//other/1", "http://other/1"),
    ],
)
def test_a_redirect_is_followed_to(url: str, location: str, target: str) -> None:
    assert next_hop(url, location) == target


@pytest.mark.parametrize(
    ("url", "location", "target"),
    [
        ("https://user:secret@host/1", "/2", "https://host/2"),
        ("https://host/1", "https://user:secret@other/2", "https://other/2"),
        ("https://host/1", "https://user@other:8443/2", "https://other:8443/2"),
        ("https://host/1", "https://a@b@other/2", "https://other/2"),
        ("https://host/1", "https://user:secret@[::1]/2", "https://[::1]/2"),
        ("https://host/1", "https://host\\@other/2", "https://other/2"),
        ("https://host/1", "https://other/2@3?4@5", "https://other/2@3?4@5"),
    ],
)
def test_a_user_in_a_redirect_is_dropped(url: str, location: str, target: str) -> None:
    assert next_hop(url, location) == target


@pytest.mark.parametrize(
    ("url", "location", "told"),
    [
        ("https://host/1", None, "nowhere"),
        ("https://host/1", "", "nowhere"),
        ("https://host/1", "file:///etc/passwd", "file:, which is not http(s)"),
        ("https://host/1", "ftp://host/1", "ftp:, which is not http(s)"),
        ("https://host/1", "javascript:alert(1)", "javascript:, which is not http(s)"),
        ("https://host/1", "x" * 99 + "://host/1", "x" * 20 + ":, which is not http(s)"),
        ("https://host/1", "http://host/1", "from https to http"),
        ("HTTPS://host/1", "HTTP://host/1", "from https to http"),
        ("http://host/1", "http://user@/1", "not http(s)"),
        ("https://host/1", "http://[broken", "not a URL"),
        ("https://host/1", "https://user[@host]/1", "not a URL"),
    ],
)
def test_a_redirect_is_refused_to(url: str, location: str | None, told: str) -> None:
    found = hop(url, location)
    assert isinstance(found, Refusal)
    assert told in str(found)
    assert not found.transient
