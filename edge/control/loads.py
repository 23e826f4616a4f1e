"""What inference servers say of their load: the requests that wait there, and the part of their cache in use.

Read for the targets of models with ``affinity: prefix``, from ``/metrics`` beside the API. It helps the choice, and
nothing depends on it: a server that does not say, or says nonsense, is judged by what edge has in flight there.
"""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Final

import aiohttp

from edge import clock
from edge.control.rounds import Rounds
from edge.telemetry import logs
from edge.upstream.tls import TlsError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from edge.native import SharedState
    from edge.terms.snapshot import Snapshot, Target

_S: Final = 1_000_000_000
PERIOD_NS: Final = _S
# A server without such metrics will hardly add them, but a new build at the same address may have them.
WITHOUT_NS: Final = 60 * _S
LIMIT_S: Final = 1.0
AT_ONCE: Final = 16
PATH: Final = "/metrics"

# Names as of vLLM 0.11 (docs: design/metrics), SGLang 0.5 (references/production_metrics), llama.cpp (tools/server).
_WAITING: Final = ("vllm:num_requests_waiting", "sglang:num_queue_reqs", "llamacpp:requests_deferred")
_CACHE: Final = (
    "vllm:kv_cache_usage_perc",
    "vllm:gpu_cache_usage_perc",  # before 0.10
    "sglang:token_usage",
    "llamacpp:kv_cache_usage_ratio",
)


def parse(text: str) -> tuple[int, float] | None:
    """Return the requests that wait, over all engines, and the part of the fullest cache in use; None: neither."""
    waiting, cache, known = 0.0, 0.0, False
    for line in text.splitlines():
        name, _, rest = line.partition("{" if "{" in line else " ")
        if name not in _WAITING and name not in _CACHE:
            continue
        words = rest.rpartition("}")[2].split()
        try:
            value = float(words[0]) if words else math.nan
        except ValueError:
            continue
        if not math.isfinite(value) or value < 0:
            continue
        known = True
        if name in _WAITING:
            waiting += value
        else:
            cache = max(cache, min(value, 1.0))
    return (int(min(waiting, 65535)), cache) if known else None


class Loads:
    """Reads the load of every target that one is wanted of, about once a second.

    Args:
        ask: returns the text at a path of a target, None if there is no such path; bounded in size.
        shared_state: where it is written, for all workers.
    """

    def __init__(self, ask: Callable[[Target, str], Awaitable[str | None]], shared_state: SharedState) -> None:
        self._ask = ask
        self._shared_state = shared_state
        self._rounds = Rounds("reading the load", self._read, period_ns=PERIOD_NS, first_ns=PERIOD_NS, at_once=AT_ONCE)

    def tend(self, snapshot: Snapshot, now_ns: int, chance: Callable[[], float]) -> None:
        """Start the readings that are due; the arguments are those of ``Rounds.tend``."""
        self._rounds.tend(wanted(snapshot), now_ns, chance)

    async def stop(self) -> None:
        """Cancel running readings."""
        await self._rounds.stop()

    async def _read(self, target: Target) -> None:
        try:
            async with asyncio.timeout(LIMIT_S):
                text = await self._ask(target, PATH)
        except (OSError, TimeoutError, TlsError, ValueError, aiohttp.ClientError) as error:
            logs.say(logs.DEBUG, "the load is unknown", target=target.id, error=f"{type(error).__name__}: {error}")
            return
        load = None if text is None else parse(text)
        if load is None:
            self._rounds.postpone(target.id, clock.now_ns() + WITHOUT_NS)
            return
        self._shared_state.set_load(target.slot, *load, clock.now_ns())


def wanted(snapshot: Snapshot) -> list[Target]:
    """Return the targets whose load counts: the members of models with ``affinity: prefix``, and of more than one."""
    members = {
        member.target
        for route in snapshot.routes
        if route.affinity == "prefix" and len(route.members) > 1
        for member in route.members
    }
    return [target for index, target in enumerate(snapshot.targets) if index in members and target.kind == "model"]
