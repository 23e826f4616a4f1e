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
_URL_SAFE: Final = str.maketrans("-_", "+/")


def seal(signature: str, issuer: str, dialect: str) -> str:
    """Return the signature as a client of ``dialect`` may keep it."""
    if issuer == dialect:
        return signature
    return base64.b64encode(b"%b%b:%b" % (_MARK, issuer.encode(), signature.encode())).decode()


def unseal(kept: str, dialect: str) -> tuple[str, str]:
    """Return (signature, issuer) of what a client of ``dialect`` has kept."""
    if kept.startswith(_SEALED):
        try:
            text = base64.b64decode(kept.translate(_URL_SAFE) + "=" * (-len(kept) % 4), validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            return kept, dialect
        _, issuer, signature = [*text.split(":", 2), "", ""][:3]
        if issuer:
            return signature, issuer
    return kept, dialect
