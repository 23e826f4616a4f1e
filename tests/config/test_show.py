"""``edge config show`` shows the configuration that edge has read."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
import yaml

from edge.config import effective
from edge.config.load import read_text, simulated
from edge.config.schema import Config
from edge.config.shape import section_of, sections_within
from edge.config.show import json_schema, show
from edge.providers import KNOWN

if TYPE_CHECKING:
    from collections.abc import Iterator

TEXT = """
node: {region: eu-west, name: n1, workers: 3}
listen: [{address: "0.0.0.0:8080", allow_anonymous: true}]
providers: {local: {base_url: "http://10.0.0.5/v1", jurisdiction: eu, capabilities: [chat], tls: {ca: ca.pem}}}
models: {chat: {targets: [local/a, {target: local/b, weight: 0.5}], require: {jurisdiction: [eu]}}}
services: {s: {match: {path: /s}, targets: ["10.0.0.1:80"], tls: {}, breaker: {slow_threshold: 250ms}}}
defaults: {retry: {budget: 12.5%}, timeouts: {total: 1500ms}}
"""


def test_what_is_shown_is_read_as_the_same() -> None:
    """Without secrets, the shown configuration reads back as the same configuration."""
    config = effective.whole(read_text(TEXT, environ={}).config, KNOWN)
    again = read_text(show(config), environ={})
    assert again.problems == ()
    assert again.config == config


def test_the_empty_configuration_is_shown_whole() -> None:
    """All sections are shown with their defaults, except those whose presence enables a feature."""
    shown = yaml.safe_load(show(Config()))
    assert list(shown) == [name for name in Config.__struct_fields__ if getattr(Config(), name) is not None]
    assert read_text(show(Config()), environ={}).config == Config()


@pytest.mark.parametrize("secret", ["x", "sk-" + "long" * 40])
def test_a_secret_is_three_stars_whatever_its_length(secret: str) -> None:
    """YAML and repr show neither a prefix nor the length of a secret."""
    text = f"providers: {{p: {{base_url: 'http://h/v1', api_key: '{secret}', headers: {{h: '{secret}'}}}}}}\n"
    config = read_text(text + f"admin: {{token: '{secret}'}}", environ={}).config
    shown = yaml.safe_load(show(config))
    assert shown["providers"]["p"]["api_key"] == "***"
    assert shown["providers"]["p"]["headers"] == {"h": "***"}
    assert shown["admin"]["token"] == "***"
    assert re.findall(r"(?:api_key|token)='([^']*)'", repr(config)) == ["***", "***"]
    assert f"'{secret}'" not in repr(config)


def test_a_configuration_survives_the_wire() -> None:
    """A configuration can be encoded and decoded between processes; secrets are kept, and stay hidden."""
    config = read_text(TEXT + "admin: {token: abc}", environ={}).config
    encoded = msgspec.msgpack.encode(config, enc_hook=str)
    decoded = msgspec.msgpack.decode(encoded, type=Config, dec_hook=lambda kind, value: kind(value))
    assert decoded == config
    assert "abc" not in repr(decoded)


def test_relative_files_are_beside_the_configuration() -> None:
    """Relative file names are relative to the configuration, wherever edge was started."""
    config = read_text(TEXT, folder=Path("/etc/edge"), environ={}).config
    assert config.providers["local"].tls.ca == "/etc/edge/ca.pem"


def test_simulated_providers_make_a_whole_configuration() -> None:
    """The configuration that edge uses without any file can be shown and read back."""
    config = simulated(["http://127.0.0.1:1/v1", "http://127.0.0.1:2/v1"])
    assert list(config.providers) == ["sim-a", "sim-b"]
    assert read_text(show(config), environ={}).config == config


def test_the_schema_has_every_field_with_its_sentence() -> None:
    """The schema has a description of each key, all keys, and which of them are required."""
    objects = [
        ([(name, field["description"]) for name, field in item["properties"].items()], item["required"])
        for item in _objects(json_schema())
        if item["additionalProperties"] is False
    ]
    for section in sections_within(section_of(Config)):
        described = [(field.name, field.sentence) for field in section.fields]
        assert (described, [field.name for field in section.fields if field.required]) in objects


def test_the_schema_s_defaults_are_written_as_an_operator_would() -> None:
    """A default in the schema is text that the reader accepts, and not a number of nanoseconds."""
    properties = json_schema()["properties"]
    assert properties["limits"]["properties"]["idle"]["default"] == "5m"
    assert properties["limits"]["properties"]["body"]["default"] == "32MiB"
    assert properties["defaults"]["properties"]["retry"]["properties"]["budget"]["default"] == "20%"
    assert properties["listen"]["items"]["properties"]["allow_anonymous"]["default"] is False


@pytest.mark.parametrize("value", ["250ms", "1.5h", "${TOTAL:-2s}"])
def test_the_schema_takes_what_the_reader_takes(value: str) -> None:
    """Durations, and values that the environment fills in, match the schema's pattern."""
    pattern = json_schema()["properties"]["limits"]["properties"]["idle"]["pattern"]
    assert re.search(pattern, value)


def _objects(schema: Any) -> Iterator[dict[str, Any]]:
    if isinstance(schema, dict):
        if schema.get("type") == "object" and "properties" in schema:
            yield schema
        for item in schema.values():
            yield from _objects(item)
    elif isinstance(schema, list):
        for item in schema:
            yield from _objects(item)
