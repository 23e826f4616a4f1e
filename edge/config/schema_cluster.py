"""What may an edge.yaml say of what the edges of all regions share?  Sections of ``edge.config.schema``."""

from typing import Annotated

from msgspec import Struct

from edge.config.fields import Duration, FilePath, Secret, about
from edge.config.units import NS_PER_MS, NS_PER_S

CALL: int = 2 * NS_PER_S


class Etcd(Struct, frozen=True, forbid_unknown_fields=True):
    """Where etcd is, and how edge proves who it is. Its members' versions: 3.4 or later."""

    endpoints: Annotated[
        tuple[str, ...],
        about(
            "Members, each http[s]://host:port, the nearest first: the first that answers is used, and returned to "
            "within a minute."
        ),
    ]
    prefix: Annotated[
        str,
        about(
            "What every key of ours begins with; edges with the same prefix are one cluster. A role of etcd may be "
            "bound to it."
        ),
    ] = "/edge"
    ca: Annotated[FilePath | None, about("PEM file of authorities to trust for https; the system's when left out.")] = (
        None
    )
    cert: Annotated[
        FilePath | None,
        about("PEM file of our client certificate, where etcd asks for one (--client-cert-auth); needs key too."),
    ] = None
    key: Annotated[FilePath | None, about("PEM file of our client certificate's private key.")] = None
    server_name: Annotated[
        str, about("Name to verify in the members' certificates; the host of each endpoint when empty.")
    ] = ""
    user: Annotated[
        str, about("User of etcd's own authentication; its role needs readwrite on the prefix. None when empty.")
    ] = ""
    password: Annotated[Secret, about("Password of the user.")] = Secret()
    timeout: Annotated[
        Duration,
        about(
            "Longest wait for one call, all members tried included; then it counts as failed and edge goes by what "
            "it knows. No request ever waits for it.",
            low=100 * NS_PER_MS,
        ),
    ] = CALL


class Cluster(Struct, frozen=True, forbid_unknown_fields=True):
    """What edges share: who is there, what is ill where, shares of global limits. Each node by itself when left out."""

    etcd: Annotated[Etcd | None, about("Share through etcd; nothing is shared when left out.")] = None
