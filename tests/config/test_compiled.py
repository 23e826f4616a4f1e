"""The rule by which sections of the configuration become structs of the Snapshot."""

from __future__ import annotations

from typing import Any, Final

import pytest
from msgspec import NODEFAULT, Struct, structs

from edge.config import (
    crowding,
    schema,
    schema_keys,
    schema_limits,
    schema_listen,
    schema_peers,
    schema_policy,
    schema_telemetry,
)
from edge.config.compiled import compiled, compiled_name
from edge.config.schema_targets import ModelTarget, ServiceTarget
from edge.config.shape import section_of
from edge.terms import snapshot

WHOLE: Final[list[tuple[type[Struct], type[Struct]]]] = [
    (schema_policy.Retry, snapshot.Retry),
    (crowding.Queue, snapshot.Queue),
    (schema_limits.Limits, snapshot.Limits),
]
"""Sections that become a struct of the Snapshot key by key, with nothing else in it."""

IN_PART: Final[list[tuple[type[Struct], type[Struct]]]] = [
    (schema_policy.Timeouts, snapshot.Timeouts),
    (schema_policy.Breaker, snapshot.Breaker),
    (schema_telemetry.Telemetry, snapshot.Tracing),
    (schema_peers.Peers, snapshot.Peers),
    (schema_peers.PeerTls, snapshot.UpstreamTls),
    (schema_keys.Key, snapshot.Key),
    (schema_keys.Key, snapshot.Allowance),
    (schema_keys.ProviderLimits, snapshot.Allowance),
    (schema_listen.Listen, snapshot.Listener),
    (schema_listen.ListenTls, snapshot.ListenTls),
    (schema.UpstreamTls, snapshot.UpstreamTls),
    (schema.Provider, snapshot.Target),
    (schema.Service, snapshot.Target),
    (schema.Model, snapshot.Route),
    (ModelTarget, snapshot.Member),
    (ServiceTarget, snapshot.Member),
    (schema.Match, snapshot.ServiceMatch),
    (schema.Config, snapshot.Snapshot),
]
"""Sections of which a struct of the Snapshot has some keys."""


def names(section: type[Struct]) -> dict[str, str]:
    """Return the keys of a section by their names in the Snapshot."""
    return {compiled_name(field.name, field.shape): field.name for field in section_of(section).fields}


def ids(pair: object) -> str:
    """Name a pair by its struct."""
    return getattr(pair, "__name__", str(pair))


@pytest.mark.parametrize(("section", "kind"), WHOLE, ids=ids)
def test_every_key_arrives_under_its_name(section: type[Struct], kind: type[Struct]) -> None:
    """Each key's value is in the field of its name (a duration in ``_ns``), and there is no other field."""
    assert set(names(section)) == set(kind.__struct_fields__)
    written = section(**{key: 1000 + place for place, key in enumerate(section.__struct_fields__)})
    made = structs.asdict(compiled(written, kind))
    assert made == {name: getattr(written, key) for name, key in names(section).items()}


@pytest.mark.parametrize(("section", "kind"), WHOLE + IN_PART, ids=ids)
def test_a_default_stands_in_the_schema_alone(section: type[Struct], kind: type[Struct]) -> None:
    """A field that a key fills has no default in the Snapshot; a section and a struct share some names."""
    filled = [field for field in structs.fields(kind) if field.name in names(section)]
    assert filled
    twice = [field.name for field in filled if (field.default, field.default_factory) != (NODEFAULT, NODEFAULT)]
    assert twice == []


@pytest.mark.parametrize(("section", "kind"), WHOLE + IN_PART, ids=ids)
def test_a_duration_ends_in_ns_and_nothing_else_does(section: type[Struct], kind: type[Struct]) -> None:
    """A field of the Snapshot has the suffix ``_ns`` exactly if its key is a duration."""
    ruled = names(section)
    for field in structs.fields(kind):
        bare = field.name.removesuffix("_ns")
        if bare in section.__struct_fields__:
            assert field.name in ruled, f"{section.__name__}.{bare} as {kind.__name__}.{field.name}"


class Inner(Struct, frozen=True):
    """A nested section."""

    connect_ns: int
    total_ns: int


class Outer(Struct, frozen=True):
    """A struct with a nested section, and with a field that no key has."""

    timeouts: Inner | None
    slot: int


def test_a_section_within_follows_the_same_rule() -> None:
    """A nested section is compiled too, into the struct that the field requires."""
    made = compiled(schema.Defaults(), Outer, slot=3)
    assert made == Outer(Inner(2_000_000_000, 600_000_000_000), 3)


def test_what_is_given_wins() -> None:
    """An explicit argument replaces the value of the section."""
    assert compiled(schema.Defaults(), Outer, slot=3, timeouts=None) == Outer(None, 3)


@pytest.mark.parametrize("given", [{}, {"slot": 1, "unknown": 2}])
def test_a_field_too_few_or_too_many_is_an_error(given: dict[str, Any]) -> None:
    """A missing field and a superfluous argument are errors."""
    with pytest.raises(TypeError):
        compiled(schema.Defaults(), Outer, **given)
