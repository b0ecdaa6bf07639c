"""Calls as you write them after --for, and the names that choose entries."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antscache.catalog import shipped_manifest
from antscache.core import (
    ANYTHING,
    GIVEN,
    ArgumentTest,
    Entry,
    Function,
    Manifest,
    Needs,
    any_call,
    describe_function,
    expand_names,
    find_entries,
    find_needed,
    parse_call,
    parse_name_list,
    parse_release,
    users_of,
)
from antscache.core.needs import IMAGE
from antscache.errors import ManifestError

RELEASE = parse_release("0.3.2")
ENTRIES = (
    Entry("data", "template", "template.nii.gz", "figshare:1"),
    Entry("data", "transform", "transform.mat", "figshare:2"),
    Entry("network", "one", "one.h5", "figshare:3"),
    Entry("network", "two", "two.h5", "figshare:4"),
    Entry("network", "number_1", "number_1.h5", "figshare:5"),
    Entry("network", "number_2", "number_2.h5", "figshare:6"),
)
MODE = ArgumentTest(("mode",), "==", "a")
EXTRACT = Function(
    "extract",
    ("image", "mode", "template", "number"),
    Needs(
        data=("{template}",),
        network=("number_{number}",),
        test=MODE,
        yes=Needs(network=("one",)),
        no=Needs(test=ArgumentTest(("mode",), "==", "b"), yes=Needs(network=("two", "lost")), no=Needs(raises=True)),
    ),
    {"template": "template", "number": 1},
)
MANIFEST = Manifest(RELEASE, ENTRIES, functions=(EXTRACT, Function("broken", (), problem="it is nested")))


def names(*calls: str) -> list[str]:
    return [entry.name for entry in find_needed(MANIFEST, calls).entries]


@pytest.mark.parametrize(
    ("text", "arguments"),
    [
        ("f", {}),
        (" f ", {}),
        ("f:a=1", {"a": 1}),
        ("f:a=t1,b=None,c=True", {"a": "t1", "b": None, "c": True}),
        ("f:a=1.5", {"a": 1.5}),
        ("f:a='1'", {"a": "1"}),
        ("f:a='x,y',b=2", {"a": "x,y", "b": 2}),
        ("f:a", {"a": GIVEN}),
        ("f:a=image", {"a": IMAGE}),
        ("f:a=[image,None,image],b=2", {"a": [IMAGE, None, IMAGE], "b": 2}),
        ("f:a=[1, 1, 2]", {"a": [1, 1, 2]}),
        ("f:a=[...]", {"a": [ANYTHING]}),
        ("f:a=...", {"a": ANYTHING}),
        ("f:a=[]", {"a": []}),
        ("f:a=t1combined[5]", {"a": "t1combined[5]"}),
        ("f:a=x=y", {"a": "x=y"}),
    ],
)
def test_calls_are_read(text: str, arguments: dict[str, Any]) -> None:
    assert parse_call(text).function == "f"
    assert parse_call(text).arguments == arguments


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1f",
        "f:",
        "f:,",
        "f:=1",
        "f:a=1,,b=2",
        "f:a=1,a=2",
        "f g",
        "f:a b=1",
        "f" * 2000,
        "f:a=" + "[" * 490 + "]" * 490,
    ],
)
def test_what_is_no_call_is_refused(text: str) -> None:
    with pytest.raises(ManifestError):
        parse_call(text)


@given(st.text(max_size=60))
def test_any_text_is_a_call_or_refused(text: str) -> None:
    """No text after --for leads to another error than the one that says how to write a call."""
    for call in (text, f"extract:mode={text}", f"extract:{text}"):
        with suppress(ManifestError):
            find_needed(MANIFEST, [call])


def test_defaults_and_arguments_choose_entries() -> None:
    assert names("extract:mode=a") == ["template", "number_1", "one"]
    assert names("extract:mode=a,number=2") == ["template", "number_2", "one"]
    assert names("extract:mode=a", "extract:mode=b") == ["template", "number_1", "one", "two"]


def test_an_open_argument_chooses_all_and_is_said() -> None:
    needed = find_needed(MANIFEST, ["extract"])
    assert [entry.name for entry in needed.entries] == ["template", "number_1", "one", "two"]
    assert any("as `mode` decides" in remark for remark in needed.remarks())


def test_a_choice_of_yours_is_said() -> None:
    """A name that only the caller knows is neither guessed nor left out."""
    needed = find_needed(MANIFEST, ["extract:mode=a,template=...,number=..."])
    assert [entry.name for entry in needed.entries] == ["number_1", "number_2", "one"]
    assert [str(choice) for choice in needed.choices] == ["extract also needs the data that you choose by `template`"]


def test_names_that_the_release_lacks_are_said() -> None:
    assert any("lost" in remark for remark in find_needed(MANIFEST, ["extract:mode=b"]).remarks())


@pytest.mark.parametrize(
    ("call", "text", "hint"),
    [
        ("extrct", "no function extrct", "did you mean extract?"),
        ("extract:mod=a", "no parameter mod", "its parameters are image, mode"),
        ("extract:mode=c", "refuses `extract:mode=c`", "mode can be a, b"),
        ("extract:mode=a,template=oasis", "has no such file", "antscache list"),
        ("broken", "cannot tell what broken", "--name"),
    ],
)
def test_unknown_things_are_errors_that_help(call: str, text: str, hint: str) -> None:
    with pytest.raises(ManifestError) as caught:
        find_needed(MANIFEST, [call])
    assert text in str(caught.value)
    assert hint in (caught.value.hint or "")


def test_unread_functions_are_an_error() -> None:
    with pytest.raises(ManifestError, match="have not been read"):
        find_needed(Manifest(RELEASE, ENTRIES), ["extract"])


def test_a_function_is_described_by_its_arguments() -> None:
    _, calls = describe_function(MANIFEST, "extract")
    assert {each.title: len(each.needed.entries) for each in calls} == {
        "by default": 4,
        "mode=a": 3,
        "mode=b": 3,
        "in all": 4,
    }
    assert all(parse_call(each.call).function == "extract" for each in calls)


def test_users_of_an_entry_are_found() -> None:
    assert users_of(MANIFEST, "network", "number_2") == ("extract",)
    assert users_of(MANIFEST, "network", "two") == ("extract",)
    assert users_of(MANIFEST, "data", "transform") == ()


def test_every_published_function_can_be_described() -> None:
    """For each call that `show` prints, `--for` finds the same entries, and no more than for any call at all."""
    manifest = shipped_manifest(RELEASE)
    assert manifest
    for function in manifest.functions or ():
        most = set(find_needed(manifest, [any_call(function)]).entries)
        _, calls = describe_function(manifest, function.name)
        assert calls
        for each in calls:
            assert find_needed(manifest, [each.call]) == each.needed
            beyond = {entry.name for entry in each.needed.entries if entry not in most}
            assert beyond <= set(map(str, function.defaults.values()))  # the default of a choice that is yours


def test_names_files_and_patterns_choose() -> None:
    assert expand_names(["template.nii.gz", "number_*", "*.mat", "?wo"], ENTRIES) == (
        "template",
        "number_1",
        "number_2",
        "transform",
        "two",
    )
    assert expand_names(["nothing*"], ENTRIES) == ("nothing*",)


def test_a_list_of_names_is_read() -> None:
    """One on a line; blank lines, comments and Windows' line ends do not count."""
    assert parse_name_list("\ufeffone\r\n\r\n# no\n two  # yes\ntwo\n") == ("one", "two")


def test_functions_and_names_choose_together() -> None:
    chosen = find_entries(MANIFEST, ["transform"], (), ["extract:mode=a"])
    assert [entry.name for entry in chosen] == ["template", "transform", "one", "number_1"]
    networks = find_entries(MANIFEST, kinds=["network"], calls=["extract:mode=a"])
    assert [entry.name for entry in networks] == ["one", "number_1"]
