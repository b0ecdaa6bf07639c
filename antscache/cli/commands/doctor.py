"""`antscache doctor`: check this machine's set-up, and suggest a remedy for each problem."""

from __future__ import annotations

from pathlib import Path

import click

from antscache.cli import render
from antscache.cli.options import Invocation, as_json, shared

LEVEL_COLUMN_WIDTH = 9


@click.command()
@click.option("--python", type=click.Path(path_type=Path), help="Check the antspynet of this Python.")
@click.option("--deep", is_flag=True, help="Read all files in ~/.keras/ANTsXNet, even gigabytes.")
@as_json
@shared
@click.pass_obj
def doctor(invocation: Invocation, python: Path | None, deep: bool, json: bool) -> None:
    """Check this machine's set-up, and suggest remedies.

    Checks the root and its filesystem, lower caches, the antspynet in use and the files it would see,
    ~/.keras/ANTsXNet, and the origins. Changes nothing. Exit code 1 if there is an error.
    """
    from antscache.doctor import examine

    findings = []
    for finding in examine(invocation.flags, python=python, deep=deep):
        findings.append(finding)
        if not json:
            render.print_line(f"{finding.level:{LEVEL_COLUMN_WIDTH}}{finding.check}: {finding.what}")
            if finding.remedy:
                render.print_line(f"{'':{LEVEL_COLUMN_WIDTH}}{finding.remedy}")
    if json:
        render.print_json(findings)
    if any(finding.level == "error" for finding in findings):
        raise click.exceptions.Exit(1)
