"""The section ``listen`` of edge.yaml: addresses that clients connect to, and who may use them."""

from typing import Annotated

from msgspec import Struct

from edge.config.fields import MAY_BE_ONE, Duration, FilePath, about


class ListenTls(Struct, frozen=True, forbid_unknown_fields=True):
    """A certificate of a listener, and whom it asks for one."""

    cert: Annotated[FilePath, about("PEM file with the certificate and its chain, which clients are shown.")]
    key: Annotated[FilePath, about("PEM file with the private key of the certificate, not encrypted.")]
    client_ca: Annotated[
        FilePath | None, about("PEM file of authorities. Clients must show a certificate that one of them signed.")
    ] = None


class Listen(Struct, frozen=True, forbid_unknown_fields=True):
    """An address that clients connect to."""

    address: Annotated[
        str, about("host:port or [v6]:port. Port 0 takes a free port, which is printed at the start.")
    ] = "127.0.0.1:8080"
    tls: Annotated[
        tuple[ListenTls, ...],
        MAY_BE_ONE,
        about(
            "Serve HTTPS with these files. Of several certificates a client is shown the one for the name that it asks "
            "for (SNI), else the first. Default: plain HTTP."
        ),
    ] = ()
    redirect: Annotated[
        str,
        about(
            "Answer every request with 308 and its place under this address: https, for the host that was asked, or "
            "one such as https://edge.example:8443. Empty: serve it."
        ),
    ] = ""
    allow_anonymous: Annotated[
        bool,
        about(
            "Accept callers without a key on this listener. Any client that reaches the address can spend "
            "your providers' credit, so an address off loopback needs keys, or client_ca, or this."
        ),
    ] = False
    hosts: Annotated[
        tuple[str, ...],
        about(
            "Names, without port, that this machine is reached by. Without keys a listener on loopback refuses every "
            "Host that is no IP address, localhost, one of these or a service's, because a web page may send it."
        ),
    ] = ()
    cors: Annotated[
        tuple[str, ...],
        about(
            "Origins of web pages that may use this listener, such as https://app.example. `*`: any; needs keys. Where "
            "no key is required, pages of other origins than these and loopback are refused."
        ),
    ] = ()
    trusted_proxies: Annotated[
        tuple[str, ...],
        about(
            "Addresses and networks of proxies in front, such as 10.0.0.0/8, whose X-Forwarded-* and Forwarded fields "
            "are kept and extended. Those of others are replaced."
        ),
    ] = ()
    proxy_protocol: Annotated[
        bool,
        about("Connections begin with a PROXY header (v1, v2). Others, and those from outside trusted_proxies, end."),
    ] = False
    max_connection_age: Annotated[
        Duration,
        about(
            "How old a client's connection may become, give or take a tenth. Then it is told to begin anew (by GOAWAY, "
            "or connection: close with the next response), so that clients which stay connected spread over nodes that "
            "were added. 0s: no limit.",
            low=0,
        ),
    ] = 0
    max_connection_age_grace: Annotated[
        Duration,
        about("How long requests on such a connection may still take before it is closed. 0s: their own time.", low=0),
    ] = 0
