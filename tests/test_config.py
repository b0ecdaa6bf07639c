"""Settings: flags, environment, and the files of the user, the site and the installation."""

from __future__ import annotations

import math
import os
import sys
from pathlib import Path
from typing import Any

import platformdirs
import pytest

from antscache.config import EXPECTED, FLAGS, VARIABLES, Settings, load, to_environment
from antscache.core.figshare_urls import FIGSHARE_ROUTES
from antscache.errors import ConfigError
from antscache.root import lower_directories


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """The paths of the user's and the site's antscache.toml."""
    paths = {}
    for owner in "user", "site":
        directory = tmp_path / owner
        directory.mkdir()
        monkeypatch.setattr(platformdirs.PlatformDirs, f"{owner}_config_path", directory)
        paths[owner] = directory / "antscache.toml"
    monkeypatch.setattr(platformdirs.PlatformDirs, "user_cache_path", tmp_path / "cache/antscache")
    return paths


@pytest.mark.usefixtures("files")
def test_without_any_setting_there_are_defaults(tmp_path: Path) -> None:
    settings = load({}, {})
    assert settings.root == str(tmp_path / "cache/antscache")
    assert (settings.offline, settings.mirrors, settings.origins) == (False, (), FIGSHARE_ROUTES)
    assert (settings.jobs, settings.link_mode, settings.timeout) == (8, "auto", 60.0)


def test_precedence_of_settings(files: dict[str, Path]) -> None:
    """A flag wins over the environment, that over the user's file, and that over the site's."""
    files["site"].write_text("jobs = 1\ntimeout = 1\nlink_mode = 'symlink'\noffline = true")
    files["user"].write_text("jobs = 2\ntimeout = 2\nlink_mode = 'hardlink'")
    settings = load({"jobs": 4}, {"ANTSCACHE_JOBS": "3", "ANTSCACHE_TIMEOUT": "3"})
    assert (settings.jobs, settings.timeout, settings.link_mode, settings.offline) == (4, 3.0, "hardlink", True)


def test_every_setting_says_what_it_takes() -> None:
    assert set(EXPECTED) == set(Settings.__struct_fields__)
    assert set(FLAGS) == set(VARIABLES)


def test_every_setting_has_a_variable(files: dict[str, Path], tmp_path: Path) -> None:
    environ = {
        "ANTSCACHE_DIR": str(tmp_path / "elsewhere"),
        "ANTSCACHE_OFFLINE": "yes",
        "ANTSCACHE_MIRRORS": "https://a/{id}  https://b/{digest}",
        "ANTSCACHE_ORIGINS": "http://c/{id}",
        "ANTSCACHE_JOBS": "2",
        "ANTSCACHE_LINK_MODE": "symlink",
        "ANTSCACHE_SITE_DIRS": "/a:/b",
        "ANTSCACHE_TIMEOUT": "1.5",
        "ANTSCACHE_PACE": "0.5",
        "ANTSCACHE_ALLOW_BUILD": "on",
        "ANTSCACHE_STRICT": "on",
        "ANTSCACHE_MOUNTED": "on",
    }
    (tmp_path / "elsewhere").mkdir()
    assert set(environ) == set(VARIABLES.values())
    settings = load({}, environ)
    assert settings.root == str(tmp_path / "elsewhere")
    assert settings.pace == 0.5
    assert (settings.allow_build, settings.strict) == (True, True)
    assert (settings.offline, settings.mirrors) == (True, ("https://a/{id}", "https://b/{digest}"))
    assert (settings.origins, settings.jobs) == (("http://c/{id}",), 2)
    assert (settings.link_mode, settings.timeout) == ("symlink", 1.5)
    assert settings.site_dirs == ("/a", "/b")
    assert not files["user"].exists()


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("ANTSCACHE_JOBS", "many"),
        ("ANTSCACHE_JOBS", "0"),
        ("ANTSCACHE_OFFLINE", "perhaps"),
        ("ANTSCACHE_LINK_MODE", "copy"),
        ("ANTSCACHE_TIMEOUT", "-1"),
        ("ANTSCACHE_TIMEOUT", "inf"),
        ("ANTSCACHE_TIMEOUT", "1e300"),
        ("ANTSCACHE_TIMEOUT", "1_0"),
        ("ANTSCACHE_PACE", "nan"),
        ("ANTSCACHE_JOBS", "1e1"),
        ("ANTSCACHE_JOBS", "8 # cores"),
        ("ANTSCACHE_JOBS", "\u0663"),  # a digit of another script
        ("ANTSCACHE_DIR", "https://host/cache"),
        ("ANTSCACHE_DIR", "file:///cache"),
        ("ANTSCACHE_DIR", "$HOME/cache"),
        ("ANTSCACHE_DIR", "${SCRATCH}/cache"),
        ("ANTSCACHE_DIR", " /cache"),
        ("ANTSCACHE_DIR", "/cache\n"),
        ("ANTSCACHE_DIR", " "),
        ("ANTSCACHE_SITE_DIRS", "/opt/antscache:$HOME/cache"),
        ("ANTSCACHE_MIRRORS", "https://host/{id},https://other/{id}"),
        ("ANTSCACHE_ORIGINS", "host/{id}"),
    ],
)
@pytest.mark.usefixtures("files")
def test_an_unusable_variable_is_named(variable: str, text: str) -> None:
    with pytest.raises(ConfigError, match=f"{variable} is not ") as caught:
        load({}, {variable: text})
    assert caught.value.hint


