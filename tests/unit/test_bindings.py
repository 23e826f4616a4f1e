"""The limit of open files is raised as far as the system allows."""

from __future__ import annotations

import resource
from typing import TYPE_CHECKING

from edge.app import bindings

if TYPE_CHECKING:
    import pytest


class Limits:
    """Stands in for the kernel's limits, of a process with or without the privilege to exceed its hard limit."""

    def __init__(self, soft: int, hard: int, kernel: int, *, privileged: bool) -> None:
        self.now = (soft, hard)
        self.kernel = kernel
        self.privileged = privileged

    def get(self, which: int) -> tuple[int, int]:
        """Return the limits as getrlimit does."""
        assert which == resource.RLIMIT_NOFILE
        return self.now

    def set(self, which: int, wanted: tuple[int, int]) -> None:
        """Set or refuse the limits as setrlimit does."""
        assert which == resource.RLIMIT_NOFILE
        if wanted[1] > self.kernel or (wanted[1] > self.now[1] and not self.privileged):
            raise ValueError("not allowed to raise maximum limit")
        self.now = wanted


def raised(monkeypatch: pytest.MonkeyPatch, limits: Limits, read: int | None = None) -> tuple[int, int]:
    """Raise the limits; return them afterwards."""
    monkeypatch.setattr(resource, "getrlimit", limits.get)
    monkeypatch.setattr(resource, "setrlimit", limits.set)
    monkeypatch.setattr(bindings, "_kernel_file_limit", lambda: limits.kernel if read is None else read)
    bindings.many_files()
    return limits.now


def test_up_to_the_hard_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without privileges the limit is raised to the hard limit."""
    assert raised(monkeypatch, Limits(1024, 20_000, 1_048_576, privileged=False)) == (20_000, 20_000)


def test_beyond_the_hard_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """A privileged process raises the limit to the kernel's maximum."""
    assert raised(monkeypatch, Limits(1024, 20_000, 1_048_576, privileged=True)) == (1_048_576, 1_048_576)


def test_an_unknown_kernel_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """If fs.nr_open cannot be read, the hard limit is used."""
    assert raised(monkeypatch, Limits(1024, 20_000, 1_048_576, privileged=True), read=0) == (20_000, 20_000)


def test_a_low_limit_is_said(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """With few descriptors the log says so, and what to do."""
    assert raised(monkeypatch, Limits(256, 512, 512, privileged=False)) == (512, 512)
    assert "ulimit -Hn" in caplog.text


def test_the_kernel_says_its_limit() -> None:
    """The kernel's maximum is fs.nr_open, on Linux."""
    assert bindings._kernel_file_limit() >= resource.getrlimit(resource.RLIMIT_NOFILE)[1]
