"""What may ``peers`` say: which other regions' edges are there, and how are they known?"""

from typing import Annotated, Final

from msgspec import Struct

from edge.config.fields import FilePath, Secret, about

MOST_ADVERTISED: Final = 16


class PeerNode(Struct, frozen=True, forbid_unknown_fields=True):
    """A region, and where its edges are."""

    region: Annotated[str, about("Its node.region; one's own is left out, so that one file serves all.")]
    addresses: Annotated[tuple[str, ...], about("host:port of its edges, as this region reaches them.")]


class PeerTls(Struct, frozen=True, forbid_unknown_fields=True):
    """Mutual TLS between regions: each side shows its certificate and verifies the other's."""

    ca: Annotated[FilePath, about("PEM file of the authorities that sign the edges' certificates, and nothing else's.")]
    cert: Annotated[FilePath, about("PEM file of this edge's certificate and its chain.")]
    key: Annotated[FilePath, about("PEM file of its private key, not encrypted.")]
    server_name: Annotated[
        str, about("Name that every edge's certificate carries; the host of the address when empty.")
    ] = ""


class Peers(Struct, frozen=True, forbid_unknown_fields=True):
    """Other regions' edges. When no target of a model is usable here, one of them answers.

    What they say of a request (where it has been, whose it is) is believed only when they show the token, or a
    certificate that is made out to one of the names. Either is enough, and one of them is needed.
    """

    token: Annotated[
        Secret,
        about(
            "Shared by all edges, at least 16 characters; whoever has it spends every region's credit. Not needed "
            "beside allowed_names."
        ),
    ] = Secret()
    allowed_names: Annotated[
        tuple[str, ...],
        about(
            "What the other edges' client certificates are made out to: DNS names (*. before one is any one label) or "
            "URIs (spiffe://...). Whoever has such a certificate of a client_ca spends every region's credit."
        ),
    ] = ()
    tls: Annotated[
        PeerTls | None, about("Call other regions over HTTP/2 with mutual TLS; in the clear (h2c) when left out.")
    ] = None
    nodes: Annotated[tuple[PeerNode, ...], about("Regions and their edges' addresses.")] = ()
    advertise: Annotated[
        tuple[str, ...],
        about(
            "host:port by which other regions reach this node, 16 at most; told to them through the cluster, if there "
            "is one."
        ),
    ] = ()
    models: Annotated[
        tuple[str, ...], about("Aliases that another region may answer; everything that models serve when empty.")
    ] = ()
