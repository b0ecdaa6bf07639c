"""The proxies, certificates and credentials of this machine's environment.

Proxies come from `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY`. Certificates come from `REQUESTS_CA_BUNDLE`
or `CURL_CA_BUNDLE`, else from the system's store (`SSL_CERT_FILE`, `SSL_CERT_DIR`) and certifi's. `requests` reads the
proxies and netrc; it is imported only if the environment has one of them.
"""

from __future__ import annotations

import functools
import ipaddress
import os
import ssl
import urllib.request
from base64 import b64encode
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import urllib3

from antscache.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

PROXY_SCHEMES = frozenset({"http", "https", "socks4", "socks4a", "socks5", "socks5h"})


def server_of(url: str) -> str:
    """Return the scheme, host and port of `url`: what credentials belong to."""
    return f"{urlsplit(url).scheme}://{host_of(url)}"


def host_of(url: str) -> str:
    """Return the host of `url`, and the port if it has one, without a user."""
    return urlsplit(url).netloc.rpartition("@")[2].lower()


def find_credentials(url: str, tokens: Mapping[str, str]) -> dict[str, str]:
    """Return the authorization header for the host of `url`, or no header.

    It is made from the user and password in `url`, else from the host's token, else from its line in netrc.

    Args:
        url: http or https.
        tokens: by host or host:port.
    """
    split = urlsplit(url)
    if split.username is not None:
        return _basic(unquote(split.username), unquote(split.password or ""))
    token = tokens.get(host_of(url)) or tokens.get(split.hostname or "")
    if token:
        return {"Authorization": f"Bearer {token}"}
    if any(Path(path).expanduser().exists() for path in (os.environ.get("NETRC", "~/.netrc"), "~/_netrc")):
        from requests.utils import get_netrc_auth

        with suppress(UnicodeError):  # a netrc that cannot be read is ignored, as by requests
            if user_and_password := get_netrc_auth(url):
                return _basic(*user_and_password)
    return {}


def make_pools(url: str) -> urllib3.PoolManager:
    """Make the connection pools for the host of `url`, through a proxy if the environment names one.

    Raises:
        ConfigError: the proxy or the certificates that the environment names cannot be used.
    """
    secure: dict[str, Any] = {"ssl_context": _tls()} if url.startswith("https:") else {}
    proxy = _proxy(url)
    if not proxy:
        return urllib3.PoolManager(maxsize=1, **secure)
    if proxy.startswith("socks"):
        try:
            from urllib3.contrib.socks import SOCKSProxyManager
        except ImportError:
            hint = "install PySocks where antscache is installed, or name an http proxy"
            raise ConfigError("the environment names a SOCKS proxy, and PySocks is not installed", hint=hint) from None
        return SOCKSProxyManager(proxy, maxsize=1, **secure)
    split = urlsplit(proxy)
    basic = _basic(unquote(split.username), unquote(split.password or "")) if split.username else {}
    return urllib3.ProxyManager(
        proxy,
        maxsize=1,
        proxy_ssl_context=_tls() if split.scheme == "https" else None,
        proxy_headers={f"Proxy-{name}": value for name, value in basic.items()},
        **secure,
    )


def _proxy(url: str) -> str | None:
    """Return the URL of the proxy for `url`; None if it is reached without one.

    `requests` reads `NO_PROXY`, because it understands networks and ports.

    Raises:
        ConfigError: the proxy that the environment names cannot be used.
    """
    if not urllib.request.getproxies() or urllib.request.proxy_bypass(host_of(url)):  # requests knows no address:port
        return None
    if _is_in_bypassed_network(urlsplit(url).hostname or ""):
        return None
    from requests.utils import get_environ_proxies, prepend_scheme_if_needed, select_proxy

    proxy = select_proxy(url, get_environ_proxies(url, no_proxy=None))
    if not proxy:
        return None
    try:
        named = str(prepend_scheme_if_needed(proxy, "http"))  # type: ignore[no-untyped-call]
        split = urlsplit(named)
        usable = split.scheme in PROXY_SCHEMES and split.hostname and split.port != 0
    except (TypeError, ValueError):  # TypeError: there is no host
        usable = False
    if not usable:
        hint = "set HTTP_PROXY, HTTPS_PROXY or ALL_PROXY to a URL like http://host:port"
        raise ConfigError("the environment names a proxy, but not by a valid URL", hint=hint)
    return named


def _is_in_bypassed_network(host: str) -> bool:
    """Return True if `host` is an IPv6 address in a network that `NO_PROXY` names; `requests` knows those of IPv4."""
    with suppress(ValueError):
        address = ipaddress.IPv6Address(host)
        for name in (os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or "").split(","):
            with suppress(ValueError):
                if address in ipaddress.IPv6Network(name.strip().strip("[]"), strict=False):
                    return True
    return False


@functools.cache
def _tls() -> ssl.SSLContext:
    """Return the TLS settings with the certificates that are trusted.

    Raises:
        ConfigError: the certificates that the environment names cannot be read.
    """
    named = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE")
    others = os.environ.get("SSL_CERT_FILE")
    try:
        if named:
            return ssl.create_default_context(**{"capath" if Path(named).is_dir() else "cafile": named})  # type: ignore[arg-type]
        context = ssl.create_default_context()
        if others:
            context.load_verify_locations(others)  # OpenSSL says nothing if it cannot
        elif not os.environ.get("SSL_CERT_DIR"):
            import certifi

            context.load_verify_locations(certifi.where())
    except (OSError, ssl.SSLError):
        hint = "set REQUESTS_CA_BUNDLE, CURL_CA_BUNDLE or SSL_CERT_FILE to a file of certificates in PEM"
        raise ConfigError(f"cannot read the certificates in {named or others}", hint=hint) from None
    return context


def _basic(user: str, password: str) -> dict[str, str]:
    return {"Authorization": f"Basic {b64encode(f'{user}:{password}'.encode()).decode()}"}  # UTF-8: RFC 7617, 2.1
