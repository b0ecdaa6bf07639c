"""The protocol: answers that are accepted or refused by status and headers, and the targets of redirects."""

from __future__ import annotations

import math
import re
from base64 import b64encode
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
    MAX_ETAG_CHARACTERS,
    AnswerHead,
    Checksum,
    RangeRequest,
    Refusal,
    md5_of,
    next_hop,
    parse_retry_after,
    read_head,
    strong_etag,
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


def answer(status: int, wanted_range: RangeRequest = WHOLE, /, **headers: str) -> Answer:
    """Read an answer with these headers; `_` stands for `-` in the name of a header."""
    return read({name.replace("_", "-"): value for name, value in headers.items()}, status, wanted_range)


def read(headers: Mapping[str, str], status: int, wanted_range: RangeRequest) -> Answer:
    try:
        return read_head(status, HTTPHeaderDict(headers), wanted_range)
    except Refusal as refusal:
        return refusal


def refused(status: int, wanted_range: RangeRequest = WHOLE, /, **headers: str) -> Refusal:
    result = answer(status, wanted_range, **headers)
    assert isinstance(result, Refusal)
    return result


@st.composite
def range_requests(draw: st.DrawFn) -> RangeRequest:
    """Draw the request for a part of a file: at least one byte, within the file."""
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


def exact_range(wanted_range: RangeRequest) -> str:
    stop = wanted_range.size if wanted_range.stop is None else wanted_range.stop
    assert stop is not None
    return f"bytes {wanted_range.start}-{stop - 1}/{wanted_range.size}"


@st.composite
def content_ranges(draw: st.DrawFn, wanted_range: RangeRequest) -> str:
    """Draw the Content-Range of `wanted_range`, or one that is nearly it, or nonsense."""
    exact = exact_range(wanted_range)
    numbered = "{}{} {}-{}/{}".format(
        draw(st.sampled_from(["", "", " ", "x-"])),
        draw(st.sampled_from(["bytes", "bytes", "Bytes", "items", ""])),
        *(draw(numbers) for _ in range(3)),
    )
    off_by_one = re.sub(r"\d+", lambda match: str(max(0, int(match[0]) + draw(st.integers(-1, 1)))), exact)
    return draw(st.sampled_from([numbered, off_by_one, exact, exact.replace("bytes ", "bytes=")]) | hostile)


# Statuses


def test_only_status_200_is_a_whole_file() -> None:
    content_range = exact_range(REST)
    answers = {
        status: answer(status, Content_Length="100", Content_Range=content_range, ETag=MD5) for status in EVERY_STATUS
    }
    assert {status: reply for status, reply in answers.items() if isinstance(reply, AnswerHead)} == {
        200: AnswerHead(0, 100, 100, MD5)
    }


def test_request_for_the_rest_accepts_206_and_200() -> None:
    """206 is the rest, and 200 is the whole file from the beginning."""
    answers = {status: answer(status, REST, Content_Range=exact_range(REST), ETag=MD5) for status in EVERY_STATUS}
    assert {status: reply for status, reply in answers.items() if isinstance(reply, AnswerHead)} == {
        200: AnswerHead(0, None, None, MD5),
        206: AnswerHead(40, 60, 100, MD5),
    }


def test_request_for_a_segment_accepts_only_206() -> None:
    answers = {status: answer(status, PIECE, Content_Range=exact_range(PIECE), ETag=MD5) for status in EVERY_STATUS}
    assert {status: reply for status, reply in answers.items() if isinstance(reply, AnswerHead)} == {
        206: AnswerHead(40, 20, 100, MD5)
    }


@pytest.mark.parametrize("wanted_range", [WHOLE, REST, PIECE])
def test_transient_statuses(wanted_range: RangeRequest) -> None:
    """408, 425, 429 and all from 500 on may get better; so may 416 to a request for a part."""
    passing = {
        status for status in EVERY_STATUS if status != 206 and getattr(answer(status, wanted_range), "transient", False)
    }
    assert passing == {408, 425, 429, *range(500, 1000)} | ({416} if wanted_range.partial else set())


