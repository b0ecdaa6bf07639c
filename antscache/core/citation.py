"""Citations of the files that were used: a sentence for a methods section, and a table for its supplement. Pure.

    We used ANTsPyNet 0.3.2 (Tustison et al., 2021) with 1 data file and 1 pretrained network (view sha256:...; files
    in Table S1), managed by antscache 0.1.0.

References are items of CSL-JSON; BibTeX is made of these. All texts are printable ASCII: names match their patterns,
and no other text from outside is repeated. `version` is always that of antscache.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from antscache.core.digest import hexadecimal
from antscache.core.identifiers import address_of, figshare_number, identifier_key
from antscache.core.tables import aligned_table, escape_markdown, markdown_table

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from antscache.core.digest import Descriptor, Digest
    from antscache.core.identifiers import Identifier
    from antscache.core.manifest import Entry, Kind, Package, Release

_TITLES: dict[Package, str] = {"antspynet": "ANTsPyNet", "antspyx": "ANTsPy"}
_HOMEPAGES: dict[Package, str] = {
    "antspynet": "https://github.com/ANTsX/ANTsPyNet",
    "antspyx": "https://github.com/ANTsX/ANTsPy",
}
_NOUNS: dict[Kind, tuple[str, str]] = {  # for one file, and for several
    "data": ("data file", "data files"),
    "network": ("pretrained network", "pretrained networks"),
    "keras": ("file of Keras's ImageNet weights", "files of Keras's ImageNet weights"),
}
# The paper about both packages. Source: ANTsPyNet's README, "Publications".
_PAPER: dict[str, Any] = {
    "id": "tustison2021antsx",
    "type": "article-journal",
    "title": "The ANTsX ecosystem for quantitative biological and medical imaging",
    "author": [
        {"given": given, "family": family}
        for given, family in (
            ("Nicholas J.", "Tustison"),
            ("Philip A.", "Cook"),
            ("Andrew J.", "Holbrook"),
            ("Hans J.", "Johnson"),
            ("John", "Muschelli"),
            ("Gabriel A.", "Devenyi"),
            ("Jeffrey T.", "Duda"),
            ("Sandhitsu R.", "Das"),
            ("Nicholas C.", "Cullen"),
            ("Daniel L.", "Gillen"),
            ("Michael A.", "Yassa"),
            ("James R.", "Stone"),
            ("James C.", "Gee"),
            ("Brian B.", "Avants"),
        )
    ],
    "container-title": "Scientific Reports",
    "volume": "11",
    "page": "9068",
    "issued": {"date-parts": [[2021]]},
    "DOI": "10.1038/s41598-021-87564-6",
}
_PAPER_IN_TEXT = "Tustison et al., 2021"
_PAPER_IN_LIST = (
    "Tustison NJ, Cook PA, Holbrook AJ, et al. The ANTsX ecosystem for quantitative biological and medical imaging. "
    "Scientific Reports 11, 9068 (2021). doi:10.1038/s41598-021-87564-6"
)
_DEVELOPERS = "The antscache developers"


@dataclass(frozen=True, slots=True)
class CitedFile:
    """A file that was used.

    Attributes:
        blob: its bytes.
        trust: the recorded reason to trust that these are the entry's bytes; None if these bytes are not recorded here.
    """

    entry: Entry
    blob: Descriptor
    trust: str | None

    @property
    def identifier(self) -> Identifier:
        """The identifier: only files that have one are held, and used."""
        return str(self.entry.identifier)


@dataclass(frozen=True, slots=True)
class Citation:
    """The files of a release that were used.

    Attributes:
        files: sorted; at least one.
        view: the digest of a view with exactly these files.
    """

    release: Release
    files: tuple[CitedFile, ...]
    view: Digest

    @property
    def title(self) -> str:
        """The package as its authors call it, and its version."""
        return f"{_TITLES[self.release.package]} {self.release.version}"

    @property
    def adopted(self) -> int:
        """The number of files of which a user's word alone says that these are their bytes."""
        return sum(file.trust == "adopted" for file in self.files)

    @property
    def contents(self) -> str:
        """The number of files of each kind: "1 data file and 2 pretrained networks"."""
        counts = {kind: sum(file.entry.kind == kind for file in self.files) for kind in _NOUNS}
        phrases = [f"{count} {_NOUNS[kind][count > 1]}" for kind, count in counts.items() if count]
        return " and ".join([", ".join(phrases[:-1]), phrases[-1]] if phrases[1:] else phrases)


def describe_citation(citation: Citation, version: str, table: int) -> str:
    """Return sentences for a methods section, which refer to the supplement's table of this number."""
    sentence = (
        f"We used {citation.title} ({_PAPER_IN_TEXT}) with {citation.contents} (view {citation.view}; "
        f"files in Table S{table}), managed by antscache {version}."
    )
    if not citation.adopted:
        return sentence
    were = "was" if citation.adopted == 1 else "were"
    return (
        f'{sentence} Of these, {citation.adopted} (marked "adopted") {were} adopted from copies of our own: '
        "no origin has confirmed the content."
    )


def as_text(citations: Sequence[Citation], version: str) -> str:
    """Return the sentences, a table for each of `citations`, and the references, as plain text."""
    tables = (
        f"{_caption(number, citation)}\n\n{aligned_table([_columns(citation), *_rows(citation)])}"
        for number, citation in enumerate(citations, 1)
    )
    references = "\n".join(_references(version))
    return "\n".join([f"{_sentences(citations, version)}\n", *tables, f"References\n\n{references}\n"])


