"""The bounds of an answer: of its head in time, of its body by the minute, of its bytes by the file's."""

from __future__ import annotations

import io
import time
from contextlib import closing
from typing import cast

import pytest
from support.raw_server import raw_server

from antscache.fetch.bounds import MAX_HEAD_BYTES, MIN_MINUTE_BYTES, MINUTE_SECONDS, AnswerBounds, Wire
from antscache.fetch.http import Client
from antscache.fetch.protocol import RangeRequest, Refusal, TooSlow

HEAD_SECONDS = 60.0
OK = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.fixture
def body() -> AnswerBounds:
    """An answer whose head has come."""
    answer = AnswerBounds(HEAD_SECONDS)
    answer.end_head()
    return answer


def receive(answer: AnswerBounds, count: int, waited: float) -> None:
    answer.check()
    answer.count_read(count, waited)
    answer.count_body(count)


def test_less_than_the_least_rate_is_too_slow(body: AnswerBounds) -> None:
    for _ in range(60):
        receive(body, (MIN_MINUTE_BYTES - 1) // 60, MINUTE_SECONDS / 60)
    with pytest.raises(TooSlow, match="too slow") as caught:
        body.check()
    assert caught.value.transient


def test_the_least_in_each_minute_is_enough(body: AnswerBounds) -> None:
    for _ in range(6000):
        receive(body, -(-MIN_MINUTE_BYTES // 60), MINUTE_SECONDS / 60)
    body.check()


def test_every_minute_counts_by_itself(body: AnswerBounds) -> None:
    """A fast beginning does not pay for a slow end."""
    receive(body, 10**9, 1.0)
    for _ in range(59):
        receive(body, 0, 1.0)
    with pytest.raises(TooSlow):
        for _ in range(61):
            receive(body, 1, 1.0)


def test_one_long_wait_is_not_too_slow(body: AnswerBounds) -> None:
    """A stopped process waits for hours, and then has what arrived meanwhile."""
    receive(body, 1000, 7200.0)
    receive(body, MIN_MINUTE_BYTES, 0.0)
    for _ in range(50):
        receive(body, 0, 1.0)
    body.check()


def test_waits_between_reads_do_not_count(monkeypatch: pytest.MonkeyPatch, body: AnswerBounds) -> None:
    """The time that the client itself takes, for its checks and its disk, is not the origin's."""
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    wire = Wire(cast("io.RawIOBase", io.BytesIO(b"x" * 100)), body)
    for _ in range(100):
        assert wire.read(1) == b"x"
        clock[0] += 3600
    body.check()


def test_waits_of_the_head_add_up() -> None:
    answer = AnswerBounds(HEAD_SECONDS)
    for _ in range(2):
        answer.check()
        answer.count_read(1, HEAD_SECONDS / 2)
    with pytest.raises(Refusal, match="no whole answer in time") as caught:
        answer.check()
    assert caught.value.transient


def test_waits_of_the_head_are_not_the_bodys() -> None:
    answer = AnswerBounds(HEAD_SECONDS)
    answer.count_read(1, MINUTE_SECONDS)
    answer.end_head()
    receive(answer, 1, 0.1)
    answer.check()


def refusal(url: str, request: RangeRequest = RangeRequest()) -> str:  # noqa: B008  it is frozen
    with closing(Client(60)) as client, pytest.raises(Refusal) as caught, client.open(url, request) as body:
        for _ in body:
            pass
    return str(caught.value)


def test_chunks_of_one_byte_are_a_body() -> None:
    count = MAX_HEAD_BYTES // 4
    answer = OK + b"1\r\nx\r\n" * count + b"0\r\n\r\n"
    with raw_server(answer) as url, closing(Client(60)) as client, client.open(url, RangeRequest()) as body:
        assert b"".join(body) == b"x" * count


@pytest.mark.parametrize(
    ("start", "endless"),
    [
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (OK, b"1;" + b"x" * 60_000 + b"\r\nx\r\n"),
        (OK + b"1\r\nx\r\n0\r\n", b"X: y\r\n"),
    ],
    ids=["1xx", "chunk extensions", "trailers"],
)
def test_far_more_bytes_than_the_files_are_refused(start: bytes, endless: bytes) -> None:
    with raw_server(start + endless * (2 * MAX_HEAD_BYTES // len(endless) + 1)) as url:
        assert "bytes that are not the file's" in refusal(url)


def test_a_proxys_answer_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    with raw_server(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * MAX_HEAD_BYTES) as url:
        monkeypatch.setenv("https_proxy", url.rpartition("/files")[0])
        outcome = refusal("https://figshare.invalid/files/1")
    assert "not the file's" in outcome or "more than 100 headers" in outcome
