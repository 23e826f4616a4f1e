"""Checks of listeners and upstreams: addresses, keys, header fields and certificates."""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING, Final

from edge.config import addresses, effective, words
from edge.config.files import read_file
from edge.config.problems import Path, Problem, spell
from edge.config.shared_keys import shares_keys
from edge.terms.places import CAPABILITIES

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from edge.config.problems import Document
    from edge.config.schema import Config, Provider, UpstreamTls
    from edge.config.schema_listen import Listen, ListenTls
    from edge.terms import places

NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
HOST: Final = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*\.?|\[[0-9A-Fa-f:.]+\]")
# RFC 6454 6.2, without the port that the scheme implies.
_ORIGIN: Final = re.compile(
    r"(?!http://.*:80$|https://.*:443$)[A-Za-z][A-Za-z0-9+.-]*://([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?"
)
_REDIRECT: Final = re.compile(r"https(://([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?)?")
# RFC 9110 5.6.2 (token) and 5.5 (field-value: visible characters, inner blanks; nothing that could end the line).
_FIELD_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_FIELD_VALUE: Final = re.compile(r"[!-~\x80-\xff]([ \t!-~\x80-\xff]*[!-~\x80-\xff])?|")
# Edge itself writes the fields of framing and routing; a second value from the configuration would contradict it.
_OWN_FIELDS: Final = frozenset(
    (
        "connection",
        "content-length",
        "expect",
        "host",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    )
)


def listeners(document: Document, config: Config) -> Iterator[Problem]:
    """Check the addresses to listen on, for clients and for the admin API."""
    keyed = bool(config.keys or config.auth.jwt) or document.written("keys", 0) or document.written("auth", "jwt", 0)
    keyed = keyed or shares_keys(config)
    bound: list[tuple[str, int, str]] = []
    if not (config.listen or document.written("listen", 0)):
        yield Problem(("listen",), "it is empty; write at least one address")
    for index, listen in enumerate(config.listen):
        path: Path = ("listen", index)
        yield from _bind(document, bound, (*path, "address"), listen.address)
        yield from _exposure(path, listen, keyed=keyed)
        yield from _callers(path, listen, keyed=keyed)
        for place, tls in placed_tls(path, listen):
            yield from tls_files(place, tls.cert, tls.key, "client_ca", tls.client_ca)
        yield from _redirect(path, listen)
    yield from _bind(document, bound, ("admin", "address"), config.admin.address)
    host = _host_of(config.admin.address)
    if host is not None and not addresses.is_loopback(host) and not config.admin.token:
        sentence = f"{config.admin.address} is reachable from other machines; write admin.token, or listen on 127.0.0.1"
        yield Problem(("admin", "address"), sentence)
    if not _FIELD_VALUE.fullmatch(config.admin.token):
        yield Problem(("admin", "token"), "it contains characters that a header cannot carry")


def providers(
    document: Document, config: Config, known: Mapping[str, places.Provider], kinds: Collection[str]
) -> Iterator[Problem]:
    """Check the providers; in ``config``, every provider is completed with what is known about it."""
    for name, provider in config.providers.items():
        path: Path = ("providers", name)
        if not NAME.fullmatch(name):
            yield Problem(path, "a provider's name consists of up to 63 letters, digits, dots, hyphens and underscores")
        if provider.kind and provider.kind not in kinds:
            likely = words.nearest(provider.kind, kinds) or f"; known are {', '.join(kinds)}"
            yield Problem((*path, "kind"), f"unknown kind {provider.kind!r}{likely}")
        elif not provider.base_url and not provider.discover:  # what is found is asked over http, below /v1
            yield Problem(path, _no_base_url(name, known, kinds))
        if provider.base_url:
            variable = known[name].url_variable if name in known and not document.lines else ""
            yield from _base_url(config, (*path, "base_url"), provider.base_url, variable)
        if name in known and known[name].needs_key and _lacks_key(provider) and not document.written(*path, "api_key"):
            yield Problem(path, f"api_key is missing: {name} will refuse every request", severity="warning")
        yield from _region(path, provider, known.get(name))
        if provider.api_version and not (name in known and known[name].root):
            yield Problem((*path, "api_version"), "only kind azure-openai has versions; remove it, or write the kind")
        elif not re.fullmatch(r"[A-Za-z0-9.-]{0,32}", provider.api_version):
            yield Problem((*path, "api_version"), "a version is such as 2024-10-21 or 2025-04-01-preview")
        yield from _called(path, provider)


