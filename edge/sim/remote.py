"""Remote control of a simulated provider in another process: set its faults, and read its counts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import aiohttp
import msgspec

from edge.errors import EdgeError

if TYPE_CHECKING:
    from edge.sim.faults import Fault

ASK_S = 20.0


class SimUnreachableError(EdgeError):
    """The simulated provider does not answer, or refuses the request."""

    kind = "sim_unreachable"
    source = "provider"
    retry = "same"


async def ask(url: str, what: str, *, method: str = "GET", body: bytes | None = None) -> dict[str, Any]:
    """Send a request to ``/_sim/what`` of the provider at ``url`` (its root, or its ``/v1``).

    Raises:
        SimUnreachableError: there is no answer, or a refusal; the text says which, and what to do.
    """
    root = url.rstrip("/").removesuffix("/v1")
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=ASK_S)) as client,
            client.request(method, f"{root}/_sim/{what}", data=body) as response,
        ):
            answer = msgspec.json.decode(await response.read())
    except (aiohttp.ClientError, TimeoutError, msgspec.DecodeError) as fault:
        sentence = (
            f"no simulated provider answers at {root} ({type(fault).__name__}): start it, or wait for its fault to end"
        )
        raise SimUnreachableError(sentence) from fault
    if "error" in answer:
        raise SimUnreachableError(str(answer["error"]["message"]))
    return dict(answer)


async def switch(url: str, *faults: Fault) -> dict[str, Any]:
    """Replace all faults of the provider at ``url``; none heals it.

    Raises:
        SimUnreachableError: see ``ask``.
    """
    return await ask(url, "fault", method="POST", body=msgspec.json.encode(faults))


async def stats(url: str) -> dict[str, Any]:
    """Return the counts of the provider at ``url``; see SimProvider.stats.

    Raises:
        SimUnreachableError: see ``ask``.
    """
    return await ask(url, "stats")