def as_markdown(citations: Sequence[Citation], version: str) -> str:
    """Return the same as Markdown."""
    tables = (
        f"**{escape_markdown(_caption(number, citation))}**\n\n{markdown_table(_columns(citation), _rows(citation))}"
        for number, citation in enumerate(citations, 1)
    )
    references = "\n".join(f"- {escape_markdown(reference)}" for reference in _references(version))
    return "\n".join(
        [f"{escape_markdown(_sentences(citations, version))}\n", *tables, f"**References**\n\n{references}\n"]
    )


def as_csl_json(citations: Sequence[Citation], version: str) -> list[dict[str, Any]]:
    """Return the references as CSL-JSON: the paper, each release with its view, antscache, and each file once.

    Source: CSL 1.0.2, `csl-data.json`.
    """
    releases = [
        {
            "id": citation.release.slug,
            "type": "software",
            "title": _TITLES[citation.release.package],
            "version": citation.release.version,
            "URL": _HOMEPAGES[citation.release.package],
            "note": f"{citation.contents}; view {citation.view}",
        }
        for citation in citations
    ]
    antscache = {
        "id": "antscache",
        "type": "software",
        "title": "antscache",
        "author": [{"literal": _DEVELOPERS}],
        "version": version,
    }
    files: dict[Identifier, dict[str, Any]] = {}
    for citation in citations:
        for file in citation.files:
            files.setdefault(file.identifier, _file_item(citation, file))
    return [_PAPER, *releases, antscache, *files.values()]


def as_bibtex(citations: Sequence[Citation], version: str) -> str:
    """Return the same references as BibTeX."""
    return "\n".join(map(_bibtex_entry, as_csl_json(citations, version)))


def as_facts(citations: Sequence[Citation], version: str) -> list[dict[str, Any]]:
    """Return all that is cited, for programs."""
    return [
        {
            "release": str(citation.release),
            "view": citation.view,
            "sentence": describe_citation(citation, version, number),
            "files": [
                {
                    "kind": file.entry.kind,
                    "name": file.entry.name,
                    "file": file.entry.file,
                    "identifier": file.identifier,
                    "address": address_of(file.identifier),
                    "digest": file.blob.digest,
                    "size": file.blob.size,
                    "trust": file.trust,
                }
                for file in citation.files
            ],
        }
        for number, citation in enumerate(citations, 1)
    ]


def _sentences(citations: Iterable[Citation], version: str) -> str:
    return " ".join(describe_citation(citation, version, number) for number, citation in enumerate(citations, 1))


def _caption(number: int, citation: Citation) -> str:
    return f"Table S{number}. The files of {citation.title} that we used."


def _columns(citation: Citation) -> list[str]:
    return ["name", "identifier", "sha256", "address", *(["trust"] if citation.adopted else [])]


def _rows(citation: Citation) -> list[list[str]]:
    return [
        [
            file.entry.name,
            file.identifier,
            hexadecimal(file.blob.digest),
            address_of(file.identifier),
            *([file.trust or ""] if citation.adopted else []),
        ]
        for file in citation.files
    ]


def _references(version: str) -> tuple[str, ...]:
    return (_PAPER_IN_LIST, f"{_DEVELOPERS}. antscache {version}. Computer software.")


def _file_item(citation: Citation, file: CitedFile) -> dict[str, Any]:
    """Return the reference of a file: a data set, as CSL has nothing closer."""
    number = figshare_number(file.identifier)
    adopted = "; adopted: no origin has confirmed the content" if file.trust == "adopted" else ""
    return {
        "id": f"figshare-{number}" if number else f"url-{identifier_key(file.identifier)[:16]}",
        "type": "dataset",
        "title": f"{file.entry.file} ({_NOUNS[file.entry.kind][0]} for {citation.title})",
        **({"publisher": "Figshare"} if number else {}),
        "URL": address_of(file.identifier),
        "note": f"{file.blob.digest}{adopted}",
    }


# CSL's variables, as BibTeX calls them.
_BIBTEX_FIELDS = {
    "container-title": "journal",
    "volume": "volume",
    "page": "pages",
    "publisher": "howpublished",
    "DOI": "doi",
    "note": "note",
}
_TEX_ESCAPES = {
    "\\": r"\textbackslash{}",
    "{": r"\textbraceleft{}",
    "}": r"\textbraceright{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    **{character: f"\\{character}" for character in "&%$#_"},
}


def _bibtex_entry(item: dict[str, Any]) -> str:
    """Return an item of CSL-JSON as an entry of BibTeX.

    Titles have two pairs of braces, so that no style changes their letters. An URL stays as it is: it has no braces and
    no backslash, and nothing else is escaped in it.
    """
    version = f" (version {item['version']})" if "version" in item else ""  # BibTeX's own styles have no field for it
    title = _tex(f"{item['title']}{version}")
    fields = {"title": f"{{{title}}}"}
    if authors := item.get("author"):
        fields["author"] = " and ".join(_bibtex_name(author) for author in authors)
    else:
        fields["key"] = title  # to sort by
    fields |= {field: _tex(item[name]) for name, field in _BIBTEX_FIELDS.items() if name in item}
    if "issued" in item:
        fields["year"] = str(item["issued"]["date-parts"][0][0])
    if "URL" in item:
        fields["url"] = item["URL"]
    kind = "article" if item["type"] == "article-journal" else "misc"
    lines = "".join(f"  {field} = {{{value}}},\n" for field, value in fields.items())
    return f"@{kind}{{{item['id']},\n{lines}}}\n"


def _bibtex_name(author: dict[str, str]) -> str:
    """Return an author's name; that of a group has braces, because it has no family name."""
    return f"{{{_tex(author['literal'])}}}" if "literal" in author else f"{author['family']}, {author['given']}"


def _tex(text: str) -> str:
    return re.sub(r"[\\{}~^&%$#_]", lambda match: _TEX_ESCAPES[match[0]], text)
