"""The commands that are tried, their starting points, and their results.

They use a few small files and no networks: another process looks those through, and writes nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping  # noqa: TC003  of a dataclass
from dataclasses import dataclass
from functools import partial
from pathlib import Path  # noqa: TC003  the same
from typing import TypeAlias

from antscache.testing import content

# Of antspynet 0.2.9 and 0.3.2, which agree on them.
TEMPLATE, AFFINE, MNI, LONG = "S_template3", "magetCerebellumxTemplate0GenericAffine", "mni152", "adni"
NUMBERS = {TEMPLATE: "22597175", AFFINE: "41052575", MNI: "25516349", LONG: "25516361"}
FILES = {name: f"{name}.mat" if name == AFFINE else f"{name}.nii.gz" for name in NUMBERS}
PCASL = "pcasl"  # of antspyx, by a URL; the number is that in its URL
NUMBERS |= {PCASL: "1862041"}
FILES |= {PCASL: "pcasl.nii.gz"}
SIZE, SIZES = 3_000, {NUMBERS[LONG]: 1_200_000}  # bytes; the partial of a file above a megabyte is kept
CONTENTS = {FILES[name]: content(number, FILES[name], SIZES.get(number, SIZE)) for name, number in NUMBERS.items()}

VIEW = "root/views/antspynet-{}/.keras/ANTsXNet"
OUT = "out/.keras/ANTsXNet"
OLD = "old/ANTsXNet"

Run: TypeAlias = "Callable[[Path, tuple[str, ...]], object]"  # antscache in a box


@dataclass(frozen=True)
class Scene:
    """A command that is tried.

    Attributes:
        command: `{}` stands for the box.
        prepare: makes the starting point.
        made: the directories with links after the command, and the entries in each.
        gone: paths that no longer exist then.
        codes: allowed exit codes of the same command, run again.
        keeps: the entries whose bytes are somewhere in the box at all times.
        damaged: files that are damaged in the starting point, on purpose.
        durable: the entries of 0.3.2 whose bytes and records no power cut takes away after the command.
        confirmed: those of them whose records no longer say that they are held on the user's word alone.
        named: paths that are there at all times, whatever they lead to.
        quick: True if a quick run tries it as well.
    """

    name: str
    command: tuple[str, ...]
    prepare: Callable[[Path, Run], None]
    made: Mapping[str, tuple[str, ...]]
    gone: tuple[str, ...] = ()
    codes: tuple[int, ...] = (0,)
    keeps: tuple[str, ...] = ()
    damaged: tuple[str, ...] = ()
    durable: tuple[str, ...] = ()
    confirmed: tuple[str, ...] = ()
    named: tuple[str, ...] = ()
    quick: bool = True


def _prefetch(*names: str, release: str = "0.3.2") -> tuple[str, ...]:
    return ("prefetch", release, *(word for name in names for word in ("--name", name)), "-j1")


def _nothing(_box: Path, _run: Run) -> None:
    """Leave the home without a trace of antscache."""


def _held(box: Path, run: Run) -> None:
    run(box, _prefetch(TEMPLATE, AFFINE))
    run(box, _prefetch(TEMPLATE, release="0.2.9"))


def _interrupted(box: Path, run: Run) -> None:
    """Start a fetch that the harness kills in the middle of the file."""
    run(box, _prefetch(LONG))


def _swapped(box: Path, run: Run) -> None:
    """Begin with a name in a view that leads to another file's blob."""
    _held(box, run)
    name = box / VIEW.format("0.3.2") / FILES[TEMPLATE]
    name.unlink()
    name.hardlink_to(_blob_of(box / "root", AFFINE))


def _removed(box: Path, run: Run) -> None:
    _held(box, run)
    run(box, ("rm", "0.3.2"))


def _condemned(box: Path, run: Run) -> None:
    _removed(box, run)
    run(box, ("gc", "--grace", "0"))


def _used_before(box: Path, run: Run) -> None:
    run(box, _prefetch(TEMPLATE, release="0.2.9"))
    old = box / OLD
    old.mkdir(parents=True)
    (old / "template.nii.gz").write_bytes(CONTENTS[FILES[TEMPLATE]])  # recognized by its bytes
    for name in (AFFINE, MNI):
        (old / FILES[name]).write_bytes(CONTENTS[FILES[name]])
    (old / "notes.txt").write_text("of nobody's business")


def _adopted(box: Path, run: Run) -> None:
    """Begin with files that are held on the user's word alone."""
    _used_before(box, run)
    run(box, ("adopt", f"{box}/old", "--as", "0.3.2", "--offline"))


def _mirrored(box: Path, run: Run) -> None:
    """Begin with a root that has no URLs, and a directory that is a mirror of one."""
    run(box, _prefetch(TEMPLATE))
    mirror = box / OLD
    mirror.mkdir(parents=True)
    (mirror / FILES[PCASL]).write_bytes(CONTENTS[FILES[PCASL]])


def _damaged(box: Path, run: Run, *, mode: str = "auto") -> None:
    run(box, (*_prefetch(TEMPLATE, AFFINE, MNI), "--link-mode", mode))
    root = box / "root"
    record = root / f"identifiers/figshare/{NUMBERS[AFFINE]}.json"
    for path in (_blob_of(root, TEMPLATE), record):
        path.chmod(0o644)
        path.write_bytes(b"?" * path.stat().st_size)
        path.chmod(0o444)
    view = root / "views/antspynet-0.3.2/.keras/ANTsXNet" / FILES[MNI]
    view.unlink()
    view.write_bytes(b"a user's")


