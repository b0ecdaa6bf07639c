"""Make the files of an earlier version of antscache that `tests/earlier/test_earlier.py` uses.

    python tests/earlier/make.py [COMMIT]       as root on Linux, where `make test` has set up .venv

The archives beside this file were made by `python tests/earlier/make.py efe6bcb`: it takes that commit's tree out of
git, gives it an interpreter of its own, runs its command line (as several users and in a mount namespace too) against
its own stand-in in Figshare's place, and packs the files on the disk, with modes, owners and links.

    full.tar.gz      a root with everything in it, the lower cache below it, and the whole file of the root's partial
    full.json        the listings that that version printed of it
    shared.tar.gz    a root that a group shares, with files of three users
    mounted.tar.gz   a directory that a container's user had mounted over ~/.keras
    record.tar.gz    a record that `antscache run --record` wrote, and the bytes that were used
    script.pth       the file that `antscache hook enable` wrote, called as a script
    module.pth       the same, called as a module
    settings.json    the settings that it read in antscache.toml, which was written by hand

In place of the paths of this host there are names between two `@`. Everything but times and random names is the same
each time.
"""

from __future__ import annotations

import gzip
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent
REPOSITORY = HERE.parent.parent
COMMIT = "efe6bcb"
PLACE, HOME, INJECT, COMMAND = "@PLACE@", "@HOME@", "@INJECT@", "@COMMAND@"
TIMEOUT_SECONDS = 600  # no process takes longer, however loaded the machine is
GROUP, ANN, BOB = 12000, 12001, 12002  # numbers that no group and no user of this host has

BRAIN, LUNG, DEEP = "brainExtractionRobustT1", "xrayLungExtraction", "DeepAtroposHcpT1Weights"
TEMPLATE, TRANSFORM = "S_template3", "magetCerebellumxTemplate0GenericAffine"
CUT, CONDEMNED, GARBAGE = "ixi", "kirby", "croppedMni152"
CUT_NUMBER, CUT_SIZE = "25516358", 1_200_000  # bytes; partials of smaller files are not resumed

# The earlier stand-in in Figshare's place, until its stdin ends. One file stalls in its middle. Its voxels are zeros in
# stored blocks, so that an archive of it is small.
FIGSHARE = f"""
import gzip, json, sys
from pathlib import Path
from support.authority import Authority
from support.proxy import Proxy
from antscache.testing import Misbehaviour, StandIn, content
place = Path(sys.argv[1])
image = gzip.decompress(content("{CUT_NUMBER}", "{CUT}.nii.gz", {CUT_SIZE}))
whole = place / "origin" / "{CUT_NUMBER}"
whole.parent.mkdir()
whole.write_bytes(gzip.compress(image[:352] + bytes(len(image) - 352), 0, mtime=0))
(place / "xrayLungExtraction.h5").write_bytes(content("41965818", "xrayLungExtraction.h5", 3000))
authority = Authority.in_directory(place)
contents = {{"{CUT_NUMBER}": whole}}
with StandIn(contents=contents, size=2048, tls=authority.server()) as standin, Proxy(standin.url) as proxy:
    standin.misbehave("{CUT_NUMBER}", Misbehaviour.STALL_HALF)
    print(json.dumps({{"https_proxy": proxy.url, "REQUESTS_CA_BUNDLE": str(authority.ca)}}), flush=True)
    sys.stdin.read()
"""
UPSTREAM = "import sys, upstreams; from pathlib import Path; upstreams.make(Path(sys.argv[1]), '0.3.2')"
USED = f"import antspynet\nantspynet.get_pretrained_network('{BRAIN}')\nantspynet.get_antsxnet_data('{TEMPLATE}')\n"
# Everything is imported first: the interpreter may be in a directory of root's.
ANOTHER_USER = """
import encodings.idna, http.cookiejar, importlib, netrc, os, pkgutil, requests, rich.progress, sys, uuid
import antscache
for module in pkgutil.walk_packages(antscache.__path__, "antscache."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
user, group, umask = map(int, sys.argv[1:4])
os.setgroups([]); os.setgid(group); os.setuid(user); os.umask(umask); os.chdir("/")
sys.argv = ["antscache", *sys.argv[4:]]
antscache.cli.main()
"""
SETTINGS = (
    "import json, sys, msgspec; from antscache.config import load\n"
    "print(json.dumps(msgspec.to_builtins(load({}, {})), indent=2))"
)


