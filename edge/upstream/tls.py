"""TLS contexts for upstream connections: one per distinct policy, shared by all connections that use it.

Creating a context loads the whole certificate store (about 10 ms), so it happens once per policy, not per connection.
"""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from edge.errors import EdgeError
from edge.native import TlsContext
from edge.telemetry import logs
from edge.upstream.exhausted import out_of_descriptors

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edge.terms.snapshot import UpstreamTls

ALPN: Final = {"http1": ["http/1.1"], "h2": ["h2"], "alpn": ["h2", "http/1.1"]}
"""ALPN offers by a target's protocol."""

T = TypeVar("T")


class TlsError(EdgeError):
    """A file of an upstream's TLS settings cannot be loaded; the message names it."""

    kind = "tls_files"


class TlsContexts(Generic[T]):
    """Caches TLS contexts by policy. The server name is not part of a context: each connection supplies its own.

    Args:
        make: makes a context of a policy and its ALPN offers: :func:`native_context` or :func:`library_context`.
    """

    def __init__(self, make: Callable[[UpstreamTls, Sequence[str]], T]) -> None:
        self._make = make
        self._contexts: dict[tuple[str | None, str | None, str | None, bool, str], tuple[str, T]] = {}

    def get(self, policy: UpstreamTls, protocol: str = "http1") -> T:
        """Return the context for a policy and a target's protocol.

        One that was made of former content is replaced, or stays if the new content cannot be used.

        Raises:
            TlsError: a configured file is missing or cannot be loaded.
            OSError: no descriptor is free to read the files. OpenSSL does not report that for the system's authorities,
                and the context would reject every certificate for as long as it is cached.
        """
        key = (policy.ca, policy.cert, policy.key, policy.verify, protocol)
        content, context = self._contexts.get(key, ("", None))
        if context is not None and content == policy.content:
            return context
        exhausted = out_of_descriptors()
        if exhausted is not None:
            raise exhausted
        try:
            context = self._make(policy, ALPN[protocol])
        except TlsError as error:
            if context is None:
                raise
            logs.say(logs.ERROR, f"the TLS files from before stay in use: {error}", server_name=policy.server_name)
        self._contexts[key] = (policy.content, context)
        return context


def native_context(policy: UpstreamTls, alpn: Sequence[str]) -> TlsContext:
    """Return a context of the data path.

    Raises:
        TlsError: a configured file is missing or cannot be loaded.
    """
    context = TlsContext(False, [name.encode() for name in alpn])
    if policy.verify:
        # OpenSSL's own default may be a place that does not exist here; Python knows it and the environment's.
        found = ssl.get_default_verify_paths()
        system: tuple[str | None, str | None] = (found.cafile, found.capath)  # each may be missing
        file, folder = (policy.ca, None) if policy.ca is not None else system
        try:
            if file is not None or folder is not None:
                context.load_authorities(file, folder)
        except OSError as error:
            raise _authorities(str(file or folder), error) from error
        context.verify_peer(True)
    if policy.cert is not None:
        try:
            context.load_identity(policy.cert, policy.key)
        except OSError as error:
            raise _identity(policy, error) from error
    return context


def library_context(policy: UpstreamTls, alpn: Sequence[str]) -> ssl.SSLContext:
    """Return a context with the same policy for libraries that use Python's ssl.

    Raises:
        TlsError: a configured file is missing or cannot be loaded.
    """
    try:
        context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=policy.ca)
    except OSError as error:  # includes ssl.SSLError
        raise _authorities(policy.ca, error) from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(list(alpn))
    if policy.cert is not None:
        try:
            context.load_cert_chain(policy.cert, policy.key)
        except OSError as error:
            raise _identity(policy, error) from error
    if not policy.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _authorities(file: str | None, error: OSError) -> TlsError:
    return TlsError(f"cannot load ca file {file}: {error.strerror or error}")


def _identity(policy: UpstreamTls, error: OSError) -> TlsError:
    files = policy.cert if policy.key is None else f"{policy.cert} with {policy.key}"
    return TlsError(f"cannot load client certificate {files}: {error.strerror or error}")
