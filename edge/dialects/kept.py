"""Reads which ids of what providers keep stand in JSON; the hook ``Kept`` of the data path.

Providers keep responses, conversations, files, batches, fine-tuning jobs and vector stores under ids of their own.
Facts: OpenAI's API reference, whose fields the other providers have too.
"""

from __future__ import annotations

import json
from typing import Any, Final

import msgspec

_NAMED: Final = frozenset(
    {
        "previous_response_id",
        "conversation",
        "input_file_id",
        "training_file",
        "validation_file",
        "file_id",
        "file_ids",
        "vector_store_id",
        "vector_store_ids",
    }
)
_ISSUED: Final = ("id", "output_file_id", "error_file_id", "result_files", "conversation", "file")
_MOST: Final = 256
"""Ids of a request that may be looked up; with more of them it is refused."""


def named(content: bytes) -> list[bytes]:
    """Return the ids that a request names, in order and each once. A member that comes twice counts twice.

    Raises:
        ValueError: it is no JSON, or names more than 256.
    """
    found: dict[bytes, None] = {}

    def look(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        for name, value in pairs:
            if name in _NAMED:
                found.update(dict.fromkeys(_texts(value)))
        ids = [value for name, value in pairs if name == "id"]
        if len(ids) > 1:  # of a conversation, perhaps: readers take one or the other
            found.update(dict.fromkeys(each for value in ids for each in _texts(value)))
        return dict(pairs)

    try:
        json.loads(content, object_pairs_hook=look)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    if len(found) > _MOST:
        raise ValueError(f"it names {len(found)} ids, and at most {_MOST} are looked up")
    return list(found)


def issued(content: bytes) -> list[bytes]:
    """Return the ids that an answer gives out: that of the object, and those of what was made with it.

    Raises:
        ValueError: it is no JSON.
    """
    answer = _decoded(content)
    if not isinstance(answer, dict):
        return []
    return [each for name in _ISSUED for each in _texts(answer.get(name))]


def listed(content: bytes) -> list[bytes]:
    """Return the ids of the objects in a list.

    Raises:
        ValueError: it is no JSON.
    """
    answer = _decoded(content)
    return [each for item in _data(answer) for each in _texts(item)]


def without(content: bytes, ids: list[bytes]) -> bytes:
    """Return a list without the objects that have these ids.

    Raises:
        ValueError: it is no JSON.
    """
    answer = _decoded(content)
    gone = frozenset(ids)
    answer["data"] = [item for item in _data(answer) if not gone.intersection(_texts(item))]
    for name, place in (("first_id", 0), ("last_id", -1)):
        if name in answer:
            end = answer["data"][place] if answer["data"] else None
            answer[name] = end.get("id") if isinstance(end, dict) else None
    return msgspec.json.encode(answer)


def _decoded(content: bytes) -> Any:
    try:
        return msgspec.json.decode(content)
    except (msgspec.DecodeError, RecursionError) as error:
        raise ValueError(str(error)) from error


def _data(answer: Any) -> list[Any]:
    data = answer.get("data") if isinstance(answer, dict) else None
    return data if isinstance(data, list) else []


def _texts(value: Any) -> list[bytes]:
    """Return an id, the id of an object, or those of a list, as bytes."""
    found, left = [], [value]
    while left:  # a loop, because lists in lists may be nested more deeply than calls
        each = left.pop()
        if isinstance(each, list):
            left.extend(reversed(each))
            continue
        name = each.get("id") if isinstance(each, dict) else each
        if isinstance(name, str) and name:
            found.append(name.encode(errors="surrogatepass"))
    return found
