"""Carries signatures of reasoning through dialects that did not issue them.

A client keeps the signature of a model's thoughts and sends it back with the next turn. Only the provider that issued
it can check it. :func:`seal` marks a foreign signature, and :func:`unseal` finds its issuer again, so that it reaches
that provider and no other. The mark is inside base64, because some dialects' clients decode signatures.
"""

from __future__ import annotations

import base64
import binascii
from typing import Final

_MARK: Final = b"edge:"
_SEALED: Final = base64.b64encode(_MARK + b"x").decode()[:6]  # the base64 of the mark, whatever follows it
_REDACTED: Final = "/redacted"
_URL_SAFE: Final = str.maketrans("-_", "+/")


def seal(signature: str, issuer: str, dialect: str, *, redacted: bool = False) -> str:
    """Return the signature as a client of ``dialect`` may keep it. ``redacted``: it is what Anthropic redacted."""
    if issuer == dialect:
        return signature
    front = issuer + (_REDACTED if redacted else "")
    return base64.b64encode(b"%b%b:%b" % (_MARK, front.encode(), signature.encode())).decode()


def unseal(kept: str, dialect: str) -> tuple[str, str]:
    """Return (signature, issuer) of what a client of ``dialect`` has kept."""
    issuer, signature = _opened(kept)
    return (signature, issuer.removesuffix(_REDACTED)) if issuer else (kept, dialect)


def is_redacted(kept: str) -> bool:
    """Return whether what a client has kept is thoughts that Anthropic redacted, rather than a signature."""
    return _opened(kept)[0].endswith(_REDACTED)


def _opened(kept: str) -> tuple[str, str]:
    """Return (issuer, signature) of a foreign signature; ("", "") = it is none."""
    if not kept.startswith(_SEALED):
        return "", ""
    try:
        text = base64.b64decode(kept.translate(_URL_SAFE) + "=" * (-len(kept) % 4), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return "", ""
    _, issuer, signature = [*text.split(":", 2), "", ""][:3]
    return issuer, signature
