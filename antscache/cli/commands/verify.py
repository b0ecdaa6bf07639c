"""`antscache verify`: re-read files, compare their checksums, and repair damaged ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from antscache.cli import render
from antscache.cli.options import Invocation, as_json, fetching, shared
from antscache.errors import IntegrityError, ViewError

if TYPE_CHECKING:
    from antscache.cache import Cache
    from antscache.operations import Verified


@click.command()
@click.argument("releases", metavar="[RELEASE...]", nargs=-1)
@click.option(
    "--deep",
    is_flag=True,
    help="Repeat the checks of form and the scan of networks as well; this inflates whole images.",
)
@click.option("--repair", is_flag=True, help="Move damaged files aside, fetch them again, and renew views.")
@click.option("--sums", is_flag=True, help="Print a list for `sha256sum -c`, and read no files.")
@as_json
@fetching
@shared
@click.pass_obj
def verify(invocation: Invocation, releases: tuple[str, ...], deep: bool, repair: bool, sums: bool, json: bool) -> None:
    """Re-read files and compare their checksums.

    Reads the whole root, or the files of the RELEASEs. Exit code 5 if any is damaged or missing; 7 if none is, and an
    interrupted command left a view unfinished.
    """
    from antscache.cli.progress import show_reading
    from antscache.core import hexadecimal

    if sums and (deep or repair or json):
        raise click.UsageError("--sums reads no files: leave out --deep, --repair and --json")
    cache = invocation.cache()
    named = [cache.release(release) for release in releases]
    if sums:
        for digest, path in cache.sums(named):
            render.print_for_programs(_sum(hexadecimal(digest), str(path)))
        return
    size = cache.store.stored()[1] if render.is_watched() else 0
    with show_reading(invocation, size) as listen:
        verified = cache.verify(named, deep=deep, repair=repair, listen=listen)
    if json:
        render.print_json(verified)
    else:
        _print(invocation, verified)
    if any(not finding.is_unfinished for finding in verified.findings):
        raise _unsound(verified, cache, repair=repair)
    _check_finished(invocation, verified)
    for refusal in verified.refused:
        invocation.say(f"warning: {refusal}")


def _print(invocation: Invocation, verified: Verified) -> None:
    for finding in verified.repaired:
        render.print_line(f"repaired {finding.part} {finding.path}: {finding.problem}")
    for finding in verified.findings:
        render.print_line(f"{finding.part} {finding.path}: {finding.problem}")
    invocation.say(f"{verified.blobs} blobs read, {render.size(verified.size)}")
    if verified.unscanned:
        invocation.say(_unscanned(verified))
    if verified.relinked:
        invocation.say(f"linked to their blobs again: {render.files(verified.relinked)} in views")


def _unscanned(verified: Verified) -> str:
    """Count the networks that nobody has scanned, and say how to do it."""
    count = len(verified.unscanned)
    networks = f"{count} networks were" if count > 1 else "1 network was"
    what = f"{networks} never scanned for code and for links to other files"
    return f"{what}: `antscache verify --deep --repair` scans them, and records it"


def _check_finished(invocation: Invocation, verified: Verified) -> None:
    """Say so if nothing is damaged, but an interrupted command left something to be made.

    Raises:
        ViewError: names in views are not made yet.
    """
    hint = "no file is damaged: `antscache verify --repair` makes what an interrupted command did not"
    if names := sum(finding.part == "view" for finding in verified.findings):
        raise ViewError(
            f"{names} names in views are not there" if names > 1 else "a name in a view is not there", hint=hint
        )
    if verified.findings:
        invocation.say("note: the index is not up to date", hint=hint)


def _unsound(verified: Verified, cache: Cache, *, repair: bool) -> IntegrityError:
    """Make the error that counts the findings that are not repaired, with a hint."""
    count = len(verified.findings)
    summary = f"{count} finding{'s' if count > 1 else ''} in {cache.store.layout.root}"
    if all(finding.remedy == "forget" for finding in verified.findings):
        hint = "do as the findings say: only you can tell which bytes are right"
    elif not repair:
        hint = "run `antscache verify --repair`"
    elif cache.settings.offline:
        hint = "run `antscache verify --repair` where there is network access"
    else:
        hint = "run `antscache verify --repair` again later: an origin may deliver the files then"
    return IntegrityError(summary, details=verified.refused, hint=hint)


def _sum(digits: str, path: str) -> str:
    r"""Format a line for `sha256sum -c`, escaped as sha256sum does it where a name has a backslash or a line break."""
    escaped = path.replace("\\", r"\\").replace("\n", r"\n").replace("\r", r"\r")
    return ("\\" if escaped != path else "") + f"{digits}  {escaped}"
