"""Names the question that a request asks: requests with equal names may share an answer.

The name is a digest over who may share the answer, the path, and the body in a canonical form: white space, the order
of names and the way in which characters are escaped make no difference, any other difference does. A body that a
provider could read in two ways (a name that occurs twice, a number out of range) has no name, and is never answered
from the cache: one caller could otherwise plant an answer to a question of another.
"""

from __future__ import annotations

import hashlib
import json
import math
from typing import Any


class _AmbiguousError(ValueError):
    """The body can be read in more than one way."""


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _AmbiguousError("a name occurs twice")
    return found


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise _AmbiguousError("a number is out of range")
    return value


def _no_constant(text: str) -> float:
    raise _AmbiguousError(f"{text} is no JSON")


_DECODER = json.JSONDecoder(object_pairs_hook=_once, parse_float=_finite, parse_constant=_no_constant)
_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False)


def question(scope: str, path: bytes, content: bytes) -> bytes | None:
    """Return the name of a question: 32 bytes.

    Args:
        scope: who may share the answer, and which targets may give it.
        path: of the request, without the query.
        content: the body.

    Returns:
        The SHA-256 of all three, or None: the body has no canonical form.
    """
    try:
        body = _DECODER.decode(content.decode())
        if not isinstance(body, dict):
            return None
        canonical = _ENCODER.encode(body).encode("ascii")
    except (ValueError, RecursionError):
        return None
    digest = hashlib.sha256()
    for part in (scope.encode("utf-8", "surrogatepass"), path, canonical):
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return digest.digest()
