"""edge answers its own paths from the Snapshot of the exchange."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from msgspec import structs
from plans import snapshot

from edge.listen.local import Local
from edge.native import Operation
from edge.routing.table import model_document, models_document

if TYPE_CHECKING:
    from edge.terms.snapshot import Snapshot


@pytest.fixture
def local() -> Local:
    """Make edge's own responses with the real documents."""
    return Local(models_document, model_document)


def asked(local: Local, path: bytes, plan: Snapshot) -> tuple[int, dict[str, object]]:
    """Request a model path."""
    status, fields, body = local.answer(Operation.OPERATION_MODELS, b"GET", path, plan)
    assert fields == [(b"content-type", b"application/json")]
    return status, json.loads(body)


def test_health(local: Local) -> None:
    """The health path answers."""
    assert local.answer(Operation.OPERATION_HEALTH, b"GET", b"/healthz", snapshot())[0] == 200


def test_models_are_those_of_the_snapshot(local: Local) -> None:
    """The list is that of the exchange's Snapshot, also right after another Snapshot's."""
    one = snapshot()
    two = structs.replace(one, models={"other": 0})
    for plan in (one, two, one):
        status, body = asked(local, b"/v1/models", plan)
        assert status == 200
        assert {entry["id"] for entry in body["data"]} == set(plan.models)  # type: ignore[index,attr-defined]


def test_one_model_by_any_spelling(local: Local) -> None:
    """A model with a slash in its name is found with the slash escaped or not; an unknown model is a 404."""
    plan = snapshot()
    for path in (b"/v1/models/one/small", b"/v1/models/one%2Fsmall"):
        status, body = asked(local, path, plan)
        assert (status, body["id"]) == (200, "one/small")
    for path in (b"/v1/models/nope", b"/v1/models/%FF%00"):
        status, body = asked(local, path, plan)
        assert (status, body["error"]["code"]) == (404, "model_not_found")  # type: ignore[index]
