"""An unhealthy target is probed neither too often nor by too many at once, and an answer is only a hint."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from aiohttp import web
from msgspec import structs
from plans import SECRET, snapshot

from edge.control.prober import AT_ONCE, PERIOD_NS, Asker, Prober

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge.terms.snapshot import Target


class Ward:
    """A prober, the targets it has probed, and the hints it has given."""

    def __init__(self, *, well: bool = True, fails: BaseException | None = None) -> None:
        self.asked: list[str] = []
        self.hints: list[int] = []
        self.go_on = asyncio.Event()
        self.go_on.set()
        self._well, self._fails = well, fails
        self.prober = Prober(self.ask, self.hints.append)

    async def ask(self, target: Target) -> bool:
        """Answer as configured."""
        self.asked.append(target.id)
        await self.go_on.wait()
        if self._fails is not None:
            raise self._fails
        return self._well

    async def tend(self, targets: list[Target], now_ns: int, chance: float = 0.0) -> None:
        """Run one turn, and let its probes proceed."""
        self.prober.tend(targets, now_ns, lambda: chance)
        for _ in range(5):
            await asyncio.sleep(0)


def targets(count: int = 1) -> list[Target]:
    """Return some targets."""
    return [structs.replace(snapshot().targets[0], id=f"t{index}", slot=index) for index in range(count)]


async def test_only_while_ill_and_only_every_period() -> None:
    """A target is probed once a period while it is unhealthy, and never otherwise."""
    ward, (one,) = Ward(), targets()
    await ward.tend([], 0)
    assert ward.asked == []
    for now_ns in (0, PERIOD_NS // 2, PERIOD_NS // 4 * 3 - 1):
        await ward.tend([one], now_ns)
    assert ward.asked == ["t0"]
    await ward.tend([one], PERIOD_NS // 4 * 3)
    assert ward.asked == ["t0"] * 2
    await ward.tend([], PERIOD_NS * 10)
    assert ward.asked == ["t0"] * 2


async def test_the_first_one_comes_at_a_time_of_its_own() -> None:
    """Targets that fail together are not probed together: the first probe is at a random time of a period."""
    ward, (one,) = Ward(), targets()
    await ward.tend([one], 0, 0.5)
    await ward.tend([one], PERIOD_NS // 2 - 1)
    assert ward.asked == []
    await ward.tend([one], PERIOD_NS // 2)
    assert ward.asked == ["t0"]


async def test_a_hint_needs_a_good_answer() -> None:
    """A good answer gives a hint to that target's record; a bad answer or none gives no hint."""
    (_, one) = targets(2)
    for ward, hints in (
        (Ward(), [1]),
        (Ward(well=False), []),
        (Ward(fails=ConnectionRefusedError()), []),
        (Ward(fails=TimeoutError()), []),
    ):
        await ward.tend([one], 0)
        assert ward.asked == ["t1"]
        assert ward.hints == hints


async def test_slow_probes_do_not_pile_up() -> None:
    """Each target has at most one probe at a time, and the total is limited."""
    ward, many = Ward(), targets(AT_ONCE * 2)
    ward.go_on.clear()
    for tick in range(4):
        await ward.tend(many, tick * PERIOD_NS * 2)
    assert len(ward.asked) == AT_ONCE
    ward.go_on.set()
    await ward.tend(many, PERIOD_NS * 10)
    await ward.tend(many, PERIOD_NS * 20)
    assert len(set(ward.asked)) == AT_ONCE * 2
    await ward.prober.stop()


async def serve(answer: Callable[[web.Request], web.Response]) -> tuple[web.AppRunner, int]:
    """Run a small HTTP server."""

    async def take(request: web.Request) -> web.Response:
        return answer(request)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", take)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    return runner, runner.addresses[0][1]


@pytest.mark.parametrize(("status", "well"), [(200, True), (204, True), (301, False), (401, False), (503, False)])
async def test_the_question_is_the_free_one_with_our_credential(status: int, well: bool) -> None:
    """The probe is a GET of the target's free path with its credential; only a 2xx is a good answer."""
    seen: list[tuple[str, str, str | None]] = []

    def answer(request: web.Request) -> web.Response:
        seen.append((request.method, request.path, request.headers.get("authorization")))
        return web.Response(status=status, headers={"location": "/elsewhere"})

    runner, port = await serve(answer)
    target = structs.replace(snapshot().targets[0], port=port, probe_path="/v1/models")
    async with Asker() as asker:
        assert await asker.ask(target) is well
    assert seen == [("GET", "/v1/models", f"Bearer {SECRET}")]
    await runner.cleanup()


async def test_without_a_path_a_connection_is_the_question() -> None:
    """A service without a free path is probed by a connect, and a closed port is an error."""
    runner, port = await serve(lambda _: web.Response())
    target = structs.replace(snapshot().targets[0], port=port, probe_path=None)
    async with Asker() as asker:
        assert await asker.ask(target) is True
        await runner.cleanup()
        with pytest.raises(OSError, match=r"refused|Connect"):
            await asker.ask(target)


async def test_a_probe_of_anthropics_names_a_version() -> None:
    """Its list of models is free, and answered with 400 to who names none."""
    asked: list[tuple[str | None, str | None]] = []

    async def models(request: web.Request) -> web.Response:
        asked.append((request.headers.get("anthropic-version"), request.headers.get("x-api-key")))
        return web.json_response({"data": []}, status=200 if asked[-1][0] else 400)

    app = web.Application()
    app.router.add_get("/v1/models", models)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    (one,) = targets()
    fields = (("x-api-key", SECRET),)
    place = {"host": "127.0.0.1", "port": runner.addresses[0][1], "tls": None, "probe_path": "/v1/models"}
    try:
        async with Asker() as asker:
            assert await asker.ask(structs.replace(one, dialect="anthropic", fields=fields, **place))
            assert not await asker.ask(structs.replace(one, dialect="openai", fields=fields, **place))
    finally:
        await runner.cleanup()
    assert asked == [("2023-06-01", SECRET), (None, SECRET)]
