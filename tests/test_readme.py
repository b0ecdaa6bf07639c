"""The README, tried literally."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from support import REPOSITORY, AntsCache, upstreams

from antscache.testing import StandIn

README = (REPOSITORY / "README.md").read_text()
SECTIONS = re.split(r"^#{2,3} ", README, flags=re.MULTILINE)
MY_SCRIPT = """
from antspynet.utilities import get_pretrained_network
print("script ran with", get_pretrained_network("brainExtractionRobustT1"))
"""


def commands(section: str) -> str:
    """The commands of the section's ```console blocks, which are there to be run as they stand."""
    blocks = re.findall(r"^```console\n(.*?)^```", section, flags=re.MULTILINE | re.DOTALL)
    return "\n".join(line.removeprefix("$ ") for block in blocks for line in block.splitlines())


@pytest.mark.parametrize(
    "section", [each for each in SECTIONS if commands(each)], ids=lambda section: section.splitlines()[0]
)
def test_the_commands_of_each_section_work_as_they_stand(antscache: AntsCache, tmp_path: Path, section: str) -> None:
    (antscache.home / "my_script.py").write_text(MY_SCRIPT)
    upstream = upstreams.make(tmp_path / "site-packages", "0.3.2")
    with StandIn(size=500) as figshare:
        path = f"{Path(sys.executable).parent}:{antscache.environment()['PATH']}"
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", commands(section)],
            cwd=antscache.home,
            env=antscache.environment(PATH=path, ANTSCACHE_ORIGINS=figshare.origins, PYTHONPATH=upstream.path),
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("script ran with") == commands(section).count("python my_script.py")


def test_the_links_of_the_readme_and_the_docs_lead_somewhere() -> None:
    for page in [REPOSITORY / "README.md", REPOSITORY / "CONTRIBUTING.md", *(REPOSITORY / "docs").glob("*.md")]:
        for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
            if not target.startswith("https://"):
                assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_documented_exit_codes_are_those_of_the_errors() -> None:
    from antscache import errors

    told = dict(re.findall(r"\| (\d+) \| `(\w+Error|Offline)`", (REPOSITORY / "docs/errors.md").read_text()))
    families = [each for each in vars(errors).values() if isinstance(each, type) and hasattr(each, "exit_code")]
    assert {name: int(code) for code, name in told.items()} == {each.__name__: each.exit_code for each in families}
