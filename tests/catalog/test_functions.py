"""The needs of functions: source text in, what each call can ask for out; nothing is imported or executed."""

from __future__ import annotations

import sys
import textwrap
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antscache.catalog import SHIPPED_DIRECTORY, Catalog
from antscache.catalog.functions import expressions, read_functions
from antscache.catalog.sources import Reading
from antscache.core import ANYTHING, GIVEN, Function, Staging, ask, ask_anything, find_needed, parse_release
from antscache.core.needs import IMAGE

if TYPE_CHECKING:
    from pathlib import Path

UTILITIES = "antspynet/utilities"
IMPORTS = """
import numpy as np
import ants
from ..utilities import get_antsxnet_data, get_pretrained_network
from ..utilities import helper
"""
HELPER = """
def helper(image, modality=None, version=0):
    from ..utilities import get_pretrained_network
    if modality == "t1":
        get_pretrained_network("helperT1")
    elif modality is not None:
        raise ValueError("unknown modality")
    if version == 1:
        get_pretrained_network("helperV1")
    return image
"""


def sources(body: str, parameters: str, *, more: str = "") -> dict[str, str]:
    """Return a package whose public function `f` has this body."""
    function = f"def f({parameters}):\n" + textwrap.indent(textwrap.dedent(body), "    ")
    return {
        "antspynet/__init__.py": "from .utilities import *\n",
        f"{UTILITIES}/__init__.py": (
            "from .get_antsxnet_data import get_antsxnet_data\n"
            "from .get_pretrained_network import get_pretrained_network\n"
            "from .helper import helper\n"
            "from .f import f\n"
        ),
        f"{UTILITIES}/get_antsxnet_data.py": "def get_antsxnet_data(file_id=None):\n    pass\n",
        f"{UTILITIES}/get_pretrained_network.py": "def get_pretrained_network(file_id=None):\n    pass\n",
        f"{UTILITIES}/helper.py": HELPER,
        f"{UTILITIES}/f.py": IMPORTS + textwrap.dedent(more) + "\n" + function,
    }


def read(body: str, parameters: str = "image", *, more: str = "") -> Function:
    functions = read_functions(sources(body, parameters, more=more))
    return next(function for function in functions if function.name == "f")


def names(function: Function, **arguments: Any) -> set[str]:
    return {name for _, name in ask(function, arguments).names}


FORMS = {
    "a literal": ('get_antsxnet_data("a")', {"a"}),
    "by keyword": ('get_antsxnet_data(file_id="a")', {"a"}),
    "assigned": ('name = "a"\nget_antsxnet_data(name)', {"a"}),
    "added to": ('name = "a"\nname += "b"\nget_antsxnet_data(name)', {"ab"}),
    "numbered": ('for i in range(3):\n    get_antsxnet_data("a" + str(i))', {"a0", "a1", "a2"}),
    "from a list": ('ids = ["a", "b"]\nfor i in range(len(ids)):\n    get_antsxnet_data(ids[i])', {"a", "b"}),
    "of a list": ('for each in ("a", "b"):\n    get_antsxnet_data(each)', {"a", "b"}),
    "enumerated": ('for i, each in enumerate(["a"]):\n    get_antsxnet_data(each + str(i))', {"a0"}),
    "joined": ('get_antsxnet_data("x".join(map(str, (1, 2))) + "_a")', {"1x2_a"}),
    "formatted": ('i = 3\nget_antsxnet_data(f"a{i}")', {"a3"}),
    "in lower case": ('get_antsxnet_data("A".lower())', {"a"}),
    "looked up": ('get_antsxnet_data({"x": "a", "y": "b"}["x"])', {"a"}),
    "appended": ('ids = []\nids.append("a")\nfor each in ids:\n    get_antsxnet_data(each)', {"a"}),
    "seen by a function as it is called": (
        'name = "a"\ndef g():\n    get_antsxnet_data(name)\nif image.x:\n    name = "b"\n    g()',
        {"a", "b"},
    ),
    "appended by another name": (
        'ids = []\nmore = ids\nmore.append("a")\nfor each in ids:\n    get_antsxnet_data(each)',
        {"a"},
    ),
    "numbers that are equal": (
        "for each in (1, True):\n    get_antsxnet_data('a' + str(each))",
        {"a1", "aTrue"},
    ),
    "comprehended": ('[get_antsxnet_data(each) for each in ("a", "b")]', {"a", "b"}),
    "chosen": ('get_antsxnet_data("a" if True else "b")', {"a"}),
    "in a lambda": ('g = lambda: get_antsxnet_data("a")', {"a"}),
    "in a function": ('def g():\n    get_antsxnet_data("a")\ng()', {"a"}),
    "after a return": ('if 1 == 1:\n    return image\nget_antsxnet_data("a")', set()),
    "after a raise": ('if 1 == 1:\n    raise ValueError\nget_antsxnet_data("a")', set()),
    "in a handler": ('try:\n    g()\nexcept ValueError:\n    get_antsxnet_data("a")', {"a"}),
    "changed before an error": (
        'name = "a"\ntry:\n    name = "b"\n    raise ValueError\nexcept ValueError:\n    pass\nget_antsxnet_data(name)',
        {"a", "b"},
    ),
    "in a with": ('with g() as h:\n    get_antsxnet_data("a")', {"a"}),
    "in a while": ('while g():\n    get_antsxnet_data("a")', {"a"}),
    "after a break": (
        'for i in range(3):\n    get_antsxnet_data("a" + str(i))\n    if i == 1:\n        break',
        {"a0", "a1"},
    ),
    "through a call": ('helper(image, modality="t1")', {"helperT1"}),
    "as an argument": ('image = g(get_antsxnet_data("a"))', {"a"}),
    "Keras": ("model = tf.keras.applications.DenseNet121(weights='imagenet')", {"densenet121_imagenet"}),
    "Keras without weights": ('get_antsxnet_data("a")\ntf.keras.applications.DenseNet121(weights=None)', {"a"}),
}


