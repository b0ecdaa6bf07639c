"""The command `antscache`, and how its verbs are found."""

from __future__ import annotations

import difflib

import click

from antscache import __version__
from antscache.cli.commands import VERBS, load
from antscache.cli.options import shared

# What people type who know other tools, or this one's architecture by heart.
MEANT = {
    "download": "prefetch",
    "fetch": "prefetch",
    "get": "prefetch",
    "install": "prefetch",
    "pull": "prefetch",
    "ls": "list",
    "remove": "rm",
    "uninstall": "rm",
    "delete": "rm",
    "clean": "gc",
}

ALIASES = {"prune": "gc"}


class Verbs(click.Group):
    """A group that knows some verbs by another name, and says which verb was probably meant."""

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        """Return the verb of this name or alias; help lists each verb once."""
        return super().get_command(context, ALIASES.get(name, name))

    def resolve_command(
        self, context: click.Context, arguments: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the verb as click does, with a hint where there is none of that name."""
        try:
            return super().resolve_command(context, arguments)
        except click.UsageError as error:
            close = difflib.get_close_matches(arguments[0], self.commands, 1)
            meant = MEANT.get(arguments[0]) or (close[0] if close else None)
            if not meant:
                raise
            said = f"No such command {arguments[0]!r}: did you mean `antscache {meant}`?"
            raise click.UsageError(said, error.ctx) from None


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="antscache %(version)s")
@shared
def antscache() -> None:
    """The data and networks that any release of ANTsPyNet asks for: present, verified, isolated per release.

    RELEASE is written like antspynet==0.3.2, or just 0.3.2; without one, the antspynet of the current environment
    is meant.
    """


for verb in VERBS:
    antscache.add_command(load(verb))
