"""What holds for every test?  A busy machine is no defect: no example is judged by the time it took.

pytest-timeout bounds every test, and hypothesis shrinks within that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import settings

if TYPE_CHECKING:
    import pytest

settings.register_profile("edge", deadline=None)
settings.load_profile("edge")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Take ``--seconds``: how long scenarios under load last."""
    parser.addoption("--seconds", type=float, help="seconds of load in tests/e2e/test_regions.py and test_key_limit.py")
