"""A name is resolved with few look-ups, survives an outage of the resolver, and never gives a forbidden address."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest

from edge import clock
from edge.upstream import resolver
from edge.upstream.resolver import KEEP_NS, PATIENCE_S, RETRY_NS, Resolver


class FakeLookups:
    """Stands in for the system's resolver and the clock."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.answers: dict[str, list[str] | OSError] = {}
        self.asked: list[str] = []
        self.now_ns = 1
        self.silent: asyncio.Event | None = None  # what no look-up ends before
        monkeypatch.setattr(clock, "now_ns", lambda: self.now_ns)
        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", self.look_up)

    async def look_up(self, host: str, port: None, *, type: int) -> list[Any]:  # noqa: A002 - the loop's name
        """Answer as getaddrinfo does."""
        self.asked.append(host)
        await asyncio.sleep(0)
        if self.silent is not None:
            await self.silent.wait()
        answer = self.answers[host]
        if isinstance(answer, OSError):
            raise answer
        return [
            (socket.AF_INET6 if ":" in each else socket.AF_INET, type, 6, "", (each, 0))
            for each in answer
            for _ in "ab"
        ]


@pytest.fixture
async def lookups(monkeypatch: pytest.MonkeyPatch) -> FakeLookups:
    """Replace the system's resolver on this loop."""
    return FakeLookups(monkeypatch)


async def hosts(of: Resolver, name: str) -> list[str]:
    """Return the addresses of a name."""
    return [address.host for address in await of.addresses(name)]


async def test_families_alternate_and_repeats_vanish(lookups: FakeLookups) -> None:
    """A dead family costs one address and not half of the timeout; the system's first choice stays first."""
    lookups.answers["a"] = ["2001:db8::1", "2001:db8::2", "192.0.2.1"]
    assert await hosts(Resolver(), "a") == ["2001:db8::1", "192.0.2.1", "2001:db8::2"]


async def test_many_callers_one_look_up_until_it_is_old(lookups: FakeLookups) -> None:
    """Concurrent callers share one look-up, and later callers its result until it expires."""
    lookups.answers["a"] = ["192.0.2.1"]
    of = Resolver()
    assert await asyncio.gather(*(hosts(of, "a") for _ in range(20))) == [["192.0.2.1"]] * 20
    assert await hosts(of, "a") == ["192.0.2.1"]
    assert lookups.asked == ["a"]
    lookups.now_ns += KEEP_NS
    lookups.answers["a"] = ["192.0.2.9"]
    assert await hosts(of, "a") == ["192.0.2.9"]


async def test_an_outage_of_the_resolver_is_survived(lookups: FakeLookups) -> None:
    """If a look-up fails, the last good result is used, and the resolver is not asked for every connection."""
    lookups.answers["a"] = ["192.0.2.1"]
    of = Resolver()
    await hosts(of, "a")
    lookups.answers["a"] = socket.gaierror(socket.EAI_AGAIN, "try again")
    lookups.now_ns += KEEP_NS
    for _ in range(5):
        assert await hosts(of, "a") == ["192.0.2.1"]
    assert len(lookups.asked) == 2
    lookups.now_ns += RETRY_NS
    await hosts(of, "a")
    assert len(lookups.asked) == 3


async def test_a_silent_name_server_keeps_nobody_waiting_who_has_an_old_answer(
    lookups: FakeLookups, monkeypatch: pytest.MonkeyPatch
) -> None:
    """During a look-up the old result is used; only the first caller waits a moment for the new one."""
    lookups.answers["a"] = ["192.0.2.1"]
    of, waited = Resolver(), []
    await hosts(of, "a")
    wait = asyncio.wait

    async def noted(tasks: Any, *, timeout: float) -> Any:  # noqa: ASYNC109 - asyncio's own name
        waited.append(timeout)
        return await wait(tasks, timeout=0)

    monkeypatch.setattr(asyncio, "wait", noted)
    lookups.silent, lookups.answers["a"] = asyncio.Event(), ["192.0.2.9"]
    lookups.now_ns += KEEP_NS
    for _ in range(5):
        assert await hosts(of, "a") == ["192.0.2.1"]
    assert (lookups.asked, waited) == (["a", "a"], [PATIENCE_S])
    lookups.silent.set()
    await asyncio.gather(*of._running.values())
    assert await hosts(of, "a") == ["192.0.2.9"]
    lookups.now_ns += KEEP_NS
    lookups.silent.clear()
    assert await hosts(of, "a") == ["192.0.2.9"]
    assert len(waited) == 2, "each look-up is waited for anew"
    lookups.silent.set()
    await asyncio.gather(*of._running.values())


async def test_a_name_that_never_was_is_an_error(lookups: FakeLookups) -> None:
    """Without an earlier result the caller gets the error."""
    lookups.answers["a"] = socket.gaierror(socket.EAI_NONAME, "unknown")
    with pytest.raises(socket.gaierror):
        await Resolver().addresses("a")


async def test_one_impatient_caller_disturbs_nobody(lookups: FakeLookups) -> None:
    """A caller that times out does not cancel a look-up that another caller waits for."""
    lookups.answers["a"] = ["192.0.2.1"]
    of = Resolver()
    patient, impatient = asyncio.create_task(hosts(of, "a")), asyncio.create_task(hosts(of, "a"))
    await asyncio.sleep(0)
    impatient.cancel()
    assert await patient == ["192.0.2.1"]


async def test_a_name_cannot_lead_to_metadata(lookups: FakeLookups) -> None:
    """Addresses that the configuration forbids are dropped; a name's other addresses are used."""
    lookups.answers["mixed"] = ["169.254.169.254", "192.0.2.1"]
    lookups.answers["bad"] = ["169.254.169.254", "::ffff:169.254.169.254"]
    assert await hosts(Resolver(), "mixed") == ["192.0.2.1"]
    with pytest.raises(OSError, match="bad resolves to an address that must not be called"):
        await Resolver().addresses("bad")


async def test_literals_are_not_looked_up(lookups: FakeLookups) -> None:
    """A numeric address needs no resolver."""
    of = Resolver()
    assert await of.addresses("127.0.0.1") == (resolver.Address(socket.AF_INET, "127.0.0.1"),)
    assert await of.addresses("::1") == (resolver.Address(socket.AF_INET6, "::1"),)
    assert lookups.asked == []


async def test_memory_is_bounded(lookups: FakeLookups) -> None:
    """If there are too many names, the one that expires first is dropped."""
    of = Resolver(capacity=2)
    for name in ("a", "b", "c"):
        lookups.answers[name] = ["192.0.2.1"]
        lookups.now_ns += 1
        await of.addresses(name)
    await of.addresses("b")
    await of.addresses("c")
    assert lookups.asked == ["a", "b", "c"]
    await of.addresses("a")
    assert lookups.asked == ["a", "b", "c", "a"]
