"""What may an answer mean for the target that gave it?  Seven codes, so small that a table holds one byte per status.

``edge.balance.outcomes`` says which status means what, and why; ``native`` acts on the codes.
"""

from __future__ import annotations

from typing import Final

ACTION_RELAY: Final = 0
"""A good answer: relayed, and it counts as a success."""
ACTION_CLIENT: Final = 1
"""The caller's own doing: relayed as it is, never counted, never retried."""
ACTION_FAIL: Final = 2
"""The target failed: counted by its breaker, tried elsewhere."""
ACTION_REST: Final = 3
"""Rate limited: not a failure; the target rests until it said it may be asked again, tried elsewhere."""
ACTION_OUT: Final = 4
"""Our credential or balance was refused: the target is out, loudly, tried elsewhere."""
ACTION_MISCONFIGURED: Final = 5
"""We ask for something that is not there: the target is out, loudly, tried elsewhere."""
ACTION_ELSEWHERE: Final = 6
"""Another region cannot answer this model now: it is well, and is left alone for this model only; tried elsewhere."""
