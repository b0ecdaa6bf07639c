"""The extractor: source text in, entries out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from antscache.catalog import getters
from antscache.catalog.getters import GETTERS, extract
from antscache.errors import ManifestError

if TYPE_CHECKING:
    from antscache.core.manifest import Entry

DATA, NETWORKS = (getter.module for getter in GETTERS["antspynet"])


def getter(  # noqa: PLR0913
    function: str = "get_pretrained_network",
    *,
    switcher: str = '{"a": "https://figshare.com/ndownloader/files/1", "b": "https://ndownloader.figshare.com/files/2"}',
    valid: str = '("a", "b", "show")',
    look_up: str = "url = switch(file_id)",
    naming: str = 'if target_file_name is None:\n        target_file_name = file_id + ".h5"',
    more: str = "pass",
) -> str:
    return f'''
import tensorflow as tf

def {function}(file_id=None, target_file_name=None, antsxnet_cache_directory=None):
    """See https://example.org for more."""
    def switch(argument):
        switcher = {switcher}
        return(switcher.get(argument, "Invalid argument."))
    valid_list = {valid}
    if not file_id in valid_list:
        raise ValueError("No data with the id you passed.")
    {look_up}
    {naming}
    {more}
    return(tf.keras.utils.get_file(target_file_name, url, cache_subdir=antsxnet_cache_directory))