@dataclass(frozen=True)
class Earlier:
    """An earlier version, whose interpreter imports it and no other; everything is below `place`."""

    place: Path
    environ: dict[str, str] = field(default_factory=dict)

    @property
    def tree(self) -> Path:
        """Its source, tests included."""
        return self.place / "tree"

    @property
    def environment(self) -> Path:
        """Its virtual environment."""
        return self.place / "environment"

    @property
    def python(self) -> Path:
        return self.environment / "bin/python"

    @property
    def script(self) -> Path:
        return self.environment / "bin/antscache"

    def run(self, *command: str | Path, **environ: str | Path) -> str:
        """Run a command in its environment, and return its output."""
        done = subprocess.run(
            [str(part) for part in command],
            env=self.variables(**environ),
            cwd=self.place,
            capture_output=True,
            text=True,
            check=False,
            timeout=TIMEOUT_SECONDS,
            stdin=subprocess.DEVNULL,
        )
        if done.returncode:
            raise SystemExit(f"{command} ended with {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout

    def __call__(self, *arguments: str | Path, **environ: str | Path) -> str:
        """Run its command line."""
        return self.run(self.script, *arguments, **environ)

    def variables(self, **more: str | Path) -> dict[str, str]:
        """Return the environment variables of its processes: nothing of the developer's own set-up."""
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.place / "home"),
            "PIP_NO_INDEX": "1",
            "ANTSCACHE_PACE": "0.01",
            **self.environ,
            **{key: str(value) for key, value in more.items()},
        }


def main() -> None:
    """Make all files anew."""
    commit = sys.argv[1] if len(sys.argv) > 1 else COMMIT
    with tempfile.TemporaryDirectory(prefix="antscache-earlier-", dir="/tmp") as name:
        place = Path(name)
        place.chmod(0o755)  # other users come here too
        earlier = take_out(commit, place)
        write_hooks(earlier)
        write_settings(earlier)
        with figshare(earlier) as connected:
            write_full(connected)
            write_shared(connected)
            write_mounted(connected)
            write_record(connected)


def take_out(commit: str, place: Path) -> Earlier:
    """Extract the commit's tree, and make an environment with its dependencies that imports it."""
    earlier = Earlier(place)
    (place / "home").mkdir()
    archive = subprocess.run(["git", "archive", commit], cwd=REPOSITORY, capture_output=True, check=True).stdout
    with tarfile.open(fileobj=BytesIO(archive)) as files:
        files.extraction_filter = lambda member, _: member
        files.extractall(earlier.tree)  # noqa: S202  our own archive
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", earlier.environment], check=True)
    [packages] = earlier.environment.glob("lib/python*/site-packages")
    dependencies = sysconfig.get_path("purelib")
    (packages / "earlier.pth").write_text(f"{earlier.tree}\n{earlier.tree / 'tests'}\n{dependencies}\n")
    earlier.script.write_text(f"#!{earlier.python}\nimport sys\nfrom antscache.cli import main\nsys.exit(main())\n")
    earlier.script.chmod(0o755)
    imported = earlier.run(earlier.python, "-c", "import antscache; print(antscache.__file__)").strip()
    assert imported == str(earlier.tree / "antscache/__init__.py"), f"{imported} is another antscache"
    return earlier


