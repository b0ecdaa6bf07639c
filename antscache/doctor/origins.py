"""Check that the origins answer: request the same small file from each of them, once."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from antscache import config
from antscache.core import Wanted, figshare_number
from antscache.doctor.finding import error, note, ok, warning
from antscache.doctor.patience import run_jobs
from antscache.fetch import CHALLENGE_STATUS, Client, RangeRequest, Refusal, open_at, parse_origins
from antscache.formats import FormError, form_of
from antscache.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from antscache.doctor.finding import Finding
    from antscache.doctor.host import Host
    from antscache.fetch import Origin

SILENCE_TIMEOUT_SECONDS = 10.0  # without data from one origin
TOTAL_TIMEOUT_SECONDS = 30.0  # for all origins, which are asked at once
PROXY_AUTHENTICATION_STATUS = 407  # HTTP's "Proxy Authentication Required"
MAX_READ_BYTES = 1 << 16  # of an answer
NO_ORIGIN_REMEDY = (
    "set HTTPS_PROXY if your network needs a proxy, ANTSCACHE_MIRRORS if you have a mirror, or ANTSCACHE_OFFLINE=1"
)


def check_origins(host: Host) -> Iterator[Finding]:
    """Check which origins answer with a file, and report the errors of the others."""
    if host.settings.offline:
        remedy = "to fetch files, unset ANTSCACHE_OFFLINE and leave out --offline"
        yield note("offline: no origin was asked, and nothing can be fetched", remedy)
        return
    origins = parse_origins(host.settings.mirrors, host.settings.origins)
    wanted = _smallest(host)
    timeout, tokens = min(SILENCE_TIMEOUT_SECONDS, host.settings.timeout), config.read_tokens()
    jobs = [partial(_request, origin, wanted, timeout, tokens) for origin in origins]
    yield from _report(origins, run_jobs(jobs, TOTAL_TIMEOUT_SECONDS), wanted)


def _smallest(host: Host) -> Wanted:
    """Return a small file that every origin should have: a transform of the newest release."""
    newest = next(release for release in reversed(host.catalog.releases()) if release.package == "antspynet")
    manifest = host.catalog.find(newest)
    wanted = [
        Wanted(entry.identifier, entry.file, newest)
        for entry in (manifest.entries if manifest else ())
        if entry.identifier and figshare_number(entry.identifier)
    ]
    smallest = min(wanted, key=lambda file: not file.file.endswith(".mat"))
    record = Store(host.layout.root).record(smallest.identifier)
    return replace(smallest, known=record.descriptor if record else None)


def _request(origin: Origin, wanted: Wanted, timeout: float, tokens: dict[str, str]) -> None:
    """Request `wanted` from `origin`, and check the beginning of the answer.

    Raises:
        Refusal: `origin` did not answer with the file.
        FormError: the answer does not have the form of the file.
        ConfigError: the proxy or the certificates that the environment names cannot be used.
    """
    form, size = form_of(wanted.file), 0
    with closing(Client(timeout, tokens)) as client:
        with open_at(origin, wanted, RangeRequest(), client) as body:
            for chunk in body:
                form.feed(chunk)
                size += len(chunk)
                if size > MAX_READ_BYTES:
                    return
        form.finish()


def _report(origins: Sequence[Origin], answers: Sequence[Exception | None], wanted: Wanted) -> Iterator[Finding]:
    """Yield a finding for each origin; its answer is None if it delivered the file, or else the error."""
    any_delivered = any(answer is None for answer in answers)
    for origin, answer in zip(origins, answers, strict=True):
        if answer is None:
            yield ok(f"{origin.name} answers")
        elif isinstance(answer, Refusal | FormError | TimeoutError):
            reason = f"the request {answer}" if isinstance(answer, TimeoutError) else str(answer)
            what = f"{origin.name} did not deliver {wanted.identifier} ({wanted.file}): {reason}"
            if any_delivered and origin.trust == "origin":  # one of Figshare's routes is as good as another
                yield note(what)
            elif origin.trust == "mirror":
                yield warning(what, "put the file there, or remove this mirror from ANTSCACHE_MIRRORS")
            else:
                yield warning(what, _remedy(answer))
        else:
            raise answer
    if not any_delivered:
        yield error("no origin answers with a file: missing files cannot be fetched", NO_ORIGIN_REMEDY)


def _remedy(answer: Exception) -> str:
    """Return what you can do about an origin that answers like this; empty if no remedy is known."""
    if str(answer).startswith(f"{CHALLENGE_STATUS} "):
        return "this origin turns programs away: try another network, or set ANTSCACHE_MIRRORS"
    if str(answer).startswith(f"{PROXY_AUTHENTICATION_STATUS} "):
        return "add your user name and password to HTTPS_PROXY: http://USER:PASSWORD@HOST:PORT"
    return ""