@pytest.mark.parametrize("form", FORMS)
def test_forms_of_names_are_followed(form: str) -> None:
    body, expected = FORMS[form]
    function = read('if image is None:\n    get_antsxnet_data("never")\n' + body)
    assert names(function) == expected
    assert not ask(function, {}).unknown


CHOICES = """
if modality == "t1":
    get_pretrained_network("one")
elif modality.lower() == "t2":
    get_pretrained_network("two")
elif "flair" in modality:
    get_pretrained_network("three")
else:
    raise ValueError("unknown")
"""


@pytest.mark.parametrize(
    ("modality", "expected"),
    [("t1", {"one"}), ("T2", {"two"}), ("my flair", {"three"}), (GIVEN, {"one", "two", "three"})],
)
def test_an_argument_decides(modality: object, expected: set[str]) -> None:
    assert names(read(CHOICES, "image, modality"), modality=modality) == expected


def test_a_refused_argument_is_told() -> None:
    function = read(CHOICES, "image, modality")
    assert not ask(function, {"modality": "pd"}).returns
    assert function.known_values("modality") == ("t1",)


def test_defaults_count_where_nothing_is_given() -> None:
    body = 'if t2 is not None:\n    get_antsxnet_data("with")\nif image is None:\n    get_antsxnet_data("never")'
    function = read(body, "image, t2=None")
    assert names(function) == set()
    assert names(function, t2=GIVEN) == {"with"}


def test_a_parameter_without_default_is_one_image() -> None:
    """A parameter without a default is neither None nor a list."""
    body = 'if isinstance(image, list):\n    get_antsxnet_data("list")\nelse:\n    get_antsxnet_data("one")'
    function = read(body)
    assert names(function) == {"one"}
    assert names(function, image=[IMAGE]) == names(function, image=[ANYTHING]) == {"list"}
    assert {name for _, name in ask_anything(function).names} == {"one", "list"}


SHAPES = """
if len(images) != 2:
    raise ValueError
if images[1] is None:
    get_antsxnet_data("one")
else:
    get_antsxnet_data("two")
"""


def test_a_list_decides_by_its_shape() -> None:
    function = read(SHAPES, "images")
    assert names(function, images=[IMAGE, None]) == {"one"}
    assert names(function, images=[IMAGE, IMAGE]) == {"two"}
    assert not ask(function, {"images": [IMAGE]}).returns


def test_a_name_that_you_choose_is_a_hole() -> None:
    function = read("if isinstance(template, str):\n    get_antsxnet_data(template)", 'image, template="mni"')
    assert names(function) == {"mni"}
    assert names(function, template="oasis") == {"oasis"}
    assert names(function, template=IMAGE) == set()
    assert names(function, template=ANYTHING) == {"{template}"}


def test_a_list_of_valid_values_bounds_a_name() -> None:
    function = read('if not which in ("a", "b"):\n    raise ValueError\nget_antsxnet_data(which)', "image, which")
    assert names(function, which=ANYTHING) == {"a", "b"}
    assert not ask(function, {"which": "c"}).returns


