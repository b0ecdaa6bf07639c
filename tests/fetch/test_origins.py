"""Origins: valid templates, and the URLs that they lead to."""

from __future__ import annotations

import pytest

from antscache.core.figshare_urls import FIGSHARE_ROUTES
from antscache.errors import ConfigError
from antscache.fetch.origins import Origin, origins_of, parse_origins


def test_figshare_routes_follow_the_mirrors() -> None:
    origins = parse_origins(["https://mirror.org/{digest}"], FIGSHARE_ROUTES)
    assert [origin.trust for origin in origins] == ["mirror", "origin", "origin", "origin"]
    assert [origin.url("figshare:34821874", "x.h5", None) for origin in origins] == [
        None,
        "https://api.figshare.com/v2/file/download/34821874",
        "https://ndownloader.figshare.com/files/34821874",
        "https://figshare.com/ndownloader/files/34821874",
    ]


def test_mirror_url_has_identifier_digest_and_file() -> None:
    [mirror] = parse_origins(["http://host:8080/{file}?d={digest}&i={id}"], [])
    digest = "sha256:" + "0" * 64
    assert mirror.url("figshare:7", "a.h5", digest) == f"http://host:8080/a.h5?d={'0' * 64}&i=7"
    assert mirror.name == "host:8080"


@pytest.mark.parametrize(
    "template",
    [
        "https://host/path",
        "host/{id}",
        "file://host/data/{id}",
        "file:",
        "file:data/{id}",
        "https://{id}/path",
        "ftp://host/{id}",
        "https:///{id}",
        "https://host/{",
        "https://host/{0}",
        "https://host/{id.__class__}",
        "https://host/{secret}",
        "https://host:port/{id}",
    ],
)
def test_invalid_template_is_an_error_with_a_hint(template: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_origins([template], [])
    assert "{id}" in caught.value.hint


def test_error_about_a_template_hides_secrets() -> None:
    for template in (
        "https://user:secret@host/path?token=secret",
        "https://user:secret@host:port/{id}?token=secret",
        "https://host/secret/path",
        "https://host/secret/{id",
        "https://host/{secret}#secret",
    ):
        with pytest.raises(ConfigError) as caught:
            parse_origins([template], [])
        assert "host" in str(caught.value)
        assert "secret" not in str(caught.value)


@pytest.mark.parametrize("template", ["https//host/secret/{id}", "/secret/{id}", "secret", "https://[secret/{id}"])
def test_a_template_without_a_host_is_counted(template: str) -> None:
    with pytest.raises(ConfigError, match=r"^mirror 2 is not a URL template(\nhint: |$)"):
        parse_origins(["https://host/{id}", template], [])


def test_routes_may_contain_only_the_identifier() -> None:
    with pytest.raises(ConfigError):
        parse_origins([], ["https://host/{digest}"])


def test_name_of_an_origin_hides_secrets() -> None:
    assert Origin("https://user:secret@host/{id}?token=secret", "mirror").name == "host"


def test_only_a_mirror_may_be_a_directory() -> None:
    [mirror] = parse_origins(["file:///data/mirror/{id}"], [])
    assert (mirror.url("figshare:7", "a.h5", None), mirror.name) == ("file:///data/mirror/7", "/data/mirror")
    with pytest.raises(ConfigError):
        parse_origins([], ["file:///data/{id}"])


def test_only_the_figshare_api_is_paced() -> None:
    own = parse_origins(["https://mirror.org/{id}"], FIGSHARE_ROUTES)
    assert [origin.paced for origin in own] == [False, True, False, False]


def test_a_url_is_asked_for_at_its_server() -> None:
    """The mirrors that need no Figshare number are asked before; Figshare's routes are not asked at all."""
    mirrors = ["https://mirror.org/{id}", "https://mirror.org/{digest}", "file:///lab/{file}", "https://h/{id}/{file}"]
    origins = parse_origins(mirrors, FIGSHARE_ROUTES)
    identifier = "url:http://host.org:8080/{id}/a.h5?x=1"
    asked = origins_of(identifier, origins)
    digest = "sha256:" + "0" * 64
    assert [(origin.name, origin.trust, origin.url(identifier, "a.h5", digest)) for origin in asked] == [
        ("mirror.org", "mirror", f"https://mirror.org/{'0' * 64}"),
        ("/lab", "mirror", "file:///lab/a.h5"),
        ("host.org:8080", "origin", "http://host.org:8080/{id}/a.h5?x=1"),
    ]
    assert not any(origin.paced for origin in asked)
    assert origins_of("figshare:7", origins) == origins
    assert origins[0].url(identifier, "a.h5", digest) is None


def test_urls_of_one_server_share_its_health() -> None:
    [one], [other] = origins_of("url:https://host.org/a", []), origins_of("url:https://host.org/b?c", [])
    assert one == other
