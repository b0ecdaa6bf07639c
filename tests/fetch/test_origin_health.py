"""The health of an origin: when it is set aside, and when it is not asked for a while."""

from __future__ import annotations

import math
import threading
from typing import Literal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from antscache.fetch.origin_health import (
    MAX_ORIGIN_REFUSALS,
    MAX_RETRY_AFTER_SECONDS,
    MAX_TRANSIENT_REFUSALS,
    OriginHealth,
)
from antscache.fetch.protocol import Refusal

NOW = 5_000.0

Answer = Literal["file", "turned away", "nobody there", "trouble", "trouble after bytes", "not this file"]
REFUSALS: dict[Answer, Refusal] = {
    "turned away": Refusal("403 Forbidden", affects_origin=True),
    "nobody there": Refusal("no answer", affects_origin=True, transient=True),
    "trouble": Refusal("503 Service Unavailable", transient=True),
    "trouble after bytes": Refusal("cut", transient=True),
    "not this file": Refusal("404 Not Found"),
}


def hear(health: OriginHealth, answer: Answer, times: int = 1, now: float = NOW) -> None:
    for _ in range(times):
        if answer == "file":
            health.note_delivery()
        else:
            health.note_refusal(REFUSALS[answer], now, progress=answer == "trouble after bytes")


def asked_to_wait(seconds: float) -> Refusal:
    return Refusal("429 Too Many Requests", transient=True, retry_after=seconds)


# Set aside


@pytest.mark.parametrize("answer", ["turned away", "nobody there"])
def test_three_refusals_of_all_files_set_aside(answer: Answer) -> None:
    health = OriginHealth()
    hear(health, answer, 2)
    assert health.set_aside == ""
    hear(health, answer)
    assert health.set_aside == f"set aside after 3 answers in a row: {REFUSALS[answer]}"


def test_thirty_transient_refusals_set_aside() -> None:
    health = OriginHealth()
    hear(health, "trouble", 29)
    assert health.set_aside == ""
    hear(health, "trouble")
    assert health.set_aside == "set aside after 30 answers in a row: 503 Service Unavailable"


@pytest.mark.parametrize(("answer", "times"), [("turned away", 2), ("nobody there", 2), ("trouble", 29)])
def test_delivered_file_ends_the_row(answer: Answer, times: int) -> None:
    health = OriginHealth()
    for _ in range(5):
        hear(health, answer, times)
        hear(health, "file")
    assert health.set_aside == ""


@pytest.mark.parametrize("answer", ["trouble after bytes", "not this file"])
def test_progress_or_a_missing_file_never_sets_aside(answer: Answer) -> None:
    health = OriginHealth()
    hear(health, answer, 500)
    assert health.set_aside == ""


def test_bytes_between_two_refusals_end_the_row() -> None:
    health = OriginHealth()
    for _ in range(5):
        hear(health, "trouble", 29)
        hear(health, "trouble after bytes")
    assert health.set_aside == ""


def test_origin_stays_set_aside() -> None:
    """Files that it delivers later, from requests under way, change nothing."""
    health = OriginHealth()
    hear(health, "turned away", 3)
    hear(health, "file", 5)
    assert health.set_aside


def rows(answers: list[tuple[Answer, int]], kinds: set[Answer]) -> int:
    """Return the length of the longest row of answers of these kinds."""
    longest = row = 0
    for answer, times in answers:
        row = row + times if answer in kinds else 0
        longest = max(longest, row)
    return longest


answers = st.lists(st.tuples(st.sampled_from(["file", *REFUSALS]), st.integers(1, 35)), max_size=8)


@given(answers)
@example([("trouble", 15), ("nobody there", 2), ("trouble", 13)])
def test_an_origin_is_set_aside_exactly_for_rows(answers: list[tuple[Answer, int]]) -> None:
    health = OriginHealth()
    for answer, times in answers:
        hear(health, answer, times)
    turned_away = rows(answers, {"turned away", "nobody there"}) >= MAX_ORIGIN_REFUSALS
    troubled = rows(answers, {"nobody there", "trouble"}) >= MAX_TRANSIENT_REFUSALS
    assert bool(health.set_aside) == (turned_away or troubled)


def test_refusals_in_several_threads_all_count() -> None:
    for _ in range(20):
        health = OriginHealth()
        threads = [
            threading.Thread(target=hear, args=(health, "trouble", 3)) for _ in range(MAX_TRANSIENT_REFUSALS // 3)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert health.set_aside


# Waits


def test_origin_not_yet_asked_needs_no_wait() -> None:
    assert OriginHealth().seconds_to_wait(0.0) == OriginHealth().seconds_to_wait(NOW) == 0


def test_retry_after_is_waited_for() -> None:
    health = OriginHealth()
    health.note_refusal(asked_to_wait(20), NOW, progress=False)
    assert [health.seconds_to_wait(NOW + passed) for passed in (0, 5, 20, 500)] == [20, 15, 0, 0]
    assert health.set_aside == ""


def test_the_longest_of_several_waits_counts() -> None:
    health = OriginHealth()
    for seconds in 20, 60, 5, 0:
        health.note_refusal(asked_to_wait(seconds), NOW, progress=False)
    assert health.seconds_to_wait(NOW) == 60


def test_refusal_without_retry_after_needs_no_wait() -> None:
    health = OriginHealth()
    hear(health, "trouble", 5)
    assert health.seconds_to_wait(NOW) == 0


def test_the_longest_allowed_wait_is_waited_for() -> None:
    health = OriginHealth()
    health.note_refusal(asked_to_wait(MAX_RETRY_AFTER_SECONDS), NOW, progress=False)
    assert (health.seconds_to_wait(NOW), health.set_aside) == (MAX_RETRY_AFTER_SECONDS, "")


@pytest.mark.parametrize(
    ("seconds", "wait"), [(MAX_RETRY_AFTER_SECONDS + 1, "121 s"), (86_400.0, "86400 s"), (math.inf, "inf s")]
)
@pytest.mark.parametrize("progress", [True, False])
def test_too_long_a_wait_sets_aside_at_once(seconds: float, wait: str, progress: bool) -> None:
    health = OriginHealth()
    health.note_refusal(asked_to_wait(seconds), NOW, progress=progress)
    assert health.set_aside == f"set aside: 429 Too Many Requests, and asks to wait {wait}"
    assert health.seconds_to_wait(NOW) == 0


def test_origin_set_aside_is_not_waited_for() -> None:
    health = OriginHealth()
    health.note_refusal(asked_to_wait(100), NOW, progress=False)
    hear(health, "turned away", 3)
    assert health.set_aside
    assert health.seconds_to_wait(NOW) == 0


@given(
    st.lists(
        st.tuples(
            st.integers(0, 1000),
            st.sampled_from([0.0, 0.5, 20.0, MAX_RETRY_AFTER_SECONDS, MAX_RETRY_AFTER_SECONDS + 1]),
        ),
        max_size=6,
    ),
    st.integers(0, 2000),
)
def test_no_wait_is_longer_than_allowed(waits: list[tuple[int, float]], now: int) -> None:
    """Every wait ends, too."""
    health = OriginHealth()
    for moment, seconds in sorted(waits):
        health.note_refusal(asked_to_wait(seconds), moment, progress=False)
        assert 0 <= health.seconds_to_wait(moment) <= MAX_RETRY_AFTER_SECONDS
    assert 0 <= health.seconds_to_wait(1000 + now) <= max(0.0, MAX_RETRY_AFTER_SECONDS - now)
