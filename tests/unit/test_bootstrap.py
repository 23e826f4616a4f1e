"""What a node starts with: whether the file says all that requests need."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from edge.app.bootstrap import from_file

if TYPE_CHECKING:
    from pathlib import Path

PLAIN: dict[str, Any] = {
    "providers": {"openai": {"api_key": "sk-unit-0123456789"}},
    "models": {"chat": {"targets": ["openai/gpt-4.1"]}},
}
ETCD = {"etcd": {"endpoints": ["http://127.0.0.1:2379"]}}
FETCHED = {
    "base_url": "https://one.example/v1",
    "auth": {"type": "oauth2", "token_url": "https://id.example/t", "client_id": "one", "client_secret": "0123456789"},
}
GREETER = {"match": {"grpc": "helloworld.Greeter"}}
ISSUER = {"issuer": "https://id.example", "jwks": "https://id.example/keys", "audience": "edge"}


@pytest.mark.parametrize(
    ("more", "whole"),
    [
        ({}, True),
        ({"keys": [{"name": "one", "sha256": "0" * 64}]}, True),
        ({"services": {"greeter": {**GREETER, "targets": ["10.0.0.1:50051"]}}}, True),
        ({"services": {"greeter": {**GREETER, "discover": "dns://greeter.example:50051"}}}, False),
        ({"cluster": ETCD}, False),
        ({"auth": {"jwt": [ISSUER]}, "keys": [{"name": "one", "identities": ["someone"]}]}, False),
        ({"providers": {**PLAIN["providers"], "cloud": FETCHED}}, False),
    ],
    ids=["plain", "keys", "addresses", "discovery", "the cluster's keys", "issuers", "provider tokens"],
)
def test_a_snapshot_is_whole_when_nothing_is_fetched(tmp_path: Path, more: dict[str, Any], *, whole: bool) -> None:
    """Workers may serve before control if neither addresses, signing keys, tokens nor callers' keys are fetched."""
    place = tmp_path / "edge.yaml"
    place.write_bytes(msgspec.json.encode({**PLAIN, **more}))  # JSON is YAML
    assert from_file(place, "", {}).is_whole is whole
