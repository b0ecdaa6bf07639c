"""The tests' own proxy leads to the stand-in under Figshare's names, with TLS and without, and remembers."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
import requests
from support.authority import Authority
from support.proxy import Proxy

from antscache.testing import Misbehaviour, StandIn

if TYPE_CHECKING:
    from collections.abc import Iterator

NUMBER = "34821874"
FILES = {NUMBER: "brainExtractionRobustT1.h5"}
PATH = f"/v2/file/download/{NUMBER}"
SIZE, TIMEOUT = 200_000, 10.0


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.in_directory(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def encrypted(authority: Authority) -> Iterator[StandIn]:
    with StandIn(FILES, size=SIZE, tls=authority.server()) as standin:
        yield standin


@pytest.fixture
def clear() -> Iterator[StandIn]:
    with StandIn(FILES, size=SIZE) as standin:
        yield standin


def get(url: str, proxy: str, authority: Authority | None = None) -> requests.Response:
    with requests.Session() as session:
        session.trust_env = False
        session.proxies = {"http": proxy, "https": proxy}
        return session.get(url, timeout=TIMEOUT, verify=str(authority.ca) if authority else True)


def test_figshares_name_leads_to_the_stand_in_through_a_tunnel(encrypted: StandIn, authority: Authority) -> None:
    with Proxy(encrypted.url) as proxy:
        answer = get(f"https://api.figshare.com{PATH}", proxy.url, authority)

        assert answer.content == encrypted.content(NUMBER)
        assert proxy.asked == [("CONNECT", "api.figshare.com:443"), ("CONNECT", urlsplit(encrypted.url).netloc)]
    assert [request.host for request in encrypted.requests] == ["api.figshare.com", urlsplit(encrypted.url).netloc]


def test_a_mirrors_name_leads_to_the_stand_in_without_tls(clear: StandIn) -> None:
    with Proxy(clear.url) as proxy:
        answer = get(f"http://mirror.test{PATH}", proxy.url)

        assert answer.content == clear.content(NUMBER)
        assert [method for method, _ in proxy.asked] == ["GET", "GET"]
        assert proxy.asked[0] == ("GET", f"http://mirror.test{PATH}")
    assert clear.requests[0].host == "mirror.test"


def test_whoever_has_the_credentials_is_let_through(encrypted: StandIn, clear: StandIn, authority: Authority) -> None:
    for standin, url in ((encrypted, f"https://figshare.com{PATH}"), (clear, f"http://figshare.com{PATH}")):
        with Proxy(standin.url, credentials="name:secret") as proxy:
            allowed = proxy.url.replace("//", "//name:secret@")
            assert get(url, allowed, authority).content == standin.content(NUMBER)
        assert {request.authorization for request in standin.requests} == {None}


@pytest.mark.parametrize("who", ["", "name:wrong@"])
def test_whoever_has_not_is_refused_and_remembered(encrypted: StandIn, who: str) -> None:
    with Proxy(encrypted.url, credentials="name:secret") as proxy:
        with pytest.raises(requests.exceptions.ProxyError, match="407"):
            get(f"https://figshare.com{PATH}", proxy.url.replace("//", f"//{who}"))
        assert get(f"http://figshare.com{PATH}", proxy.url.replace("//", f"//{who}")).status_code == 407
        assert proxy.asked == [("CONNECT", "figshare.com:443"), ("GET", f"http://figshare.com{PATH}")]
    assert encrypted.requests == []


def test_it_leaves_no_thread_whatever_is_under_way(clear: StandIn) -> None:
    before = set(threading.enumerate())
    stalled = clear.misbehaving_origins(Misbehaviour.STALL).split()[0].format(id=NUMBER)
    with Proxy(clear.url) as proxy, requests.Session() as session:
        session.trust_env = False
        answer = session.get(stalled, proxies={"http": proxy.url}, stream=True, timeout=TIMEOUT)
        assert answer.raw.read(1)
        proxy.close()
        answer.close()
    clear.close()
    assert set(threading.enumerate()) <= before