def _region(path: Path, provider: Provider, known: places.Provider | None) -> Iterator[Problem]:
    if provider.region and not (known is not None and known.regional_url):
        yield Problem((*path, "region"), "only kind bedrock has regions; remove it, or write the kind")
    elif provider.region and not effective.REGION.fullmatch(provider.region):
        yield Problem((*path, "region"), f"{provider.region!r} is not a region of AWS; write one such as eu-west-1")


def _lacks_key(provider: Provider) -> bool:
    return not provider.api_key and (provider.auth is None or not provider.auth.fetched)


def words_of_place(known: places.Provider) -> str:
    """Return where a known provider without a default URL is, with an example."""
    if known.regional_url:
        return "has a URL in each region of AWS: write region, such as eu-west-1"
    if known.root:
        return "has a host for each resource, such as https://NAME.openai.azure.com"
    if known.needs_key:
        at = "https://LOCATION-aiplatform.googleapis.com/v1/projects/PROJECT/locations/LOCATION/publishers/google"
        return f"has a URL for each project and location, such as {at}"
    return "runs where you run it, such as http://10.0.0.5:8000/v1"


def _no_base_url(name: str, known: Mapping[str, places.Provider], kinds: Collection[str]) -> str:
    if name in known:
        return f"base_url is missing: {known[name].name} {words_of_place(known[name])}"
    with_default = [kind for kind in kinds if known[kind].base_url]
    return f"base_url is missing; only {', '.join(with_default)} have a default{words.nearest(name, kinds)}"


def service_target(config: Config, path: Path, text: str) -> Iterator[Problem]:
    """Check one address of a service."""
    try:
        host, port = addresses.parse_address(text)
    except ValueError as error:
        yield Problem(path, str(error))
        return
    if not host or not port:
        yield Problem(path, f"{text!r} is not an address to call; write host:port")
        return
    yield from _destination(config, path, host, port, "")


def upstream_tls(path: Path, tls: UpstreamTls) -> Iterator[Problem]:
    """Check how an upstream is verified, and edge's certificate for it."""
    yield from tls_files(path, tls.cert, tls.key, "ca", tls.ca)
    if not tls.verify:
        sentence = "any certificate is accepted: anyone in between can read and answer requests. Use it for tests only"
        yield Problem((*path, "verify"), sentence, severity="warning")


def fixed_headers(path: Path, headers: Mapping[str, str]) -> Iterator[Problem]:
    """Check header fields that are added to requests."""
    for name, value in headers.items():
        if not _FIELD_NAME.fullmatch(name):
            yield Problem((*path, name), "this is not a valid header name")
        elif name.lower() in _OWN_FIELDS:
            yield Problem((*path, name), "edge writes this header itself; remove it")
        if not _FIELD_VALUE.fullmatch(value):
            yield Problem((*path, name), "its value contains characters that a header cannot carry")


def unknown_capability(name: str) -> str:
    """Return the problem of a capability that does not exist."""
    return f"unknown capability {name!r}" + (
        words.nearest(name, CAPABILITIES) or f"; known are {', '.join(CAPABILITIES)}"
    )


def _bind(document: Document, bound: list[tuple[str, int, str]], path: Path, text: str) -> Iterator[Problem]:
    try:
        host, port = addresses.parse_address(text)
    except ValueError as error:
        yield Problem(path, str(error))
        return
    for other_host, other_port, other in bound:
        everywhere = addresses.is_wildcard(host) or addresses.is_wildcard(other_host)
        if port and port == other_port and (host == other_host or everywhere):
            yield Problem(path, f"{text} is already used by {other}; choose another port")
    bound.append((host, port, spell(document.place(path))))


def serves_strangers(config: Config) -> bool:
    """Return whether callers without a key may come from other machines."""
    return any(
        not listen.redirect
        and (listen.allow_anonymous or not config.keys)
        and (listen.proxy_protocol or not addresses.is_loopback(_host_of(listen.address) or "localhost"))
        for listen in config.listen
    )


