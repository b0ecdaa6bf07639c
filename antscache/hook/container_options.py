"""What a container engine is told to have a container use this host's cache: pure.

    docker run $(antscache container-args docker) IMAGE ...
    singularity exec $(antscache container-args singularity) IMAGE.sif ...

In the container:

    /var/cache/antscache       the root, read-only if nothing is to be fetched into it
    <the paths they have>      lower caches, read-only: views lead into them by absolute links
    <the path it has>          the working directory
    /home/antscache-home       HOME: empty, writable, and gone with the container

The container's user is the caller. No variable of this host is passed on, and no home. What an engine's syntax cannot
hold is refused.
"""

from __future__ import annotations

import csv
import io
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from antscache.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

WRITABLE = Path("/var/cache/antscache")  # where antscache in an image has its root
BAKED = Path("/opt/antscache")  # what an image holds, which it uses whatever is named
HOME = Path("/home/antscache-home")  # no image has it: over a directory that is there a tmpfs has that one's mode

# Where an image has its programs: nothing is mounted at, above or below these.
_PROGRAMS = """
    /bin /boot /etc /lib /lib32 /lib64 /libx32 /proc /sbin /sys
    /usr/bin /usr/include /usr/lib /usr/lib32 /usr/lib64 /usr/libexec /usr/libx32 /usr/sbin /usr/share /usr/src
    /usr/local/bin /usr/local/lib /usr/local/sbin
"""
PROGRAMS = tuple(map(Path, _PROGRAMS.split()))
# What else a container needs: nothing is mounted at or above these. Below them may be the host's own: /run/media/disk.
NEEDED = (Path("/dev"), Path("/run"), Path("/home/antspyuser"), HOME)

BIND = ",:^"  # what --bind takes for a separator: Singularity splits at [^,^:]
EVALUATED = '"$\\`'  # what a shell in a Singularity container takes for its own in the value of --env
UNTOLD = frozenset(map(chr, (*range(32), 127, *range(0xD800, 0xE000))))  # to anybody: control characters, no text


@dataclass(frozen=True, slots=True)
class HostAccess:
    """What a container gets of this host. Paths are absolute, and something is there.

    Attributes:
        root: None where there is none, and lower caches have all that is needed.
        writable: whether something may be fetched into the root.
        lowers: the lower caches.
        directory: the working directory; None where it cannot be the container's (`hides`).
        user: the number of the user whose rights the container has.
        group: the number of that user's group.
        groups: the numbers of the user's other groups without which something of this cannot be reached.
        offline: whether the container has no network.
    """

    root: Path | None
    writable: bool
    lowers: tuple[Path, ...]
    directory: Path | None
    user: int
    group: int
    groups: tuple[int, ...] = ()
    offline: bool = False


class BindMount(NamedTuple):
    """A directory of this host, and where a container has it."""

    source: Path
    destination: Path
    readonly: bool


# The same for each engine


def hides(directory: Path) -> Path | None:
    """What of the container's own the working directory would hide or change, if it was mounted at its own path."""
    apart = (own for own in (*PROGRAMS, WRITABLE, BAKED) if _overlap(own, directory))
    return next(apart, None) or next((own for own in NEEDED if own.is_relative_to(directory)), None)


def mounts(host: HostAccess) -> list[BindMount]:
    """What is mounted where; a mount that another one is in comes after it.

    Raises:
        ConfigError: a lower cache would hide what a container needs.
    """
    for lower in host.lowers:
        if own := next((own for own in (*PROGRAMS, *NEEDED) if own.is_relative_to(lower)), None):
            what = f"the lower cache {lower} must have the same path in a container, and would hide {own} there"
            raise ConfigError(what, hint="move it into a directory of its own, or leave it out")
    found = [BindMount(lower, lower, readonly=True) for lower in host.lowers]
    if host.root:
        found.append(BindMount(host.root, _place(host) or host.root, readonly=not host.writable))
    if host.directory:
        found.append(BindMount(host.directory, host.directory, readonly=False))
    return sorted(found, key=lambda mount: len(mount.destination.parts))


