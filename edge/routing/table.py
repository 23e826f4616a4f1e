"""The JSON of ``GET /v1/models`` in OpenAI's shape, rendered once per Snapshot."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge.terms.snapshot import Snapshot


def models_document(snapshot: Snapshot, allows: Callable[[str], bool] | None = None) -> bytes:
    """Return the JSON list: aliases first, then the configured targets as ``provider/model``, each in file order.

    Args:
        snapshot: the Snapshot to list.
        allows: returns whether the client may use a name; None lists all.
    """
    entries = _entries(snapshot)
    return msgspec.json.encode(
        {"object": "list", "data": [entry for name, entry in entries.items() if allows is None or allows(name)]}
    )


def model_document(snapshot: Snapshot, model: str) -> bytes | None:
    """Return the JSON of one model, or None if the list does not contain it."""
    entry = _entries(snapshot).get(model)
    return None if entry is None else msgspec.json.encode(entry)


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
