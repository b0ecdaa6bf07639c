"""The command `antscache`, a group that imports a verb when it is called."""

from __future__ import annotations

import click

from antscache import __version__
from antscache.cli.commands import VERBS, load
from antscache.cli.options import shared

# The verbs of other tools -> the verb to suggest.
SUGGESTED_VERBS = {
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

ALIASES = {"prune": "gc"}  # they work as verbs, and help does not list them


class HintingGroup(click.Group):
    """A group that suggests a verb for an unknown one."""

    def resolve_command(
        self, context: click.Context, arguments: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the verb as click does; suggest another one if there is no such verb."""
        try:
            return super().resolve_command(context, arguments)
        except click.UsageError as error:
            suggestion = self._suggestion(context, arguments[0])
            if not suggestion:
                raise
            message = f"No such command {arguments[0]!r}: did you mean `{context.command_path} {suggestion}`?"
            raise click.UsageError(message, error.ctx) from None

    def _suggestion(self, context: click.Context, name: str) -> str | None:
        """Return the verb of this group that `name` was probably meant to be, or None."""
        verbs = self.list_commands(context)
        verb = SUGGESTED_VERBS.get(name)
        if verb not in verbs:
            verb = _closest(name, verbs)
        command = self.get_command(context, verb) if verb else None
        return verb if command and not command.hidden else None


def _closest(name: str, verbs: list[str]) -> str | None:
    """Return the verb whose spelling is closest to `name`, or None if none is close."""
    from difflib import get_close_matches

    return next(iter(get_close_matches(name, verbs, 1)), None)


class LazyGroup(HintingGroup):
    """The group of all verbs. It imports a verb's module when the verb is called or described."""

    def list_commands(self, context: click.Context) -> list[str]:  # noqa: ARG002  click's signature
        """Return the names of all verbs; import none of them."""
        return sorted(VERBS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:  # noqa: ARG002  click's signature
        """Import the verb of this name or alias. Return None if there is none."""
        verb = ALIASES.get(name, name)
        return load(verb) if verb in VERBS else None


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="antscache %(version)s")
@shared
def antscache() -> None:
    """Keep the data and networks of each ANTsPyNet release: verified, and apart from other releases.

    RELEASE is written like antspynet==0.3.2, or just 0.3.2. Without RELEASE, a verb takes the antspynet of the
    current environment.
    """
