"""`antscache doctor`: check this machine's set-up, and name a remedy for each problem."""

from __future__ import annotations

from pathlib import Path

import click

from antscache.cli import render
from antscache.cli.options import Invocation, as_json, shared

WIDTH = 9  # of a level's column


@click.command()
@click.option("--python", type=click.Path(path_type=Path), help="The Python whose antspynet is meant.")
@click.option("--deep", is_flag=True, help="Read all of the files in ~/.keras/ANTsXNet, gigabytes or not.")
@as_json
@shared
@click.pass_obj
def doctor(invocation: Invocation, python: Path | None, deep: bool, json: bool) -> None:
    """Say what is wrong with this machine's set-up, and what to do.

    Looks at the root and its filesystem, at lower caches, at the antspynet in use and what it would see, at
    ~/.keras/ANTsXNet, and at the origins. Changes nothing. Exits with 1 if there is an error.
    """
    from antscache.doctor import examine

    found = []
    for finding in examine(invocation.flags, python=python, deep=deep):
        found.append(finding)
        if not json:
            click.echo(f"{finding.level:{WIDTH}}{finding.check}: {finding.what}")
            if finding.remedy:
                click.echo(f"{'':{WIDTH}}{finding.remedy}")
    if json:
        render.print_json(found)
    if any(finding.level == "error" for finding in found):
        raise click.exceptions.Exit(1)