@contextmanager
def figshare(earlier: Earlier) -> Iterator[Earlier]:
    """Let the earlier version reach its own stand-in under Figshare's names."""
    command = [str(earlier.python), "-c", FIGSHARE, str(earlier.place)]
    with subprocess.Popen(
        command, env=earlier.variables(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        yield Earlier(earlier.place, json.loads(process.stdout.readline()))
        assert process.stdin is not None
        process.stdin.close()


# The fixtures


def write_hooks(earlier: Earlier) -> None:
    """Keep the file that enabling the hook writes, for both ways of calling antscache."""
    write_hook(earlier, "script", earlier.script)
    away = earlier.script.rename(earlier.place / "antscache")
    write_hook(earlier, "module", earlier.python)
    away.rename(earlier.script)


def write_hook(earlier: Earlier, name: str, command: Path) -> None:
    """Keep the file that enabling the hook writes if `command` calls antscache."""
    [packages] = earlier.environment.glob("lib/python*/site-packages")
    earlier.run(earlier.python, "-m", "antscache", "hook", "enable", "--python", earlier.python)
    hook = packages / "antscache_hook.pth"
    text = hook.read_text().replace(str(earlier.tree / "antscache/inject"), INJECT).replace(str(command), COMMAND)
    assert text.count(INJECT) == text.count(COMMAND) == 2
    assert str(earlier.place) not in text
    (HERE / f"{name}.pth").write_text(text)
    hook.unlink()


def write_settings(earlier: Earlier) -> None:
    """Keep the settings that the earlier version reads in antscache.toml."""
    home = earlier.place / "configured"
    (home / ".config/antscache").mkdir(parents=True)
    (home / "antscache").mkdir()  # in a container a named root counts only if it exists
    shutil.copy(HERE / "antscache.toml", home / ".config/antscache")
    output = earlier.run(earlier.python, "-c", SETTINGS, HOME=home, XDG_CONFIG_DIRS=home / "none")
    (HERE / "settings.json").write_text(output.replace(str(home), HOME))


def write_full(earlier: Earlier) -> None:
    """Keep a root with everything in it."""
    place, root, lower = earlier.place, earlier.place / "root", earlier.place / "lower"
    upstream, taken_over = place / "upstream", place / "home/.keras/ANTsXNet"
    earlier("prefetch", "0.3.2", *named(TRANSFORM), ANTSCACHE_DIR=lower)
    full = Earlier(place, earlier.environ | {"ANTSCACHE_DIR": str(root), "ANTSCACHE_SITE_DIRS": str(lower)})
    full("prefetch", "0.3.2", *named(BRAIN, DEEP, TRANSFORM))
    full("prefetch", "0.2.9", *named(BRAIN, DEEP))
    full("prefetch", "antspyx==0.6.3", *named("r16"))
    full.run(full.python, "-c", UPSTREAM, upstream)
    full("prefetch", "--from", upstream / "antspynet-0.3.2", *named(BRAIN, TEMPLATE))
    taken_over.mkdir(parents=True)
    shutil.move(place / f"{LUNG}.h5", taken_over)
    full("adopt", taken_over, "--as", "0.3.2")
    full("prefetch", "0.3.0", *named(CONDEMNED))
    full("rm", "0.3.0")
    full("gc", "--grace", "0")
    kill_midway(full, "prefetch", "0.3.1", *named(CUT))
    full("rm", "0.3.1")
    full("prefetch", "0.2.8", *named(GARBAGE))
    full("rm", "0.2.8")
    own = f"antspynet=={next((root / 'catalog').iterdir()).stem.removeprefix('antspynet-')}"
    outputs = {
        "list": full("list", "--json"),
        "list OWN": full("list", own, "--json"),
        "status": full("status", "--json"),
        "verify": full("verify", "--json"),
        "gc -n --grace 0": full("gc", "-n", "--grace", "0", "--json"),
    }
    listings: dict[str, Any] = {words: json.loads(out.replace(str(place), PLACE)) for words, out in outputs.items()}
    del listings["status"]["free"]
    (HERE / "full.json").write_text(json.dumps(listings, indent=1) + "\n")
    pack("full", place, "root", "lower", "origin")


def kill_midway(full: Earlier, *arguments: str) -> None:
    """Kill a fetch after it has received everything that the stalled origin sends."""
    half = (full.place / "origin" / CUT_NUMBER).stat().st_size // 2
    with subprocess.Popen(
        [full.script, *arguments],
        env=full.variables(),
        cwd=full.place,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            deadline = time.monotonic() + TIMEOUT_SECONDS
            while largest_in(full.place / "root/ingest") < half:
                assert time.monotonic() < deadline, "nothing was cut"
                time.sleep(0.01)
        finally:
            process.kill()


def largest_in(directory: Path) -> int:
    """Return the size of the largest file in a directory whose files come and go."""
    size = 0
    for path in directory.iterdir():
        with suppress(FileNotFoundError):
            size = max(size, path.stat().st_size)
    return size


def write_shared(earlier: Earlier) -> None:
    """Keep a root with files of its owner, of another member, and of root."""
    lab = earlier.place / "lab"
    lab.mkdir()
    os.chown(lab, ANN, GROUP)
    shared = Earlier(earlier.place, earlier.environ | {"ANTSCACHE_DIR": str(lab / "root")})

    def run_as(user: int, umask: int, *arguments: str) -> None:
        become = (str(user), str(GROUP), str(umask))
        shared.run(shared.python, "-c", ANOTHER_USER, *become, *arguments, HOME="/nonexistent")

    run_as(ANN, 0o022, "init", "--shared")
    run_as(ANN, 0o022, "prefetch", "0.3.2", *named(BRAIN))
    run_as(BOB, 0o077, "prefetch", "0.3.2", *named(BRAIN, LUNG))
    run_as(0, 0o022, "prefetch", "0.3.2", *named(DEEP))
    run_as(BOB, 0o077, "prefetch", "0.2.9", *named(BRAIN))
    run_as(BOB, 0o077, "prefetch", "0.3.0", *named(CONDEMNED))
    run_as(BOB, 0o077, "rm", "0.3.0")
    run_as(BOB, 0o077, "gc", "--grace", "0")
    run_as(BOB, 0o077, "prefetch", "0.2.8", *named(GARBAGE))
    run_as(BOB, 0o077, "rm", "0.2.8")
    of_others = lab / f"root/views/antspynet-0.2.9/.keras/ANTsXNet/{BRAIN}.h5"
    assert of_others.is_symlink(), "make this where fs.protected_hardlinks is 1 and the filesystem has no clones"
    pack("shared", lab, "root")


def write_mounted(earlier: Earlier) -> None:
    """Keep a directory that was mounted over ~/.keras and had a file of the user's own before."""
    host, home = earlier.place / "mounted/host", earlier.place / "mounted/home"
    (host / "ANTsXNet").mkdir(parents=True)
    (home / ".keras").mkdir(parents=True)
    (host / f"ANTsXNet/{LUNG}.h5").write_bytes(b"of the user's own")
    mounted = ("unshare", "--mount", "sh", "-ec", f'mount --bind {host} {home}/.keras\nexec "$@"', "sh")
    words = ("prefetch", "0.3.2", *named(BRAIN))
    output = earlier.run(*mounted, earlier.script, *words, HOME=home, ANTSCACHE_MOUNTED="1")
    assert output.strip() == f"{home}/.keras/antscache/views/antspynet-0.3.2"
    pack("mounted", host.parent, "host")


def write_record(earlier: Earlier) -> None:
    """Keep a record of an installation's own release, and of one that was named."""
    place, upstream = earlier.place / "recorded", earlier.place / "upstream"
    (place / "origin").mkdir(parents=True)
    record = place / "record.jsonl"
    path = f"{upstream / 'antspynet-0.3.2'}:{upstream / 'beside'}"
    for release in [], ["0.3.2"]:
        using = ("--", earlier.python, "-c", USED)
        earlier("run", *release, "--record", record, *using, ANTSCACHE_DIR=place / "root", PYTHONPATH=path)
    for line in record.read_text().splitlines():
        use = json.loads(line)
        blob = place / "root/blobs/sha256" / use["digest"].removeprefix("sha256:")
        shutil.copy(blob, place / "origin" / use["identifier"].removeprefix("figshare:"))
    pack("record", place, "record.jsonl", "origin")


def named(*names: str) -> list[str]:
    """Return the arguments that name these entries."""
    return [part for name in names for part in ("--name", name)]


def pack(name: str, place: Path, *parts: str) -> None:
    """Write an archive of these parts of `place`, with modes and owners, but without the owners' names."""
    paths = [path for part in parts for path in (place / part, *(place / part).rglob("*"))]
    with (
        (HERE / f"{name}.tar.gz").open("wb") as file,
        gzip.GzipFile("", "wb", 9, file, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w") as archive,
    ):
        for path in sorted(paths):
            member = archive.gettarinfo(path, str(path.relative_to(place)))
            member.uname = member.gname = ""
            member.mtime = int(member.mtime)
            member.linkname = member.linkname.replace(str(place), PLACE)
            if member.isreg():
                with path.open("rb") as content:
                    archive.addfile(member, content)
            else:
                archive.addfile(member)


if __name__ == "__main__":
    main()
