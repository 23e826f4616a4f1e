"""A small Snapshot for tests, with every kind of object in it, and a credential to search for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge.config.load import read_text
from edge.control.compose import checked, compile_config
from edge.native import SharedState
from edge.routing.planner import allowance_capacity, capacities

if TYPE_CHECKING:
    from edge.terms.snapshot import Snapshot

SECRET = "sk-very-secret-0123456789"

TEXT = f"""
node: {{region: test, name: node-1}}
providers:
  one: {{base_url: "http://127.0.0.1:9/v1", api_key: "{SECRET}"}}
  two: {{base_url: "https://two.test/v1", api_key: "{SECRET}2"}}
models:
  chat:
    targets: [one/small, {{target: two/big, tier: 2}}]
services:
  billing: {{match: {{host: billing.internal, path: /api/}}, targets: ["127.0.0.1:9"]}}
"""


def snapshot(text: str = TEXT) -> Snapshot:
    """Compile a configuration that must be valid."""
    return compile_config(checked(read_text(text, "test.yaml", environ={})), now=1_700_000_000.0)


def shared_state_for(plan: Snapshot, workers: int = 2) -> SharedState:
    """Make an empty shared state of the right size."""
    targets, routes = capacities(plan)
    return SharedState.create(
        targets, routes, workers, allowance_capacity=allowance_capacity(plan), pin_bytes=plan.limits.affinity
    )
