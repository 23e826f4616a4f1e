"""Which certificates are accepted as an edge's: names, wildcards, URIs, and lookalikes."""

from __future__ import annotations

import pytest

from edge.listen.certified import is_named

NAMES = ("one.edge.internal", "*.eu.edge.internal", "spiffe://edge.internal/us")


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("DNS", "one.edge.internal"),
        ("DNS", "One.EDGE.internal"),
        ("DNS", "a-1.eu.edge.internal"),
        ("URI", "spiffe://edge.internal/us"),
    ],
)
def test_named(kind: str, text: str) -> None:
    """A name is found whatever its case, one label for the wildcard, among other names of the certificate."""
    assert is_named([(kind, text)], NAMES)
    assert is_named([("IP Address", "127.0.0.1"), ("DNS", "other.test"), (kind, text)], NAMES)
    assert not is_named([(kind, text)], ())


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("DNS", "two.edge.internal"),
        ("DNS", "one.edge.internal.test"),
        ("DNS", "edge.internal"),
        ("DNS", "eu.edge.internal"),
        ("DNS", "a.b.eu.edge.internal"),
        ("DNS", ".eu.edge.internal"),
        ("DNS", "*.eu.edge.internal"),  # a certificate for all of them says of none which it is
        ("DNS", "a\0.eu.edge.internal"),
        ("DNS", "one.edge.internal\n"),
        ("DNS", "one.edge.internal."),
        ("DNS", ""),
        ("DNS", "spiffe://edge.internal/us"),
        ("URI", "spiffe://edge.internal/us/1"),
        ("URI", "spiffe://edge.internal/US"),
        ("URI", "one.edge.internal"),
        ("URI", "*.eu.edge.internal"),
        ("email", "one.edge.internal"),
        ("IP Address", "one.edge.internal"),
    ],
)
def test_not_named(kind: str, text: str) -> None:
    """Whatever else a certificate says, it is not one of an edge."""
    assert not is_named([(kind, text)], NAMES)
