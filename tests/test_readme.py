"""The README and the quickstart, tried literally: their commands, and the output that they show."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
from support import HANG_SECONDS, REPOSITORY, AntsCache, upstreams

from antscache.testing import StandIn

PAGES = ("README.md", "docs/quickstart.md")
MY_SCRIPT = """
from antspynet.utilities import get_pretrained_network
print("script ran with", get_pretrained_network("brainExtractionRobustT1"))
"""
FILE_BYTES = 500  # of each file of the stand-in
SHOWN_ROOT = "/home/you/.cache/antscache"
VARYING = {  # differs from run to run, and between the pages' stand-in and ours
    r"\b\d[\d.]* (B|kB|MB|GB|TB)\b": "SIZE",
    r"\b127\.0\.0\.1:\d+": "ORIGIN",
    r" +": " ",
}


class Section(NamedTuple):
    """A section of a page, with its ```console blocks."""

    page: str
    title: str
    console: tuple[str, ...]

    @property
    def commands(self) -> list[tuple[str, list[str]]]:
        """Each command, and the lines of its output that the page shows."""
        commands: list[tuple[str, list[str]]] = []
        for line in "".join(self.console).splitlines():
            if line.startswith("$ "):
                commands.append((line.removeprefix("$ "), []))
            else:
                commands[-1][1].append(line)
        return commands


def sections(page: str) -> list[Section]:
    """Return the sections of a page that have ```console blocks."""
    parts = re.split(r"^#{1,3} ", (REPOSITORY / page).read_text(), flags=re.MULTILINE)
    blocks = {part: re.findall(r"^```console\n(.*?)^```", part, re.MULTILINE | re.DOTALL) for part in parts}
    return [Section(page, part.splitlines()[0], tuple(found)) for part, found in blocks.items() if found]


SECTIONS = [section for page in PAGES for section in sections(page)]


def normalised(line: str) -> str:
    """Return a line of output without the parts that vary."""
    for pattern, word in VARYING.items():
        line = re.sub(pattern, word, line)
    return line.rstrip()


def shows(shown: list[str], output: list[str]) -> bool:
    """Return True if `output` is as shown on a page, where `...` stands for any number of lines."""
    pattern = "".join(r"(.*\n)*" if line == "..." else re.escape(normalised(line)) + r"\n" for line in shown)
    return re.fullmatch(pattern, "".join(f"{normalised(line)}\n" for line in output)) is not None


def test_the_pages_show_commands_and_output() -> None:
    assert [section.title for section in SECTIONS] == [
        "Three commands", "Prefetch", "Run", "A node without network", "Two versions side by side",
    ]  # fmt: skip
    assert sum(bool(shown) for section in SECTIONS for _, shown in section.commands) > 10


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.title)
def test_commands_of_each_section_work(antscache: AntsCache, tmp_path: Path, section: Section) -> None:
    """They work one after the other, as they stand on the page, and print the output that the page shows."""
    (antscache.home / "my_script.py").write_text(MY_SCRIPT)
    upstream = upstreams.make(tmp_path / "site-packages", "0.3.2")
    with StandIn(size=FILE_BYTES) as figshare:
        path = f"{Path(sys.executable).parent}:{antscache.environment()['PATH']}"
        for command, shown in section.commands:
            done = subprocess.run(
                ["bash", "-euo", "pipefail", "-c", command],
                cwd=antscache.home,
                env=antscache.environment(PATH=path, ANTSCACHE_ORIGINS=figshare.origins, PYTHONPATH=upstream.path),
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                check=False,
                timeout=HANG_SECONDS,
            )
            assert done.returncode == 0, f"{command}\n{done.stdout}"
            output = done.stdout.replace(str(antscache.root), SHOWN_ROOT).splitlines()
            assert not shown or shows(shown, output), f"{command}\n{done.stdout}"
            assert done.stdout.count("script ran with") == command.count("python my_script.py"), command


def test_every_page_is_within_reach_of_the_readme() -> None:
    """The README's table leads each reader to their pages, and no page of docs/ is forgotten."""
    pages = {f"docs/{page.name}" for page in (REPOSITORY / "docs").glob("*.md")}
    readme = (REPOSITORY / "README.md").read_text()
    assert pages - set(re.findall(r"\]\((docs/[^)#]+)", readme)) == set()


def test_links_in_documents_lead_to_files() -> None:
    for page in [REPOSITORY / "README.md", REPOSITORY / "CONTRIBUTING.md", *(REPOSITORY / "docs").glob("*.md")]:
        for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
            if not target.startswith("https://"):
                assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_contributors_are_sent_to_files_that_exist() -> None:
    """Each file in the table "Where do I change ...?" is there, below `antscache/`."""
    table = (REPOSITORY / "CONTRIBUTING.md").read_text().partition("|---|---|")[2].partition("##")[0]
    named = re.findall(r"`([a-z0-9_]+/(?:[a-z0-9_]+/|[a-z0-9_]+\.py)?|[a-z]+\.py)`", table)
    assert len(named) > 20
    assert [name for name in named if not (REPOSITORY / "antscache" / name).exists()] == []


def test_documented_exit_codes_match_the_errors() -> None:
    from antscache import errors

    documented = dict(re.findall(r"\| (\d+) \| `(\w+Error|Offline)`", (REPOSITORY / "docs/errors.md").read_text()))
    families = [kind for kind in vars(errors).values() if isinstance(kind, type) and hasattr(kind, "exit_code")]
    assert {name: int(code) for code, name in documented.items()} == {
        kind.__name__: kind.exit_code for kind in families
    }
