"""The options that have a container engine give a container this host's cache. Pure.

    docker run $(antscache container-args docker) IMAGE ...
    singularity exec $(antscache container-args singularity) IMAGE.sif ...

In the container:

    /var/cache/antscache       the root, read-only if nothing is to be fetched into it
    <the paths they have>      lower caches, read-only: views lead into them by absolute links
    <the path it has>          the working directory
    /home/antscache-home       HOME: empty, writable, and gone with the container

The container's user is the caller. Neither variables nor the home of this host reach the container. A path that an
engine's syntax cannot hold is a ConfigError.
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

CONTAINER_ROOT = Path("/var/cache/antscache")  # the root of antscache in an image
BAKED_ROOT = Path("/opt/antscache")  # the data of an image, which it uses whichever root is named
# No image has this directory: a tmpfs over an existing directory would take over that directory's mode.
CONTAINER_HOME = Path("/home/antscache-home")

# The programs of an image: nothing is mounted at, above or below these.
_PROGRAM_DIRECTORIES = """
    /bin /boot /etc /lib /lib32 /lib64 /libx32 /proc /sbin /sys
    /usr/bin /usr/include /usr/lib /usr/lib32 /usr/lib64 /usr/libexec /usr/libx32 /usr/sbin /usr/share /usr/src
    /usr/local/bin /usr/local/lib /usr/local/sbin
"""
PROGRAM_DIRECTORIES = tuple(map(Path, _PROGRAM_DIRECTORIES.split()))
# Nothing is mounted at or above these either. A host may have directories of its own below them: /run/media/disk.
NEEDED_DIRECTORIES = (Path("/dev"), Path("/run"), Path("/home/antspyuser"), CONTAINER_HOME)

BIND_SEPARATORS = ",:^"  # of --bind: Singularity splits at [^,^:]
SHELL_CHARACTERS = '"$\\`'  # a shell in a Singularity container evaluates these in the value of --env
# No engine can be given these: control characters and lone surrogates.
FORBIDDEN_CHARACTERS = frozenset(map(chr, (*range(32), 127, *range(0xD800, 0xE000))))


@dataclass(frozen=True, slots=True)
class HostAccess:
    """The parts of this host that a container gets. All paths are absolute and exist.

    Attributes:
        root: the writable root; None if there is none and the lower caches have everything.
        writable: True if the container may fetch into the root.
        lowers: the lower caches.
        directory: the working directory; None if the container cannot have it (`find_hidden`).
        user: the number of the user whose rights the container has.
        group: the number of that user's group.
        groups: the numbers of the user's other groups that are needed to reach some of these paths.
        offline: True if the container gets no network.
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
    """A directory of this host, and its place in a container."""

    source: Path
    destination: Path
    readonly: bool


# The same for each engine


def find_hidden(directory: Path) -> Path | None:
    """Return a directory of the container that mounting `directory` at its own path would hide or change.

    Returns:
        None if there is none, so that `directory` can be mounted.
    """
    untouchable = (own for own in (*PROGRAM_DIRECTORIES, CONTAINER_ROOT, BAKED_ROOT) if _overlap(own, directory))
    return next(untouchable, None) or next((own for own in NEEDED_DIRECTORIES if own.is_relative_to(directory)), None)


def mounts(host: HostAccess) -> list[BindMount]:
    """Return the mounts that a container needs. A mount inside another one comes after it.

    Raises:
        ConfigError: a lower cache would hide a directory that a container needs.
    """
    for lower in host.lowers:
        if own := next((own for own in (*PROGRAM_DIRECTORIES, *NEEDED_DIRECTORIES) if own.is_relative_to(lower)), None):
            message = f"the lower cache {lower} must have the same path in a container, and would hide {own} there"
            raise ConfigError(message, hint="move it into a directory of its own, or leave it out")
    binds = [BindMount(lower, lower, readonly=True) for lower in host.lowers]
    if host.root:
        binds.append(BindMount(host.root, _root_place(host) or host.root, readonly=not host.writable))
    if host.directory:
        binds.append(BindMount(host.directory, host.directory, readonly=False))
    return sorted(binds, key=lambda bind: len(bind.destination.parts))


def variables(host: HostAccess, special: str = "") -> dict[str, str]:
    """Return the variables that lead antscache in the container to its caches.

    Args:
        host: the parts of this host that the container gets.
        special: characters that the engine would not pass on as they are.

    Raises:
        ConfigError: a variable cannot hold a path.
    """
    environ = {}
    if host.lowers:
        name = "ANTSCACHE_SITE_DIRS"
        environ[name] = os.pathsep.join(_checked_text(lower, os.pathsep + special, name) for lower in host.lowers)
    if host.root and not _root_place(host):
        environ["ANTSCACHE_DIR"] = _checked_text(host.root, special, "ANTSCACHE_DIR")
    if host.offline:
        environ["ANTSCACHE_OFFLINE"] = "1"
    return environ