def variables(host: HostAccess, evaluated: str = "") -> dict[str, str]:
    """What antscache in the container is told; `evaluated` are the characters that would be taken for something else.

    Raises:
        ConfigError: a path cannot be told so.
    """
    told = {}
    if host.lowers:
        name = "ANTSCACHE_SITE_DIRS"
        told[name] = os.pathsep.join(_holding(lower, os.pathsep + evaluated, name) for lower in host.lowers)
    if host.root and not _place(host):
        told["ANTSCACHE_DIR"] = _holding(host.root, evaluated, "ANTSCACHE_DIR")
    if host.offline:
        told["ANTSCACHE_OFFLINE"] = "1"
    return told


def _place(host: HostAccess) -> Path | None:
    """Where the root is looked for; None where a lower cache has to be there, so that the root has its own path."""
    return None if any(_overlap(lower, WRITABLE) for lower in host.lowers) else WRITABLE


def _overlap(one: Path, other: Path) -> bool:
    return one.is_relative_to(other) or other.is_relative_to(one)


def _holding(path: Path, separators: str, where: str) -> str:
    """`path` as text, which can stand where `separators` mean something else.

    Raises:
        ConfigError: it cannot.
    """
    text = str(path)
    wrong = next((each for each in text if each in separators or each in UNTOLD), None)
    if wrong is None and text[-1].isspace():  # which engines cut off
        wrong = text[-1]
    if wrong is None and ".." in path.parts:  # which leads elsewhere where not all of the path is there
        wrong = ".."
    if wrong is not None:
        hint = "rename it, or make a symbolic link to it and name that instead"
        raise ConfigError(f"{where} cannot hold the path {text!r}: it has {wrong!r} in it", hint=hint)
    return text


# Docker and Podman


def docker(host: HostAccess) -> list[str]:
    """The options of `docker run`, which start no container as root unless root does.

    Raises:
        ConfigError: a path cannot be told.
    """
    added = [word for group in host.groups for word in ("--group-add", str(group))]
    return ["--user", f"{host.user}:{host.group}", *added, *_told(host)]


def podman(host: HostAccess) -> list[str]:
    """The options of `podman run`. Without root it has to be told that the user has the same number in the container.

    Raises:
        ConfigError: a path cannot be told.
    """
    if host.user == 0:
        return docker(host)
    kept = ["--group-add", "keep-groups"] if host.groups else []
    return ["--userns", "keep-id", "--user", f"{host.user}:{host.group}", *kept, *_told(host)]


def _told(host: HostAccess) -> list[str]:
    """What Docker and Podman are told in the same words."""
    words = ["--tmpfs", f"{HOME}:mode=1777,exec", "--env", f"HOME={HOME}"]
    for mount in mounts(host):
        words += ["--mount", _csv(mount)]
    for name, value in variables(host).items():
        words += ["--env", f"{name}={value}"]
    words += ["--workdir", str(host.directory or HOME)]
    return [*words, "--network", "none"] if host.offline else words


def _csv(mount: BindMount) -> str:
    """The value of --mount: one line of comma-separated values."""
    source, destination = (_holding(path, "", "--mount") for path in (mount.source, mount.destination))
    fields = ["type=bind", f"source={source}", f"destination={destination}", *["readonly"] * mount.readonly]
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(fields)
    return line.getvalue()


# Singularity and Apptainer


def singularity(host: HostAccess) -> list[str]:
    """The options of `singularity exec`, `run` and `shell`; Apptainer's are the same.

    The host's variables stay outside: a PYTHONPATH or an ANTSCACHE_DIR means something else in there. /tmp and what
    the host's administrator mounts are the host's, as always.

    Raises:
        ConfigError: a path cannot be told.
    """
    words = ["--cleanenv", "--no-home", "--home", str(HOME), "--scratch", str(HOME)]
    for mount in mounts(host):
        source, destination = (_holding(path, BIND, "--bind") for path in (mount.source, mount.destination))
        words += ["--bind", f"{source}:{destination}{':ro' if mount.readonly else ''}"]
    for name, value in variables(host, EVALUATED).items():
        words += ["--env", f"{name}={value}"]
    words += ["--pwd", str(host.directory)] if host.directory else ["--no-mount", "cwd", "--pwd", str(HOME)]
    return [*words, "--net", "--network", "none"] if host.offline else words


ENGINES: Mapping[str, Callable[[HostAccess], list[str]]] = {
    "docker": docker,
    "podman": podman,
    "singularity": singularity,
    "apptainer": singularity,
}