@pytest.mark.parametrize(
    "body",
    [
        "get_antsxnet_data(g())",
        "get_antsxnet_data(*names)",
        "for i in range(n):\n    get_antsxnet_data('a' + str(i))",
        "g(get_antsxnet_data)",
        "name = 'a'\nwhile g():\n    name = name + 'b'\nget_antsxnet_data(name)",
    ],
)
def test_what_cannot_be_told_is_said(body: str) -> None:
    """A name that antscache cannot tell is never left out: its place is told."""
    assert any(f"{UTILITIES}/f.py" in place for place in ask(read(body), {}).unknown)


def test_a_function_may_call_itself() -> None:
    body = 'if modality == "both":\n    f(image, "one")\n    f(image, "two")\nelse:\n    get_antsxnet_data(modality)'
    function = read(body, "image, modality")
    assert names(function, modality="both") == {"one", "two"}


def test_calls_without_end_come_to_an_end() -> None:
    function = read('get_antsxnet_data("a")\nf(image, modality + "x")', "image, modality='a'")
    assert "a" in names(function)
    assert ask(function, {}).unknown


def test_a_function_that_always_raises_ends_its_caller() -> None:
    function = read('helper(image, modality="pd")\nget_antsxnet_data("after")')
    assert not ask(function, {}).returns
    assert names(function) == set()


def test_too_many_steps_are_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expressions, "MAX_STEPS", 100)
    body = "for i in range(60):\n    for j in range(60):\n        get_antsxnet_data(str(i) + str(j))"
    assert "steps" in str(read(body).problem)


@pytest.mark.parametrize("text", ["10 ** 10 ** 10", "'a' * 10 ** 9", "[0] * 10 ** 9", "range(10 ** 18)"])
def test_no_expression_takes_memory_or_time(text: str) -> None:
    assert ask(read(f"get_antsxnet_data({text})"), {}).unknown


def test_deep_nesting_is_a_problem() -> None:
    text = "+".join(["'a'"] * 900)
    assert "nested" in str(read(f"get_antsxnet_data({text})").problem)


def test_a_module_that_cannot_be_parsed() -> None:
    """A function of such a module has a problem, and one that calls it may ask for anything."""
    texts = sources("helper(image)", "image") | {f"{UTILITIES}/helper.py": "def helper(:"}
    caller, helper = read_functions(texts)
    assert helper.problem == f"{UTILITIES}/helper.py is not valid Python"
    assert any("helper.py" in place for place in ask(caller, {}).unknown)


# Against Python itself

TESTS = st.sampled_from(
    [
        'mode == "a"',
        'mode != "b"',
        'mode == "a" or flag',
        'mode == "b" and not flag',
        "other is None",
        "other is not None",
        "isinstance(other, list)",
        "flag",
        'mode in ("a", "b")',
        '"a" in mode',
        "number == 1",
        "number > 1",
        "name == 'n'",
    ]
)
SIMPLE = st.sampled_from(
    [
        'get_antsxnet_data("one")',
        "get_antsxnet_data(name)",
        'get_pretrained_network("net" + mode)',
        'get_pretrained_network("net" + str(number))',
        'name = "n"',
        'name += "m"',
        "name = mode",
        "flag = not flag",
        'names.append("l")',
        "number = 2",
        "raise ValueError",
        "return None",
        'helper(other, modality="t1")',
        "helper(other, version=number)",
        "helper(other, modality=mode)",
        "other = None",
    ]
)


def indented(lines: list[str]) -> list[str]:
    return [f"    {line}" for line in lines]


def blocks(inner: st.SearchStrategy[list[str]]) -> st.SearchStrategy[list[str]]:
    body = st.lists(inner, min_size=1, max_size=3).map(lambda parts: [line for part in parts for line in part])
    return st.one_of(
        st.builds(lambda test, yes, no: [f"if {test}:", *indented(yes), "else:", *indented(no)], TESTS, body, body),
        st.builds(lambda test, yes: [f"if {test}:", *indented(yes)], TESTS, body),
        st.builds(lambda yes: ["for i in range(2):", *indented(yes), *indented(["name = name + str(i)"])], body),
        st.builds(lambda yes: ["for each in list(names):", *indented([*yes, "get_antsxnet_data(each)"])], body),
        st.builds(lambda yes, no: ["try:", *indented(yes), "except ValueError:", *indented(no)], body, body),
        st.builds(lambda test, yes: [f"while {test}:", *indented([*yes, "break"])], TESTS, body),
    )


STATEMENTS = st.recursive(SIMPLE.map(lambda line: [line]), blocks, max_leaves=8)
BODIES = st.lists(STATEMENTS, min_size=1, max_size=5).map(
    lambda parts: "\n".join(line for part in parts for line in part)
)
ARGUMENTS: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {},
    optional={
        "mode": st.sampled_from(["a", "b", "ab", "c"]),
        "other": st.sampled_from([None, [], "text"]),
        "flag": st.booleans(),
        "number": st.sampled_from([0, 1, 2]),
    },
)