@pytest.mark.parametrize("wanted_range", [WHOLE, REST, PIECE])
def test_statuses_that_affect_the_whole_origin(wanted_range: RangeRequest) -> None:
    about = {status for status in EVERY_STATUS if getattr(answer(status, wanted_range), "affects_origin", False)}
    assert about == {202, 401, 403, 407}


@pytest.mark.parametrize(
    ("status", "wanted_range", "outcome"),
    [
        (202, WHOLE, "202 bot challenge (no file)"),
        (206, WHOLE, "206 with a part instead of the whole file"),
        (403, WHOLE, "403 Forbidden"),
        (404, WHOLE, "404 Not Found"),
        (416, WHOLE, "416 Requested Range Not Satisfiable"),
        (499, WHOLE, "499"),
        (503, WHOLE, "503 Service Unavailable"),
        (200, PIECE, "ranges are not served"),
        (206, PIECE, "206 without a usable Content-Range"),
    ],
)
def test_refused_status_has_the_standard_phrase(status: int, wanted_range: RangeRequest, outcome: str) -> None:
    assert str(refused(status, wanted_range)) == outcome


@pytest.mark.parametrize("wanted_range", [REST, PIECE])
def test_status_416_discards_the_partial(
    wanted_range: RangeRequest,
) -> None:
    assert refused(416, wanted_range, Content_Range="bytes */100").discard_partial
    assert not refused(416).discard_partial


@pytest.mark.parametrize("status", [200, 206, 405, 503])
def test_firewall_challenge_counts_with_any_status(status: int) -> None:
    result = refused(status, x_amzn_waf_action="challenge")
    assert ("bot challenge" in str(result), result.affects_origin, result.transient) == (True, True, False)


@pytest.mark.parametrize("status", [429, 503])
def test_busy_origin_may_send_retry_after(status: int) -> None:
    assert refused(status, Retry_After="7").retry_after == 7
    assert refused(status).retry_after == 0


@pytest.mark.parametrize("status", [301, 403, 404])
def test_permanent_refusal_is_not_waited_for(status: int) -> None:
    assert refused(status, Retry_After="7").retry_after == 0


# Bodies


@pytest.mark.parametrize("status", [200, 206])
@pytest.mark.parametrize("kind", ["text/html", "TEXT/HTML; charset=utf-8", " text/html ;x", "application/xhtml+xml"])
def test_html_page_is_refused(status: int, kind: str) -> None:
    assert "HTML" in str(refused(status, REST, Content_Type=kind, Content_Range=exact_range(REST)))


@pytest.mark.parametrize("status", [200, 206])
@pytest.mark.parametrize("encoding", ["gzip", "GZIP", "identity, gzip", "br"])
def test_unrequested_content_encoding_is_refused(status: int, encoding: str) -> None:
    assert "Content-Encoding" in str(refused(status, REST, Content_Encoding=encoding, Content_Range=exact_range(REST)))


@pytest.mark.parametrize("encoding", ["identity", "Identity", " identity "])
def test_content_encoding_identity_is_accepted(encoding: str) -> None:
    assert answer(200, Content_Encoding=encoding, Content_Length="5") == AnswerHead(0, 5, 5, "")


MD5_BYTES = bytes.fromhex(MD5[1:-1])
MD5_TEXT, SHA256_TEXT = b64encode(MD5_BYTES).decode(), b64encode(bytes(32)).decode()
TOLD_MD5, TOLD_SHA256 = Checksum("md5", MD5[1:-1]), Checksum("sha256", "0" * 64)


def told(status: int, wanted_range: RangeRequest = WHOLE, /, **headers: str) -> tuple[Checksum, ...]:
    result = answer(status, wanted_range, **headers)
    assert isinstance(result, AnswerHead)
    return result.checksums