def _exposure(path: Path, listen: Listen, *, keyed: bool) -> Iterator[Problem]:
    host = _host_of(listen.address)
    if host is None or addresses.is_loopback(host) or asks_for_certificates(listen) or listen.redirect:
        return
    if listen.allow_anonymous and keyed:
        sentence = f"{listen.address} requires no key despite keys: other machines can spend your providers' credit"
        yield Problem((*path, "allow_anonymous"), sentence, severity="warning")
    if not listen.allow_anonymous and not keyed:
        sentence = (
            f"{listen.address} lets other machines spend your providers' credit without a key; write keys (`edge keys "
            "new NAME` makes one), tls.client_ca to require certificates, allow_anonymous: true beside it if that is "
            "intended, or listen on 127.0.0.1"
        )
        yield Problem((*path, "address"), sentence)


def placed_tls(path: Path, listen: Listen) -> Iterator[tuple[Path, ListenTls]]:
    """Yield the place and the files of each certificate of a listener; one alone has no index."""
    for index, tls in enumerate(listen.tls):
        yield (*path, "tls") if len(listen.tls) == 1 else (*path, "tls", index), tls


def asks_for_certificates(listen: Listen) -> bool:
    """Return whether clients of a listener must show a certificate."""
    return any(tls.client_ca is not None for tls in listen.tls)


def _redirect(path: Path, listen: Listen) -> Iterator[Problem]:
    """Check where a listener sends its clients, and that several certificates ask for the same of them."""
    if listen.redirect and not _REDIRECT.fullmatch(listen.redirect):
        sentence = f"{listen.redirect!r} is no such address; write https, or one such as https://edge.example:8443"
        yield Problem((*path, "redirect"), sentence)
    if listen.redirect and listen.tls:
        yield Problem((*path, "tls"), "this listener only sends its clients elsewhere; remove tls, or redirect")
    if len({tls.client_ca for tls in listen.tls}) > 1:
        # a client could else choose by SNI whether it is asked for a certificate, and name another host then
        yield Problem((*path, "tls"), "write the same client_ca for each certificate of a listener, or for none")
    if listen.max_connection_age_grace and not listen.max_connection_age:
        sentence = "nothing ends without max_connection_age; write it, or remove the grace"
        yield Problem((*path, "max_connection_age_grace"), sentence)


def _callers(path: Path, listen: Listen, *, keyed: bool) -> Iterator[Problem]:
    """Check which web pages, names and proxies a listener believes."""
    for index, name in enumerate(listen.hosts):
        if not HOST.fullmatch(name):
            yield Problem((*path, "hosts", index), f"{name!r} is not a host name; write it without scheme and port")
    for index, origin in enumerate(listen.cors):
        place: Path = (*path, "cors", index)
        if origin == "*":
            if listen.allow_anonymous or not keyed:
                sentence = (
                    "every web page could spend your providers' credit, because no key is required; write keys and no "
                    "allow_anonymous, or list the origins"
                )
                yield Problem(place, sentence)
        elif not _ORIGIN.fullmatch(origin):
            sentence = f"{origin!r} is not an origin; write scheme, host and port as browsers do: https://app.example"
            yield Problem(place, sentence)
    for index, text in enumerate(listen.trusted_proxies):
        try:
            ipaddress.ip_network(text)
        except ValueError:
            sentence = f"{text!r} is not an address or a network; write one such as 10.0.0.7 or 10.0.0.0/8"
            yield Problem((*path, "trusted_proxies", index), sentence)
    host = _host_of(listen.address)
    if listen.proxy_protocol and not listen.trusted_proxies and host is not None and not addresses.is_loopback(host):
        sentence = "whoever reaches the address can claim any client's; write the load balancer's in trusted_proxies"
        yield Problem((*path, "proxy_protocol"), sentence, severity="warning")


def _host_of(address: str) -> str | None:
    try:
        return addresses.parse_address(address)[0]
    except ValueError:
        return None


