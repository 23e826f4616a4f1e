"""The memory of freed objects of exchanges is kept for the next ones of the same class, and for no other."""

from __future__ import annotations

import gc
import os

import pytest

import native.proxy.data_plane  # noqa: F401 - it begins to keep them
from native.http.http1_server import Http1Stream
from native.proxy.attempt_kinds import ModelAttempt
from native.proxy.exchange import Alarm, Exchange
from native.proxy.model_request import ModelRequest, PeerRequest

KEPT = 64  # of each class
# Under AddressSanitizer nothing is kept, so that it sees each object freed (deploy/sanitized.sh loads it first).
SANITIZED = "libasan" in os.environ.get("LD_PRELOAD", "")
KINDS = [Exchange, Alarm, ModelRequest, ModelAttempt, Http1Stream]


def make(kind: type, count: int) -> list[object]:
    """Return so many new objects without their constructor, as the data path makes them."""
    return [kind.__new__(kind) for _ in range(count)]


@pytest.mark.parametrize("kind", KINDS)
def test_memory_is_used_again(kind: type) -> None:
    """Objects beyond those that are kept are freed; the collector of cycles knows all that live, and no other."""
    before = len([each for each in gc.get_objects() if type(each) is kind])
    made = make(kind, KEPT + 6)
    places = {id(each) for each in made}
    made.clear()
    assert len([each for each in gc.get_objects() if type(each) is kind]) == before
    again = make(kind, KEPT)
    assert ({id(each) for each in again} <= places) is not SANITIZED
    assert all(gc.is_tracked(each) for each in again)
    assert gc.collect() >= 0  # it visits each
    again.clear()


def test_a_subclass_has_memory_of_its_own() -> None:
    """An object of a subclass gets none of it: it may be larger."""
    kept = make(ModelRequest, KEPT)
    places = {id(each) for each in kept}
    kept.clear()
    others = make(PeerRequest, 8)
    assert not places & {id(each) for each in others}
    others.clear()
