"""What is kept so that another target can go on with a stream counts as held; what a rescue drops is named."""

from __future__ import annotations

import asyncio
import json
from types import SimpleNamespace
from typing import Any

from one_data_plane import DONE, ROLE, STOP, one_data_plane, patient, post, sse
from test_buffered import held, until_held
from test_rescue import ASKED, PACE, PREFILL, asked, config, text_of, whole_text

from edge.native import RouteCounter, WorkerCounter
from edge.sim.faults import Fault
from edge.sim.provider import ProviderSpec, SimProvider
from edge.sim.wire import Close, Hold, ReadMessage, ScriptedServer, Send

BODY = json.dumps(ASKED).encode()


EVENT = b'data: {"id":"a","created":1,"model":"m","choices":[{"index":0,"delta":{"content":"%s"}}]}\n\n'


def said(first: int, count: int) -> bytes:
    """Return events of a text that does not repeat itself."""
    texts = [f"the {n}th word of it, " for n in range(first, first + count)]
    return b"".join(EVENT % text.encode() for text in texts)


def size_of(first: int, count: int) -> int:
    """Return the bytes of that text."""
    return sum(len(f"the {n}th word of it, ") for n in range(first, first + count))


def over(*upstreams: ScriptedServer) -> str:
    """Return configuration text of a model over these upstreams, of which all but the first continue a text."""
    return patient(config(*(SimpleNamespace(base_url=f"{one.url}/v1") for one in upstreams)))  # type: ignore[arg-type]


async def test_the_text_of_a_stream() -> None:
    """The text counts while the stream goes on, and what another target has added to it counts too."""
    breaks, ends = asyncio.Event(), asyncio.Event()
    begun = sse(ROLE, said(0, 1000), end=False)
    rest = sse(ROLE, said(1000, 1000), end=False)
    first = (ReadMessage(), Send(begun), Hold(breaks), Close())
    second = (ReadMessage(), Send(rest), Hold(ends), Send(sse(STOP, DONE)[len(sse()) - 5 :]))
    async with ScriptedServer(first) as one, ScriptedServer(second) as other:
        async with one_data_plane(over(one, other)) as data_plane:
            answer = asyncio.create_task(data_plane.ask(post(BODY), b"[DONE]"))
            async with asyncio.timeout(15):
                while held(data_plane) < len(BODY) + size_of(0, 1000):  # noqa: ASYNC110 - counted by another thread
                    await asyncio.sleep(0.01)
                # the first events are kept too, and the buffer of the text grows by doubling
                assert held(data_plane) < len(BODY) + len(begun) + 2 * size_of(0, 1000)
                breaks.set()
                await other.wait_asked(1)
                # the request to the other target has the first part too
                while held(data_plane) < size_of(0, 1000) + size_of(0, 2000):  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
                assert held(data_plane) < len(BODY) + size_of(0, 1000) + size_of(0, 2000) + 1000
            ends.set()
            assert b"1999th word of it, " in await answer
            await until_held(data_plane, 0)


async def test_a_text_for_which_there_is_no_room() -> None:
    """A text that does not fit into limits.max_buffered is not kept: the stream goes on, and nobody could rescue it."""
    breaks = asyncio.Event()
    script = (ReadMessage(), Send(sse(ROLE, said(0, 5000), end=False)), Hold(breaks), Close())
    async with ScriptedServer(script) as one, ScriptedServer((ReadMessage(), Close())) as other:
        text = over(one, other) + "limits: {body: 32KiB, max_buffered: 64KiB}\n"
        async with one_data_plane(text) as data_plane:
            answer = asyncio.create_task(data_plane.raw(post(BODY, fields=b"connection: close\r\n")))
            await one.wait_asked(1)
            async with asyncio.timeout(15):
                while not data_plane.shared_state.read_worker(0)["counts"][WorkerCounter.W_BYTES_OUT] > 300_000:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            await until_held(data_plane, len(BODY))
            breaks.set()
            received = (await answer).received
            assert b"4999th word of it, " in received
            assert b"stream_broken" in received
            assert not other.peers


async def broken_off(model: str, body: dict[str, Any]) -> tuple[bytes, int]:
    """Ask where the first target breaks off, and the second speaks Anthropic's dialect; return events and rescues."""
    broken = ProviderSpec(name="sim", pace=PACE, faults=(Fault(kind="cut", tokens=20),))
    async with SimProvider(broken) as first, SimProvider(ProviderSpec(name="sim", pace=PACE)) as second:
        text = config(first, second, rescue="text").replace(f"capabilities: {PREFILL}", "dialect: anthropic")
        async with one_data_plane(text.replace("rescue: text", f"rescue: text\n    {model}")) as data_plane:
            events = await asked(data_plane, {**ASKED, **body})
            counts = data_plane.shared_state.read_route(data_plane.snapshot.routes[0].slot)["counts"]
            return events, counts[RouteCounter.R_RESCUES]


HINTS = {"seed": 3, "a\r\nb\n\ndata: c": 1}


async def test_a_rescue_in_another_dialect_drops_hints_silently() -> None:
    """The comment names what the target that goes on was not told, and no name breaks out of it."""
    events, rescues = await broken_off("strict: false", HINTS)
    assert text_of(events) == await whole_text()
    comment = next(line for line in events.split(b"\n") if b"goes on" in line)
    assert comment.startswith(b": edge: p1/m goes on, p0/m broke off; dropped: ")
    assert max(comment.rpartition(b": ")[2].split(b", ")) == b"seed"
    assert b"a??b??data: c" in comment
    assert rescues == 1


async def test_a_rescue_that_nobody_was_asked_for_is_counted() -> None:
    """Where the only other target cannot be asked, no rescue is counted."""
    events, rescues = await broken_off("strict: true", {"seed": 3})
    assert b"stream_broken" in events
    assert rescues == 0
