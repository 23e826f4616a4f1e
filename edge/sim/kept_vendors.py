"""What a simulated provider of Anthropic's or Gemini's API keeps: batches, files and prompts, under ids of its own.

Formats: https://docs.anthropic.com/en/api/creating-message-batches, https://docs.anthropic.com/en/api/files-create and
https://ai.google.dev/api/files. A batch has ended when it is asked for again. A file of Gemini is uploaded as Google's
clients do: an upload is begun, which answers a URL with its id, and the bytes are sent there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from edge.sim.answers import dumps
from edge.sim.form import form_as_fields
from edge.sim.kept import Said
from edge.sim.vendor_answers import error_in

if TYPE_CHECKING:
    from collections.abc import Mapping

_BATCHES: Final = "/v1/messages/batches"
_FILES: Final = "/v1/files"
_GEMINI: Final = "/v1beta/files"
_CACHES: Final = "/v1beta/cachedContents"
_GEMINI_BATCHES: Final = "/v1beta/batches"
_TIME: Final = "2026-01-01T00:00:00Z"


def is_kept_by_vendor(path: str, fields: Mapping[str, str]) -> bool:
    """Return whether a request is for what Anthropic or Gemini keep; Anthropic's clients name a version."""
    if path.startswith((_BATCHES, _GEMINI, f"/upload{_GEMINI}", _CACHES, _GEMINI_BATCHES)):
        return True
    if path.endswith(":batchGenerateContent"):
        return True
    return path.startswith(_FILES) and "anthropic-version" in fields


