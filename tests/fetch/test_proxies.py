"""Real networks, end to end: proxies, certificates, the pace of Figshare, credentials, mirrors on disk."""

from __future__ import annotations

import base64
import datetime as dt
import gzip
import json
import os
import re
import socket
import subprocess
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
import urllib3
from support import BRAIN, HANG_SECONDS, LUNG, SIZE, TEMPLATE, TRANSFORM, AntsCache, Ran, require, snapshot
from support.authority import Authority
from support.proxy import Proxy
from support.raw_server import another_address, raw_server, redirecting_server

from antscache.fetch.proxies import make_pools
from antscache.testing import Misbehaviour, StandIn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

NUMBER = "34821874"  # of BRAIN
ONE = ("prefetch", "0.3.2", "--name", BRAIN)
THREE = (*ONE, "--name", LUNG, "--name", TEMPLATE)
SECRET = "s3cr3t"  # noqa: S105  of nobody
BEARER, BASIC = f"Bearer {SECRET}", "Basic " + base64.b64encode(f"name:{SECRET}".encode()).decode()
HIDDEN = re.compile(f"{SECRET}|{re.escape(BASIC.removeprefix('Basic '))}")
BUNDLES = ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"]


class Networked(AntsCache):
    """antscache in an environment without any setting of the network."""

    def environment(self, **more: str | Path) -> dict[str, str]:
        return {key: value for key, value in super().environment(**{"no_proxy": ""} | more).items() if value}

    def with_debug(self, *arguments: str) -> Ran:
        """Run antscache with --debug, where a traceback is no crash."""
        command, environment = self.command(*arguments, "--debug"), self.environment()
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, env=environment, timeout=HANG_SECONDS
        )
        return Ran(done.returncode, done.stdout, done.stderr)

    def printed_and_kept(self, *runs: Ran) -> str:
        """Return everything that was printed, and every name and byte below the root."""
        return "\n".join([*(ran.out + ran.err for ran in runs), str(snapshot(self.root))])

    def record(self) -> dict[str, Any]:
        record: dict[str, Any] = json.loads((self.root / f"identifiers/figshare/{NUMBER}.json").read_bytes())
        return record


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.in_directory(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def encrypted(authority: Authority) -> Iterator[StandIn]:
    with StandIn(size=SIZE, tls=authority.server()) as standin:
        yield standin


@pytest.fixture
def clear() -> Iterator[StandIn]:
    with StandIn(size=SIZE) as standin:
        yield standin


@pytest.fixture(params=["clear", "encrypted"])
def either(request: pytest.FixtureRequest) -> StandIn:
    standin: StandIn = request.getfixturevalue(request.param)
    return standin


@pytest.fixture
def antscache(antscache: AntsCache, authority: Authority) -> Networked:
    """antscache that trusts the authority, without origins: each test sets them."""
    return Networked(antscache.root, antscache.home, environ={"REQUESTS_CA_BUNDLE": str(authority.ca)})


@pytest.fixture
def closed_port() -> Iterator[str]:
    """A host and port that refuse connections."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{unused.getsockname()[1]}"


def at(host: str, standin: StandIn) -> str:
    return f"{host}:{urlsplit(standin.url).port}"


def hosts(proxy: Proxy) -> set[str | None]:
    """Return the hosts that the proxy was asked for."""
    return {urlsplit(target if "//" in target else f"//{target}").hostname for _, target in proxy.requests}


# Proxies


@pytest.mark.parametrize("variable", ["{}_PROXY", "ALL_PROXY"])
def test_proxy_tunnels_https_and_forwards_http(antscache: Networked, either: StandIn, variable: str) -> None:
    scheme = urlsplit(either.url).scheme
    antscache.origins = f"{scheme}://mirror.test/files/{{id}}"
    expected = {"https": ("CONNECT", "mirror.test:443"), "http": ("GET", f"http://mirror.test/files/{NUMBER}")}
    with Proxy(either.url) as proxy:
        antscache.environ[variable.format(scheme.upper())] = proxy.url
        antscache(*ONE).succeeded()
        assert (proxy.requests[0], hosts(proxy)) == (expected[scheme], {"mirror.test", "127.0.0.1"})
    assert [request.host for request in either.requests] == ["mirror.test", at("127.0.0.1", either)]
    assert antscache.record()["source"] == "mirror.test"


@pytest.mark.parametrize(
    ("no_proxy", "proxied"),
    [
        ("elsewhere.test", {"localhost", "127.0.0.1"}),
        ("elsewhere.test, localhost", {"127.0.0.1"}),
        ("127.0.0.0/8", {"localhost"}),
        ("10.0.0.0/8,127.0.0.1", {"localhost"}),
        ("localhost:{port},127.0.0.0/8", set()),
        ("localhost:1", {"localhost", "127.0.0.1"}),
        ("127.0.0.1:{port}", {"localhost"}),
        ("*", set()),
    ],
)
def test_hosts_in_no_proxy_are_asked_directly(
    antscache: Networked, clear: StandIn, no_proxy: str, proxied: set[str]
) -> None:
    antscache.origins = f"http://{at('localhost', clear)}/files/{{id}}"
    with Proxy(clear.url) as proxy:
        antscache.environ |= {"HTTP_PROXY": proxy.url, "NO_PROXY": no_proxy.format(port=urlsplit(clear.url).port)}
        antscache(*ONE).succeeded()
        assert hosts(proxy) == proxied


@pytest.mark.parametrize(
    ("no_proxy", "direct"),
    [("2001:db8::/32", True), ("fd00::/8, 2001:db8::/126", True), ("2001:db8:1::/48,10.0.0.0/8", False), ("", False)],
)
def test_no_proxy_understands_ipv6_networks(monkeypatch: pytest.MonkeyPatch, no_proxy: str, direct: bool) -> None:
    for name in "no_proxy", "http_proxy", "https_proxy", "all_proxy":
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.test:8080")
    monkeypatch.setenv("NO_PROXY", no_proxy)
    pools = make_pools("http://[2001:db8::1]:8000/files/1")
    assert isinstance(pools, urllib3.ProxyManager) is not direct


def test_no_proxy_understands_suffixes(antscache: Networked, clear: StandIn) -> None:
    antscache.origins = "http://mirror.invalid/files/{id} http://mirror.test/files/{id}"
    with Proxy(clear.url) as proxy:
        antscache.environ |= {"HTTP_PROXY": proxy.url, "NO_PROXY": ".invalid"}
        antscache(*ONE).succeeded()
        assert hosts(proxy) == {"mirror.test", "127.0.0.1"}


@pytest.mark.parametrize("allowed", [True, False])
def test_proxy_credentials_are_used_and_never_shown(antscache: Networked, either: StandIn, allowed: bool) -> None:
    antscache.origins = either.origins
    with Proxy(either.url, credentials=f"na me:{SECRET}@/") as proxy:
        user = f"na%20me:{SECRET}%40{'%2F' if allowed else ''}"
        antscache.environ["ALL_PROXY"] = proxy.url.replace("//", f"//{user}@")
        runs = antscache(*THREE), antscache.with_debug(*THREE)
        text = antscache.printed_and_kept(*runs)
        assert (SECRET in text, urlsplit(proxy.url).netloc in text) == (False, False)
    assert [ran.code for ran in runs] == ([0, 0] if allowed else [4, 1])
    assert {request.authorization for request in either.requests} == ({None} if allowed else set())
    assert ("407 Proxy Authentication Required" in runs[0].err) != allowed


def test_proxy_that_is_down_is_named(antscache: Networked, either: StandIn, closed_port: str) -> None:
    antscache.origins, antscache.environ["ALL_PROXY"] = either.origins, f"http://name:{SECRET}@{closed_port}"
    ran = antscache(*THREE)
    assert (ran.code, "the proxy failed: Connection refused" in ran.err) == (4, True)
    assert (SECRET in antscache.printed_and_kept(ran), closed_port in antscache.printed_and_kept(ran)) == (False, False)


@pytest.mark.parametrize(
    "proxy",
    ["http://{}@host:port", "http://{}@[::1", "http://{}@host:99999", "http://{}@", "ftp://{}@h:1", "socks5://{}@h"],
)
def test_unusable_proxy_is_a_configuration_error(
    antscache: Networked, clear: StandIn, tmp_path: Path, proxy: str
) -> None:
    (tmp_path / "socks.py").write_text("raise ImportError")  # as without PySocks
    antscache.origins = clear.origins
    antscache.environ |= {"HTTP_PROXY": proxy.format(f"name:{SECRET}"), "PYTHONPATH": str(tmp_path)}
    ran = antscache(*ONE)
    assert ran.code == 2, ran.err
    assert ("\nhint: " in ran.err, "Warning" in ran.err) == (True, False)
    assert SECRET not in ran.err + antscache.with_debug(*ONE).err


# Certificates


@pytest.mark.parametrize("variable", BUNDLES)
def test_a_bundle_that_the_environment_names_is_trusted(
    antscache: Networked, encrypted: StandIn, authority: Authority, variable: str
) -> None:
    antscache.origins, antscache.environ = encrypted.origins, {variable: str(authority.ca)}
    antscache(*ONE).succeeded()


@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_DIR"])
def test_a_directory_of_certificates_is_trusted(
    antscache: Networked, encrypted: StandIn, authority: Authority, tmp_path: Path, variable: str
) -> None:
    (tmp_path / "ca.pem").write_bytes(authority.ca.read_bytes())
    subprocess.run([require("openssl"), "rehash", tmp_path], check=True)
    antscache.origins, antscache.environ = encrypted.origins, {variable: str(tmp_path)}
    antscache(*ONE).succeeded()


def test_untrusted_certificate_sets_the_origin_aside(antscache: Networked, encrypted: StandIn) -> None:
    antscache.origins, antscache.environ = encrypted.origins, {}
    ran = antscache(*THREE, "--name", TRANSFORM, "--jobs", "1")
    assert (ran.code, encrypted.requests) == (4, [])
    assert ran.err.count("  TLS failed: ") == 3
    assert ran.err.count("  set aside after 3 answers in a row: TLS failed: ") == 1
    assert "hint: if your network has certificates of its own, set SSL_CERT_FILE to the file with them" in ran.err


def test_an_expired_certificate_hints_at_the_clock(antscache: Networked, tmp_path: Path) -> None:
    """A clock that is years ahead finds every certificate expired."""
    past = dt.datetime(2001, 1, 1, tzinfo=dt.timezone.utc)
    authority = Authority.in_directory(tmp_path, not_after=past)
    with StandIn(size=SIZE, tls=authority.server()) as expired:
        antscache.origins, antscache.environ = expired.origins, {"SSL_CERT_FILE": str(authority.ca)}
        ran = antscache(*ONE)
    assert (ran.code, "TLS failed: " in ran.err) == (4, True)
    assert "hint: if `date -u` prints another time than it is, set the clock" in ran.err


def test_a_certificate_of_another_host_is_refused(antscache: Networked, encrypted: StandIn) -> None:
    antscache.origins = "https://another.test/files/{id}"
    with Proxy(encrypted.url) as proxy:
        antscache.environ["HTTPS_PROXY"] = proxy.url
        ran = antscache(*ONE)
    assert (ran.code, encrypted.requests) == (4, [])
    assert re.search("another.test  TLS failed: .*Hostname mismatch", ran.err)


@pytest.mark.parametrize("variable", BUNDLES)
@pytest.mark.parametrize("content", ["", "no PEM"])
def test_unreadable_bundle_is_a_configuration_error(
    antscache: Networked, encrypted: StandIn, tmp_path: Path, variable: str, content: str
) -> None:
    bundle = tmp_path / "bundle.pem"
    if content:
        bundle.write_text(content)
    antscache.origins, antscache.environ = encrypted.origins, {variable: str(bundle)}
    ran = antscache(*ONE)
    assert ran.code == 2, ran.err
    assert re.search(f"{bundle}\nhint: .*{variable}", ran.err)


@pytest.mark.parametrize("scheme", ["https", "http"])
def test_tls_proxy_is_trusted_like_origins(antscache: Networked, encrypted: StandIn, scheme: str) -> None:
    antscache.origins = f"{scheme}://mirror.test/files/{{id}}"
    antscache.environ["ALL_PROXY"] = f"https://{at('localhost', encrypted)}"
    ran = antscache(*ONE)
    assert (ran.code, "certificate" in ran.err) == (4, False)  # the stand-in is no proxy


# Figshare's own routes


@pytest.fixture
def figshares(antscache: Networked, encrypted: StandIn) -> Iterator[Networked]:
    """antscache without origins in its settings; a proxy leads from Figshare to the stand-in."""
    with Proxy(encrypted.url) as proxy:
        antscache.environ["HTTPS_PROXY"] = proxy.url
        yield antscache


def names(antscache: AntsCache, start: int, stop: int) -> list[str]:
    """Return the arguments that select some templates."""
    rows = antscache("list", "0.3.2", "--kind", "data", "--json").json[start:stop]
    return [argument for row in rows for argument in ("--name", row["name"])]


def assert_paced(antscache: AntsCache, standin: StandIn, begun: float) -> None:
    """Check that eight starts since `begun` were reserved 0.3 s apart, and that the last was not early.

    A start may be late, on a busy machine: so this compares times with those that are reserved, not with each other.
    """
    starts = [request.at for request in standin.requests if request.route == "api"]
    next_free = float((antscache.root / "locks/pace").read_text())
    assert len(starts) == 8
    assert next_free - begun >= 8 * 0.3 - 0.01
    assert max(starts) + time.time() - time.monotonic() >= next_free - 0.3 - 0.01


@pytest.mark.parametrize("pace", [0.3, 0])
def test_figshare_is_asked_at_its_pace(figshares: Networked, encrypted: StandIn, pace: float) -> None:
    """The plan says how long that takes."""
    arguments = ["prefetch", "0.3.2", *names(figshares, 0, 8)]
    planned = figshares(*arguments, "-n", ANTSCACHE_PACE=str(100 * pace)).succeeded()
    begun = time.time()
    ran = figshares(*arguments, ANTSCACHE_PACE=str(pace)).succeeded()
    assert {request.host for request in encrypted.requests} == {"api.figshare.com", at("127.0.0.1", encrypted)}
    assert ran.err.count(" from api.figshare.com\n") == 8 + 1  # each file, and the sum
    if pace:
        assert_paced(figshares, encrypted, begun)
    else:
        assert not (figshares.root / "locks/pace").exists()
    assert ("8 to fetch (of unknown size), which takes at least 2 s at Figshare's pace" in ran.err) == bool(pace)
    assert ("which takes at least 3 min 30 s at Figshare's pace" in planned.out) == bool(pace)


def test_two_processes_share_the_pace(figshares: Networked, encrypted: StandIn) -> None:
    figshares.environ["ANTSCACHE_PACE"] = "0.3"
    commands = [figshares.command("prefetch", "-q", "0.3.2", *names(figshares, start, start + 4)) for start in (0, 4)]
    environment, begun = figshares.environment(), time.time()
    running = [subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) for command in commands]
    assert [process.wait(120) for process in running] == [0, 0]
    assert_paced(figshares, encrypted, begun)


def test_json_plan_has_the_seconds_of_the_pace(figshares: Networked) -> None:
    figshares.environ["ANTSCACHE_PACE"] = "0.25"
    assert figshares(*THREE, "-n", "--json").json[0]["seconds"] == 0.5
    first = json.loads(figshares(*THREE, "--json").succeeded().out.splitlines()[0])
    assert (first["event"], first["seconds"]) == ("planned", 0.5)


def test_other_origins_than_figshares_are_not_paced(antscache: Networked, clear: StandIn) -> None:
    antscache.origins, antscache.environ["ANTSCACHE_PACE"] = clear.origins, "3600"
    assert antscache(*THREE, "-n", "--json").json[0]["seconds"] == 0
    assert "pace" not in antscache(*THREE).succeeded().err


# Redirects


@pytest.mark.parametrize(
    ("how", "outcome"),
    [
        (Misbehaviour.REDIRECT_HTTP, "a redirect from https to http"),
        (Misbehaviour.REDIRECT_FILE, "a redirect to file:, which is not http(s)"),
        (Misbehaviour.REDIRECT_FTP, "a redirect to ftp:, which is not http(s)"),
        (Misbehaviour.REDIRECT_LOOP, "more than 5 redirects"),
        (Misbehaviour.REDIRECT_LOOP_301, "more than 5 redirects"),
        (Misbehaviour.REDIRECT_NOWHERE, "a redirect to nowhere"),
    ],
)
def test_refused_redirect_is_named_without_its_url(
    antscache: Networked, encrypted: StandIn, how: Misbehaviour, outcome: str
) -> None:
    antscache.origins = encrypted.misbehaving_origins(how)
    ran = antscache(*ONE)
    assert (ran.code, f"  {at('127.0.0.1', encrypted)}  {outcome}" in ran.err) == (4, True)
    assert not re.search(f"://|passwd|{how.value}", ran.err + ran.out)
    assert len(encrypted.requests) == 3 * (6 if outcome.startswith("more") else 1)


@pytest.fixture
def redirected(antscache: Networked, clear: StandIn) -> Callable[..., Ran]:
    """Fetch the file of a name from a mirror that redirects to a private network, which has `answer`."""

    def fetch(name: str, answer: bytes) -> Ran:
        antscache.origins = clear.misbehaving_origins(Misbehaviour.MISSING)
        with raw_server(answer, another_address()) as private, redirecting_server(private) as mirror:
            return antscache("prefetch", "0.3.2", "--name", name, ANTSCACHE_MIRRORS=mirror.removesuffix("1") + "{id}")

    return fetch


def test_redirects_into_private_networks_are_followed(
    antscache: Networked, clear: StandIn, redirected: Callable[..., Ran]
) -> None:
    """As curl follows them."""
    content = clear.content(NUMBER)
    redirected(BRAIN, b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(content), content)).succeeded()
    assert antscache.record()["trust"] == "mirror"


@pytest.mark.parametrize("squeeze", [bytes, gzip.compress])
@pytest.mark.parametrize("name", [BRAIN, TEMPLATE, TRANSFORM])
def test_refused_bodies_of_private_networks_are_not_shown(
    antscache: Networked, redirected: Callable[..., Ran], name: str, squeeze: Callable[[bytes], bytes]
) -> None:
    """Nor kept: not even the first bytes, which are not those of such a file."""
    body = squeeze(b"%b, and more of what nobody else may read" % SECRET.encode())
    ran = redirected(name, b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
    assert ran.code == 4, ran.err
    kept = antscache.printed_and_kept(ran)
    assert not any(text in kept for text in (SECRET, str(body[:4])[2:-1]))


# Credentials


WAYS = {"token": BEARER, "host's token": BEARER, "TOKEN": BEARER, "NETRC": BASIC, "~/.netrc": BASIC, "url": BASIC}


def give_credentials(antscache: Networked, standin: StandIn, way: str, path: str) -> None:
    """Give credentials for the mirror at localhost, and for 127.0.0.1: it redirects there, and Figshare is there."""
    both, environ = ("localhost", "127.0.0.1"), antscache.environ
    netrc = antscache.home / (".netrc" if way == "~/.netrc" else "netrc")
    netrc.write_text("".join(f"machine {host} login name password {SECRET}\n" for host in both))
    netrc.chmod(0o600)
    mirror = at("LOCALHOST" if way == "TOKEN" else "localhost", standin)
    antscache.origins = standin.misbehaving_origins(Misbehaviour.MISSING)
    environ["ANTSCACHE_MIRRORS"] = f"http://{f'name:{SECRET}@' if way == 'url' else ''}{mirror}{path}{{id}}"
    if way == "NETRC":
        environ["NETRC"] = str(netrc)
    elif WAYS[way] == BEARER:
        token_hosts = both if way == "host's token" else [at(host, standin) for host in both]
        environ["ANTSCACHE_TOKENS"] = " ".join(f"{host}={SECRET}" for host in token_hosts)


@pytest.mark.parametrize("way", WAYS)
def test_mirror_credentials_reach_only_the_mirror(antscache: Networked, clear: StandIn, way: str) -> None:
    give_credentials(antscache, clear, way, "/files/")
    ran = antscache(*ONE, "--json").succeeded()
    assert [(request.route, request.authorization, request.status) for request in clear.requests] == [
        ("ndownloader", WAYS[way], 302),
        ("storage", None, 200),
    ]
    assert antscache.record()["trust"] == "mirror"
    assert not HIDDEN.search(antscache.printed_and_kept(ran))


@pytest.mark.parametrize("way", WAYS)
def test_credentials_of_a_failing_mirror_stay_hidden(antscache: Networked, clear: StandIn, way: str) -> None:
    """They are neither printed nor sent to Figshare."""
    give_credentials(antscache, clear, way, "/misbehaving/redirect-loop/files/")
    looping = antscache.environ["ANTSCACHE_MIRRORS"]
    antscache.environ["ANTSCACHE_MIRRORS"] = f"{looping} {looping.replace('redirect-loop', 'forbidden')}"
    runs = antscache(*ONE), antscache.with_debug(*ONE)
    assert [ran.code for ran in runs] == [4, 1]
    assert not HIDDEN.search(antscache.printed_and_kept(*runs))
    sent = {((request.host or "").lower(), request.authorization) for request in clear.requests}
    assert sent == {(at("localhost", clear), WAYS[way]), (at("127.0.0.1", clear), None)}


def test_proxy_sees_no_mirror_password_in_urls(antscache: Networked, clear: StandIn) -> None:
    give_credentials(antscache, clear, "url", "/files/")
    with Proxy(clear.url) as proxy:
        antscache(*ONE, HTTP_PROXY=proxy.url).succeeded()
        assert (clear.requests[0].authorization, SECRET in str(proxy.requests)) == (BASIC, False)


@pytest.mark.parametrize(
    "tokens", [SECRET, f"={SECRET}", f"localhost=x {SECRET}", f"localhost={SECRET}é", "localhost="]
)
def test_tokens_that_are_not_understood_are_not_shown(antscache: Networked, clear: StandIn, tokens: str) -> None:
    antscache.origins, antscache.environ["ANTSCACHE_TOKENS"] = clear.origins, tokens
    ran = antscache(*ONE)
    assert (ran.code, "ANTSCACHE_TOKENS" in ran.err, "hint: write host=token" in ran.err) == (2, True, True)
    assert SECRET not in ran.err + antscache.with_debug(*ONE).err


# Mirrors on this host


@pytest.mark.parametrize("name", ["{id}", "{file}"])
def test_files_of_a_disk_mirror_are_copied(antscache: Networked, clear: StandIn, tmp_path: Path, name: str) -> None:
    """A mirror on this host is asked first, and changes to its files do not reach the store."""
    held, content = tmp_path / "a mirror" / name.format(id=NUMBER, file=f"{BRAIN}.h5"), clear.content(NUMBER)
    held.parent.mkdir()
    held.write_bytes(content)
    antscache.origins, mirror = clear.origins, f"file://{tmp_path}/a%20mirror/{name}"
    home = antscache(*ONE, ANTSCACHE_MIRRORS=mirror).succeeded().out.strip()
    assert (clear.requests, antscache.record()["trust"]) == ([], "mirror")
    held.write_bytes(b"other")
    kept = snapshot(antscache.root)
    assert kept[os.path.relpath(f"{home}/.keras/ANTsXNet/{BRAIN}.h5", antscache.root)] == content
    assert kept["blobs/sha256/" + antscache.record()["digest"].partition(":")[2]] == content


def test_disk_mirror_by_digest_delivers_known_files(antscache: Networked, clear: StandIn, tmp_path: Path) -> None:
    antscache.origins, antscache.environ["ANTSCACHE_MIRRORS"] = clear.origins, f"file://{tmp_path}/{{digest}}"
    antscache(*ONE).succeeded()
    blob = antscache.root / "blobs/sha256" / antscache.record()["digest"].partition(":")[2]
    blob.replace(tmp_path / blob.name)
    antscache(*ONE).succeeded()
    assert (clear.downloads(NUMBER), blob.read_bytes()) == (1, clear.content(NUMBER))


@pytest.mark.parametrize(
    ("how", "outcome"),
    [
        ("absent", "no such file"),
        ("directory", "not a file"),
        ("FIFO", "not a file"),
        ("unreadable", "cannot be opened: "),
        ("cut", "a cut HDF5 file"),
        ("empty", "empty"),
    ],
)
def test_figshare_delivers_when_a_disk_mirror_fails(
    antscache: Networked, clear: StandIn, tmp_path: Path, how: str, outcome: str
) -> None:
    """The file that the mirror does not deliver is named, with the reason."""
    held = tmp_path / "mirror" / NUMBER
    held.parent.mkdir()
    match how:
        case "directory":
            held.mkdir()
        case "FIFO":
            os.mkfifo(held)
        case "unreadable" if os.geteuid():
            held.touch(0)
        case "unreadable":  # root may read everything but this
            held.symlink_to(held)
        case "cut" | "empty":
            held.write_bytes(clear.content(NUMBER)[: 2_000 if how == "cut" else 0])
    antscache.origins = clear.origins
    ran = antscache(*ONE, "--json", ANTSCACHE_MIRRORS=f"file://{held.parent}/{{id}}").succeeded()
    [refused] = [event for event in map(json.loads, ran.out.splitlines()) if event["event"] == "refused"]
    assert (refused["origin"], outcome in refused["outcome"]) == (str(held.parent), True)
    assert (antscache.record()["trust"], clear.downloads(NUMBER)) == ("origin", 1)
