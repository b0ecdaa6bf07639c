"""The command `antscache`, and how its verbs are found."""

from __future__ import annotations

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


class HintingGroup(click.Group):
    """A group that says which verb was probably meant where there is none of that name."""

    def resolve_command(
        self, context: click.Context, arguments: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the verb as click does, with a hint where there is none of that name."""
        try:
            return super().resolve_command(context, arguments)
        except click.UsageError as error:
            meant = MEANT.get(arguments[0]) or _closest(arguments[0], self.list_commands(context))
            if not meant:
                raise
            said = f"No such command {arguments[0]!r}: did you mean `antscache {meant}`?"
            raise click.UsageError(said, error.ctx) from None


def _closest(name: str, verbs: list[str]) -> str | None:
    """Return the verb that is written most like `name`, if any is."""
    from difflib import get_close_matches

    return next(iter(get_close_matches(name, verbs, 1)), None)


class LazyGroup(HintingGroup):
    """The group of all verbs, which imports a verb's module only when the verb is called or described."""

    def list_commands(self, context: click.Context) -> list[str]:  # noqa: ARG002  click's signature
        """Return the names of all verbs, and import none."""
        return sorted(VERBS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:  # noqa: ARG002  click's signature
        """Import the verb of this name or alias; help lists each verb once."""
        verb = ALIASES.get(name, name)
        return load(verb) if verb in VERBS else None


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="antscache %(version)s")
@shared
def antscache() -> None:
    """The data and networks that any release of ANTsPyNet asks for: present, verified, isolated per release.

    RELEASE is written like antspynet==0.3.2, or just 0.3.2; without one, the antspynet of the current environment
    is meant.
    """
