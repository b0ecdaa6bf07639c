"""Standing: when an origin is set aside, and when it is left alone for a while."""

from __future__ import annotations

import math
import threading
from typing import Literal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from antscache.fetch.origin_health import LONGEST, TROUBLED, TURNED_AWAY, OriginHealth
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


def hear(standing: OriginHealth, answer: Answer, times: int = 1, now: float = NOW) -> None:
    for _ in range(times):
        if answer == "file":
            standing.answered()
        else:
            standing.refused(REFUSALS[answer], now, progress=answer == "trouble after bytes")


def asked_to_wait(seconds: float) -> Refusal:
    return Refusal("429 Too Many Requests", transient=True, retry_after=seconds)


# Set aside


@pytest.mark.parametrize("answer", ["turned away", "nobody there"])
def test_an_origin_is_set_aside_after_three_answers_in_a_row_about_the_origin_as_a_whole(answer: Answer) -> None:
    standing = OriginHealth()
    hear(standing, answer, 2)
    assert standing.set_aside == ""
    hear(standing, answer)
    assert standing.set_aside == f"set aside after 3 answers in a row: {REFUSALS[answer]}"


def test_an_origin_is_set_aside_after_thirty_answers_in_a_row_that_did_not_pass() -> None:
    standing = OriginHealth()
    hear(standing, "trouble", 29)
    assert standing.set_aside == ""
    hear(standing, "trouble")
    assert standing.set_aside == "set aside after 30 answers in a row: 503 Service Unavailable"


@pytest.mark.parametrize(("answer", "times"), [("turned away", 2), ("nobody there", 2), ("trouble", 29)])
def test_a_file_that_is_delivered_begins_the_row_anew(answer: Answer, times: int) -> None:
    standing = OriginHealth()
    for _ in range(5):
        hear(standing, answer, times)
        hear(standing, "file")
    assert standing.set_aside == ""


@pytest.mark.parametrize("answer", ["trouble after bytes", "not this file"])
def test_an_origin_that_gets_somewhere_or_lacks_a_file_is_never_set_aside(answer: Answer) -> None:
    standing = OriginHealth()
    hear(standing, answer, 500)
    assert standing.set_aside == ""


def test_bytes_between_two_troubles_begin_the_row_anew() -> None:
    standing = OriginHealth()
    for _ in range(5):
        hear(standing, "trouble", 29)
        hear(standing, "trouble after bytes")
    assert standing.set_aside == ""


def test_an_origin_that_was_set_aside_stays_so_whatever_else_it_had_under_way() -> None:
    standing = OriginHealth()
    hear(standing, "turned away", 3)
    hear(standing, "file", 5)
    assert standing.set_aside


def rows(answers: list[tuple[Answer, int]], kinds: set[Answer]) -> int:
    """The longest row of answers of these kinds."""
    longest = row = 0
    for answer, times in answers:
        row = row + times if answer in kinds else 0
        longest = max(longest, row)
    return longest


answers = st.lists(st.tuples(st.sampled_from(["file", *REFUSALS]), st.integers(1, 35)), max_size=8)


@given(answers)
@example([("trouble", 15), ("nobody there", 2), ("trouble", 13)])
def test_an_origin_is_never_set_aside_without_a_row_and_always_with_one(answers: list[tuple[Answer, int]]) -> None:
    standing = OriginHealth()
    for answer, times in answers:
        hear(standing, answer, times)
    turned_away = rows(answers, {"turned away", "nobody there"}) >= TURNED_AWAY
    troubled = rows(answers, {"nobody there", "trouble"}) >= TROUBLED
    assert bool(standing.set_aside) == (turned_away or troubled)


def test_answers_that_several_threads_hear_at_once_all_count() -> None:
    for _ in range(20):
        standing = OriginHealth()
        threads = [threading.Thread(target=hear, args=(standing, "trouble", 3)) for _ in range(TROUBLED // 3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert standing.set_aside


# Rest


def test_an_origin_that_nobody_asked_needs_no_rest() -> None:
    assert OriginHealth().rest(0.0) == OriginHealth().rest(NOW) == 0


def test_an_origin_that_asks_for_a_wait_is_left_alone_until_it_is_over() -> None:
    standing = OriginHealth()
    standing.refused(asked_to_wait(20), NOW, progress=False)
    assert [standing.rest(NOW + passed) for passed in (0, 5, 20, 500)] == [20, 15, 0, 0]
    assert standing.set_aside == ""


def test_of_several_waits_the_one_that_ends_last_counts() -> None:
    standing = OriginHealth()
    for seconds in 20, 60, 5, 0:
        standing.refused(asked_to_wait(seconds), NOW, progress=False)
    assert standing.rest(NOW) == 60


def test_an_answer_that_asks_for_no_wait_needs_none() -> None:
    standing = OriginHealth()
    hear(standing, "trouble", 5)
    assert standing.rest(NOW) == 0


def test_an_origin_that_asks_for_as_long_as_we_wait_is_waited_for() -> None:
    standing = OriginHealth()
    standing.refused(asked_to_wait(LONGEST), NOW, progress=False)
    assert (standing.rest(NOW), standing.set_aside) == (LONGEST, "")


@pytest.mark.parametrize(("seconds", "told"), [(LONGEST + 1, "121 s"), (86_400.0, "86400 s"), (math.inf, "inf s")])
@pytest.mark.parametrize("progress", [True, False])
def test_an_origin_that_asks_for_longer_is_set_aside_at_once(seconds: float, told: str, progress: bool) -> None:
    standing = OriginHealth()
    standing.refused(asked_to_wait(seconds), NOW, progress=progress)
    assert standing.set_aside == f"set aside: 429 Too Many Requests, and asks to wait {told}"
    assert standing.rest(NOW) == 0


def test_an_origin_that_is_set_aside_is_not_waited_for() -> None:
    standing = OriginHealth()
    standing.refused(asked_to_wait(100), NOW, progress=False)
    hear(standing, "turned away", 3)
    assert standing.set_aside
    assert standing.rest(NOW) == 0


@given(
    st.lists(st.tuples(st.integers(0, 1000), st.sampled_from([0.0, 0.5, 20.0, LONGEST, LONGEST + 1])), max_size=6),
    st.integers(0, 2000),
)
def test_no_rest_is_longer_than_the_longest_or_goes_on_for_ever(waits: list[tuple[int, float]], now: int) -> None:
    standing = OriginHealth()
    for moment, seconds in sorted(waits):
        standing.refused(asked_to_wait(seconds), moment, progress=False)
        assert 0 <= standing.rest(moment) <= LONGEST
    assert 0 <= standing.rest(1000 + now) <= max(0.0, LONGEST - now)
