"""The extractor: source text in, entries out."""

from __future__ import annotations

import pytest

from antscache.catalog.getters import GETTERS, extract
from antscache.errors import ManifestError

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


def read(networks: str, data: str | None = None) -> dict[str, tuple[str, str | None, str | None]]:
    sources = {NETWORKS: networks, DATA: data or getter("get_antsxnet_data", switcher="{}", valid="('show',)")}
    return {entry.name: (entry.file, entry.identifier, entry.reason) for entry in extract("antspynet", sources)}


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
        ('{"a": "http://files.figshare.com/1/a.nii.gz"}', '("a",)', "not a Figshare file identifier"),
        ('{"a": "https://ndownloader.figshare.com/files/1/../2"}', '("a",)', "not a Figshare file identifier"),
        ('{"a": "https://ndownloader.figshare.com.evil.org/files/1"}', '("a",)', "not a Figshare file identifier"),
    ],
)
def test_unavailable_entries_have_a_reason(switcher: str, valid: str, reason: str) -> None:
    file, identifier, actual = read(getter(switcher=switcher, valid=valid))["a"]
    assert (file, identifier) == ("a.h5", None)
    assert reason in str(actual)


def test_conditions_in_file_names_are_evaluated() -> None:
    naming = (
        "if target_file_name == None:\n"
        '        if file_id == "b":\n'
        '            target_file_name = file_id + ".mat"\n'
        "        else:\n"
        '            target_file_name = file_id + ".h5"'
    )
    entries = read(getter(naming=naming))
    assert (entries["a"][0], entries["b"][0]) == ("a.h5", "b.mat")


@pytest.mark.parametrize(
    ("source", "line", "what"),
    [
        (getter(more='url = "https://elsewhere.org/x"'), 15, "a URL outside of switcher"),
        (getter(more="url = other(file_id)"), 15, "expected once, found 2 times"),
        (getter(more="url += '?download=1'"), 15, "expected once, found 2 times"),
        (getter(look_up="url = file_id"), 12, "url is not looked up in switcher"),
        (getter(switcher="dict(a='b')"), 7, "switcher is not a dictionary literal"),
        (getter(switcher='{"a": BASE + "1"}'), 7, "a string literal is expected"),
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
