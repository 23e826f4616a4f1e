"""What a simulated provider keeps under ids of its own: responses, conversations, files, batches, jobs, vector stores.

Formats: OpenAI's API reference. Nothing takes time: a batch and a job are done when they are asked for again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from edge.sim.answers import dumps, error_body
from edge.sim.asked import RefusedError
from edge.sim.form import form_as_fields

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from edge.sim.asked import Ask

FAMILIES: Final = ("responses", "conversations", "files", "batches", "fine_tuning", "vector_stores")
_KINDS: Final = {  # object, prefix of its ids, and how a missing one is called
    "responses": ("response", "resp_", "Response with id '{0}' not found."),
    "conversations": ("conversation", "conv_", "Conversation with id '{0}' not found."),
    "files": ("file", "file-", "No such File object: {0}"),
    "batches": ("batch", "batch_", "No batch found with id '{0}'."),
    "fine_tuning": ("fine_tuning.job", "ftjob-", "Could not find fine tune: {0}"),
    "vector_stores": ("vector_store", "vs_", "Vector store with id '{0}' not found."),
}


class Said(NamedTuple):
    """One response."""

    status: int
    body: bytes
    content_type: str = "application/json"
    fields: Mapping[str, str] = {}


def is_kept(path: str) -> bool:
    """Return whether a path is one of what is kept."""
    parts = path.strip("/").split("/")
    return parts[0] == "v1" and parts[1:2] != [] and parts[1] in FAMILIES


class Shelf:
    """The objects of one simulated provider, by family and id."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._count = 0
        self._objects: dict[str, dict[str, dict[str, Any]]] = {family: {} for family in FAMILIES}
        self._contents: dict[str, bytes] = {}
        self._items: dict[str, list[Any]] = {}

    def keep(self, ask: Ask, answer: Callable[[], bytes]) -> None:
        """Keep the response that is asked for, with the items that it answers, unless it is not to be stored."""
        if ask.operation != "responses" or ask.given.get("store") is False:
            return
        made, given = msgspec.json.decode(answer()), ask.given.get("input")
        texts = [{"role": "user", "content": given}] if isinstance(given, str) else given or []
        self._objects["responses"][made["id"]] = made
        self._items[made["id"]] = [
            {"id": f"msg_{made['id']}_{at}", "type": "message", "status": "completed", **item}
            for at, item in enumerate(texts)
        ]

    def check(self, ask: Ask) -> None:
        """Check that what a request for a response names is kept here.

        Raises:
            RefusedError: it is not.
        """
        if ask.operation != "responses":
            return
        previous, conversation = ask.given.get("previous_response_id"), ask.given.get("conversation")
        if previous is not None and previous not in self._objects["responses"]:
            message = f"Previous response with id '{previous}' not found."
            raise RefusedError(message, param="previous_response_id", code="previous_response_not_found")
        name = conversation.get("id") if isinstance(conversation, dict) else conversation
        if name is not None:
            self._find("conversations", name)

    def answer(self, method: str, path: str, body: bytes, content_type: str) -> Said:
        """Return the response to a request for what is kept."""
        parts = path.strip("/").split("/")[1:]
        family = parts.pop(0)
        if family == "fine_tuning":
            parts = parts[1:]
        try:
            if not parts and method == "POST":
                return _json(self._create(family, body, content_type))
            if not parts:
                return _json(_page(list(self._objects[family].values())))
            return self._about(method, family, parts, body)
        except RefusedError as missing:
            fault = error_body(str(missing), "invalid_request_error", code=missing.code)
            return Said(missing.status, dumps(fault))
        except (ValueError, msgspec.MsgspecError) as error:
            return Said(400, dumps(error_body(str(error), "invalid_request_error")))

    def _about(self, method: str, family: str, parts: list[str], body: bytes) -> Said:
        """Return the response to a request about one object."""
        name, found = parts[0], self._find(family, parts[0])
        ways: dict[tuple[str, ...], Callable[[], Any]] = {
            ("GET",): lambda: self._finished(family, found),
            ("POST",): lambda: self._changed(found, msgspec.json.decode(body) if body else {}),
            ("DELETE",): lambda: self._delete(family, name),
            ("POST", "cancel"): lambda: self._changed(found, {"status": "cancelled"}),
            ("GET", "input_items"): lambda: _page(self._items.get(name, [])),
            ("GET", "items"): lambda: _page(self._items.get(name, [])),
            ("GET", "events"): lambda: _page([]),
            ("GET", "checkpoints"): lambda: _page([]),
            ("POST", "files"): lambda: self._put_in(name, msgspec.json.decode(body)["file_id"]),
            ("GET", "files"): lambda: _page(self._items.get(name, [])),
        }
        if (method, *parts[1:]) == ("GET", "content"):
            return Said(200, self._contents[name], "application/octet-stream")
        way = ways.get((method, *parts[1:]))
        if way is None:
            raise RefusedError(f"Invalid URL ({method} /v1/{family}/{'/'.join(parts)})", status=404)
        return _json(way())

    def _changed(self, found: dict[str, Any], fields: dict[str, Any]) -> dict[str, Any]:
        found.update(fields)
        return found

    def _delete(self, family: str, name: str) -> dict[str, Any]:
        del self._objects[family][name]
        kind = _KINDS[family][0]
        word = kind if family in {"files", "responses"} else f"{kind}.deleted"
        return {"id": name, "object": word, "deleted": True}

    def _put_in(self, store: str, name: str) -> dict[str, Any]:
        self._find("files", name)
        self._items.setdefault(store, []).append(_member(name, store))
        return _member(name, store)

    def _find(self, family: str, name: str) -> dict[str, Any]:
        found = self._objects[family].get(name)
        if found is None:
            raise RefusedError(_KINDS[family][2].format(name), status=404)
        return found

    def _create(self, family: str, body: bytes, content_type: str) -> dict[str, Any]:
        if family == "files":
            given = form_as_fields(content_type, body, contents=True)
            file = given["file"]
            return self._add("files", self._file(file["name"], given["purpose"], file["content"]))
        given = msgspec.json.decode(body) if body else {}
        if family == "batches":
            self._find("files", given["input_file_id"])
            more = {"endpoint": given["endpoint"], "status": "validating", "errors": None, "output_file_id": None}
            return self._add(family, {**more, "input_file_id": given["input_file_id"], "completion_window": "24h"})
        if family == "fine_tuning":
            self._find("files", given["training_file"])
            more = {"status": "queued", "error": None, "fine_tuned_model": None, "finished_at": None}
            lists = {"result_files": [], "organization_id": "org-sim", "seed": 1, "validation_file": None}
            return self._add(family, {**given, **more, **lists, "hyperparameters": {}, "trained_tokens": None})
        if family == "vector_stores":
            for name in given.get("file_ids") or []:
                self._find("files", name)
            counts = {"in_progress": 0, "completed": len(given.get("file_ids") or []), "failed": 0, "cancelled": 0}
            more = {"status": "completed", "usage_bytes": 0, "file_counts": {**counts, "total": counts["completed"]}}
            return self._add(family, {"name": given.get("name"), "metadata": {}, "last_active_at": 0, **more})
        return self._add(family, {"metadata": given.get("metadata") or {}})

    def _file(self, name: str, purpose: str, content: bytes) -> dict[str, Any]:
        self._contents[f"file-{self._name}-{self._count + 1}"] = content
        return {"bytes": len(content), "filename": name, "purpose": purpose, "status": "processed"}

    def _add(self, family: str, fields: dict[str, Any]) -> dict[str, Any]:
        self._count += 1
        kind, prefix, _ = _KINDS[family]
        name = f"{prefix}{self._name}-{self._count}"
        self._objects[family][name] = {"id": name, "object": kind, "created_at": 0, **fields}
        return self._objects[family][name]

    def _finished(self, family: str, found: dict[str, Any]) -> dict[str, Any]:
        """Return an object as it is when its work is done."""
        if family == "batches" and found["status"] == "validating":
            results = self._add("files", self._file("results.jsonl", "batch_output", b'{"custom_id": "1"}\n'))
            found.update(status="completed", output_file_id=results["id"])
        if family == "fine_tuning" and found["status"] == "queued":
            found.update(status="succeeded", fine_tuned_model=f"ft:{found['model']}:sim")
        return found


def _member(name: str, store: str) -> dict[str, Any]:
    fields = {"id": name, "object": "vector_store.file", "created_at": 0, "vector_store_id": store}
    return {**fields, "status": "completed", "last_error": None, "usage_bytes": 0}


def _page(data: list[Any]) -> dict[str, Any]:
    ends = {"first_id": data[0]["id"] if data else None, "last_id": data[-1]["id"] if data else None}
    return {"object": "list", "data": data, **ends, "has_more": False}


def _json(value: Any) -> Said:
    return Said(200, dumps(value))