@pytest.mark.parametrize(
    ("header", "value", "checksums"),
    [
        ("Content-MD5", MD5_TEXT, (TOLD_MD5,)),
        ("Digest", f"MD5={MD5_TEXT}", (TOLD_MD5,)),
        ("Digest", f"unixsum=30637, SHA-256={SHA256_TEXT},md5={MD5_TEXT}", (TOLD_SHA256, TOLD_MD5)),
        ("Repr-Digest", f"sha-256=:{SHA256_TEXT}:, sha-512=:{SHA256_TEXT}:", (TOLD_SHA256,)),
        ("Content-Digest", f"sha-256=:{SHA256_TEXT}:", (TOLD_SHA256,)),
    ],
)
def test_checksums_of_a_whole_file_are_read(header: str, value: str, checksums: tuple[Checksum, ...]) -> None:
    assert told(200, **{header: value}) == checksums


@pytest.mark.parametrize("header", ["Content-MD5", "Digest", "Repr-Digest", "Content-Digest"])
def test_checksums_of_a_part_are_ignored(header: str) -> None:
    value = MD5_TEXT if header == "Content-MD5" else f"md5={MD5_TEXT}"
    assert told(206, REST, **{header: value, "Content-Range": exact_range(REST), "ETag": MD5}) == ()


@given(text=st.text(max_size=60) | st.binary(max_size=15).map(lambda each: b64encode(each).decode()))
def test_malformed_checksums_are_ignored(text: str) -> None:
    headers = {"Content-MD5": text, "Digest": f"md5={text},{text}", "Repr-Digest": f"sha-256=:{text}:"}
    assert told(200, **headers) == ()


def test_empty_body_is_refused() -> None:
    assert "empty body" in str(refused(200, Content_Length="0"))


@pytest.mark.parametrize(
    "length",
    ["", "5, 6", "-5", "+5", "5.0", "5_0", "1e3", "0x10", "\u0665", "²", "five", "5\x00", "9" * 20, "9" * 5000],
)
def test_length_that_is_no_number_is_ignored(length: str) -> None:
    assert answer(200, Content_Length=length) == AnswerHead(0, None, None, "")


# Parts


@given(st.data())
def test_part_is_exactly_as_requested_or_refused(data: st.DataObject) -> None:
    wanted_range = data.draw(range_requests())
    content_range = data.draw(content_ranges(wanted_range))
    result = answer(206, wanted_range, Content_Range=content_range, ETag=wanted_range.etag)
    stop = wanted_range.size if wanted_range.stop is None else wanted_range.stop
    assert stop is not None
    if isinstance(result, AnswerHead):
        assert result == AnswerHead(wanted_range.start, stop - wanted_range.start, wanted_range.size, wanted_range.etag)
        assert [int(number) for number in re.findall("[0-9]+", content_range)] == [
            wanted_range.start,
            stop - 1,
            wanted_range.size,
        ]
    else:
        assert (result.transient, result.discard_partial, result.affects_origin) == (True, True, False)


@given(range_requests())
def test_part_exactly_as_requested_is_accepted(wanted_range: RangeRequest) -> None:
    result = answer(206, wanted_range, Content_Range=exact_range(wanted_range), ETag=wanted_range.etag)
    assert isinstance(result, AnswerHead)
    assert (result.start, result.size, result.etag) == (wanted_range.start, wanted_range.size, wanted_range.etag)


@pytest.mark.parametrize("wanted_range", [REST, PIECE])
@pytest.mark.parametrize("off", [(-1, 0, 0), (1, 0, 0), (0, -1, 0), (0, 1, 0), (0, 0, -1), (0, 0, 1), (-40, 0, 0)])
def test_part_that_is_one_byte_off_is_refused(wanted_range: RangeRequest, off: tuple[int, int, int]) -> None:
    exact = (wanted_range.start, (wanted_range.stop or SIZE) - 1, SIZE)
    content_range = "bytes {}-{}/{}".format(*(number + more for number, more in zip(exact, off, strict=True)))
    result = refused(206, wanted_range, Content_Range=content_range, ETag=MD5)
    assert (str(result), result.transient, result.discard_partial) == (
        "206 with another part than requested",
        True,
        True,
    )