@pytest.mark.parametrize("flag", [{"root": ""}, {"root": "https://host/x"}, {"timeout": math.inf}, {"jobs": 65}])
@pytest.mark.usefixtures("files")
def test_an_unusable_flag_is_named(flag: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=f"--{next(iter(flag))} is not "):
        load(flag, {})


@pytest.mark.usefixtures("files")
def test_tokens_in_unusable_templates_are_not_shown() -> None:
    with pytest.raises(ConfigError) as caught:
        load({}, {"ANTSCACHE_MIRRORS": "https://host/s3cret,https://host/s3cret"})
    assert "s3cret" not in str(caught.value)


def test_an_unknown_key_gets_a_suggestion(files: dict[str, Path]) -> None:
    files["user"].write_text("jbos = 3")
    with pytest.raises(ConfigError, match="unknown key 'jbos'") as caught:
        load({}, {})
    assert caught.value.hint.startswith("did you mean jobs? ")


@pytest.mark.usefixtures("files")
def test_a_lower_cache_needs_a_usable_name() -> None:
    with pytest.raises(ConfigError, match="cannot be named in ANTSCACHE_SITE_DIRS"):
        to_environment({"site_dirs": ["/a:b"]})


@pytest.mark.usefixtures("files")
def test_an_empty_variable_counts_as_unset() -> None:
    assert load({}, dict.fromkeys(VARIABLES.values(), "")) == load({}, {})


@pytest.mark.parametrize("content", ["jobs = [", "jobs = 'x'", "jbos = 3"])
def test_an_unusable_file_is_named(files: dict[str, Path], content: str) -> None:
    files["user"].write_text(content)
    with pytest.raises(ConfigError) as caught:
        load({}, {})
    assert str(files["user"]) in str(caught.value)


@pytest.mark.usefixtures("files")
def test_the_root_is_an_absolute_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A relative root is made absolute, and a tilde is the home."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/somebody")
    assert load({"root": "here"}, {}).root == str(tmp_path / "here")
    assert load({}, {"ANTSCACHE_DIR": "~/cache"}).root == "/home/somebody/cache"


# In an image


@pytest.fixture
def image(files: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The antscache.toml of the installation, as images have it."""
    assert files
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    file = tmp_path / "antscache.toml"
    file.write_text(
        'root = "/var/cache/nowhere"\nbaked = ["/opt/nowhere", "~/.keras"]\nmounted = true\njobs = 2', encoding="utf-8"
    )
    return file


@pytest.mark.usefixtures("image")
def test_an_installations_file_sets_its_caches(files: dict[str, Path]) -> None:
    files["site"].write_text("jobs = 3")
    settings = load({}, {})
    assert (settings.root, settings.mounted) == ("/var/cache/nowhere", True)
    assert settings.baked == ("/opt/nowhere", str(Path.home() / ".keras"))
    assert settings.jobs == 3  # anything else wins over it


@pytest.mark.usefixtures("image")
def test_a_missing_root_from_the_host_is_ignored(files: dict[str, Path], tmp_path: Path) -> None:
    """A root that a host's variable or file names, and that does not exist here, does not displace the image's."""
    files["user"].write_text("root = '/scratch/of/the/host'")
    assert load({}, {"ANTSCACHE_DIR": "/elsewhere/on/the/host"}).root == "/var/cache/nowhere"
    assert load({}, {}).root == "/var/cache/nowhere"
    assert load({}, {"ANTSCACHE_DIR": str(tmp_path)}).root == str(tmp_path)
    assert load({"root": "/asked/for"}, {"ANTSCACHE_DIR": str(tmp_path)}).root == "/asked/for"


@pytest.mark.usefixtures("image")
def test_no_variable_displaces_an_images_caches() -> None:
    leaked = {"ANTSCACHE_SITE_DIRS": "/cvmfs/of/the/host", "ANTSCACHE_BAKED": "/elsewhere"}
    assert load({}, leaked).baked[0] == "/opt/nowhere"


def test_baked_caches_in_closed_homes_are_ignored(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    (closed / "antscache").mkdir(parents=True)
    tmp_path.chmod(0o755)
    closed.chmod(0)
    settings = Settings(baked=(str(closed / "antscache"),))
    me = os.geteuid()
    try:
        if me == 0:
            os.seteuid(12345)
        assert lower_directories(settings) == ()
    finally:
        os.seteuid(me)
        closed.chmod(0o755)
