"""Action codes: what a target's response means for the target and the exchange. A table holds one byte per status.

``edge.balance.outcomes`` maps statuses to codes and gives the reasons; ``native`` acts on the codes.
"""

from __future__ import annotations

from typing import Final

ACTION_RELAY: Final = 0
"""A good response: relayed, and counted as a success."""
ACTION_CLIENT: Final = 1
"""The client's own error: relayed as it is, never counted, never retried."""
ACTION_FAIL: Final = 2
"""A failure of the target: counted by its breaker, and retried on another target."""
ACTION_RATE_LIMITED: Final = 3
"""Rate limited, which is not a failure: the target is skipped until its Retry-After has passed; retried elsewhere."""
ACTION_QUARANTINE: Final = 4
"""Edge's credential or balance was refused: the target is quarantined and reported; retried elsewhere."""
ACTION_MISCONFIGURED: Final = 5
"""Edge requested something that does not exist: the target is quarantined and reported; retried elsewhere."""
ACTION_ELSEWHERE: Final = 6
"""Another region cannot serve this model now: its healthy edge is skipped for this model only; retried elsewhere."""
ACTION_DECLINED: Final = 7
"""This target does not take this request, another may: tried elsewhere at no cost; if none takes it, it is relayed."""
ACTION_UNCLEAR: Final = 8
"""As before, but it may be about edge's account or model too: other requests declined alike show it."""
ACTION_TOO_LONG: Final = 9
"""Too long for this target's context window: tried where the window may be larger; if none takes it, it is relayed."""