def _base_url(config: Config, path: Path, text: str, variable: str) -> Iterator[Problem]:
    try:
        url = addresses.parse_base_url(text)
    except ValueError as error:
        yield Problem(path, f"{variable}: {error}" if variable else str(error))
        return
    yield from _destination(config, path, url.host, url.port, variable)
    if not url.tls and not addresses.is_private(url.host):
        sentence = f"{text} sends the key and every prompt unencrypted across the internet; write https"
        yield Problem(path, sentence, severity="warning")


def _destination(config: Config, path: Path, host: str, port: int, variable: str) -> Iterator[Problem]:
    why = addresses.forbidden(host)
    if why:
        yield Problem(path, f"{host} must not be called: {why}")
    for listen in config.listen:
        own = _host_of(listen.address)
        if own is None or addresses.parse_address(listen.address)[1] != port:
            continue
        if own == host or (addresses.is_loopback(host) and (addresses.is_loopback(own) or addresses.is_wildcard(own))):
            remedy = f"; unset {variable} where edge is started" if variable else ""
            yield Problem(path, f"{host}:{port} is this edge itself: requests would loop forever{remedy}")


def _called(path: Path, provider: Provider) -> Iterator[Problem]:
    if not _FIELD_VALUE.fullmatch(provider.api_key):
        yield Problem((*path, "api_key"), "it contains characters that a header cannot carry, such as a line break")
    yield from fixed_headers((*path, "headers"), provider.headers)
    for capability in provider.capabilities or ():
        if capability not in CAPABILITIES:
            yield Problem((*path, "capabilities"), unknown_capability(capability))
    if provider.probe and not re.fullmatch(r"/[!-~]*", provider.probe):
        yield Problem((*path, "probe"), f"{provider.probe!r} is not a path; begin it with a slash, or leave it empty")
    yield from _proxy(path, provider)
    yield from upstream_tls((*path, "tls"), provider.tls)


def _proxy(path: Path, provider: Provider) -> Iterator[Problem]:
    place: Path = (*path, "proxy")
    if provider.proxy_credentials and provider.proxy in ("", "env"):
        yield Problem((*path, "proxy_credentials"), "it has no effect; write proxy: http://host:port")
    if provider.proxy in ("", "env"):
        return
    try:
        url = addresses.parse_base_url(provider.proxy)
    except ValueError:
        sentence = "not a proxy; write env or http://host:port, and user and password as proxy_credentials"
        yield Problem(place, sentence)
        return
    why = addresses.forbidden(url.host)
    if why:
        yield Problem(place, f"{url.host} must not be called: {why}")
    if url.tls or url.path:
        yield Problem(place, "edge speaks to proxies in the clear and TLS inside the tunnel; write http://host:port")


def tls_files(path: Path, cert: str | None, key: str | None, name: str, trusted: str | None) -> Iterator[Problem]:
    """Check what files hold: a certificate with its key, and authorities, whose setting is ``name``."""
    files = (("cert", cert), ("key", key), (name, trusted))
    unreadable = [problem for which, file in files for problem in readable((*path, which), file)]
    yield from unreadable
    if (cert is None) != (key is None):
        yield Problem(path, "cert and key belong together; write both or neither")
        return
    if unreadable or (cert is None and trusted is None):
        return
    import ssl  # noqa: PLC0415  # takes 20 ms, which only configurations with certificates need

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        if cert is not None:
            context.load_cert_chain(cert, key, password=_refuse_password)
    except (ssl.SSLError, ValueError) as error:
        mismatch = isinstance(error, ssl.SSLError) and error.reason == "KEY_VALUES_MISMATCH"
        said = "do not belong together" if mismatch else "are not PEM files with a certificate and its unencrypted key"
        yield Problem(path, f"{cert} and {key} {said}")
    try:
        if trusted is not None:
            context.load_verify_locations(trusted)
    except ssl.SSLError:
        yield Problem((*path, name), f"{trusted} is not a PEM file of certificates")


def _refuse_password() -> str:
    raise ValueError("the key is encrypted, and edge cannot ask for its password")


def readable(path: Path, file: str | None) -> Iterator[Problem]:
    """Check that a file can be read; None means no file."""
    if file is None:
        return
    try:
        read_file(file, 1)
    except OSError as error:
        yield Problem(path, f"{file} cannot be read: {error.strerror}")
