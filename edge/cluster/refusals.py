"""The table from errors of etcd to errors of edge, with what to do next.

The phrases are those of etcd's ``api/v3rpc/rpctypes/error.go``, unchanged since 3.1. A gRPC status alone is not enough:
UNAVAILABLE may mean that nothing was sent, or that the request was executed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from grpc import StatusCode

from edge.errors import EdgeError, LeaseGoneError, StoreRefusedError, StoreUnavailableError

if TYPE_CHECKING:
    import grpc.aio

Next = Literal["stop", "elsewhere", "unsent", "token"]
"""What to do next. stop: raise the error. elsewhere: try another member; the request may have been executed. unsent:
try another member; the request was certainly not executed. token: log in again and retry."""

FULL: Final = (
    "etcd is out of space and rejects writes (alarm NOSPACE): compact, defragment, then `etcdctl alarm disarm`"
)
REFUSED_TLS: Final = (
    "TLS with {member} failed: {details}; check cluster.etcd.ca, cert, key and server_name, and --client-cert-auth"
)


class Meaning(NamedTuple):
    """The error to raise, and what to try before."""

    error: EdgeError
    then: Next


# A phrase of etcd's error text: (phrase, error to raise, sentence, next step). The first match counts.
_WORDS: Final[tuple[tuple[str, type[EdgeError], str, Next], ...]] = (
    ("requested lease not found", LeaseGoneError, "the lease has expired", "stop"),
    ("database space exceeded", StoreUnavailableError, FULL, "stop"),
    ("corrupt cluster", StoreUnavailableError, "etcd has the alarm CORRUPT: the members' data differ", "stop"),
    ("invalid auth token", StoreUnavailableError, "etcd no longer accepts our token", "token"),
    ("revision of auth store is old", StoreUnavailableError, "etcd's users have changed", "token"),
    ("revision in header is old", StoreUnavailableError, "etcd's users have changed", "token"),
    ("user name is empty", StoreRefusedError, "etcd requires a user; set cluster.etcd.user and password", "token"),
    ("user name not found", StoreRefusedError, "etcd does not know this user", "stop"),
    ("invalid user ID or password", StoreRefusedError, "etcd rejects this user or password", "stop"),
    (
        "permission denied",
        StoreRefusedError,
        "the user lacks permission; its role needs readwrite on the prefix",
        "stop",
    ),
    ("no leader", StoreUnavailableError, "etcd has no leader: most members are down", "unsent"),
    ("failed to connect", StoreUnavailableError, "no connection", "unsent"),
    ("connections to all backends failing", StoreUnavailableError, "no connection", "unsent"),
    ("too many requests", StoreUnavailableError, "etcd is overloaded", "elsewhere"),
)
# How gRPC words a failed handshake; the rest of the sentence comes from OpenSSL.
_HANDSHAKES: Final = ("handshake failed", "Handshake failed", "erification check failed")


def meaning(error: grpc.aio.AioRpcError, member: str) -> Meaning:
    """Return the meaning of an error that a call to this member raised."""
    code, details = error.code(), error.details() or ""
    if any(phrase in details for phrase in _HANDSHAKES):
        short = details.rpartition("; last error: ")[2][:300]
        return Meaning(StoreRefusedError(REFUSED_TLS.format(member=member, details=short)), "unsent")
    for phrase, kind, sentence, then in _WORDS:
        if phrase in details:
            return Meaning(kind(f"{sentence} ({member})"), then)
    if code is StatusCode.DEADLINE_EXCEEDED:
        return Meaning(StoreUnavailableError(f"{member} did not respond in time"), "elsewhere")
    if code in (StatusCode.UNAUTHENTICATED, StatusCode.PERMISSION_DENIED):
        return Meaning(StoreRefusedError(f"{member} rejects us: {details}"), "stop")
    # The rest are lost connections, restarting members, and defects; none of them is caused by the request.
    return Meaning(StoreUnavailableError(f"{member} failed: {details or code.name}"), "elsewhere")
