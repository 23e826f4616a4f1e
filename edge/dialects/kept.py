"""Reads which ids of what providers keep stand in JSON; the hook ``Kept`` of the data path.

Providers keep responses, conversations, files, batches, fine-tuning jobs and vector stores under ids of their own.
Facts: OpenAI's API reference, whose fields the other providers have too; Anthropic's Message Batches
(https://docs.anthropic.com/en/api/creating-message-batches) and files; Gemini's files (https://ai.google.dev/api/files),
which are named ``files/ID``, and in requests by a URL that ends so, its kept prompts (``cachedContents/ID``,
https://ai.google.dev/api/caching) and its batches (``batches/ID``, https://ai.google.dev/api/batch-api).
"""

from __future__ import annotations

import json
from typing import Any, Final
from urllib.parse import unquote, urlsplit

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
_LINKED: Final = frozenset(("fileUri", "file_uri", "fileName", "file_name"))
_CACHED: Final = frozenset(("cachedContent", "cached_content"))
_NAMES: Final = "files/"  # of Gemini's files
_OWN: Final = (_NAMES, "cachedContents/", "batches/")  # how names begin of what Gemini keeps
_RESULTS: Final = "/v1/messages/batches/"
_LISTS: Final = ("data", "files", "cachedContents", "operations")
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
            elif name in _LINKED and isinstance(value, str):
                found.update(dict.fromkeys(_named_by_link(value)))
            elif name in _CACHED and isinstance(value, str) and value.startswith(_OWN):
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
    file = answer.get("file")
    return [each for name in _ISSUED for each in _texts(answer.get(name))] + [
        each for held in (answer, file) if isinstance(held, dict) for each in _own_name(held)
    ]


def listed(content: bytes) -> list[bytes]:
    """Return the ids of the objects in a list.

    Raises:
        ValueError: it is no JSON.
    """
    answer = _decoded(content)
    return [each for item in _data(answer) for each in _ids(item)]


def without(content: bytes, ids: list[bytes]) -> bytes:
    """Return a list without the objects that have these ids.

    Raises:
        ValueError: it is no JSON.
    """
    answer = _decoded(content)
    gone = frozenset(ids)
    for name in _LISTS:
        if isinstance(answer.get(name), list):
            answer[name] = [item for item in answer[name] if not gone.intersection(_ids(item))]
    for name, place in (("first_id", 0), ("last_id", -1)):
        if name in answer:
            end = answer["data"][place] if answer.get("data") else None
            answer[name] = end.get("id") if isinstance(end, dict) else None
    return msgspec.json.encode(answer)


def led_here(content: bytes, here: bytes) -> bytes:
    """Return an answer whose links to results of batches begin with ``here``, a URL without a path.

    Raises:
        ValueError: it is no JSON.
    """
    answer = _decoded(content)
    for item in (answer, *_data(answer)):
        link = item.get("results_url") if isinstance(item, dict) else None
        if isinstance(link, str):
            path = urlsplit(link).path
            if not path.startswith(_RESULTS):
                path = f"{_RESULTS}{item.get('id')}/results"
            item["results_url"] = here.decode() + path
    return msgspec.json.encode(answer)


def _decoded(content: bytes) -> Any:
    try:
        return msgspec.json.decode(content)
    except (msgspec.DecodeError, RecursionError) as error:
        raise ValueError(str(error)) from error


def _data(answer: Any) -> list[Any]:
    if not isinstance(answer, dict):
        return []
    lists = [answer.get(name) for name in _LISTS]
    return [item for found in lists if isinstance(found, list) for item in found]


def _ids(item: Any) -> list[bytes]:
    """Return the ids of an object in a list."""
    return _texts(item) + (_own_name(item) if isinstance(item, dict) else [])


def _own_name(item: dict[str, Any]) -> list[bytes]:
    """Return the name of what Gemini keeps, and of the file with the results of a batch."""
    found = [item.get("name")]
    found += [_member(item.get("response"), "responsesFile"), _member(item.get("dest"), "fileName")]
    found.append(_member(_member(item.get("metadata"), "output"), "responsesFile"))
    return [each for name in found if isinstance(name, str) and name.startswith(_OWN) for each in _texts(name)]


def _member(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, dict) else None


def _named_by_link(link: str) -> list[bytes]:
    """Return the name of a file of Gemini's that a URL ends with, or that is one itself; no other URL names an id."""
    path = unquote(link).partition("?")[0].partition("#")[0].rstrip("/")
    if path.startswith(_NAMES):
        return _texts(path)
    _, found, name = path.rpartition("/" + _NAMES)
    return _texts(_NAMES + name) if found and name else []


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
