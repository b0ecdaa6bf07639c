"""Whether a transfer may go on from bytes that are there, and what to ask for then: pure.

Bytes of two answers make one file only if both belong to the same state of the same file: its ETag says so, and where
the whole is compared with something in the end (a known digest, an ETag that is an MD5) that says so once more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from antscache.reply import Asked, md5_of, strong

if TYPE_CHECKING:
    from antscache.digest import Descriptor
    from antscache.record import Partial


def go_on(partial: Partial, held: int, origin: str, known: Descriptor | None, *, same_boot: bool) -> Asked | None:
    """What to ask `origin` for, when the first `held` bytes of `partial` are there; None if they are of no use.

    What the identifier turned out to be before is `known`; with `same_boot` the system has not gone down since the
    bytes were written.
    """
    if known is not None and known.size != partial.size:
        return None
    etag = strong(partial.etag)  # what lies on a disk that others write to is believed no more than a header
    is_md5, same_origin = md5_of(etag) is not None, partial.origin == origin
    if known is None and not is_md5 and not (etag and same_origin and same_boot):
        return None
    start = min(held, partial.size - 1)  # the last byte is asked for again, so that there is always an answer
    if start <= 0:
        return None
    return Asked(start, size=partial.size, etag=etag if same_origin or (is_md5 and known is None) else "")
