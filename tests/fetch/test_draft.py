"""Going on from bytes that are there: when, and what is asked for then."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from antscache.core.digest import Descriptor, descriptor_of
from antscache.core.record import Partial
from antscache.fetch.draft import resume_request
from antscache.fetch.protocol import RangeRequest, md5_of, strong

SIZE = 1000
HERE, OTHER = "ndownloader.figshare.com", "mirror.org"
MD5, STRONG, WEAK, NONE = '"d41d8cd98f00b204e9800998ecf8427e"', '"state-3"', 'W/"state"', ""
KNOWN = Descriptor(descriptor_of(b"").digest, SIZE)

booleans = pytest.mark.parametrize("same_boot", [True, False], ids=["same boot", "another boot"])


def partial(etag: str = STRONG, size: int = SIZE) -> Partial:
    return Partial("figshare:1", size, etag, HERE, "boot")


# The decision


@booleans
@pytest.mark.parametrize(
    ("etag", "origin", "if_range"),
    [
        (MD5, HERE, MD5),
        (MD5, OTHER, ""),
        (STRONG, HERE, STRONG),
        (STRONG, OTHER, ""),
        (WEAK, HERE, ""),
        (WEAK, OTHER, ""),
        (NONE, HERE, ""),
        (NONE, OTHER, ""),
    ],
)
def test_where_the_digest_is_known_any_bytes_are_gone_on_from(
    etag: str, origin: str, if_range: str, same_boot: bool
) -> None:
    assert resume_request(partial(etag), 400, origin, KNOWN, same_boot=same_boot) == RangeRequest(
        400, None, SIZE, if_range
    )


@pytest.mark.parametrize(
    ("etag", "origin", "same_boot", "goes_on"),
    [
        (MD5, HERE, True, True),
        (MD5, HERE, False, True),
        (MD5, OTHER, True, True),
        (MD5, OTHER, False, True),
        (STRONG, HERE, True, True),
        (STRONG, HERE, False, False),
        (STRONG, OTHER, True, False),
        (STRONG, OTHER, False, False),
        (WEAK, HERE, True, False),
        (WEAK, HERE, False, False),
        (WEAK, OTHER, True, False),
        (WEAK, OTHER, False, False),
        (NONE, HERE, True, False),
        (NONE, HERE, False, False),
        (NONE, OTHER, True, False),
        (NONE, OTHER, False, False),
    ],
)
def test_where_no_digest_is_known_the_etag_decides(etag: str, origin: str, same_boot: bool, goes_on: bool) -> None:
    found = resume_request(partial(etag), 400, origin, None, same_boot=same_boot)
    assert found == (RangeRequest(400, None, SIZE, etag) if goes_on else None)


@booleans
@pytest.mark.parametrize("etag", [MD5, STRONG, WEAK, NONE])
@pytest.mark.parametrize("size", [SIZE - 1, SIZE + 1, 0])
def test_the_beginning_of_a_file_of_another_size_is_of_no_use(etag: str, size: int, same_boot: bool) -> None:
    assert resume_request(partial(etag, size), 400, HERE, KNOWN, same_boot=same_boot) is None


@pytest.mark.parametrize(
    ("held", "start"), [(0, None), (1, 1), (998, 998), (999, 999), (1000, 999), (1001, 999), (10**30, 999)]
)
def test_the_last_byte_is_always_asked_for(held: int, start: int | None) -> None:
    found = resume_request(partial(), held, HERE, None, same_boot=True)
    assert (found.start if found else None) == start


@pytest.mark.parametrize("size", [0, 1])
@pytest.mark.parametrize("held", [0, 1, 5])
def test_a_file_of_at_most_one_byte_is_begun_anew(size: int, held: int) -> None:
    assert resume_request(partial(MD5, size), held, HERE, None, same_boot=True) is None


# Never

etags = st.sampled_from([MD5, MD5.upper(), STRONG, WEAK, NONE, MD5[1:-1], f"W/{MD5}", '"a\r\nX: y"']) | st.text(
    max_size=40
)
partials = st.builds(
    Partial, st.just("figshare:1"), st.integers(0, 2000), etags, st.sampled_from([HERE, OTHER]), st.text()
)
anything = given(
    left=partials,
    held=st.integers(0, 3000),
    origin=st.sampled_from([HERE, OTHER]),
    known=st.none() | st.builds(Descriptor, st.just(KNOWN.digest), st.integers(0, 2000)) | st.just("as the partial"),
    same_boot=st.booleans(),
)


def asked_for(
    left: Partial, held: int, origin: str, known: Descriptor | str | None, same_boot: bool
) -> RangeRequest | None:
    return resume_request(left, held, origin, described(known, left), same_boot=same_boot)


def described(known: Descriptor | str | None, left: Partial) -> Descriptor | None:
    return Descriptor(KNOWN.digest, left.size) if isinstance(known, str) else known


@anything
def test_what_is_asked_for_is_within_the_file_and_no_further_than_what_is_held(
    left: Partial, held: int, origin: str, known: Descriptor | str | None, same_boot: bool
) -> None:
    asked = asked_for(left, held, origin, known, same_boot)
    if asked:
        assert 0 < asked.start < left.size
        assert asked.start <= held
        assert (asked.stop, asked.size) == (None, left.size)


@anything
@example(left=partial(MD5), held=400, origin=OTHER, known=None, same_boot=False)
@example(left=partial(STRONG), held=400, origin=HERE, known=None, same_boot=True)
def test_bytes_of_two_answers_never_meet_unless_something_says_that_they_belong_together(
    left: Partial, held: int, origin: str, known: Descriptor | str | None, same_boot: bool
) -> None:
    asked, known = asked_for(left, held, origin, known, same_boot), described(known, left)
    if asked is None:
        return
    whole_is_compared = md5_of(left.etag) is not None or (known is not None and known.size == left.size)
    same_state = left.origin == origin and same_boot and bool(strong(left.etag))
    assert whole_is_compared or same_state
    if known is None:
        assert asked.etag == left.etag, "the origin is to say once more that the state is the same"


@anything
def test_no_etag_of_a_file_that_others_write_to_gets_into_a_request_unless_it_is_a_strong_one(
    left: Partial, held: int, origin: str, known: Descriptor | str | None, same_boot: bool
) -> None:
    asked = asked_for(left, held, origin, known, same_boot)
    if asked:
        assert asked.etag in {"", left.etag}
        assert asked.etag == strong(asked.etag)
        assert all(value.isascii() and value.isprintable() for value in asked.headers().values())


@anything
def test_a_state_that_only_one_origin_knows_is_never_asked_of_another(
    left: Partial, held: int, origin: str, known: Descriptor | str | None, same_boot: bool
) -> None:
    asked = asked_for(left, held, origin, known, same_boot)
    if asked and left.origin != origin:
        assert not asked.etag or md5_of(asked.etag)
