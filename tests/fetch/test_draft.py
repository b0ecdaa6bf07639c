"""Resuming a partial file: when that is allowed, and the request for the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from antscache.core import KERAS_WEIGHTS, HazardPolicy, Release, Wanted
from antscache.core.digest import Descriptor, descriptor_of
from antscache.core.record import Partial
from antscache.fetch.draft import Draft, Mismatch, resume_request
from antscache.fetch.protocol import RangeRequest, md5_of, strong_etag
from antscache.store import Store

if TYPE_CHECKING:
    from pathlib import Path

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
def test_known_digest_resumes_any_partial(etag: str, origin: str, if_range: str, same_boot: bool) -> None:
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
def test_without_a_digest_the_etag_decides(etag: str, origin: str, same_boot: bool, goes_on: bool) -> None:
    request = resume_request(partial(etag), 400, origin, None, same_boot=same_boot)
    assert request == (RangeRequest(400, None, SIZE, etag) if goes_on else None)


@booleans
@pytest.mark.parametrize("etag", [MD5, STRONG, WEAK, NONE])
@pytest.mark.parametrize("size", [SIZE - 1, SIZE + 1, 0])
def test_partial_of_another_size_is_not_resumed(etag: str, size: int, same_boot: bool) -> None:
    assert resume_request(partial(etag, size), 400, HERE, KNOWN, same_boot=same_boot) is None


@pytest.mark.parametrize(
    ("held", "start"), [(0, None), (1, 1), (998, 998), (999, 999), (1000, 999), (1001, 999), (10**30, 999)]
)
def test_the_last_byte_is_always_asked_for(held: int, start: int | None) -> None:
    request = resume_request(partial(), held, HERE, None, same_boot=True)
    assert (request.start if request else None) == start


@pytest.mark.parametrize("size", [0, 1])
@pytest.mark.parametrize("held", [0, 1, 5])
def test_file_of_one_byte_begins_anew(size: int, held: int) -> None:
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


def request_for(
    left: Partial, held: int, origin: str, known: Descriptor | str | None, same_boot: bool
) -> RangeRequest | None:
    return resume_request(left, held, origin, described(known, left), same_boot=same_boot)


def described(known: Descriptor | str | None, left: Partial) -> Descriptor | None:
    return Descriptor(KNOWN.digest, left.size) if isinstance(known, str) else known


@anything
def test_request_begins_within_the_held_bytes(
    left: Partial, held: int, origin: str, known: Descriptor | str | None, same_boot: bool
) -> None:
    """The requested range also ends where the file ends."""
    request = request_for(left, held, origin, known, same_boot)
    if request:
        assert 0 < request.start < left.size
        assert request.start <= held
        assert (request.stop, request.size) == (None, left.size)


@anything
@example(left=partial(MD5), held=400, origin=OTHER, known=None, same_boot=False)
@example(left=partial(STRONG), held=400, origin=HERE, known=None, same_boot=True)
def test_bytes_of_two_answers_join_only_with_proof(
    left: Partial, held: int, origin: str, known: Descriptor | str | None, same_boot: bool
) -> None:
    """The proof is a comparison of the whole file, or one origin's strong ETag within one boot."""
    request, known = request_for(left, held, origin, known, same_boot), described(known, left)
    if request is None:
        return
    whole_is_compared = md5_of(left.etag) is not None or (known is not None and known.size == left.size)
    same_state = left.origin == origin and same_boot and bool(strong_etag(left.etag))
    assert whole_is_compared or same_state
    if known is None:
        assert request.etag == left.etag, "the origin is to say once more that the state is the same"


@anything
def test_only_a_strong_etag_gets_into_a_request(
    left: Partial, held: int, origin: str, known: Descriptor | str | None, same_boot: bool
) -> None:
    """Others may write to the note that the ETag is read from."""
    request = request_for(left, held, origin, known, same_boot)
    if request:
        assert request.etag in {"", left.etag}
        assert request.etag == strong_etag(request.etag)
        assert all(value.isascii() and value.isprintable() for value in request.headers().values())


@anything
def test_no_origin_gets_an_etag_of_another(
    left: Partial, held: int, origin: str, known: Descriptor | str | None, same_boot: bool
) -> None:
    """Only an ETag that is an MD5 means the same at every origin."""
    request = request_for(left, held, origin, known, same_boot)
    if request and left.origin != origin:
        assert not request.etag or md5_of(request.etag)


# The MD5 that is known beforehand


def test_known_md5_is_compared_whatever_is_recorded(tmp_path: Path) -> None:
    """Keras's own weights have one; a record of other bytes does not weigh more."""
    store = Store(tmp_path / "root")
    store.create()
    entry, data = KERAS_WEIGHTS[0].entry, b"other bytes"
    for known in None, descriptor_of(data):
        wanted = Wanted(str(entry.identifier), entry.file, Release("antspynet", "0.3.2"), known, accepted=True)
        with store.ingest() as ingest:
            draft = Draft(ingest, wanted, None, (), HazardPolicy())
            draft.write(data)
            with pytest.raises(Mismatch, match=f"the MD5 is .*, but {KERAS_WEIGHTS[0].md5} is known"):
                draft.check(lambda _: None)
