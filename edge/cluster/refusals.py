"""What does an error of etcd mean for us?  One table from status and words to our errors and to what is done next.

The words are those of etcd's ``api/v3rpc/rpctypes/error.go``; they have been the same since 3.1. A status alone does
not tell enough: UNAVAILABLE may mean that nothing was sent, or that all of it was done.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from grpc import StatusCode

from edge.errors import EdgeError, LeaseGoneError, StoreRefusedError, StoreUnavailableError

if TYPE_CHECKING:
    import grpc.aio

Next = Literal["stop", "elsewhere", "unsent", "token"]
"""What to do: give up; ask another member, though this one may have done it; the same, and it was surely not done;
take a new token and ask again."""

FULL: Final = (
    "etcd is out of space and takes no writes (alarm NOSPACE): compact, defragment, then `etcdctl alarm disarm`"
)
REFUSED_TLS: Final = (
    "TLS with {member} failed: {told}; look at cluster.etcd.ca, cert, key and server_name, and at --client-cert-auth"
)


class Meaning(NamedTuple):
    """The error to raise, and what may be done before."""

    error: EdgeError
    then: Next


# The first part of what etcd says that is known here, and what it means.
_WORDS: Final[tuple[tuple[str, type[EdgeError], str, Next], ...]] = (
    ("requested lease not found", LeaseGoneError, "the lease has run out", "stop"),
    ("database space exceeded", StoreUnavailableError, FULL, "stop"),
    ("corrupt cluster", StoreUnavailableError, "etcd has the alarm CORRUPT: a member's data differ", "stop"),
    ("invalid auth token", StoreUnavailableError, "etcd does not know our token any more", "token"),
    ("revision of auth store is old", StoreUnavailableError, "etcd's users have changed", "token"),
    ("revision in header is old", StoreUnavailableError, "etcd's users have changed", "token"),
    ("user name is empty", StoreRefusedError, "etcd asks for a user; write cluster.etcd.user and password", "token"),
    ("user name not found", StoreRefusedError, "etcd does not know this user", "stop"),
    ("invalid user ID or password", StoreRefusedError, "etcd refuses this user and password", "stop"),
    (
        "permission denied",
        StoreRefusedError,
        "the user may not do this; its role needs readwrite on the prefix",
        "stop",
    ),
    ("no leader", StoreUnavailableError, "etcd has no leader: most members are away", "unsent"),
    ("failed to connect", StoreUnavailableError, "no connection", "unsent"),
    ("connections to all backends failing", StoreUnavailableError, "no connection", "unsent"),
    ("too many requests", StoreUnavailableError, "etcd has too much to do", "elsewhere"),
)
# How gRPC's core words a handshake that failed; the rest of the sentence is OpenSSL's.
_HANDSHAKES: Final = ("handshake failed", "Handshake failed", "erification check failed")


def meaning(error: grpc.aio.AioRpcError, member: str) -> Meaning:
    """Return what this error of a call to this member means."""
    code, told = error.code(), error.details() or ""
    if any(word in told for word in _HANDSHAKES):
        short = told.rpartition("; last error: ")[2][:300]
        return Meaning(StoreRefusedError(REFUSED_TLS.format(member=member, told=short)), "unsent")
    for words, kind, sentence, then in _WORDS:
        if words in told:
            return Meaning(kind(f"{sentence} ({member})"), then)
    if code is StatusCode.DEADLINE_EXCEEDED:
        return Meaning(StoreUnavailableError(f"{member} did not answer in time"), "elsewhere")
    if code in (StatusCode.UNAUTHENTICATED, StatusCode.PERMISSION_DENIED):
        return Meaning(StoreRefusedError(f"{member} refuses us: {told}"), "stop")
    # What is left are lost connections, members that restart, and defects; none of them is the fault of the request.
    return Meaning(StoreUnavailableError(f"{member} failed: {told or code.name}"), "elsewhere")