@pytest.mark.parametrize(
    "content_range", ["bytes 40-99/*", "bytes */100", "bytes 40-99/100, bytes 0-39/100", "bytes \u06640-99/100"]
)
def test_part_without_its_range_is_refused(content_range: str) -> None:
    assert "usable Content-Range" in str(refused(206, REST, Content_Range=content_range, ETag=MD5))


def test_two_content_ranges_are_refused() -> None:
    headers = HTTPHeaderDict({"ETag": MD5})
    headers.add("Content-Range", exact_range(REST))
    headers.add("Content-Range", exact_range(REST))
    with pytest.raises(Refusal, match="usable Content-Range"):
        read_head(206, headers, REST)


@pytest.mark.parametrize("length", ["59", "61", "100", "0"])
def test_part_with_a_contradicting_length_is_refused(length: str) -> None:
    result = refused(206, REST, Content_Range=exact_range(REST), Content_Length=length, ETag=MD5)
    assert (str(result), result.discard_partial) == ("206 with another part than requested", True)


def test_part_of_unknown_file_size_is_refused() -> None:
    assert isinstance(answer(206, RangeRequest(40), Content_Range="bytes 40-99/100"), Refusal)


@pytest.mark.parametrize(
    "etag",
    [
        '"other"',
        f"W/{MD5}",
        'W/"other"',
        "other",
        MD5.upper().replace("D41", "E41"),
        f'"{"x" * MAX_ETAG_CHARACTERS}"',
        '"a b"',
    ],
)
def test_part_with_another_etag_is_refused(etag: str) -> None:
    result = refused(206, REST, Content_Range=exact_range(REST), ETag=etag)
    assert (str(result), result.transient, result.discard_partial) == ("206 with a part of another file", True, True)


def test_part_without_the_requested_etag_is_refused() -> None:
    """A 206 has the ETag of a 200 (RFC 9110, 15.3.7): an origin that sends none has ignored If-Range."""
    assert refused(206, REST, Content_Range=exact_range(REST)).discard_partial


@pytest.mark.parametrize("etag", ["", '"other"', 'W/"other"', MD5])
def test_any_etag_is_accepted_if_none_was_requested(etag: str) -> None:
    result = answer(206, replace(REST, etag=""), Content_Range=exact_range(REST), ETag=etag)
    assert result == AnswerHead(40, 60, 100, strong_etag(etag))


# Any headers


