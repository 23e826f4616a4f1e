"""The JSON of ``GET /v1/models`` in OpenAI's shape, rendered once per Snapshot."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge.terms.snapshot import Snapshot


def models_document(snapshot: Snapshot, allows: Callable[[str], bool] | None = None, dialect: str = "openai") -> bytes:
    """Return the JSON list: aliases first, then the configured targets as ``provider/model``, each in file order.

    Args:
        snapshot: the Snapshot to list.
        allows: returns whether the client may use a name; None lists all.
        dialect: the API in whose form it is: ``openai``, ``anthropic`` or ``gemini``.
    """
    entries = [entry for name, entry in _entries(snapshot).items() if allows is None or allows(name)]
    shown = [_shaped(entry, dialect) for entry in entries]
    if dialect == "gemini":
        return msgspec.json.encode({"models": shown})
    if dialect == "anthropic":
        ends = {"first_id": shown[0]["id"] if shown else None, "last_id": shown[-1]["id"] if shown else None}
        return msgspec.json.encode({"data": shown, "has_more": False, **ends})
    return msgspec.json.encode({"object": "list", "data": shown})


def model_document(snapshot: Snapshot, model: str, dialect: str = "openai") -> bytes | None:
    """Return the JSON of one model, or None if the list does not contain it."""
    entry = _entries(snapshot).get(model)
    return None if entry is None else msgspec.json.encode(_shaped(entry, dialect))


def _shaped(entry: dict[str, Any], dialect: str) -> dict[str, Any]:
    """Return a model as an API writes it. What edge does not know of an alias is left out, where the API may."""
    name = entry["id"]
    if dialect == "gemini":
        methods = ["generateContent", "streamGenerateContent"]
        return {"name": f"models/{name}", "displayName": name, "supportedGenerationMethods": methods}
    if dialect == "anthropic":
        made = datetime.fromtimestamp(entry["created"], UTC).isoformat().replace("+00:00", "Z")
        return {"type": "model", "id": name, "display_name": name, "created_at": made, "lifecycle": "active"}
    return entry


def _entries(snapshot: Snapshot) -> dict[str, dict[str, Any]]:
    # An alias may not begin with the name of a provider and a slash, so what does is a target.
    owners = {name: owner for name in snapshot.models if (owner := name.partition("/")[0]) in snapshot.providers}
    owners = {name: owner for name, owner in owners.items() if name != owner}
    names = [name for name in snapshot.models if name not in owners and "*" not in name] + list(owners)
    created = int(snapshot.created)
    return {
        name: {
            "id": name,
            "object": "model",
            "created": created,
            "owned_by": owners.get(name, "edge"),
        }
        for name in names
    }
