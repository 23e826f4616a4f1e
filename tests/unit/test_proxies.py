"""A provider is reached through the proxy that its settings or the environment name, and directly where they say so."""

from __future__ import annotations

import pytest

from edge.upstream.proxies import Proxy, authority, bypasses, proxy_of
from tests import snapshots

TLS = snapshots.tls("api.example.com")
ENV = {"HTTPS_PROXY": "http://user:p%40ss@proxy.lan:3128", "http_proxy": "plain.lan:80", "HTTP_PROXY": "http://evil:1"}


def test_the_setting_decides() -> None:
    """Without a setting nothing is read from the environment; an address needs no environment."""
    assert proxy_of(snapshots.target("p/m", 0, tls=TLS), ENV) is None
    told = snapshots.target("p/m", 0, tls=TLS, proxy="http://proxy.lan:3128", proxy_credentials="a:b")
    assert proxy_of(told, {"NO_PROXY": "*"}) == Proxy("proxy.lan", 3128, "a:b")


def test_the_environment_names_a_proxy_for_each_scheme() -> None:
    """HTTPS_PROXY is for targets over TLS; for others only the lower case counts, which no request can set."""
    over_tls = snapshots.target("p/m", 0, tls=TLS, proxy="env")
    plain = snapshots.target("p/m", 0, proxy="env")
    found = proxy_of(over_tls, ENV)
    assert found == Proxy("proxy.lan", 3128, "user:p@ss")
    assert found is not None
    assert found.authorization() == b"Basic dXNlcjpwQHNz"
    assert proxy_of(plain, ENV) == Proxy("plain.lan", 80, "")
    assert proxy_of(plain, {"HTTP_PROXY": "http://evil:1"}) is None
    assert proxy_of(plain, {"ALL_PROXY": "http://[::1]:8"}) == Proxy("::1", 8, "")
    assert proxy_of(over_tls, {**ENV, "NO_PROXY": "127.0.0.0/8"}) is None


@pytest.mark.parametrize("text", ["socks5://proxy.lan:1080", "https://u:secret@proxy.lan", "http://proxy.lan:port"])
def test_a_proxy_that_cannot_be_used_is_named_by_its_variable(text: str) -> None:
    """The message tells which variable is wrong, and repeats no password."""
    with pytest.raises(OSError, match="HTTPS_PROXY") as raised:
        proxy_of(snapshots.target("p/m", 0, tls=TLS, proxy="env"), {"HTTPS_PROXY": text})
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize(
    ("rules", "host", "expected"),
    [
        ("", "api.example.com", False),
        ("*", "api.example.com", True),
        ("example.com", "api.example.com", True),
        (".example.com", "api.example.com", True),
        ("*.example.com", "API.example.com.", True),
        ("example.com", "badexample.com", False),
        ("other, example.com:443", "api.example.com", True),
        ("example.com:8443", "api.example.com", False),
        ("10.0.0.0/8", "10.1.2.3", True),
        ("10.0.0.0/8", "11.1.2.3", False),
        ("10.1.2.3:443", "10.1.2.3", True),
        ("fd00::/8", "fd00::1", True),
        ("[fd00::1]:443", "fd00::1", True),
        ("fd00::1", "fd00::1", True),
        ("localhost 127.0.0.1", "127.0.0.1", True),
    ],
)
def test_no_proxy(rules: str, host: str, expected: bool) -> None:
    """Names stand for the names below them, networks for their addresses, and a port narrows a rule."""
    assert bypasses(rules, host, 443) is expected


def test_a_tunnel_leads_to_host_and_port() -> None:
    """An IPv6 address is in brackets."""
    assert authority(snapshots.target("p/m", 0, host="fd00::1", port=443)) == b"[fd00::1]:443"