'''


def entries(networks: str, data: str | None = None) -> dict[str, Entry]:
    sources = {NETWORKS: networks, DATA: data or getter("get_antsxnet_data", switcher="{}", valid="('show',)")}
    return {entry.name: entry for entry in extract("antspynet", sources).entries}


def read(networks: str) -> dict[str, tuple[str, str | None, str | None]]:
    return {name: (entry.file, entry.identifier, entry.reason) for name, entry in entries(networks).items()}


def refusal(networks: str) -> str:
    with pytest.raises(ManifestError) as caught:
        read(networks)
    return str(caught.value)


def test_both_forms_of_url_give_the_identifier() -> None:
    assert read(getter()) == {"a": ("a.h5", "figshare:1", None), "b": ("b.h5", "figshare:2", None)}


def test_the_last_of_equal_names_wins() -> None:
    """Of equal names in the dictionary, the last one wins, as in Python."""
    url = "https://ndownloader.figshare.com/files"
    assert read(getter(switcher=f'{{"a": "{url}/1", "b": "", "a": "{url}/3"}}'))["a"][1] == "figshare:3"


@pytest.mark.parametrize(
    ("switcher", "valid", "reason"),
    [
        ('{"a": ""}', '("a", "show")', "empty URL"),
        ("{}", '("a", "show")', "no URL for it"),
        ('{"a": "https://ndownloader.figshare.com/files/1"}', '("show",)', "not in valid_list"),
    ],
)
def test_unavailable_entries_have_a_reason(switcher: str, valid: str, reason: str) -> None:
    file, identifier, actual = read(getter(switcher=switcher, valid=valid))["a"]
    assert (file, identifier) == ("a.h5", None)
    assert reason in str(actual)


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ('"ftp://host/a.h5"', "line 7: 'ftp://host/a.h5' cannot be an identifier: it is not an http or https URL"),
        ('"https://me:secret@host/a.h5"', "line 7: 'https://...@host/a.h5' cannot be an identifier: it names a user"),
        ('BASE + "1"', "line 7: its URL is computed"),
        ('f"{BASE}/1"', "line 7: its URL is computed"),
        ("None", "line 7: its URL is computed"),
    ],
)
def test_url_that_is_no_identifier_is_a_problem(url: str, problem: str) -> None:
    """The name alone has it, with its line; the other names are read."""
    read = entries(getter(switcher=f'{{"a": {url}, "b": "https://host.org/b.h5"}}'))
    assert (read["a"].identifier, read["a"].reason) == (None, None)
    assert problem in str(read["a"].problem)
    assert "secret" not in str(read["a"].problem)
    assert read["b"].identifier == "url:https://host.org/b.h5"


def test_an_unread_getter_leaves_the_other_one() -> None:
    broken = getter(look_up="url = file_id")
    extracted = extract("antspynet", {NETWORKS: broken, DATA: getter("get_antsxnet_data")})
    assert [entry.name for entry in extracted.entries] == ["a", "b"]
    assert {entry.kind for entry in extracted.entries} == {"data"}
    [unread] = extracted.unread
    assert unread.kind == "network"
    assert f"{NETWORKS}, line 12: url is not looked up in switcher" in unread.problem


@pytest.mark.parametrize("switcher", ["{}", '{"a": BASE + "1", "b": BASE + "2"}'])
def test_a_source_without_readable_entries_is_refused(switcher: str) -> None:
    source = getter(switcher=switcher, valid='("show",)' if switcher == "{}" else '("a", "b", "show")')
    assert "no names" in refusal(source) if switcher == "{}" else "a: line 7: its URL is computed" in refusal(source)


def test_conditions_in_file_names_are_evaluated() -> None:
    naming = (
        "if target_file_name == None:\n"
        '        if file_id == "b":\n'
        '            target_file_name = file_id + ".mat"\n'
        "        else:\n"
        '            target_file_name = file_id + ".h5"'
    )
    names = read(getter(naming=naming))
    assert (names["a"][0], names["b"][0]) == ("a.h5", "b.mat")


@pytest.mark.parametrize(
    ("source", "line", "what"),
    [
        (getter(more='url = "https://elsewhere.org/x"'), 15, "a URL outside of switcher"),
        (getter(more="url = other(file_id)"), 15, "expected once, found 2 times"),
        (getter(more="url += '?download=1'"), 15, "expected once, found 2 times"),
        (getter(look_up="url = file_id"), 12, "url is not looked up in switcher"),
        (getter(switcher="dict(a='b')"), 7, "switcher is not a dictionary literal"),
        (getter(switcher='{**OTHERS, "a": ""}'), 7, "a string literal is expected"),
        (getter(valid="tuple(names)"), 9, "valid_list is not a literal"),
        (getter(valid="('a', NAME)"), 9, "a string literal is expected"),
        (getter(naming="target_file_name = file_id"), 13, "target_file_name is set outside"),
        (getter(more="for i in range(2):\n        target_file_name = file_id"), 15, "target_file_name is set outside"),
        (
            getter(naming="if target_file_name is None:\n        target_file_name = name(file_id)"),
            14,
            "with an expression that antscache does not know",
        ),
        (
            getter(naming="if target_file_name is None:\n        del file_id"),
            14,
            "with a statement that antscache does not know",
        ),
        (getter(naming="pass"), 4, "no file name for 'a'"),
        (getter(switcher="{}\n        switcher['a'] = ''"), 8, "more than switcher.get()"),
        (getter(switcher="{}\n        switcher.update(others)"), 8, "more than switcher.get()"),
        (getter(switcher='{"../../a": ""}', valid="()"), 7, "not a usable name: '../../a'"),
        (getter("something_else"), 1, "the function get_pretrained_network is expected once"),
        ("def get_pretrained_network(:\n  pass", 1, "not valid Python"),
        ("\0", 1, "not valid Python"),
    ],
)
def test_an_unknown_form_of_source_is_refused(source: str, line: int, what: str) -> None:
    """A source of an unknown form is an error that names the file and the line."""
    message = refusal(source)
    assert f"antspynet/utilities/get_pretrained_network.py, line {line}: " in message
    assert what in message


def test_the_docstring_may_hold_a_url() -> None:
    assert "https://example.org" in getter()
    assert len(read(getter())) == 2


def naming(*statements: str) -> str:
    """Return a getter that builds its file names with `statements`."""
    lines = ["if target_file_name is None:", "    target_file_name = file_id", *(f"    {each}" for each in statements)]
    return getter(naming="\n".join(f"    {line}" for line in lines).strip())


def test_file_name_is_bounded_while_it_is_built() -> None:
    doubled = naming(*["target_file_name = target_file_name + target_file_name"] * 100)
    assert refusal(doubled).endswith("line 22: a file name of more than 255 characters")


def test_steps_to_file_names_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Statements times names: the product of two long lists."""
    monkeypatch.setattr(getters, "MAX_STEPS", 50)
    assert read(naming())
    assert "line 37: the file names take more than 50 steps" in refusal(naming(*['target_file_name = "x"'] * 50))


def test_code_nested_too_deeply_has_a_line() -> None:
    deep = naming("target_file_name = file_id" + " + ''" * 2000)
    assert refusal(deep).endswith("line 13: the file name is built with code that is nested too deeply")


def test_long_texts_of_a_source_are_shortened() -> None:
    _, _, reason = read(getter(switcher=f'{{"a": "http://example.org/{"n" * 50_000}"}}', valid='("b",)'))["a"]
    assert reason is not None
    assert len(reason) < 500
