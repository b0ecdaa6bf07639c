"""Whether the origins answer: each is asked once for the smallest file of a release."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from antscache import config
from antscache.core import Wanted
from antscache.doctor.finding import error, note, ok, warning
from antscache.doctor.patience import outcomes
from antscache.fetch import CHALLENGE, Client, RangeRequest, Refusal, open_at, parse_origins
from antscache.formats import FormError, form_of
from antscache.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from antscache.doctor.finding import Finding
    from antscache.doctor.host import Host
    from antscache.fetch import Origin

SILENCE = 10.0  # seconds
PATIENCE = 30.0  # seconds for all origins, which are asked at once
PROXY_AUTHENTICATION = 407
MOST = 1 << 16  # bytes of an answer that are read
NO_ROUTE = "set HTTPS_PROXY if there is a proxy, ANTSCACHE_MIRRORS if there is a mirror, or ANTSCACHE_OFFLINE=1"


def check_origins(host: Host) -> Iterator[Finding]:
    """Which origins answer with a file, and what the others say."""
    if host.settings.offline:
        yield note(
            "offline: no origin is asked, and nothing can be fetched", "unset ANTSCACHE_OFFLINE, or no --offline"
        )
        return
    origins = parse_origins(host.settings.mirrors, host.settings.origins)
    wanted = _smallest(host)
    timeout, tokens = min(SILENCE, host.settings.timeout), config.tokens()
    answers = outcomes([partial(_ask, each, wanted, timeout, tokens) for each in origins], PATIENCE)
    yield from _told(origins, answers, wanted)


def _smallest(host: Host) -> Wanted:
    """Return a small file that every origin should have: a transform of the newest release."""
    newest = next(each for each in reversed(host.catalog.releases()) if each.package == "antspynet")
    manifest = host.catalog.find(newest)
    wanted = [
        Wanted(entry.identifier, entry.file, newest)
        for entry in (manifest.entries if manifest else ())
        if entry.identifier
    ]
    smallest = min(wanted, key=lambda each: not each.file.endswith(".mat"))
    record = Store(host.layout.root).record(smallest.identifier)
    return replace(smallest, known=record.descriptor if record else None)


def _ask(origin: Origin, wanted: Wanted, timeout: float, tokens: dict[str, str]) -> None:
    """Read the beginning of the answer.

    Raises:
        Refusal: it is not the file.
        ConfigError: the proxy or the certificates that the environment names cannot be used.
    """
    form, size = form_of(wanted.file), 0
    with closing(Client(timeout, tokens)) as client:
        with open_at(origin, wanted, RangeRequest(), client) as body:
            for chunk in body:
                form.feed(chunk)
                size += len(chunk)
                if size > MOST:
                    return
        form.finish()


def _told(origins: Sequence[Origin], answers: Sequence[Exception | None], wanted: Wanted) -> Iterator[Finding]:
    reached = any(answer is None for answer in answers)
    for origin, answer in zip(origins, answers, strict=True):
        if answer is None:
            yield ok(f"{origin.name} answers")
        elif isinstance(answer, Refusal | FormError | TimeoutError):
            told = f"{origin.name} gives no {wanted.identifier} ({wanted.file}): {_said(answer)}"
            remedy = "take it out of ANTSCACHE_MIRRORS, or put the file there" if origin.trust == "mirror" else ""
            route = reached and origin.trust == "origin"  # one route is as good as the others
            yield note(told) if route else warning(told, remedy or _what_then(answer))
        else:
            raise answer
    if not reached:
        yield error("no origin answers with a file: what is missing cannot be fetched", NO_ROUTE)


def _said(answer: Exception) -> str:
    return f"did {answer}" if isinstance(answer, TimeoutError) else str(answer)


def _what_then(answer: Exception) -> str:
    """Say what to do about an origin that refuses everybody; empty where nobody can tell."""
    if str(answer).startswith(f"{CHALLENGE} "):
        return "it takes programs for robots: try another network, or set ANTSCACHE_MIRRORS"
    if str(answer).startswith(f"{PROXY_AUTHENTICATION} "):
        return "write user and password into HTTPS_PROXY"
    return ""
