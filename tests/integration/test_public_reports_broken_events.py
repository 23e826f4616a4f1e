"""Symptoms from public reports: malformed events of a stream, over which an SDK dies, and ends without a word.

Each test is a report: what a provider does, and what callers must see. A new report is a new line or a new test.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from one_data_plane import DONE, HELLO, ROLE, SSE_HEAD, STOP, STREAM, chunk, models, one_data_plane, post, sse

from edge.native import Outcome, TargetCounter
from edge.sim.wire import Again, Pause, ReadMessage, ScriptedServer, Send

pytestmark = pytest.mark.usefixtures("both_wires")

TOLD = b": edge dropped an event that is not JSON\n\n"
BROKEN = {
    "html": b"data: <html>busy</html>\n\n",
    "half": b'data: {"choices":[{"index":0,"delta":{"con\n\n',
    "rest": b'data: tent":"lost"}}]}\n\n',
    "glued": HELLO.strip() + HELLO[6:],
    "text": b'data: "hello"\n\n',
    "null": b"data: null\n\n",
    "not-utf8": HELLO.replace(b"hello", b"hell\xff"),
    "surrogate": HELLO.replace(b"hello", b"\xed\xa0\x80"),
    "control": HELLO.replace(b"hello", b"he\x00llo"),
    "two-lines": b'data: {"choices":[\ndata: {"index":0\n\n',
    "done-and-more": b"data: [DONE]x\n\n",
}
CALL = (
    b'data: {"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"c","type":"function",'
    b'"function":{"name":"f","arguments":"{"}}]},"finish_reason":null}]}\n\n'
)
LOST_CALL = b'data: {"choices":[{"index":0,"delta":{"tool_calls":[{"ind\n\n'


def dropped_of(counts: tuple[int, ...]) -> int:
    """Return how many events of a target were dropped."""
    return counts[TargetCounter.T_DROPPED_EVENTS]


@pytest.mark.parametrize("kind", BROKEN)
@pytest.mark.parametrize("place", ["first", "middle", "with-others", "last"])
async def test_a_malformed_event_kills_the_sdk(kind: str, place: str) -> None:
    """What is no JSON object is dropped, counted, recorded and told by a comment; the rest is relayed as it came."""
    bad = BROKEN[kind]
    events = {
        "first": (bad, ROLE, HELLO, STOP, DONE),
        "middle": (ROLE, HELLO, bad, HELLO, STOP, DONE),
        "with-others": (ROLE, HELLO + bad + HELLO, STOP, DONE),
        "last": (ROLE, HELLO, STOP, bad, DONE),
    }[place]
    async with ScriptedServer((ReadMessage(), Send(sse(*events)), Again())) as provider:
        async with one_data_plane(models(provider.url, extra="telemetry: {sample: 100%}")) as edge:
            said = await edge.ask(post(STREAM), b"[DONE]\n\n")
            assert bad not in said
            assert said.count(TOLD.strip()) == 1
            assert said.count(b"hello") == (1 if place in {"first", "last"} else 2)
            assert b"error" not in said
            assert dropped_of(edge.target("p0/m")["counts"]) == 1
            assert edge.outcomes("p0/m")[Outcome.OK] == 1
            (record,) = await edge.recorded(1)
            assert [attempt.dropped_events for attempt in record.attempts] == [1]


async def test_an_empty_data_line_kills_the_sdk() -> None:
    """A heartbeat with empty data becomes a comment. It is no fault, however often it comes, also in a tool call."""
    async with ScriptedServer(
        (ReadMessage(), Send(sse(ROLE, CALL, *[b"data:\n\n", b"data: \r\n\r\n"] * 4, STOP, DONE)), Again())
    ) as provider:
        async with one_data_plane(models(provider.url)) as edge:
            said = await edge.ask(post(STREAM), b"[DONE]\n\n")
            assert b"data:\n" not in said
            assert b"data: \r" not in said
            assert TOLD.strip() in said
            assert dropped_of(edge.target("p0/m")["counts"]) == 0
            assert edge.outcomes("p0/m")[Outcome.OK] == 1


STRUCTURED: dict[str, dict[str, Any]] = {
    "schema": {"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": {}}}},
    "object": {"response_format": {"type": "json_object"}},
    "guided": {"guided_regex": "a+"},
}
FATAL: dict[str, tuple[dict[str, Any], tuple[bytes, ...]]] = {
    "in-a-call": ({}, (ROLE, CALL, BROKEN["html"])),
    "begins-a-call": ({}, (ROLE, HELLO, LOST_CALL)),
    "four": ({}, (ROLE, HELLO, *[BROKEN["html"]] * 4)),
    "an-error": ({}, (ROLE, HELLO, b"event: error\ndata: overloaded\n\n")),
    **{name: (more, (ROLE, HELLO, BROKEN["html"])) for name, more in STRUCTURED.items()},
}


def asking(**more: Any) -> bytes:
    """Return a request for a stream."""
    return post(json.dumps({"model": "chat", "stream": True, "messages": [], **more}).encode())


@pytest.mark.parametrize("kind", FATAL)
async def test_a_part_is_missing_where_none_may_be(kind: str) -> None:
    """Inside tool calls and structured output, and more than three times, a malformed event is the end of a stream."""
    more, events = FATAL[kind]
    begun, rest = SSE_HEAD + b"".join(map(chunk, events[:2])), b"".join(map(chunk, (*events[2:], STOP, DONE)))
    script = (ReadMessage(), Send(begun), Pause(0.1), Send(rest), Again())
    async with ScriptedServer(script) as provider, one_data_plane(models(provider.url)) as edge:
        said = await edge.ask(asking(**more), b'"error"')
        assert b"not JSON" in said
        assert b"data: <html>" not in said
        assert b"overloaded" not in said
        assert b"[DONE]" not in said
        assert b'"stop"' not in said
        assert edge.outcomes("p0/m")[Outcome.FAIL_MALFORMED] == 1


@pytest.mark.parametrize("kind", FATAL)
async def test_a_part_is_missing_before_anything_was_sent(kind: str) -> None:
    """Before the first content was sent, another target answers."""
    more, events = FATAL[kind]
    bad = sse(b"".join(event for event in events if event != HELLO), STOP, DONE)
    async with ScriptedServer((ReadMessage(), Send(bad), Again())) as provider:
        async with ScriptedServer((ReadMessage(), Send(sse(ROLE, HELLO, STOP, DONE)), Again())) as backup:
            async with one_data_plane(models(provider.url, backup.url)) as edge:
                said = await edge.ask(asking(**more), b"[DONE]")
                assert b"x-edge-target: p1/m\r\n" in said
                assert b"overloaded" not in said
                assert (
                    sum(edge.outcomes("p0/m")[number] for number in (Outcome.FAIL_MALFORMED, Outcome.FAIL_INBAND)) == 1
                )


async def test_three_are_an_accident() -> None:
    """Three malformed events are dropped; the answer goes on."""
    bad = [BROKEN["html"], BROKEN["half"], BROKEN["text"]]
    async with ScriptedServer((ReadMessage(), Send(sse(ROLE, HELLO, *bad, HELLO, STOP, DONE)), Again())) as provider:
        async with one_data_plane(models(provider.url)) as edge:
            said = await edge.ask(post(STREAM), b"[DONE]\n\n")
            assert said.count(b"hello") == 2
            assert dropped_of(edge.target("p0/m")["counts"]) == 3


def choice(index: int, finish: str | None = None, text: str = "hello") -> bytes:
    """Return the event of one choice."""
    said = {"choices": [{"index": index, "delta": {"content": text}, "finish_reason": finish}]}
    return b"data: " + json.dumps(said).encode() + b"\n\n"


USAGE = b'data: {"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":2}}\n\n'
COMPLETE = {
    "one": (ROLE, HELLO, STOP),
    "usage-behind": (ROLE, HELLO, STOP, USAGE),
    "two": (choice(0), choice(1), choice(0, "stop"), choice(1, "length")),
    "many": tuple(choice(index, "stop") for index in range(100)),
    "no-blank-line": (ROLE, HELLO, STOP[:-1]),
}
INCOMPLETE = {
    "none": (ROLE, HELLO),
    "one-of-two": (choice(0), choice(1), choice(0, "stop")),
    "late-one": (choice(0, "stop"), choice(90)),
}


@pytest.mark.parametrize("kind", COMPLETE)
async def test_a_complete_stream_has_no_done(kind: str) -> None:
    """If every choice has its finish_reason at a clean end, [DONE] is added: clients wait for it."""
    async with ScriptedServer((ReadMessage(), Send(sse(*COMPLETE[kind])), Again())) as provider:
        async with one_data_plane(models(provider.url)) as edge:
            said = await edge.ask(post(STREAM), b"[DONE]\n\n")
            assert said.count(b"[DONE]") == 1
            assert edge.outcomes("p0/m")[Outcome.OK] == 1


@pytest.mark.parametrize("kind", INCOMPLETE)
async def test_an_incomplete_stream_is_called_complete(kind: str) -> None:
    """If a choice has no finish_reason, the stream was cut, and no [DONE] says otherwise."""
    async with ScriptedServer((ReadMessage(), Send(sse(*INCOMPLETE[kind])), Again())) as provider:
        async with one_data_plane(models(provider.url)) as edge:
            said = await edge.ask(post(STREAM), b'"error"')
            assert b"[DONE]" not in said
            assert edge.outcomes("p0/m")[Outcome.FAIL_TRUNCATED] == 1


def served(url: str, dialect: str) -> str:
    """Return a configuration whose provider speaks a dialect."""
    return models(url).replace("dialect: openai", f"dialect: {dialect}").replace("/v1'", "'")


def gemini_path(stream: str = "streamGenerateContent?alt=sse") -> str:
    """Return the path of a request of Gemini's dialect."""
    return f"/v1beta/models/chat:{stream}"


