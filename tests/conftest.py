"""What holds for every test?  A busy machine is no defect: no example is judged by the time it took.

pytest-timeout bounds every test, and hypothesis shrinks within that.
"""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("edge", deadline=None)
settings.load_profile("edge")
