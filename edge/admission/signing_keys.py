"""Reading of an issuer's signing keys, a JSON Web Key Set (RFC 7517), as the Snapshot carries them.

Only public keys for signatures are kept, each with the algorithms that it may verify. Shared secrets (``oct``) are left
out: whoever can verify with one can sign with it. So is a key whose private part is published.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from edge.errors import EdgeError
from edge.terms.snapshot import SigningKey

LONGEST: Final = 256 * 1024
"""Bytes of the longest set that is read."""

MOST_KEYS: Final = 64
_LONGEST_NAME: Final = 500
_LEAST_RSA: Final = 2048  # bits (RFC 7518 3.3)
_MOST_RSA: Final = 8192  # verifying with a longer key takes milliseconds
_RSA: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
_CURVES: Final = {
    ("EC", "P-256"): ("ES256",),
    ("EC", "P-384"): ("ES384",),
    ("EC", "P-521"): ("ES512",),
    ("OKP", "Ed25519"): ("EdDSA",),
}
ALGORITHMS: Final = frozenset(_RSA).union(*_CURVES.values())
"""What tokens may be signed with: asymmetric algorithms alone, and never ``none``."""

_PUBLIC: Final = {"RSA": ("kty", "n", "e"), "EC": ("kty", "crv", "x", "y"), "OKP": ("kty", "crv", "x")}


class KeySetError(EdgeError):
    """What an issuer gives out as its keys cannot be used; the text says why."""

    kind = "bad_key_set"


def read_keys(body: bytes) -> tuple[SigningKey, ...]:
    """Return the usable keys of a set, in its order.

    Raises:
        KeySetError: it is too long, malformed, or has no usable key.
    """
    if len(body) > LONGEST:
        raise KeySetError(f"its keys have more than {LONGEST >> 10} KiB")
    try:
        said = msgspec.json.decode(body)
    except (msgspec.MsgspecError, RecursionError, ValueError) as error:
        raise KeySetError("its keys are not JSON") from error
    listed = said.get("keys") if isinstance(said, dict) else None
    if not isinstance(listed, list):
        raise KeySetError("its keys are not a key set: an object with a list keys")
    if len(listed) > MOST_KEYS:
        raise KeySetError(f"it has {len(listed)} keys; at most {MOST_KEYS} can be used")
    found = [key for written in listed if isinstance(written, dict) and (key := _usable(written)) is not None]
    if not found:
        raise KeySetError(f"none of its {len(listed)} keys can verify a signature here")
    return tuple(found)


def _usable(written: dict[Any, Any]) -> SigningKey | None:
    """Return the key if it may verify signatures, else None."""
    kind, kid = written.get("kty"), written.get("kid", "")
    if not isinstance(kind, str) or not isinstance(kid, str) or len(kid) > _LONGEST_NAME or "d" in written:
        return None
    uses = written.get("key_ops", ["verify"])
    if written.get("use", "sig") != "sig" or not isinstance(uses, list) or "verify" not in uses:
        return None
    able = _RSA if kind == "RSA" else _CURVES.get((kind, str(written.get("crv"))), ())
    algorithms = tuple(name for name in able if written.get("alg", name) == name)
    jwk = {name: written.get(name) for name in _PUBLIC.get(kind, ())}
    if not algorithms or not all(isinstance(value, str) for value in jwk.values()):
        return None
    key = SigningKey(kid, algorithms, msgspec.json.encode(jwk).decode())
    return key if _is_strong(key) else None


def _is_strong(key: SigningKey) -> bool:
    """Return whether the key can be loaded, and is neither too short to be safe nor too long to be quick."""
    import jwt  # noqa: PLC0415  # with cryptography 100 ms, which only nodes with issuers need

    try:
        loaded = jwt.PyJWK.from_json(key.jwk, key.algorithms[0])
    except (jwt.PyJWTError, ValueError, TypeError, OverflowError):
        return False
    size = getattr(loaded.key, "key_size", _LEAST_RSA)
    return key.algorithms[0] not in _RSA or _LEAST_RSA <= size <= _MOST_RSA
