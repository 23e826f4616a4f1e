"""What does a keepsake promise to a process that starts?"""

from __future__ import annotations

import os

import pytest
from plans import snapshot

from edge.config.fields import Secret
from edge.config.schema import Config, Provider
from edge.control.keepsake import Keepsake
from edge.terms.snapshot import Snapshot


def test_empty() -> None:
    """A keepsake in which nothing was kept holds nothing."""
    assert Keepsake.create("test", Snapshot).recall() is None


def test_last_value_wins_and_is_whole() -> None:
    """A shorter value after a longer one leaves nothing of it behind."""
    keepsake = Keepsake.create("test", dict[str, str])
    keepsake.keep({"a": "x" * 5000})
    keepsake.keep({"b": "y"})
    assert Keepsake(keepsake.fd, dict[str, str]).recall() == {"b": "y"}
    assert os.fstat(keepsake.fd).st_size < 100


def test_snapshot_and_config_survive() -> None:
    """A Snapshot and a configuration come back equal, and a secret comes back as one that is not shown."""
    plan = snapshot()
    kept = Keepsake.create("test", Snapshot)
    kept.keep(plan)
    assert kept.recall() == plan
    config = Config(providers={"one": Provider(api_key=Secret("hidden-key"))})
    configured = Keepsake.create("test", Config)
    configured.keep(config)
    back = configured.recall()
    assert back == config
    assert "hidden-key" not in repr(back)


@pytest.mark.parametrize("torn", ["size", "body", "magic"])
def test_half_written_is_absent(torn: str) -> None:
    """A writer killed in the middle leaves a keepsake that counts as empty, never a mixture."""
    keepsake = Keepsake.create("test", dict[str, str])
    keepsake.keep({"key": "value" * 100})
    if torn == "size":
        os.ftruncate(keepsake.fd, 200)
    elif torn == "body":
        os.pwrite(keepsake.fd, b"???", 60)
    else:
        os.pwrite(keepsake.fd, bytes(4), 0)
    assert keepsake.recall() is None


def test_only_known_kinds_are_kept() -> None:
    """A value that is no plain data is refused when it is kept, not when it is recalled."""
    with pytest.raises(TypeError, match="object cannot be kept"):
        Keepsake.create("test", object).keep(object())
