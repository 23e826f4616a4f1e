"""A simulated provider reads requests as OpenAI does, and answers the same complete and streamed."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from edge.sim import asked
from edge.sim.answers import DONE, Answer
from edge.sim.asked import Ask, Pace, RefusedError
from edge.sim.vendor_answers import LANGUAGES

PACE = Pace(ttft_s=0.0, tps=0.0, tokens=12, seed=3)
HELLO = [{"role": "user", "content": "hello"}]
TOOL = {"type": "function", "function": {"name": "look", "parameters": {"properties": {"n": {"type": "integer"}}}}}


def read(path: str = "/v1/chat/completions", **body: Any) -> Ask:
    """Read a body with a model and, for chat, a message."""
    given = {"model": "m", **({"messages": HELLO} if "chat" in path else {}), **body}
    return asked.read(path, msgspec.json.encode(given), PACE)


def answer(ask: Ask) -> Answer:
    """Return the answer under a fixed id."""
    return LANGUAGES[ask.operation](ask, "sim-a", "1", 1_700_000_000)


def events(ask: Ask) -> list[dict[str, Any]]:
    """Decode the data of every event of the stream, without the end marker."""
    said = answer(ask)
    raw = b"".join([*said.opening(), *said.content(), *said.closing()])
    frames = raw.removesuffix(DONE).split(b"\n\n")[:-1]
    return [msgspec.json.decode(frame[frame.index(b"data: ") + 6 :]) for frame in frames]


def test_a_stream_says_what_the_whole_says() -> None:
    """The joined deltas of a stream are the content of the complete answer, which names the provider."""
    chunks = events(read(stream=True))
    streamed = "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks)
    whole = msgspec.json.decode(answer(read()).whole())
    # the body differs by "stream", so the seeds are pinned by PACE
    assert streamed == whole["choices"][0]["message"]["content"]
    assert streamed.startswith("Hello from sim-a: ")
    assert chunks[-1]["choices"][0]["finish_reason"] == "stop"


def test_usage_comes_last_and_only_when_asked() -> None:
    """With include_usage a last chunk without choices has the usage; the others have usage null."""
    plain = events(read(stream=True))
    assert all("usage" not in chunk for chunk in plain)
    counted = events(read(stream=True, stream_options={"include_usage": True}))
    assert counted[-1]["choices"] == []
    assert counted[-1]["usage"] == {"prompt_tokens": 2, "completion_tokens": 12, "total_tokens": 14}
    assert [chunk["usage"] for chunk in counted[:-1]] == [None] * (len(counted) - 1)


def test_the_same_request_gives_the_same_bytes() -> None:
    """The text depends on the request only; another request gives another text."""
    pace = Pace(tokens=30)
    one, again, other = (
        LANGUAGES["chat"](asked.read("/v1/chat/completions", body, pace), "sim-a", "1", 1).whole()
        for body in (
            b'{"model":"m","messages":["a"]}',
            b'{"model":"m","messages":["a"]}',
            b'{"model":"m","messages":["b"]}',
        )
    )
    assert one == again
    assert one != other


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "look"}}])
def test_a_tool_is_called_when_it_must_be(choice: object) -> None:
    """A required or named tool is called with arguments that fit its schema, complete and in fragments."""
    ask = read(tools=[TOOL], tool_choice=choice)
    message = msgspec.json.decode(answer(ask).whole())["choices"][0]
    assert message["finish_reason"] == "tool_calls"
    assert message["message"]["tool_calls"][0]["function"] == {"name": "look", "arguments": '{"n":7}'}
    calls = [
        c["choices"][0]["delta"].get("tool_calls") for c in events(read(tools=[TOOL], tool_choice=choice, stream=True))
    ]
    fragments = [call[0]["function"]["arguments"] for call in calls if call]
    assert "".join(fragments) == '{"n":7}'


def test_a_marker_asks_for_the_first_tool_and_none_forbids_it() -> None:
    """[tool] in the text calls a tool; without it, or with tool_choice none, text is answered."""
    marked = [{"role": "user", "content": "please [tool]"}]
    assert read(tools=[TOOL], messages=marked).call is not None
    assert read(tools=[TOOL]).call is None
    assert read(tools=[TOOL], messages=marked, tool_choice="none").call is None


def test_images_are_seen_and_counted() -> None:
    """Image parts are accepted and count as prompt tokens."""
    parts = [{"type": "text", "text": "what?"}, {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}]
    ask = read(messages=[{"role": "user", "content": parts}])
    assert ask.images == 1
    assert ask.asks.image
    assert ask.prompt_tokens == len("what?") // 4 + 1 + asked.IMAGE_TOKENS


def test_pace_comes_from_the_model_then_the_body() -> None:
    """The model's name overrides the server's pace, the sim object overrides both, and max_tokens bounds all."""
    ask = read(model="sim@ttft=20ms,tps=100,tokens=40", sim={"tokens": 30, "seed": 9})
    assert ask.pace == Pace(ttft_s=0.02, tps=100, tokens=30, seed=9)
    assert read(model="sim@tokens=40", max_tokens=5).pace.tokens == 5


def test_responses_numbers_its_events_and_completes() -> None:
    """The Responses API numbers and names its events, and completes with the text of its deltas."""
    seen = events(read("/v1/responses", input="hello", stream=True))
    assert [each["sequence_number"] for each in seen] == list(range(len(seen)))
    assert [each["type"] for each in seen][:2] == ["response.created", "response.in_progress"]
    assert seen[-1]["type"] == "response.completed"
    text = "".join(each["delta"] for each in seen if each["type"] == "response.output_text.delta")
    assert seen[-1]["response"]["output"][0]["content"][0]["text"] == text


def test_embeddings_give_one_vector_for_each_input() -> None:
    """Texts are counted, token lists are one input, and base64 holds the same floats."""
    body = msgspec.json.decode(answer(read("/v1/embeddings", input=["a", "b"], dimensions=4)).whole())
    assert [len(each["embedding"]) for each in body["data"]] == [4, 4]
    assert read("/v1/embeddings", input=[1, 2, 3]).inputs == 1
    packed = msgspec.json.decode(answer(read("/v1/embeddings", input="a", encoding_format="base64")).whole())
    assert isinstance(packed["data"][0]["embedding"], str)


@pytest.mark.parametrize(
    ("path", "body", "said"),
    [
        ("/v1/chat/completions", b"{", "could not parse the JSON"),
        ("/v1/chat/completions", b"[]", "must be a JSON object"),
        ("/v1/chat/completions", b"{}", "provide a model"),
        ("/v1/chat/completions", b'{"model":"m"}', "'messages'"),
        ("/v1/chat/completions", b'{"model":"m","messages":[]}', "'messages'"),
        ("/v1/completions", b'{"model":"m"}', "'prompt'"),
        ("/v1/embeddings", b'{"model":"m"}', "'input'"),
        ("/v1/chat/completions", b'{"model":"m@warp=9","messages":["a"]}', "known are ttft"),
        ("/v1/chat/completions", b'{"model":"m@ttft=fast","messages":["a"]}', "not a duration"),
        ("/v1/chat/completions", b'{"model":"m","messages":["a"],"sim":{"x":1}}', "sim: "),
        ("/v1/chat/completions", b'{"model":"m","messages":["a"],"max_tokens":0}', "positive integer"),
        (
            "/v1/chat/completions",
            b'{"model":"m","messages":["a"],"tools":[{"function":{"name":"f"}}],"tool_choice":{"function":{"name":"g"}}}',
            "not among tools",
        ),
    ],
)
def test_a_bad_request_is_refused_in_words(path: str, body: bytes, said: str) -> None:
    """Requests that a real provider refuses with 400 are refused, and the sentence names the fault."""
    with pytest.raises(RefusedError, match=said):
        asked.read(path, body, PACE)