def _root_place(host: HostAccess) -> Path | None:
    """Return `CONTAINER_ROOT`; None if a lower cache needs that place, so that the root keeps its own path."""
    return None if any(_overlap(lower, CONTAINER_ROOT) for lower in host.lowers) else CONTAINER_ROOT


def _overlap(one: Path, other: Path) -> bool:
    return one.is_relative_to(other) or other.is_relative_to(one)


def _checked_text(path: Path, special: str, option: str) -> str:
    """Return `path` as text, after a check that `option` passes it on as it is.

    Raises:
        ConfigError: it has one of the `special` characters in it, or another that engines change.
    """
    text = str(path)
    wrong = next((character for character in text if character in special or character in FORBIDDEN_CHARACTERS), None)
    if wrong is None and text[-1].isspace():  # engines cut it off
        wrong = text[-1]
    if wrong is None and ".." in path.parts:  # it leads elsewhere if a part of the path is missing
        wrong = ".."
    if wrong is not None:
        hint = "rename it, or make a symbolic link to it and name that instead"
        raise ConfigError(f"{option} cannot hold the path {text!r}: it has {wrong!r} in it", hint=hint)
    return text


# Docker and Podman


def docker(host: HostAccess) -> list[str]:
    """Return the options of `docker run`. The container runs as the caller: as root only if root calls.

    Raises:
        ConfigError: an option cannot hold a path.
    """
    added = [word for group in host.groups for word in ("--group-add", str(group))]
    return ["--user", f"{host.user}:{host.group}", *added, *_common_options(host)]


def podman(host: HostAccess) -> list[str]:
    """Return the options of `podman run`. They keep the caller's number in the container, if root does not call.

    Raises:
        ConfigError: an option cannot hold a path.
    """
    if host.user == 0:
        return docker(host)
    kept = ["--group-add", "keep-groups"] if host.groups else []
    return ["--userns", "keep-id", "--user", f"{host.user}:{host.group}", *kept, *_common_options(host)]


def _common_options(host: HostAccess) -> list[str]:
    """Return the options that are the same for Docker and Podman."""
    words = ["--tmpfs", f"{CONTAINER_HOME}:mode=1777,exec", "--env", f"HOME={CONTAINER_HOME}"]
    for mount in mounts(host):
        words += ["--mount", _mount_value(mount)]
    for name, value in variables(host).items():
        words += ["--env", f"{name}={value}"]
    words += ["--workdir", str(host.directory or CONTAINER_HOME)]
    return [*words, "--network", "none"] if host.offline else words


def _mount_value(mount: BindMount) -> str:
    """Return the value of --mount: one line of comma-separated values."""
    source, destination = (_checked_text(path, "", "--mount") for path in (mount.source, mount.destination))
    fields = ["type=bind", f"source={source}", f"destination={destination}", *["readonly"] * mount.readonly]
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(fields)
    return line.getvalue()


# Singularity and Apptainer


def singularity(host: HostAccess) -> list[str]:
    """Return the options of `singularity exec`, `run` and `shell`, which are Apptainer's as well.

    The host's variables stay outside: a PYTHONPATH or an ANTSCACHE_DIR means something else in the container. /tmp,
    and the directories that the host's administrator mounts, are the host's, as always.

    Raises:
        ConfigError: an option cannot hold a path.
    """
    words = ["--cleanenv", "--no-home", "--home", str(CONTAINER_HOME), "--scratch", str(CONTAINER_HOME)]
    for mount in mounts(host):
        paths = (mount.source, mount.destination)
        source, destination = (_checked_text(path, BIND_SEPARATORS, "--bind") for path in paths)
        words += ["--bind", f"{source}:{destination}{':ro' if mount.readonly else ''}"]
    for name, value in variables(host, SHELL_CHARACTERS).items():
        words += ["--env", f"{name}={value}"]
    words += ["--pwd", str(host.directory)] if host.directory else ["--no-mount", "cwd", "--pwd", str(CONTAINER_HOME)]
    return [*words, "--net", "--network", "none"] if host.offline else words


ENGINES: Mapping[str, Callable[[HostAccess], list[str]]] = {
    "docker": docker,
    "podman": podman,
    "singularity": singularity,
    "apptainer": singularity,
}