@given(
    status=st.sampled_from([200, 200, 206, 206, 429]) | st.integers(100, 999),
    headers=st.fixed_dictionaries(
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
    wanted_range=range_requests() | st.just(WHOLE),
    exact=st.booleans(),
)
def test_no_headers_crash_or_make_absurd_lengths(
    status: int, headers: dict[str, str], wanted_range: RangeRequest, exact: bool
) -> None:
    reply = read(
        headers | ({"Content-Range": exact_range(wanted_range)} if exact and wanted_range.partial else {}),
        status,
        wanted_range,
    )
    if isinstance(reply, Refusal):
        assert 0 <= reply.retry_after < math.inf
        assert str(reply).isprintable()
        return
    assert reply.start in {0, wanted_range.start}
    assert reply.announced is None or 0 < reply.announced < 10**19
    assert reply.size is None or reply.start + (reply.announced or 0) <= reply.size < 10**19
    assert reply.etag == strong_etag(reply.etag)


# ETags


@pytest.mark.parametrize("etag", ['"a"', '""', MD5, '"a-3"', '"' + "x" * (MAX_ETAG_CHARACTERS - 2) + '"'])
def test_an_etag_in_quotes_is_strong(etag: str) -> None:
    assert strong_etag(etag) == etag


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
def test_any_other_etag_is_not_strong(etag: str) -> None:
    assert not strong_etag(etag)


@given(st.text() | st.text('W/"abc\r\n\x00é ', max_size=12))
def test_no_strong_etag_breaks_out_of_its_header(etag: str) -> None:
    assert strong_etag(etag) in {"", etag}
    assert strong_etag(etag).isascii()
    assert strong_etag(etag).isprintable()
    assert len(strong_etag(etag)) <= MAX_ETAG_CHARACTERS


@given(st.text() | st.from_regex(r'(W/)?"?[0-9a-fA-F]{31,33}(-[0-9])?"?'))
def test_md5_is_32_hexadecimal_digits_in_quotes(etag: str) -> None:
    result = md5_of(etag)
    assert result is None or (f'"{result}"' == etag.lower() and len(result) == 32)
    assert (result is not None) == bool(re.fullmatch('"[0-9a-fA-F]{32}"', etag))


def test_md5_is_in_small_letters() -> None:
    assert md5_of(MD5.upper()) == md5_of(MD5) == "d41d8cd98f00b204e9800998ecf8427e"


@pytest.mark.parametrize("etag", [MD5[1:-1], f"W/{MD5}", MD5[:-1] + '-3"', '"\u0663' + MD5[2:], MD5 + "\n", ""])
def test_multipart_or_weak_etag_is_no_md5(etag: str) -> None:
    assert md5_of(etag) is None


# Requests


@pytest.mark.parametrize(
    ("wanted_range", "headers"),
    [
        (RangeRequest(), {}),
        (RangeRequest(size=9, etag=MD5), {}),
        (RangeRequest(5), {"Range": "bytes=5-"}),
        (RangeRequest(5, size=9, etag=MD5), {"Range": "bytes=5-", "If-Range": MD5}),
        (RangeRequest(0, 5, 9), {"Range": "bytes=0-4"}),
        (RangeRequest(5, 6, 9, MD5), {"Range": "bytes=5-5", "If-Range": MD5}),
    ],
)
def test_part_is_requested_by_range_headers(wanted_range: RangeRequest, headers: dict[str, str]) -> None:
    assert wanted_range.headers() == headers
    assert wanted_range.partial == ("Range" in headers)


# Retry-After


def wait(value: str, now: float = NOW) -> float:
    """Call `parse_retry_after` at the time `now`."""
    with patch("time.time", return_value=now):
        return parse_retry_after(value)


@given(st.integers(0, 10**19 - 1))
def test_seconds_are_seconds(seconds: int) -> None:
    assert wait(str(seconds)) == wait(f" {seconds} ") == float(seconds)


@given(st.integers(-(10**9), 10**9))
def test_date_is_the_seconds_until_then(seconds: int) -> None:
    """A date that has passed is 0 seconds."""
    assert wait(formatdate(NOW + seconds, usegmt=True)) == max(0, seconds)


@pytest.mark.parametrize(
    "date", ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"]
)
def test_all_formats_of_http_dates_are_understood(date: str) -> None:
    assert wait(date, 784111777.0 - 60) == 60


date_like = st.lists(
    st.sampled_from(
        ["Sun,", "06", "Nov", "1994", "08:49:37", "GMT", "+", "-", ",", ":", ".", "-0000", "9" * 400, "\u0663", "²"]
    ),
    max_size=9,
)


@given(st.text() | date_like.map(" ".join) | date_like.map("".join))
def test_every_retry_after_is_a_finite_number(value: str) -> None:
    """It is never negative, and nothing crashes."""
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
def test_redirects_lead_only_to_http_or_https(scheme: str, location: str) -> None:
    """The target has no user or password, and never leads from https to http."""
    result = hop(f"{scheme}://user:secret@host/files/1", location)
    if isinstance(result, Refusal):
        assert "secret" not in str(result)
        assert not result.transient
        return
    target = urlsplit(result)
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
def test_redirect_leads_to(url: str, location: str, target: str) -> None:
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
def test_user_in_a_redirect_is_dropped(url: str, location: str, target: str) -> None:
    assert next_hop(url, location) == target


@pytest.mark.parametrize(
    ("url", "location", "outcome"),
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
        ("https://host/1", "http://[broken", "an invalid URL"),
        ("https://host/1", "https://user[@host]/1", "an invalid URL"),
    ],
)
def test_redirect_is_refused(url: str, location: str | None, outcome: str) -> None:
    result = hop(url, location)
    assert isinstance(result, Refusal)
    assert outcome in str(result)
    assert not result.transient
