"""Keras's own weights are no entries of a release; a name or their kind selects them."""

from __future__ import annotations

import runpy
from typing import TYPE_CHECKING

import pytest
from support.hooked import INJECT

from antscache.cache import Cache
from antscache.catalog import shipped_manifest
from antscache.core import KERAS_WEIGHTS, Manifest, Release, known_md5, select, with_optional
from antscache.errors import ManifestError

if TYPE_CHECKING:
    from pathlib import Path

NAMES = {weights.entry.name for weights in KERAS_WEIGHTS}


@pytest.fixture
def manifest() -> Manifest:
    manifest = shipped_manifest(Release("antspynet", "0.3.2"))
    assert manifest
    return manifest


def test_only_a_name_or_kind_selects_them(manifest: Manifest, tmp_path: Path) -> None:
    cache = Cache.open(tmp_path / "root", offline=True)
    assert {entry.kind for entry in cache.plan(manifest).entries} == {"data", "network"}
    assert {entry.kind for entry in cache.plan(manifest, kinds=["network"]).entries} == {"network"}
    assert {entry.name for entry in cache.plan(manifest, kinds=["keras"]).entries} == NAMES
    both = cache.plan(manifest, names=["vgg19_imagenet", "S_template3"])
    assert {entry.name for entry in both.entries} == {"vgg19_imagenet", "S_template3"}
    assert both.manifest == manifest


def test_they_hide_no_entry_of_a_release(manifest: Manifest) -> None:
    assert len(with_optional(manifest).entries) == len(manifest.entries) + len(KERAS_WEIGHTS)
    assert NAMES.isdisjoint(entry.name for entry in manifest.entries)
    assert with_optional(with_optional(manifest)) == with_optional(manifest)


def test_unknown_names_suggest_them(manifest: Manifest) -> None:
    with pytest.raises(ManifestError) as caught:
        select(with_optional(manifest), ["vgg_imagenet"])
    assert "did you mean vgg19_imagenet" in str(caught.value.hint)


def test_antspyx_has_none() -> None:
    manifest = shipped_manifest(Release("antspyx", "0.6.3"))
    assert manifest
    assert with_optional(manifest) is manifest


def test_md5_of_them_alone_is_known(manifest: Manifest) -> None:
    assert {known_md5(weights.entry.identifier) for weights in KERAS_WEIGHTS} == {w.md5 for w in KERAS_WEIGHTS}
    assert {known_md5(entry.identifier) for entry in manifest.entries} == {None}


def test_the_hook_names_the_same() -> None:
    in_hook = dict(runpy.run_path(str(INJECT / "antscache_hook.py"))["KERAS_WEIGHTS"].values())
    assert in_hook == {weights.function: weights.entry.name for weights in KERAS_WEIGHTS}