class VendorShelf:
    """The batches and files of one simulated provider, which is reached at ``root`` by its own clients."""

    def __init__(self, name: str, root: str) -> None:
        self._name = name
        self._root = root
        self._count = 0
        self._batches: dict[str, dict[str, Any]] = {}
        self._requests: dict[str, list[dict[str, Any]]] = {}
        self._files: dict[str, dict[str, Any]] = {}
        self._contents: dict[str, bytes] = {}
        self._uploads: dict[str, dict[str, Any]] = {}
        self._caches: dict[str, dict[str, Any]] = {}

    def answer(self, method: str, path: str, query: Mapping[str, str], fields: Mapping[str, str], body: bytes) -> Said:
        """Return the response to a request for what is kept."""
        try:
            if path.startswith(_BATCHES):
                return self._batch(method, path.removeprefix(_BATCHES).strip("/").split("/"), body)
            if path.startswith("/upload"):
                return self._upload(query, fields, body)
            if path.startswith("/v1beta"):
                return self._gemini(method, path, body)
            return self._file(method, path.removeprefix(_FILES).strip("/").split("/"), fields, body)
        except KeyError as missing:
            return self._fault(path, 404, f"not found: {missing.args[0]}")
        except (ValueError, msgspec.MsgspecError) as fault:
            return self._fault(path, 400, str(fault))

    def _gemini(self, method: str, path: str, body: bytes) -> Said:
        if path.endswith(":batchGenerateContent"):
            return self._begin_gemini_batch(path, msgspec.json.decode(body))
        if path.startswith(_CACHES):
            return self._cache(method, path.removeprefix(_CACHES).strip("/"), body)
        if path.startswith(_GEMINI_BATCHES):
            return self._gemini_batch(method, path.removeprefix(_GEMINI_BATCHES).strip("/"))
        return self._gemini_file(method, path.removeprefix(_GEMINI).strip("/"))

    def _fault(self, path: str, status: int, message: str) -> Said:
        like = ":" if "v1beta" in path else "/v1/messages"
        return Said(status, dumps(error_in(like, status, {"error": {"message": message}})))

    def _next(self, prefix: str) -> str:
        self._count += 1
        return f"{prefix}{self._name}{self._count:04}"

    def _batch(self, method: str, parts: list[str], body: bytes) -> Said:
        if parts == [""]:
            if method == "POST":
                return _json(self._make_batch(msgspec.json.decode(body)["requests"]))
            return _json(_page(list(self._batches.values())))
        found = self._batches[parts[0]]
        if parts[1:] == ["cancel"]:
            found.update(processing_status="canceling", cancel_initiated_at=_TIME)
        elif parts[1:] == ["results"]:
            lines = [dumps(_result(self._name, request)) + b"\n" for request in self._requests[parts[0]]]
            return Said(200, b"".join(lines), "application/x-jsonl")
        elif method == "DELETE":
            del self._batches[parts[0]]
            return _json({"id": parts[0], "type": "message_batch_deleted"})
        elif found["processing_status"] == "in_progress":
            counts = {**found["request_counts"], "processing": 0, "succeeded": found["request_counts"]["processing"]}
            link = f"{self._root}{_BATCHES}/{parts[0]}/results"
            found.update(processing_status="ended", ended_at=_TIME, request_counts=counts, results_url=link)
        return _json(found)

    def _make_batch(self, requests: list[dict[str, Any]]) -> dict[str, Any]:
        name = self._next("msgbatch_")
        counts = {"processing": len(requests), "succeeded": 0, "errored": 0, "canceled": 0, "expired": 0}
        times = {"created_at": _TIME, "expires_at": _TIME, "ended_at": None, "archived_at": None}
        self._requests[name] = requests
        self._batches[name] = {
            "id": name,
            "type": "message_batch",
            "processing_status": "in_progress",
            "request_counts": counts,
            **times,
            "cancel_initiated_at": None,
            "results_url": None,
        }
        return self._batches[name]

    def _file(self, method: str, parts: list[str], fields: Mapping[str, str], body: bytes) -> Said:
        if parts == [""]:
            if method != "POST":
                return _json(_page(list(self._files.values())))
            file = form_as_fields(fields.get("content-type", ""), body, contents=True)["file"]
            name = self._next("file_")
            self._contents[name] = file["content"]
            self._files[name] = {
                "id": name,
                "type": "file",
                "filename": file["name"],
                "mime_type": "text/plain",
                "size_bytes": file["size"],
                "created_at": _TIME,
                "downloadable": True,
            }
            return _json(self._files[name])
        found = self._files[parts[0]]
        if parts[1:] == ["content"]:
            return Said(200, self._contents[parts[0]], "application/octet-stream")
        if method == "DELETE":
            del self._files[parts[0]]
            return _json({"id": parts[0], "type": "file_deleted"})
        return _json(found)

    def _upload(self, query: Mapping[str, str], fields: Mapping[str, str], body: bytes) -> Said:
        if "upload_id" not in query:
            given = msgspec.json.decode(body).get("file") or {} if body else {}
            session = self._next("AHmUCY-")
            self._uploads[session] = {
                "displayName": given.get("displayName") or given.get("display_name") or "",
                "mimeType": fields.get("x-goog-upload-header-content-type", ""),
                "content": b"",
            }
            link = f"{self._root}/upload{_GEMINI}?upload_id={session}&upload_protocol=resumable"
            return Said(200, b"", "text/plain", {"x-goog-upload-status": "active", "x-goog-upload-url": link})
        upload = self._uploads[query["upload_id"]]
        upload["content"] += body
        if "finalize" not in fields.get("x-goog-upload-command", ""):
            return Said(200, b"", "text/plain", {"x-goog-upload-status": "active"})
        del self._uploads[query["upload_id"]]
        name = self._next(f"files/{self._name}-")
        self._contents[name] = upload["content"]
        self._files[name] = {
            "name": name,
            "displayName": upload["displayName"],
            "mimeType": upload["mimeType"],
            "sizeBytes": str(len(upload["content"])),
            "createTime": _TIME,
            "updateTime": _TIME,
            "expirationTime": _TIME,
            "sha256Hash": "",
            "uri": f"{self._root}/v1beta/{name}",
            "state": "ACTIVE",
            "source": "UPLOADED",
        }
        return _json({"file": self._files[name]})._replace(fields={"x-goog-upload-status": "final"})

    def _gemini_file(self, method: str, rest: str) -> Said:
        if not rest:
            return _json({"files": [file for name, file in self._files.items() if name.startswith("files/")]})
        name, _, way = rest.partition(":")
        found = self._files[f"files/{name}"]
        if way == "download":
            return Said(200, self._contents[f"files/{name}"], "application/octet-stream")
        if method == "DELETE":
            del self._files[f"files/{name}"]
            return _json({})
        return _json(found)

    def _cache(self, method: str, rest: str, body: bytes) -> Said:
        given = msgspec.json.decode(body) if body else {}
        if not rest and method == "POST":
            name = self._next(f"cachedContents/{self._name}-")
            self._caches[name] = {
                "name": name,
                "model": given["model"],
                "displayName": given.get("displayName", ""),
                "createTime": _TIME,
                "updateTime": _TIME,
                "expireTime": _TIME,
                "usageMetadata": {"totalTokenCount": 4096},
            }
            return _json(self._caches[name])
        if not rest:
            return _json({"cachedContents": list(self._caches.values())})
        found = self._caches[f"cachedContents/{rest}"]
        if method == "DELETE":
            del self._caches[f"cachedContents/{rest}"]
            return _json({})
        if method == "PATCH":
            found.update(updateTime="2026-01-02T00:00:00Z")
        return _json(found)

    def _begin_gemini_batch(self, path: str, given: dict[str, Any]) -> Said:
        name = self._next(f"batches/{self._name}-")
        model = path.rpartition("/")[2].partition(":")[0]
        facts = {"name": name, "displayName": given["batch"].get("displayName", ""), "model": f"models/{model}"}
        times = {"createTime": _TIME, "updateTime": _TIME}
        self._batches[name] = {"name": name, "metadata": {**facts, "state": "BATCH_STATE_PENDING", **times}}
        return _json(self._batches[name])

    def _gemini_batch(self, method: str, rest: str) -> Said:
        if not rest:
            return _json({"operations": [each for name, each in self._batches.items() if name.startswith("batches/")]})
        name, _, way = rest.partition(":")
        found = self._batches[f"batches/{name}"]
        if method == "DELETE":
            del self._batches[f"batches/{name}"]
            return _json({})
        if way == "cancel":
            found["metadata"]["state"] = "BATCH_STATE_CANCELLED"
            return _json({})
        return _json(found)


def _result(name: str, request: dict[str, Any]) -> dict[str, Any]:
    message = {
        "id": f"msg_{name}",
        "type": "message",
        "role": "assistant",
        "model": (request.get("params") or {}).get("model", ""),
        "content": [{"type": "text", "text": "done"}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": 1, "output_tokens": 1},
    }
    return {"custom_id": request.get("custom_id"), "result": {"type": "succeeded", "message": message}}


def _page(data: list[dict[str, Any]]) -> dict[str, Any]:
    ends = {"first_id": data[0].get("id") if data else None, "last_id": data[-1].get("id") if data else None}
    return {"data": data, "has_more": False, **ends}


def _json(value: Any) -> Said:
    return Said(200, dumps(value))
