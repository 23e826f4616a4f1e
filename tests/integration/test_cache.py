"""A model with a cache answers repeated questions without a target, and asks once for all who ask at once."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from callers import ask, field, keys, status
from loopback import LoopbackServer
from one_data_plane import DONE, HELLO, ROLE, STOP, OneDataPlane, models, one_data_plane, post, sse, whole

from edge.native import RouteCounter
from edge.sim.wire import Again, ReadMessage, ReadToEnd, ScriptedServer, Send

if TYPE_CHECKING:
    from edge.sim.wire import Step

pytestmark = pytest.mark.usefixtures("both_wires")

BODY = b'{"model":"chat","messages":[{"role":"user","content":"hi"}]}'
OTHER = b'{"model":"chat","messages":[{"role":"user","content":"ho"}]}'
STREAMED = b'{"model":"chat","stream":true,"messages":[]}'
CACHE = "    cache: {ttl: 1m}"


def route(data_plane: OneDataPlane) -> dict[str, Any]:
    """Return the record of the route chat in the shared state."""
    slot = next(route.slot for route in data_plane.snapshot.routes if route.name == "chat")
    return dict(data_plane.shared_state.read_route(slot))


async def running(data_plane: OneDataPlane, count: int) -> None:
    """Wait until this many exchanges of the route are in flight."""
    async with asyncio.timeout(20):
        while route(data_plane)["inflight"] < count:  # noqa: ASYNC110 - counted in shared memory
            await asyncio.sleep(0.005)


def content(answer: bytes) -> bytes:
    """Return what follows the head."""
    return answer.partition(b"\r\n\r\n")[2]


class Counting(LoopbackServer):
    """Answers each request with its number, when ``go`` is set; ``broken``: with 500."""

    def __init__(self) -> None:
        self.asked = 0
        self.broken = False
        self._more = asyncio.Condition()
        self.go = asyncio.Event()
        self.go.set()

    async def reached(self, count: int) -> None:
        """Wait until this many requests have come."""
        async with asyncio.timeout(20), self._more:
            await self._more.wait_for(lambda: self.asked >= count)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                size = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
                await reader.readexactly(size)
                async with self._more:
                    self.asked += 1
                    number = self.asked
                    self._more.notify_all()
                await self.go.wait()
                body = b'{"choices":[{"message":{"content":"%d"}}]}' % number
                writer.write(whole(body) if not self.broken else whole(b"{}", b"500 No"))
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()


async def test_a_repeated_question_is_answered_from_the_cache() -> None:
    """The second answer has the same content, says that it is a hit and how old, and no target is asked for it."""
    async with Counting() as upstream:
        text = models(upstream.url, extra=CACHE, defaults="telemetry: {sample: 100%}")
        async with one_data_plane(text) as data_plane:
            first = await data_plane.ask(post(BODY), b"}}")
            again = await data_plane.ask(post(BODY.replace(b",", b" , ")), b"}}")
            other = await data_plane.ask(post(OTHER), b"}}")
            assert (field(first, "x-edge-cache"), field(again, "x-edge-cache"), field(other, "x-edge-cache")) == (
                "miss",
                "hit",
                "miss",
            )
            assert (status(again), content(again)) == (200, content(first))
            assert field(again, "x-edge-target") == "p0/m"
            assert field(again, "x-edge-attempts") == "0"
            assert field(again, "content-type") == field(first, "content-type")
            assert field(again, "x-edge-request-id") != field(first, "x-edge-request-id")
            assert field(again, "age") == "0"
            assert upstream.asked == 2
            records = await data_plane.recorded(3)
            assert [record.cache for record in records] == ["miss", "hit", "miss"]
            assert [len(record.attempts) for record in records] == [1, 0, 1]


@pytest.mark.parametrize(
    ("asks", "said"),
    [
        ("No-Store", None),
        ("max-age=0\r\nCache-Control: no-store", None),
        ("NO-CACHE", "bypass"),
        ("max-age=0\r\nCache-Control: No-Cache", "bypass"),
        ("max-age=0", "hit"),
    ],
)
async def test_what_the_caller_asks_of_caches_holds_however_it_is_written(asks: str, said: str | None) -> None:
    """Directives have no case, and may stand in several fields (RFC 9111 5.2, RFC 9110 5.3)."""
    async with Counting() as upstream, one_data_plane(models(upstream.url, extra=CACHE)) as data_plane:
        await data_plane.ask(post(BODY), b"}}")
        answer = await data_plane.ask(post(BODY, fields=f"Cache-Control: {asks}\r\n".encode()), b"}}")
        assert field(answer, "x-edge-cache") == said
        assert upstream.asked == (1 if said == "hit" else 2)


async def test_who_refuses_canaries_gets_no_answer_of_one_from_the_cache() -> None:
    """What a caller asks for by x-edge-canary holds for kept answers too."""
    async with Counting() as new, Counting() as old:
        text = (
            models(new.url, old.url, extra=CACHE)
            .replace("tier: 1", "tier: 1, canary: {}")
            .replace("tier: 2", "tier: 1")
        )
        async with one_data_plane(text) as data_plane:
            for wish, target in (("always", "p0/m"), ("never", "p1/m"), ("always", "p0/m"), ("never", "p1/m")):
                answer = await data_plane.ask(post(BODY, fields=f"x-edge-canary: {wish}\r\n".encode()), b"}}")
                assert field(answer, "x-edge-target") == target
            assert (new.asked, old.asked) == (1, 1)


async def test_a_stream_is_replayed_as_a_stream() -> None:
    """The events come again in order, with [DONE]."""
    script = (ReadMessage(), Send(sse(ROLE, HELLO, STOP, DONE)), Again())
    async with ScriptedServer(script) as upstream, one_data_plane(models(upstream.url, extra=CACHE)) as data_plane:
        await data_plane.ask(post(STREAMED), b"[DONE]\n\n")
        again = await data_plane.ask(post(STREAMED), b"[DONE]\n\n")
        assert field(again, "x-edge-cache") == "hit"
        assert field(again, "content-type") == "text/event-stream"
        assert [content(again).find(event) for event in (ROLE, HELLO, STOP, DONE)] == sorted(
            again.partition(b"\r\n\r\n")[2].index(event) for event in (ROLE, HELLO, STOP, DONE)
        )
        assert data_plane.outcomes("p0/m")[0] == 1


async def test_one_exchange_asks_for_all() -> None:
    """Of ten requests at once one asks the target, and the others get its answer."""
    async with Counting() as upstream, one_data_plane(models(upstream.url, extra=CACHE)) as data_plane:
        upstream.go.clear()
        asking = [asyncio.create_task(data_plane.ask(post(BODY), b"}}")) for _ in range(10)]
        await running(data_plane, 10)
        upstream.go.set()
        answers = await asyncio.gather(*asking)
        assert upstream.asked == 1
        assert {content(answer) for answer in answers} == {content(answers[0])}
        assert sorted(str(field(answer, "x-edge-cache")) for answer in answers) == ["joined"] * 9 + ["miss"]


async def test_those_who_wait_ask_themselves_when_the_first_fails() -> None:
    """An exchange without an answer ends its flight: the others ask, all at once."""
    text = models("http://127.0.0.1:1", extra=CACHE)
    async with Counting() as upstream:
        text = models(upstream.url, extra=CACHE + "\n    retry: {attempts: 1}")
        async with one_data_plane(text) as data_plane:
            upstream.go.clear()
            upstream.broken = True
            first = asyncio.create_task(data_plane.ask(post(BODY), b"}}"))
            await upstream.reached(1)
            second = asyncio.create_task(data_plane.ask(post(BODY), b"}}"))
            await running(data_plane, 2)
            upstream.go.set()
            assert (status(await first), status(await second)) == (503, 503)
            assert upstream.asked == 2


async def test_an_old_answer_is_given_instead_of_an_error() -> None:
    """When no target can answer, an answer past its time is given and marked; a new question gets the 503."""
    async with Counting() as upstream:
        text = models(upstream.url, extra="    cache: {ttl: 1ms, stale_if_error: 1h}\n    retry: {attempts: 1}")
        async with one_data_plane(text) as data_plane:
            first = await data_plane.ask(post(BODY), b"}}")
            await asyncio.sleep(0.01)
            upstream.broken = True
            stale = await data_plane.ask(post(BODY), b"}}")
            assert (status(stale), content(stale)) == (200, content(first))
            assert field(stale, "x-edge-cache") == "stale"
            assert upstream.asked == 2
            new = await data_plane.ask(post(OTHER), b"}}")
            assert status(new) == 503
            assert field(new, "x-edge-cache") is None
            counts = route(data_plane)["counts"]
            assert counts[RouteCounter.R_CACHE_STALE] == 1


async def test_without_stale_if_error_an_old_answer_is_gone() -> None:
    """Past its time to live an answer is given to nobody."""
    async with Counting() as upstream:
        text = models(upstream.url, extra="    cache: {ttl: 1ms}\n    retry: {attempts: 1}")
        async with one_data_plane(text) as data_plane:
            await data_plane.ask(post(BODY), b"}}")
            await asyncio.sleep(0.01)
            upstream.broken = True
            assert status(await data_plane.ask(post(BODY), b"}}")) == 503


@pytest.mark.parametrize(("shared", "asked"), [("false", 2), ("true", 1)])
async def test_keys_share_answers_only_where_they_are_told_to(shared: str, asked: int) -> None:
    """The answer to one key is no answer to another, unless the cache is shared."""
    text = f"    cache: {{ttl: 1m, shared: {shared}}}"
    async with (
        Counting() as upstream,
        one_data_plane(models(upstream.url, extra=text) + keys(a="", b="")) as data_plane,
    ):
        for name in ("a", "b", "a", "b"):
            assert status(await data_plane.ask(ask(name, BODY), b"}}")) == 200
        assert upstream.asked == asked


@pytest.mark.parametrize(
    ("fields", "asked"), [(b"cache-control: no-store\r\n", 2), (b"cache-control: no-cache\r\n", 2), (b"", 1)]
)
async def test_a_caller_can_ask_for_a_new_answer(fields: bytes, asked: int) -> None:
    """Cache-Control of the request is obeyed; what no-cache brings is kept for the next."""
    async with Counting() as upstream, one_data_plane(models(upstream.url, extra=CACHE)) as data_plane:
        await data_plane.ask(post(BODY), b"}}")
        await data_plane.ask(post(BODY, fields=fields), b"}}")
        assert upstream.asked == asked
        last = await data_plane.ask(post(BODY), b"}}")
        assert upstream.asked == asked
        kept = b'"2"' if b"no-cache" in fields else b'"1"'
        assert kept in last


@pytest.mark.parametrize(
    "script",
    [
        (ReadMessage(), Send(whole(b'{"error":{"message":"no"}}', b"400 Bad Request")), Again()),
        (ReadMessage(), Send(sse(ROLE, HELLO, end=False)), ReadToEnd()),
    ],
    ids=["refused", "broken"],
)
async def test_what_is_no_whole_answer_is_not_kept(script: tuple[Step, ...]) -> None:
    """Neither an error nor a stream that broke off is given to anybody else."""
    body = STREAMED if isinstance(script[-1], ReadToEnd) else BODY
    async with ScriptedServer(script) as upstream, one_data_plane(models(upstream.url, extra=CACHE)) as data_plane:
        for _ in range(2):
            assert field(await data_plane.ask(post(body), b"}}"), "x-edge-cache") == "miss"


async def test_a_model_without_a_cache_says_nothing_of_one() -> None:
    """No field, no counter, and every request is asked."""
    async with Counting() as upstream, one_data_plane(models(upstream.url)) as data_plane:
        for _ in range(2):
            assert field(await data_plane.ask(post(BODY), b"}}"), "x-edge-cache") is None
        assert upstream.asked == 2
        counts = route(data_plane)["counts"]
        assert counts[RouteCounter.R_CACHE_MISSES] == counts[RouteCounter.R_CACHE_HITS] == 0


async def test_a_client_that_leaves_ends_its_flight() -> None:
    """Others do not wait for an exchange whose client is gone."""
    async with Counting() as upstream, one_data_plane(models(upstream.url, extra=CACHE)) as data_plane:
        upstream.go.clear()
        leaving = asyncio.create_task(data_plane.ask(post(BODY), b"}}"))
        await upstream.reached(1)
        waiting = asyncio.create_task(data_plane.ask(post(BODY), b"}}"))
        await running(data_plane, 2)
        leaving.cancel()
        await upstream.reached(2)
        upstream.go.set()
        assert status(await waiting) == 200