def _blob_of(root: Path, name: str) -> Path:
    return root / "blobs/sha256" / hashlib.sha256(CONTENTS[FILES[name]]).hexdigest()


_BOTH = {VIEW.format("0.3.2"): (TEMPLATE, AFFINE), VIEW.format("0.2.9"): (TEMPLATE,)}
_ONE = {VIEW.format("0.2.9"): (TEMPLATE,)}
_NEW = {VIEW.format("0.3.2"): (TEMPLATE, AFFINE)}
_ADOPTED = {VIEW.format("0.3.2"): (TEMPLATE, AFFINE, MNI), VIEW.format("0.2.9"): (TEMPLATE,)}
_REPAIRED = {VIEW.format("0.3.2"): (TEMPLATE, AFFINE, MNI)}
_BROKEN = (FILES[TEMPLATE], FILES[MNI], f"{NUMBERS[AFFINE]}.json")

SCENES = (
    Scene("prefetch", _prefetch(TEMPLATE, AFFINE), _nothing, _NEW, durable=(TEMPLATE, AFFINE)),
    Scene("prefetch, resumed", _prefetch(LONG), _interrupted, {VIEW.format("0.3.2"): (LONG,)}, durable=(LONG,)),
    Scene(
        "prefetch of a URL",
        (*_prefetch(PCASL, release="antspyx==0.6.3"), "--mirror", f"file://{{}}/{OLD}/{{{{file}}}}"),
        _mirrored,
        {"root/views/antspyx-0.6.3/.antspy": (PCASL,), VIEW.format("0.3.2"): (TEMPLATE,)},
        keeps=(TEMPLATE,),
        durable=(TEMPLATE,),
    ),
    Scene(
        "prefetch --link-mode symlink",
        (*_prefetch(TEMPLATE, AFFINE), "--link-mode", "symlink"),
        _nothing,
        _NEW,
        durable=(TEMPLATE, AFFINE),
    ),
    Scene(
        "prefetch of what is condemned",
        _prefetch(TEMPLATE, AFFINE),
        _condemned,
        _BOTH,
        keeps=(TEMPLATE,),
        durable=(TEMPLATE, AFFINE),
    ),
    Scene(
        "prefetch into a view with a wrong name",
        _prefetch(TEMPLATE, AFFINE),
        _swapped,
        _BOTH,
        keeps=(TEMPLATE, AFFINE),
        damaged=(f"{VIEW.format('0.3.2')}/{FILES[TEMPLATE]}",),
        durable=(TEMPLATE, AFFINE),
        named=(f"{VIEW.format('0.3.2')}/{FILES[TEMPLATE]}",),
    ),
    Scene(
        "link --home",
        ("link", "0.3.2", "--home", "{}/out"),
        _held,
        {OUT: (TEMPLATE, AFFINE), **_BOTH},
        keeps=(TEMPLATE, AFFINE),
    ),
    Scene(
        "link --home --mode copy",
        ("link", "0.3.2", "--home", "{}/out", "--mode", "copy"),
        _held,
        {OUT: (TEMPLATE, AFFINE), **_BOTH},
        keeps=(TEMPLATE, AFFINE),
    ),
    Scene(
        "rm", ("rm", "0.3.2"), _held, _ONE, gone=("root/views/antspynet-0.3.2",), codes=(0, 7), keeps=(TEMPLATE, AFFINE)
    ),
    Scene("gc", ("gc", "--grace", "0"), _removed, _ONE, keeps=(TEMPLATE,)),
    Scene("gc, a second time", ("gc", "--grace", "0"), _condemned, _ONE, keeps=(TEMPLATE,)),
    Scene(
        "adopt",
        ("adopt", "{}/old", "--as", "0.3.2"),
        _used_before,
        _ADOPTED,
        keeps=(TEMPLATE, AFFINE, MNI),
        durable=(TEMPLATE, AFFINE, MNI),
    ),
    Scene(
        "adopt of what was adopted offline",
        ("adopt", "{}/old", "--as", "0.3.2"),
        _adopted,
        _ADOPTED,
        keeps=(TEMPLATE, AFFINE, MNI),
        durable=(AFFINE, MNI),
        confirmed=(AFFINE, MNI),
        named=tuple(f"{VIEW.format('0.3.2')}/{FILES[name]}" for name in (TEMPLATE, AFFINE, MNI)),
    ),
    Scene(
        "adopt --move",
        ("adopt", "{}/old", "--as", "0.3.2", "--move"),
        _used_before,
        _ADOPTED,
        gone=(f"{OLD}/{FILES[AFFINE]}", f"{OLD}/{FILES[MNI]}", f"{OLD}/template.nii.gz"),
        keeps=(TEMPLATE, AFFINE, MNI),
        durable=(TEMPLATE, AFFINE, MNI),
    ),
    Scene(
        "verify --repair",
        ("verify", "--repair", "-j1"),
        _damaged,
        _REPAIRED,
        keeps=(AFFINE, MNI),
        damaged=_BROKEN,
        durable=(TEMPLATE, AFFINE, MNI),
    ),
    Scene(
        "verify --repair --link-mode symlink",
        ("verify", "--repair", "-j1", "--link-mode", "symlink"),
        partial(_damaged, mode="symlink"),
        _REPAIRED,
        keeps=(AFFINE, MNI),
        damaged=_BROKEN,
        durable=(TEMPLATE, AFFINE, MNI),
        quick=False,
    ),
)


def command_in(scene: Scene, box: Path) -> list[str]:
    """Return the arguments of the scene's command, for `box`."""
    return [word.format(box) for word in scene.command]
