"""The proxy of the tests leads to the stand-in under Figshare's names, with TLS and without, and records requests."""

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
SIZE, TIMEOUT_SECONDS = 200_000, 600.0


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
        return session.get(url, timeout=TIMEOUT_SECONDS, verify=str(authority.ca) if authority else True)


def test_figshare_name_leads_to_the_stand_in(encrypted: StandIn, authority: Authority) -> None:
    """Through a tunnel, with TLS."""
    with Proxy(encrypted.url) as proxy:
        answer = get(f"https://api.figshare.com{PATH}", proxy.url, authority)

        assert answer.content == encrypted.content(NUMBER)
        assert proxy.requests == [("CONNECT", "api.figshare.com:443"), ("CONNECT", urlsplit(encrypted.url).netloc)]
    assert [request.host for request in encrypted.requests] == ["api.figshare.com", urlsplit(encrypted.url).netloc]


def test_mirror_name_leads_to_the_stand_in(clear: StandIn) -> None:
    """Without TLS."""
    with Proxy(clear.url) as proxy:
        answer = get(f"http://mirror.test{PATH}", proxy.url)

        assert answer.content == clear.content(NUMBER)
        assert [method for method, _ in proxy.requests] == ["GET", "GET"]
        assert proxy.requests[0] == ("GET", f"http://mirror.test{PATH}")
    assert clear.requests[0].host == "mirror.test"


def test_proxy_accepts_the_right_credentials(encrypted: StandIn, clear: StandIn, authority: Authority) -> None:
    for standin, url in ((encrypted, f"https://figshare.com{PATH}"), (clear, f"http://figshare.com{PATH}")):
        with Proxy(standin.url, credentials="name:secret") as proxy:
            allowed = proxy.url.replace("//", "//name:secret@")
            assert get(url, allowed, authority).content == standin.content(NUMBER)
        assert {request.authorization for request in standin.requests} == {None}


@pytest.mark.parametrize("who", ["", "name:wrong@"])
def test_proxy_refuses_wrong_credentials_and_records_them(encrypted: StandIn, who: str) -> None:
    with Proxy(encrypted.url, credentials="name:secret") as proxy:
        with pytest.raises(requests.exceptions.ProxyError, match="407"):
            get(f"https://figshare.com{PATH}", proxy.url.replace("//", f"//{who}"))
        assert get(f"http://figshare.com{PATH}", proxy.url.replace("//", f"//{who}")).status_code == 407
        assert proxy.requests == [("CONNECT", "figshare.com:443"), ("GET", f"http://figshare.com{PATH}")]
    assert encrypted.requests == []


def test_closed_proxy_leaves_no_thread(clear: StandIn) -> None:
    before = set(threading.enumerate())
    stalled = clear.misbehaving_origins(Misbehaviour.STALL).split()[0].format(id=NUMBER)
    with Proxy(clear.url) as proxy, requests.Session() as session:
        session.trust_env = False
        answer = session.get(stalled, proxies={"http": proxy.url}, stream=True, timeout=TIMEOUT_SECONDS)
        assert answer.raw.read(1)
        proxy.close()
        answer.close()
    clear.close()
    assert set(threading.enumerate()) <= before