def execute(body: str, arguments: dict[str, Any]) -> tuple[set[tuple[str, str]], bool]:
    """Run the function in Python itself; return what it asked for, and whether it returned."""
    asked: set[tuple[str, str]] = set()
    space: dict[str, Any] = {
        "get_antsxnet_data": lambda name: asked.add(("data", name)),
        "get_pretrained_network": lambda name: asked.add(("network", name)),
    }
    exec(HELPER.replace("    from ..utilities import get_pretrained_network\n", ""), space)  # noqa: S102  of this file
    start = 'name = "s"\nnames = ["x"]\n'
    signature = 'def f(mode="a", other=None, flag=False, number=0):\n'
    exec(signature + textwrap.indent(start + body, "    "), space)  # noqa: S102  of this file
    try:
        space["f"](**arguments)
    except (ValueError, TypeError):
        return asked, False
    return asked, True


@given(body=BODIES, arguments=ARGUMENTS)
def test_nothing_that_python_asks_for_is_missed(body: str, arguments: dict[str, Any]) -> None:
    """Whatever a call asks for when Python runs it is in the static answer for its arguments, and for any arguments."""
    asked, returned = execute(body, arguments)
    start = 'name = "s"\nnames = ["x"]\n'
    functions = read_functions(sources(start + body, 'mode="a", other=None, flag=False, number=0'))
    function = next((each for each in functions if each.name == "f"), None)
    if function is None:
        assert not asked
        return
    answer = ask(function, arguments)
    if returned:
        assert answer.returns
    if answer.returns and not answer.unknown:
        assert asked <= answer.names
        assert {name for name in asked if name in ask(function, arguments).names} == asked


# The published releases

UNPARSED = {"0.1.1", "0.1.2", "0.1.3"}  # their quality_assessment.py is not valid Python


def needed(release: str, call: str) -> tuple[int, int]:
    manifest = Catalog(SHIPPED_DIRECTORY, offline=True).find(parse_release(release))
    assert manifest
    kinds = [entry.kind for entry in find_needed(manifest, [call]).entries]
    return kinds.count("data"), kinds.count("network")


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        ("brain_extraction:modality=t1", (1, 1)),
        ("brain_extraction", (4, 20)),
        ("cortical_thickness", (3, 2)),
        ("cortical_thickness:t1=...", (7, 7)),
        ("cortical_thickness:t1=[image,None,image]", (4, 2)),
        ("desikan_killiany_tourville_labeling", (3, 3)),
        ("harvard_oxford_atlas_labeling", (3, 3)),
        ("deep_flash", (3, 3)),
        ("cerebellum_morphology", (6, 4)),
    ],
)
def test_sizes_of_published_needs(call: str, expected: tuple[int, int]) -> None:
    """The sizes were counted by hand in the source of 0.3.2."""
    assert needed("0.3.2", call) == expected


def test_every_published_release_has_functions() -> None:
    manifests = {one.release: one for one in Catalog(SHIPPED_DIRECTORY, offline=True).manifests("antspynet")}
    assert len(manifests) == 18
    for release, manifest in manifests.items():
        assert manifest.functions
        problems = [function.name for function in manifest.functions if function.problem]
        assert problems == (["tid_neural_image_assessment"] if release.version in UNPARSED else [])
        unknown = [function.name for function in manifest.functions if ask_anything(function).unknown]
        assert unknown == problems


def test_an_installation_counts_as_it_is(tmp_path: Path) -> None:
    """Needs are read anew where a module differs from the published release, although the entries are the same."""
    catalog = Catalog(tmp_path, offline=True)
    published = catalog.find(parse_release("0.3.2"))
    assert published
    changed = Reading(published.release, published.entries, texts=sources('get_antsxnet_data("oasis")', "image"))
    assert catalog.identified(changed) == published
    found = catalog.identified(changed, functions=True)
    assert found.release == published.release
    assert [entry.name for entry in find_needed(found, ["f"]).entries] == ["oasis"]
    catalog.save(found, Staging(tmp_path))
    assert not list(tmp_path.iterdir())  # the published manifest is at hand


def test_reading_functions_imports_nothing() -> None:
    before = {name.partition(".")[0] for name in sys.modules}
    read('get_antsxnet_data("a")')
    assert not {"antspynet", "ants", "numpy", "tensorflow"} & ({n.partition(".")[0] for n in sys.modules} - before)
