"""What every dialect can say survives a trip through each of them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Raw

from edge.dialects import signatures, translate
from edge.dialects.events import EventSplitter
from edge.dialects.known import DIALECTS
from edge.terms import chat
from tests.reference import dialect_streams

TEXT = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=12)
WORD = st.text(st.sampled_from("abcdefgh"), min_size=1, max_size=6)
OBJECT = st.dictionaries(WORD, st.one_of(TEXT, st.integers(-9, 9), st.booleans(), st.none()), max_size=3).map(
    lambda value: dialect_streams.compact(value).decode()
)
IMAGE = st.builds(
    chat.Media, st.just("image"), st.sampled_from(["image/png", "image/jpeg"]), st.sampled_from(["QUJD", "aGk="])
)
USER = st.lists(st.one_of(TEXT.map(chat.Text), IMAGE), min_size=1, max_size=3).map(tuple)


def merged(parts: tuple[chat.Part, ...]) -> tuple[chat.Part, ...]:
    """Join neighbouring texts: dialects differ in how they cut them."""
    said: list[chat.Part] = []
    for part in parts:
        if said and isinstance(part, chat.Text) and isinstance(said[-1], chat.Text):
            said[-1] = chat.Text(said[-1].text + part.text)
        else:
            said.append(part)
    return tuple(said)


@st.composite
def conversations(draw: st.DrawFn) -> chat.Request:
    """Draw a request of what all dialects have: turns alternate, and each call has its result."""
    messages: list[chat.Message] = []
    if draw(st.booleans()):
        messages.append(chat.Message("system", (chat.Text(draw(TEXT)),)))
    messages.append(chat.Message("user", draw(USER)))
    for turn in range(draw(st.integers(0, 2))):
        calls = tuple(
            chat.ToolCall(f"call_{turn}_{index}", f"f{turn}{index}", draw(OBJECT))
            for index in range(draw(st.integers(0, 2)))
        )
        said = (chat.Text(draw(TEXT)),) if not calls or draw(st.booleans()) else ()
        messages.append(chat.Message("assistant", (*said, *calls)))
        if calls:
            messages.append(
                chat.Message("tool", tuple(chat.ToolResult(call.id, (chat.Text("x" + draw(TEXT)),)) for call in calls))
            )
        messages.append(chat.Message("user", draw(USER)))
    tools = tuple(chat.Tool(name, draw(TEXT), Raw(b'{"type":"object"}')) for name in draw(st.sets(WORD, max_size=2)))
    mode: Any = draw(st.sampled_from(["auto", "none", "required"]))
    return chat.Request(
        model="up",
        messages=tuple(messages),
        tools=tools,
        tool_choice=chat.ToolChoice(mode) if tools and draw(st.booleans()) else None,
        sampling=chat.Sampling(temperature=draw(st.one_of(st.none(), st.sampled_from([0.0, 0.5, 1.0])))),
        max_tokens=draw(st.integers(1, 9999)),
    )


def essence(request: chat.Request) -> list[Any]:
    """Return what a request asks, without what dialects say in other words or not at all."""
    messages = []
    names: dict[str, str] = {}
    for message in request.messages:
        parts: list[Any] = []
        for part in merged(message.parts):
            if isinstance(part, chat.ToolCall):
                names[part.id] = f"{len(names)}"
                parts.append((names[part.id], part.name, json.loads(part.arguments)))
            elif isinstance(part, chat.ToolResult):
                parts.append((names[part.id], merged(part.parts)))
            elif isinstance(part, chat.Media):
                parts.append((part.kind, part.media_type, part.data))
            else:
                parts.append(part)
        messages.append((message.role, parts))
    return [
        messages,
        [(tool.name, tool.description, bytes(tool.parameters or b"")) for tool in request.tools],
        request.tool_choice,
        request.sampling,
        request.max_tokens,
    ]


def joined(request: chat.Request) -> chat.Request:
    """Join neighbouring turns of one role: chat completions has one message for each result."""
    messages: list[chat.Message] = []
    for message in request.messages:
        if messages and messages[-1].role == message.role:
            messages[-1] = chat.Message(message.role, messages[-1].parts + message.parts)
        else:
            messages.append(message)
    return chat.Request(
        request.model,
        tuple(messages),
        request.tools,
        request.tool_choice,
        sampling=request.sampling,
        max_tokens=request.max_tokens,
    )


@pytest.mark.parametrize("name", DIALECTS)
@settings(max_examples=40, deadline=None)
@given(request=conversations())
def test_a_request_survives(name: str, request: chat.Request) -> None:
    """What is written for a target is read as the same request."""
    written = DIALECTS[name].write_request(request, "up")
    read = DIALECTS[name].read_request(written.body, "up", False)
    assert essence(joined(read)) == essence(joined(request))
    assert written.dropped == ()


ANSWER = st.builds(
    lambda said, calls, usage, finish: chat.Answer(
        "r1",
        "up",
        (chat.Choice((*said, *calls), "tool_calls" if calls else finish),),
        chat.Usage(usage[0] + usage[2], usage[1], usage[2]),
    ),
    st.lists(TEXT.map(chat.Text), max_size=1).map(tuple),
    st.lists(st.tuples(WORD, OBJECT), max_size=2).map(
        lambda calls: tuple(chat.ToolCall(f"call_{n}", name, said) for n, (name, said) in enumerate(calls))
    ),
    st.tuples(st.integers(1, 999), st.integers(0, 999), st.integers(0, 99)),
    st.sampled_from(["stop", "length"]),
)


@pytest.mark.parametrize("name", DIALECTS)
@settings(max_examples=40, deadline=None)
@given(answer=ANSWER)
def test_an_answer_survives(name: str, answer: chat.Answer) -> None:
    """What is written for a client is read as the same answer."""
    asked = chat.Request("up", ())
    read = DIALECTS[name].read_answer(DIALECTS[name].write_answer(answer, asked, 0), "q1")
    assert read.choices[0].finish == answer.choices[0].finish
    assert read.choices[0].parts == answer.choices[0].parts
    assert read.usage == answer.usage


@st.composite
def cut_streams(draw: st.DrawFn) -> tuple[chat.Answer, list[chat.Delta]]:
    """Draw an answer, and the deltas of a stream that says it."""
    answer = draw(ANSWER)
    deltas: list[chat.Delta] = [chat.Start("r1", "up")]
    calls = 0
    for part in answer.choices[0].parts:
        if isinstance(part, chat.Text):
            deltas += [chat.TextDelta(0, letter) for letter in part.text]
        elif isinstance(part, chat.ToolCall):
            deltas.append(chat.ToolStart(0, calls, part.id, part.name))
            deltas += [chat.ToolDelta(0, calls, letter) for letter in part.arguments]
            calls += 1
    return answer, [*deltas, chat.FinishDelta(0, answer.choices[0].finish), chat.UsageDelta(answer.usage), chat.End()]


@pytest.mark.parametrize("name", DIALECTS)
@settings(max_examples=40, deadline=None)
@given(drawn=cut_streams(), size=st.integers(1, 40))
def test_a_stream_survives(name: str, drawn: tuple[chat.Answer, list[chat.Delta]], size: int) -> None:
    """What is written to a client as a stream is read as the same answer, wherever it is cut."""
    answer, deltas = drawn
    asked = chat.Request("up", (), include_usage=True)
    writer = DIALECTS[name].writer(asked, "q1", 1)
    said = b"".join(writer.write([delta]) for delta in deltas) + writer.finish()
    whole = dialect_streams.whole(name, said)
    read = DIALECTS[name].read_answer(dialect_streams.compact(whole), "q1")
    assert read.choices[0].finish == answer.choices[0].finish
    assert essence(chat.Request("", (chat.Message("assistant", read.choices[0].parts),))) == essence(
        chat.Request("", (chat.Message("assistant", answer.choices[0].parts),))
    )
    assert read.usage == answer.usage
    conversation = translate.Conversation(DIALECTS[name], asked)
    again = conversation.stream(name, "q1")
    pieces = [piece for at in range(0, len(said), size) for piece in again.push_events(said[at : at + size])]
    assert dialect_streams.whole(name, b"".join(pieces) + again.finish()) == whole


@given(st.text(max_size=30), st.sampled_from(sorted(DIALECTS)), st.sampled_from(sorted(DIALECTS)))
def test_a_signature_finds_its_issuer(signature: str, issuer: str, dialect: str) -> None:
    """A sealed signature is returned with its issuer; one of the dialect's own stays as it is."""
    try:
        signature.encode()
    except UnicodeEncodeError:
        return
    sealed = signatures.seal(signature, issuer, dialect)
    if issuer != dialect:
        assert signatures.unseal(sealed, dialect) == (signature, issuer)
        assert signatures.unseal(sealed.replace("+", "-").replace("/", "_").rstrip("="), dialect) == (signature, issuer)
    else:
        assert sealed == signature


@given(st.lists(st.tuples(WORD, st.lists(WORD, min_size=1, max_size=3)), max_size=4), st.integers(1, 9), st.booleans())
def test_events_are_split_wherever_they_are_cut(said: list[tuple[str, list[str]]], size: int, crlf: bool) -> None:
    """Names and data of events come out whole; comments vanish; line ends may be CR LF."""
    end = "\r\n" if crlf else "\n"
    sent = "".join(
        f": comment{end}event: {name}{end}" + "".join(f"data: {line}{end}" for line in lines) + end
        for name, lines in said
    ).encode()
    splitter = EventSplitter()
    found = [event for at in range(0, len(sent), size) for event in splitter.push(sent[at : at + size])]
    assert found == [(name.encode(), "\n".join(lines).encode()) for name, lines in said]
