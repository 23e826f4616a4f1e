"""The documents of callers' keys in the shared store: their form, and the proof that an edge has written them.

Whoever may write the store must not be able to make a key, to change one, or to bring back one that was revoked. So a
document carries a MAC (HMAC-SHA256) of a secret that the store does not have, over its name and its content; it carries
a generation that only grows; and a revoked key leaves a document behind that says so. A document without the MAC, for
another name, or of an earlier generation counts for nothing, and neither does a deletion.

    32 bytes MAC | JSON of a KeyDocument
"""

from __future__ import annotations

import hmac
import re
from typing import TYPE_CHECKING, Any, Final

import msgspec
from msgspec import Struct

from edge.config.schema_keys import Key
from edge.config.shared_keys import shares_keys
from edge.errors import EdgeError

if TYPE_CHECKING:
    from edge.config.schema import Config

MAC_SIZE: Final = 32
LARGEST: Final = 64 * 1024
NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,63}")
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_PURPOSE: Final = b"edge callers' keys 1"
_DEFAULTS: Final[dict[str, Any]] = msgspec.to_builtins(Key(""))


class KeyDocumentError(EdgeError):
    """A document that must not be believed, or cannot be read; the message says why."""

    kind = "key_document"


class KeyDocument(Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """A key in the store: what a file would say of it, and its history. Times are Unix seconds.

    ``generation`` grows with each change of this name. ``previous`` is a SHA-256 that also counts until
    ``previous_until``, after a rotation.
    """

    key: Key
    generation: int
    written: float
    revoked: bool = False
    previous: str = ""
    previous_until: float = 0.0

    def digests(self, now: float) -> tuple[bytes, ...]:
        """Return the SHA-256 of each key that counts now."""
        if self.revoked:
            return ()
        own = (bytes.fromhex(self.key.sha256),) if self.key.sha256 else ()
        return (*own, bytes.fromhex(self.previous)) if self.previous and now < self.previous_until else own


def secret_of(config: Config) -> bytes | None:
    """Return the secret of the MACs; None: keys in the store cannot be told from forged ones, and do not count.

    It derives from ``peers.token``. A store on loopback alone, or one that ``peers.insecure`` says is trusted, needs
    none; then the MAC only shows that a document is whole.
    """
    if not shares_keys(config):
        return None
    token = "" if config.peers is None else str(config.peers.token)
    return hmac.digest(token.encode(), _PURPOSE, "sha256")


def encode(document: KeyDocument, secret: bytes) -> bytes:
    """Return a document as the store holds it."""
    body = body_of(document)
    return _mac(document.key.name, body, secret) + body


def body_of(document: KeyDocument) -> bytes:
    """Return the JSON of a document, without what is at its default."""
    plain: dict[str, Any] = msgspec.to_builtins(document)
    plain["key"] = {name: value for name, value in plain["key"].items() if value != _DEFAULTS[name]}
    return msgspec.json.encode(plain)


def verified(name: str, value: bytes, secret: bytes) -> bytes:
    """Return the body of the document of this name.

    Raises:
        KeyDocumentError: no edge of this cluster has written it.
    """
    if not NAME.fullmatch(name) or not MAC_SIZE < len(value) <= LARGEST:
        raise KeyDocumentError("it is not a key's document")
    body = value[MAC_SIZE:]
    if not hmac.compare_digest(_mac(name, body, secret), value[:MAC_SIZE]):
        raise KeyDocumentError("no edge with this cluster's secret (peers.token) has written it")
    return body


def decode(name: str, body: bytes) -> KeyDocument:
    """Return a document from its body.

    Raises:
        KeyDocumentError: another version of edge has written it.
    """
    try:
        document = msgspec.json.decode(body, type=KeyDocument)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise KeyDocumentError(f"another version of edge has written it: {error}") from error
    sha256, previous = document.key.sha256, document.previous
    unreadable = (sha256 and not _SHA256.fullmatch(sha256)) or (previous and not _SHA256.fullmatch(previous))
    if document.key.name != name or unreadable:
        raise KeyDocumentError("it does not fit its name, or has no SHA-256")
    return document


def _mac(name: str, body: bytes, secret: bytes) -> bytes:
    return hmac.digest(secret, name.encode() + b"\0" + body, "sha256")
