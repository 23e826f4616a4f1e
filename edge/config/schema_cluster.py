"""The section ``cluster`` of edge.yaml: what the edges of all regions share."""

from typing import Annotated

from msgspec import Struct

from edge.config.fields import Duration, FilePath, Secret, about
from edge.config.units import NS_PER_MS, NS_PER_S

CALL: int = 2 * NS_PER_S


class Etcd(Struct, frozen=True, forbid_unknown_fields=True):
    """Where etcd is, and how edge authenticates. Its members must run 3.4 or later."""

    endpoints: Annotated[
        tuple[str, ...],
        about(
            "Members, each http[s]://host:port, the nearest first. Edge uses the first that answers, and "
            "returns to an earlier one within a minute."
        ),
    ]
    prefix: Annotated[
        str,
        about(
            "Prefix of every key that edge writes. Edges with the same prefix are one cluster. A role of etcd "
            "may be bound to it."
        ),
    ] = "/edge"
    ca: Annotated[FilePath | None, about("PEM file of authorities to trust for https. Default: the system's.")] = None
    cert: Annotated[
        FilePath | None,
        about("PEM file of edge's client certificate, if etcd asks for one (--client-cert-auth); needs key too."),
    ] = None
    key: Annotated[FilePath | None, about("PEM file of the client certificate's private key.")] = None
    server_name: Annotated[
        str, about("Name to verify in the members' certificates. Empty: the host of each endpoint.")
    ] = ""
    user: Annotated[
        str, about("User of etcd's own authentication. Its role needs readwrite on the prefix. Empty: none.")
    ] = ""
    password: Annotated[Secret, about("Password of the user.")] = Secret()
    timeout: Annotated[
        Duration,
        about(
            "Longest wait for one call, all members that are tried included. Then the call has failed, and "
            "edge uses what it knows. No request ever waits for it.",
            low=100 * NS_PER_MS,
        ),
    ] = CALL


class Cluster(Struct, frozen=True, forbid_unknown_fields=True):
    """What nodes of all regions share: membership, health of targets, global limits. Default: each node is alone."""

    etcd: Annotated[Etcd | None, about("Share through etcd. Default: nothing is shared.")] = None
