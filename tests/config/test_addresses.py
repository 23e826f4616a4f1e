"""Addresses are read in only one way, and forbidden addresses are recognised in every spelling."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.config import addresses
from edge.config.addresses import BaseUrl


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("127.0.0.1:8080", "127.0.0.1", 8080),
        ("[::1]:0", "::1", 0),
        ("[fe80::1%eth0]:1", "fe80::1%eth0", 1),
        (":8080", "", 8080),
        ("my_service-2.internal:65535", "my_service-2.internal", 65535),
    ],
)
def test_addresses_are_host_and_port(text: str, host: str, port: int) -> None:
    """A name, an IPv4 address or a bracketed IPv6 address, and a port."""
    assert addresses.parse_address(text) == (host, port)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "8080",
        "host",
        "host:",
        "host:+1",
        "host:1_0",
        "host:65536",
        "::1:80",
        "[1.2.3.4]:80",
        "[:]:80",
        "a b:80",
        "a/b:80",
        "u@h:80",
        "h:80\n",
        "-h:80",
    ],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    """Nothing is guessed: a missing port, a sign or a line break is refused."""
    with pytest.raises(ValueError, match=r"address|host"):
        addresses.parse_address(text)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("https://api.openai.com/v1", BaseUrl(tls=True, host="api.openai.com", port=443, path="/v1")),
        ("http://10.0.0.5:8000/v1/", BaseUrl(tls=False, host="10.0.0.5", port=8000, path="/v1")),
        ("http://[::1]:11434", BaseUrl(tls=False, host="::1", port=11434, path="")),
        ("HTTPS://API.Example.com", BaseUrl(tls=True, host="api.example.com", port=443, path="")),
    ],
)
def test_base_urls_are_taken_apart(text: str, parts: BaseUrl) -> None:
    """A base URL gives scheme, host, port and path; the default port is the scheme's."""
    assert addresses.parse_base_url(text) == parts


@pytest.mark.parametrize(
    "host",
    [
        "169.254.169.254",
        "169.254.0.1",
        "fe80::1",
        "fe80::1%eth0",
        "::ffff:169.254.169.254",
        "::ffff:a9fe:a9fe",
        "2002:a9fe:a9fe::1",
        "64:ff9b::169.254.169.254",
        "fd00:ec2::254",
        "100.100.100.200",
        "metadata.google.internal",
        "METADATA.google.internal.",
        "0.0.0.0",
        "::",
        "224.0.0.1",
    ],
)
def test_metadata_and_link_local_hosts_are_never_called(host: str) -> None:
    """Addresses of metadata services and link-local addresses are refused in any spelling."""
    assert addresses.forbidden(host)


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "::1", "10.0.0.1", "fd00::1", "8.8.8.8", "2606:4700::1111", "64:ff9b::8.8.8.8", "localhost", "h"],
)
def test_other_hosts_may_be_called(host: str) -> None:
    """Private and loopback hosts are allowed, because many models and services run on them."""
    assert addresses.forbidden(host) == ""


@pytest.mark.parametrize(
    "host", ["2852039166", "0xa9fea9fe", "0xa9.0xfe.0xa9.0xfe", "169.16689662", "0251.0376.0251.0376"]
)
def test_an_address_in_disguise_is_refused(host: str) -> None:
    """A number that a resolver would take for an address is refused, and the message names the real address."""
    with pytest.raises(ValueError, match=r"write 169\.254\.169\.254"):
        addresses.parse_address(f"{host}:80")


@pytest.mark.parametrize(
    ("host", "loopback", "private", "wildcard"),
    [
        ("127.0.0.1", True, True, False),
        ("127.9.9.9", True, True, False),
        ("::1", True, True, False),
        ("localhost", True, True, False),
        ("0.0.0.0", False, True, True),
        ("::", False, True, True),
        ("", False, True, True),
        ("10.1.2.3", False, True, False),
        ("ollama", False, True, False),
        ("billing.internal", False, True, False),
        ("api.example.com", False, False, False),
        ("8.8.8.8", False, False, False),
    ],
)
def test_who_can_reach_a_host(host: str, loopback: bool, private: bool, wildcard: bool) -> None:
    """Loopback addresses, private addresses and wildcard addresses are distinguished."""
    assert addresses.is_loopback(host) is loopback
    assert addresses.is_private(host) is private
    assert addresses.is_wildcard(host) is wildcard


@given(st.ip_addresses(), st.integers(0, 65535))
def test_every_address_comes_back(address: object, port: int) -> None:
    """Addresses of the standard library's parser are the same addresses here."""
    host = str(address)
    text = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    assert addresses.parse_address(text) == (host, port)


@given(st.text(max_size=30))
def test_a_refused_url_is_never_repeated(text: str) -> None:
    """The message about a wrong URL does not contain the part that may be a key."""
    with pytest.raises(ValueError, match=r"URL|write") as caught:
        addresses.parse_base_url(f"https://user:kEy-{text}-yEk@example.com/")
    assert "kEy-" not in str(caught.value)
