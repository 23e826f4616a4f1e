"""The section ``peers`` of edge.yaml: the edges of other regions, and how they are authenticated."""

from typing import Annotated, Final

from msgspec import Struct

from edge.config.fields import FilePath, Secret, about

MOST_ADVERTISED: Final = 16


class PeerNode(Struct, frozen=True, forbid_unknown_fields=True):
    """A region, and the addresses of its edges."""

    region: Annotated[
        str, about("Its node.region. A node ignores the entry of its own region, so that one file serves all.")
    ]
    addresses: Annotated[tuple[str, ...], about("host:port of its edges, as this region reaches them.")]


class PeerTls(Struct, frozen=True, forbid_unknown_fields=True):
    """Mutual TLS between regions: each side shows its certificate and verifies the other's."""

    ca: Annotated[FilePath, about("PEM file of the authorities that sign the edges' certificates, and nothing else.")]
    cert: Annotated[FilePath, about("PEM file of this edge's certificate and its chain.")]
    key: Annotated[FilePath, about("PEM file of the certificate's private key, not encrypted.")]
    server_name: Annotated[
        str, about("Name that every edge's certificate carries. Empty: the host of the address.")
    ] = ""


class Peers(Struct, frozen=True, forbid_unknown_fields=True):
    """Other regions' edges. When no target of a model is usable here, one of them answers.

    Edge believes what they say of a request (where it has been, which caller sent it) only if they show the token,
    or a certificate that is made out to one of the names. Either is enough, and one of them is needed.
    """

    token: Annotated[
        Secret,
        about(
            "Secret that all edges share, at least 16 characters. Whoever has it can spend every region's "
            "credit. Not needed with allowed_names."
        ),
    ] = Secret()
    allowed_names: Annotated[
        tuple[str, ...],
        about(
            "Names that the other edges' client certificates are made out to: DNS names (a leading *. stands "
            "for any one label) or URIs (spiffe://...). Whoever has such a certificate of a client_ca can "
            "spend every region's credit."
        ),
    ] = ()
    tls: Annotated[
        PeerTls | None, about("Call other regions over HTTP/2 with mutual TLS. Default: without TLS (h2c).")
    ] = None
    insecure: Annotated[
        bool,
        about(
            "Without tls, call edges that the cluster's store names although they are off loopback: whoever may write "
            "the store decides who gets the token and the prompts. For networks where all of that is trusted."
        ),
    ] = False
    nodes: Annotated[tuple[PeerNode, ...], about("Regions and the addresses of their edges.")] = ()
    advertise: Annotated[
        tuple[str, ...],
        about("host:port by which other regions reach this node, at most 16. The cluster tells them, if there is one."),
    ] = ()
    models: Annotated[tuple[str, ...], about("Aliases that another region may answer. Empty: every model.")] = ()