ASKED = b'{"contents":[{"role":"user","parts":[{"text":"hi"}]}]}'
BLOCKED = b'data: {"promptFeedback":{"blockReason":"SAFETY"},"usageMetadata":{"promptTokenCount":4}}\r\n\r\n'
SAID = b'data: {"candidates":[{"content":{"role":"model","parts":[{"text":"hello"}]}}]}\r\n\r\n'
ENDED = b'data: {"candidates":[{"content":{"role":"model","parts":[{"text":"!"}]},"finishReason":"STOP"}]}\r\n\r\n'


@pytest.mark.parametrize("client", ["gemini", "openai"])
async def test_a_blocked_prompt_counts_as_cut(client: str) -> None:
    """A Gemini stream with promptFeedback alone is a finished answer: a refusal of the content, and no fault."""
    async with ScriptedServer((ReadMessage(), Send(sse(BLOCKED)), Again())) as provider:
        async with one_data_plane(served(provider.url, "gemini")) as edge:
            if client == "gemini":
                said = await edge.ask(post(ASKED, gemini_path()), b"SAFETY")
            else:
                said = await edge.ask(post(STREAM.replace(b"[]", b'[{"role":"user","content":"hi"}]')), b"[DONE]")
                assert b'"content_filter"' in said
            assert edge.outcomes("p0/m")[Outcome.OK] == 1


