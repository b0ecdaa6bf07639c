"""Citations as text, Markdown, BibTeX and CSL-JSON, whatever the files are."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from antscache.core import (
    Citation,
    CitedFile,
    Descriptor,
    Digest,
    Entry,
    Identifier,
    Release,
    address_of,
    as_bibtex,
    as_csl_json,
    as_facts,
    as_markdown,
    as_text,
    digest_of,
    make_entry,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

VERSION, VIEW = "0.1.0", digest_of(b"view")
NETWORK = make_entry("network", "brainExtractionRobustT1", "brainExtractionRobustT1.h5", identifier="figshare:34821874")
TEMPLATE = make_entry("data", "S_template3", "S_template3.nii.gz", identifier="figshare:22597175")
WEIGHTS = make_entry("keras", "vgg19_imagenet", "vgg19.h5", identifier="url:https://example.org/a_b{1}|%7e?c=d&e=~f")


def cited(entry: Entry, trust: str | None = "origin") -> CitedFile:
    return CitedFile(entry, Descriptor(digest_of(entry.name.encode()), 9), trust)


def citation(*files: CitedFile, release: str = "0.3.2") -> Citation:
    return Citation(Release("antspynet", release), files, VIEW)


TWO = citation(cited(TEMPLATE), cited(NETWORK))
PAPER = (
    "Tustison NJ, Cook PA, Holbrook AJ, et al. The ANTsX ecosystem for quantitative biological and medical imaging. "
    "Scientific Reports 11, 9068 (2021). doi:10.1038/s41598-021-87564-6"
)

NAMES = st.from_regex(re.compile(r"\A[A-Za-z0-9_][A-Za-z0-9_.+-]{0,20}\Z", re.ASCII))
URLS = st.text(alphabet=[chr(code) for code in range(0x21, 0x7F) if chr(code) != "#"], max_size=20).map(
    "url:https://example.org/{}".format
)
IDENTIFIERS = st.integers(1, 10**18).map("figshare:{}".format) | URLS
FILES = st.builds(
    lambda kind, name, identifier, trust: cited(make_entry(kind, name, name, identifier=identifier), trust),
    st.sampled_from(["data", "network", "keras"]),
    NAMES,
    IDENTIFIERS,
    st.sampled_from([None, "origin", "mirror", "adopted"]),
)
CITATIONS = st.lists(
    st.lists(FILES, min_size=1, max_size=4, unique_by=lambda file: file.entry.name), min_size=1, max_size=3
).map(lambda lists: [citation(*files, release=f"{number}.0+a1") for number, files in enumerate(lists)])


# The sentence


def test_sentence_has_release_numbers_and_view() -> None:
    assert as_text([TWO], VERSION).splitlines()[0] == (
        "We used ANTsPyNet 0.3.2 (Tustison et al., 2021) with 1 data file and 1 pretrained network "
        f"(view {VIEW}; files in Table S1), managed by antscache 0.1.0."
    )


@pytest.mark.parametrize(
    ("entries", "contents"),
    [
        ([NETWORK], "1 pretrained network"),
        ([NETWORK, NETWORK], "2 pretrained networks"),
        ([TEMPLATE, NETWORK, WEIGHTS], "1 data file, 1 pretrained network and 1 file of Keras's ImageNet weights"),
    ],
)
def test_files_are_counted_by_kind(entries: list[Entry], contents: str) -> None:
    assert citation(*map(cited, entries)).contents == contents


def test_adopted_files_are_named_as_such() -> None:
    """In the sentence, in the table and in the references."""
    one = citation(cited(TEMPLATE), cited(NETWORK, "adopted"))
    sentence = 'Of these, 1 (marked "adopted") was adopted from copies of our own: no origin has confirmed the content.'
    for text in as_text([one], VERSION), as_markdown([one], VERSION).replace("\\", ""):
        assert sentence in text
        [row] = [line for line in text.splitlines() if NETWORK.name in line]
        assert "adopted" in row
    assert [item["id"] for item in as_csl_json([one], VERSION) if "adopted" in item.get("note", "")] == [
        "figshare-34821874"
    ]
    assert as_bibtex([one], VERSION).count("adopted") == 1
    assert "adopted" not in as_text([TWO], VERSION) + as_markdown([TWO], VERSION) + as_bibtex([TWO], VERSION)


def test_each_release_has_its_table() -> None:
    text = as_text([TWO, citation(cited(NETWORK), release="0.2.9")], VERSION)
    assert [text.count(f"files in Table S{number})") for number in (1, 2, 3)] == [1, 1, 0]
    assert [text.count(f"\nTable S{number}. ") for number in (1, 2, 3)] == [1, 1, 0]
    assert text.count(PAPER) == 1


# Markdown and text


@given(CITATIONS)
def test_tables_have_each_file_once(citations: list[Citation]) -> None:
    """With its name, identifier, sha256 and address, in texts of printable ASCII."""
    files = [file for each in citations for file in each.files]
    text, markdown = as_text(citations, VERSION), as_markdown(citations, VERSION)
    assert (text + markdown).replace("\n", "").isprintable()
    assert (text + markdown).isascii()
    rows = [line.split() for line in text.splitlines() if re.search(r" [0-9a-f]{64} ", line)]
    assert [row[:4] for row in rows] == [
        [file.entry.name, file.identifier, file.blob.digest.removeprefix("sha256:"), address_of(file.identifier)]
        for file in files
    ]
    lines = [line for line in markdown.splitlines() if line.startswith("| ")]
    assert len(lines) == len(files) + 2 * len(citations)
    for line in lines:
        assert len(re.split(r"(?<!\\)(?:\\\\)*\|", line)) in {6, 7}


# CSL-JSON


# Of `csl-data.json`, CSL 1.0.2, which allows no other variables and needs `id` and `type`.
CSL_VARIABLES = {
    "id", "type", "title", "author", "container-title", "volume", "page", "issued", "DOI", "URL", "version",
    "publisher", "note",
}  # fmt: skip
CSL_TYPES = {"article-journal", "dataset", "software"}


@given(CITATIONS)
def test_csl_json_is_valid(citations: list[Citation]) -> None:
    items = json.loads(json.dumps(as_csl_json(citations, VERSION)))
    for item in items:
        assert {"id", "type", "title"} <= item.keys() <= CSL_VARIABLES
        assert item["type"] in CSL_TYPES
        for author in item.get("author", []):
            assert author.keys() in ({"literal"}, {"family", "given"})
        assert all(isinstance(item[key], str) for key in item.keys() - {"author", "issued"})
    assert len({item["id"] for item in items}) == len(items)
    identifiers = {file.identifier for each in citations for file in each.files}
    assert {item["URL"] for item in items if item["type"] == "dataset"} == set(map(address_of, identifiers))


def test_csl_json_has_the_paper_and_the_view() -> None:
    paper, release, manager, *files = as_csl_json([TWO], VERSION)
    assert (paper["DOI"], len(paper["author"])) == ("10.1038/s41598-021-87564-6", 14)
    assert (release["title"], release["version"]) == ("ANTsPyNet", "0.3.2")
    assert release["note"] == f"1 data file and 1 pretrained network; view {VIEW}"
    assert manager["version"] == "0.1.0"
    assert [item["title"].split()[0] for item in files] == [TEMPLATE.file, NETWORK.file]


def test_bytes_of_two_releases_are_one_reference() -> None:
    items = as_csl_json([TWO, citation(cited(NETWORK), release="0.2.9")], VERSION)
    assert [item["id"] for item in items].count("figshare-34821874") == 1


# BibTeX


BIBTEX_ENTRY = re.compile(r"@(article|misc)\{([A-Za-z0-9.+_-]+),\n((?:  [a-z]+ = \{.*\},\n)+)\}\n\Z")
# What TeX prints as it is, or an escape.
TEX_TEXT = re.compile(
    r"(?:[^\\{}&%$#_~^]|\\[&%$#_]|\\text(?:backslash|braceleft|braceright|asciitilde|asciicircum)\{\})*\Z"
)


def parse_bibtex(text: str) -> dict[str, dict[str, str]]:
    """Return the fields of each entry, by its key. Fail for all that is not strictly BibTeX, or not escaped for TeX."""
    entries: dict[str, dict[str, str]] = {}
    for part in text.removesuffix("\n").split("\n\n"):
        match = BIBTEX_ENTRY.match(f"{part}\n")
        assert match, part
        fields = dict(re.findall(r"  ([a-z]+) = \{(.*)\},\n", match[3]))
        assert len(fields) == match[3].count("\n"), part
        for name, value in fields.items():
            depth = 0
            for character in value:
                depth += {"{": 1, "}": -1}.get(character, 0)
                assert depth >= 0, value
            assert depth == 0, value
            if name == "url":
                assert re.fullmatch(r"https://[!-z~]+", value), value
                assert not set('{}\\"<>^`|') & set(value)
            else:
                assert TEX_TEXT.match(re.sub(r"\A\{(.*)\}\Z", r"\1", value)), value
        assert match[2] not in entries
        entries[match[2]] = fields
    return entries


@given(CITATIONS)
def test_bibtex_is_valid(citations: list[Citation]) -> None:
    entries = parse_bibtex(as_bibtex(citations, VERSION))
    assert entries.keys() == {item["id"] for item in as_csl_json(citations, VERSION)}
    for fields in entries.values():
        assert {"title"} < fields.keys()
        assert {"author", "key"} & fields.keys()


def test_bibtex_has_what_styles_print() -> None:
    entries = parse_bibtex(as_bibtex([citation(cited(TEMPLATE), cited(WEIGHTS))], VERSION))
    article = entries["tustison2021antsx"]
    assert article["author"].startswith("Tustison, Nicholas J. and Cook, Philip A. and ")
    assert {article[key] for key in ("journal", "volume", "pages", "year")} == {
        "Scientific Reports",
        "11",
        "9068",
        "2021",
    }
    assert entries["antspynet-0.3.2"]["title"] == "{ANTsPyNet (version 0.3.2)}"
    assert entries["antscache"]["author"] == "{The antscache developers}"
    template = entries["figshare-22597175"]
    assert template["title"] == r"{S\_template3.nii.gz (data file for ANTsPyNet 0.3.2)}"
    assert template["url"] == "https://ndownloader.figshare.com/files/22597175"
    assert VIEW in entries["antspynet-0.3.2"]["note"]


# The facts


@given(CITATIONS)
def test_facts_are_those_of_the_files(citations: Sequence[Citation]) -> None:
    facts: list[dict[str, Any]] = json.loads(msgspec.json.encode(as_facts(citations, VERSION)))
    assert [[row["digest"] for row in each["files"]] for each in facts] == [
        [file.blob.digest for file in each.files] for each in citations
    ]
    for each in facts:
        assert each["sentence"] in as_text(citations, VERSION)
        for row in each["files"]:
            msgspec.convert((row["identifier"], row["digest"]), tuple[Identifier, Digest])
