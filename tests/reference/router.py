"""Finds a route by trying every rule in turn: the reference model of native/proxy/router.pyx."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edge.terms.snapshot import Snapshot

OWN_PATHS = {
    "/v1/chat/completions": 1,
    "/v1/completions": 2,
    "/v1/embeddings": 3,
    "/v1/responses": 4,
    "/v1/models": 5,
    "/healthz": 6,
    "/chat/completions": 1,
    "/v1/messages": 8,
    "/v1/messages/count_tokens": 9,
    "/v1/moderations": 13,
    "/v1/rerank": 14,
    "/v2/rerank": 14,
    "/v1/images/generations": 15,
    "/v1/audio/speech": 16,
    "/v1/audio/transcriptions": 17,
    "/v1/audio/translations": 18,
    "/v1/images/edits": 19,
    "/v1/images/variations": 20,
    "/v1/responses/compact": 21,
    "/v1/responses/input_tokens": 22,
}
KEPT = {
    "responses": 23,
    "conversations": 24,
    "files": 25,
    "uploads": 25,
    "batches": 26,
    "fine_tuning": 27,
    "vector_stores": 28,
}
BARE = ("conversations", "files", "uploads", "batches", "vector_stores")  # which need no id
SHORT = {
    *KEPT,
    "chat",
    "completions",
    "embeddings",
    "messages",
    "moderations",
    "rerank",
    "images",
    "audio",
    "models",
    "openai",
}
DEPLOYED = {*range(1, 5), *range(8, 12), *range(13, 23)}
METHODS = {"generateContent": 10, "streamGenerateContent": 11}


def operation(path: str) -> int:
    """Return the Operation code of a path."""
    if path in OWN_PATHS:
        return OWN_PATHS[path]
    for prefix in ("/v1beta/models/", "/v1/models/"):
        name, _, method = path.removeprefix(prefix).rpartition(":")
        if path.startswith(prefix) and name and method in METHODS:
            return METHODS[method]
    if path.startswith("/v1/models/") and path != "/v1/models/":
        return 5
    if path.endswith("/"):
        return (
            operation(path[:-1])
            if len(path) > 4 and path not in ("/v1/models/", "/healthz/") and path[-2] != "/"
            else 0
        )
    parts = path.split("/")
    if parts[:2] == ["", "v1"] and len(parts) > 2 and parts[2] in KEPT and (len(parts) > 3 or parts[2] in BARE):
        return KEPT[parts[2]]
    return 0


def short_operation(path: str) -> int:
    """Return the Operation code of a path without /v1, or as Azure writes it."""
    parts = path.split("/")
    if parts[0] or len(parts) < 2 or parts[1] not in SHORT:
        return 0
    path = path.removesuffix("/")
    if parts[1] != "openai":
        return operation(f"/v1{path}")
    if path.startswith("/openai/v1/"):
        return operation(path.removeprefix("/openai"))
    if path.startswith("/openai/deployments/"):
        name, _, rest = path.removeprefix("/openai/deployments/").partition("/")
        found = operation(f"/v1/{rest}")
        return found if name and found in DEPLOYED else 0
    return operation(path.replace("/openai", "/v1", 1)) if path.startswith("/openai/") else 0


def model(snapshot: Snapshot, name: str) -> tuple[str | None, str | None]:
    """Return (route name, the text behind the slash if a wildcard matched)."""
    if name in snapshot.models and ("*" not in name or "/" in name):
        return snapshot.routes[snapshot.models[name]].name, None
    for provider, route in snapshot.providers.items():
        rest = name.removeprefix(f"{provider}/")
        if provider and rest not in (name, "") and "/" not in provider:
            return snapshot.routes[route].name, rest
    fitting = [
        (len(pattern), snapshot.routes[route].name)
        for pattern, route in snapshot.models.items()
        if "*" in pattern
        and "/" not in pattern
        and re.fullmatch(".+".join(map(re.escape, pattern.split("*"))), name, re.DOTALL)
    ]
    return (max(fitting, key=lambda entry: entry[0])[1], name) if fitting else (None, None)


def service(snapshot: Snapshot, host: str, path: str) -> str | None:
    """Return a service's route name: the named host's longest prefix, else any host's, except edge's own paths."""
    for wanted in (host, ""):
        if wanted == "" and operation(path):
            return None
        found = [
            (len(match.path), snapshot.routes[match.route].name)
            for match in snapshot.services
            if match.host == wanted and _covers(match.path, path)
        ]
        if found:
            return max(found, key=lambda entry: entry[0])[1]
    return None


def _covers(prefix: str, path: str) -> bool:
    segments, wanted = path.split("/"), prefix.split("/")
    if prefix == "":
        return True
    if prefix.endswith("/"):
        return path.startswith(prefix)
    return segments[: len(wanted)] == wanted