@pytest.mark.parametrize("client", ["gemini", "openai", "anthropic"])
async def test_a_malformed_event_in_another_dialect(client: str) -> None:
    """A translated stream goes on without it, and tells so, but not to Gemini clients: some take comments for JSON."""
    script = (ReadMessage(), Send(sse(SAID, b"data: <html>\n\n", ENDED)), Again())
    asked = b'"stream":true,"max_tokens":9,"messages":[{"role":"user","content":"hi"}]}'
    async with ScriptedServer(script) as provider, one_data_plane(served(provider.url, "gemini")) as edge:
        if client == "gemini":
            said = await edge.ask(post(ASKED, gemini_path()), b"STOP")
        elif client == "openai":
            said = await edge.ask(post(b'{"model":"chat",' + asked), b"[DONE]")
        else:
            said = await edge.ask(post(b'{"model":"chat",' + asked, "/v1/messages"), b"message_stop")
        assert b"hello" in said
        assert b"<html>" not in said
        assert (TOLD.strip() in said) == (client != "gemini")
        assert dropped_of(edge.target("p0/m")["counts"]) == 1
        assert edge.outcomes("p0/m")[Outcome.OK] == 1


ANTHROPIC = {
    "start": {"type": "message_start", "message": {"id": "m", "role": "assistant", "content": [], "usage": {}}},
    "block": {"type": "content_block_start", "index": 0, "content_block": {"type": "tool_use", "id": "t", "name": "f"}},
    "delta": {"type": "content_block_delta", "index": 0, "delta": {"type": "input_json_delta", "partial_json": "{"}},
}
RESPONSES = {
    "start": {"type": "response.created", "response": {"id": "r"}},
    "delta": {"type": "response.function_call_arguments.delta", "item_id": "i", "output_index": 0, "delta": "{"},
}


@pytest.mark.parametrize(
    ("path", "dialect", "events"), [("/v1/messages", "anthropic", ANTHROPIC), ("/v1/responses", "openai", RESPONSES)]
)
async def test_a_part_of_a_call_is_missing_in_another_dialect(path: str, dialect: str, events: dict[str, Any]) -> None:
    """Tool calls of the other dialects are known as such."""
    lines = [f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode() for event in events.values()]
    begun = Send(SSE_HEAD + b"".join(map(chunk, lines)))
    script = (ReadMessage(), begun, Pause(0.1), Send(chunk(b"data: {\n\n")), Again())
    text = served("URL", dialect) if dialect == "anthropic" else models("URL")
    async with ScriptedServer(script) as provider:
        async with one_data_plane(text.replace("URL", provider.url)) as edge:
            asked = b'{"model":"chat","stream":true,"max_tokens":9,"input":"hi","messages":[]}'
            said = await edge.ask(post(asked, path), b"not JSON")
            assert b"data: {\n" not in said
            assert edge.outcomes("p0/m")[Outcome.FAIL_MALFORMED] == 1
