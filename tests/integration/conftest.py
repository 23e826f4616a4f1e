"""On which loop do integration tests run?  On uvloop, because that is what carries traffic."""

from __future__ import annotations

from typing import TYPE_CHECKING

import uvloop

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    import pytest


def pytest_asyncio_loop_factories(
    config: pytest.Config,  # the hook's signature
    item: pytest.Item,
) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Name the loop of every test here."""
    return {"uvloop": uvloop.new_event_loop}
