"""A turn on a WebSocket becomes the body of a request, and events become their data, as complete parsers read them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from native.codec.event_data import EventData
from native.codec.turn_message import TurnFault, turn

OWN = ["type", "stream", "stream_id", "background", "generate", "previous_response_id"]
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "type", "input"]), inner, max_size=3)
    ),
    max_leaves=6,
)
ITEMS = st.lists(st.fixed_dictionaries({"type": st.just("message"), "content": VALUES}), max_size=3)
TURNS = st.fixed_dictionaries(
    {},
    optional={
        "type": st.none() | st.text(max_size=8),
        "stream": VALUES,
        "stream_id": st.none() | st.text(max_size=8),
        "background": st.none() | st.booleans(),
        "generate": st.none() | st.booleans(),
        "previous_response_id": st.none() | st.text(max_size=8),
        "input": st.none() | st.text(max_size=8) | ITEMS,
        "model": VALUES,
        "tools": VALUES,
        "x, y": VALUES,
    },
).flatmap(lambda turn: st.permutations(list(turn.items())).map(dict))


def spoken(value: Any) -> list[Any]:
    """Return an input as items."""
    if isinstance(value, str):
        return [{"type": "message", "role": "user", "content": value}]
    return value or []


@given(TURNS, st.sampled_from([None, 0, 2]), st.booleans(), ITEMS)
def test_the_body_is_the_turn(
    given_turn: dict[str, Any], indent: int | None, ascii_only: bool, before: list[Any]
) -> None:
    """The body has every member but those of the connection; with a conversation, its items come first."""
    content = json.dumps(given_turn, indent=indent, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    message = turn(content)
    assert message.fault == TurnFault.TURN_OK
    for name, read in (("type", message.kind), ("stream_id", message.lane), ("previous_response_id", message.previous)):
        assert (None if read is None else read.decode("utf-8", "surrogatepass")) == given_turn.get(name)
    assert message.background == bool(given_turn.get("background"))
    assert message.warms_up == (given_turn.get("generate") is False)
    rest = {name: value for name, value in given_turn.items() if name not in OWN} | {"stream": True}
    previous = given_turn.get("previous_response_id")
    assert json.loads(message.written()) == rest | ({} if previous is None else {"previous_response_id": previous})
    items = json.dumps(before)[1:-1].encode()
    assert json.loads(message.written(items)) == rest | {"input": before + spoken(given_turn.get("input"))}
    assert json.loads(b"[" + message.conversation(items) + b"]") == before + spoken(given_turn.get("input"))


@pytest.mark.parametrize(
    ("content", "fault", "at"),
    [
        (b"", TurnFault.TURN_MALFORMED, 0),
        (b"[]", TurnFault.TURN_MALFORMED, 0),
        (b'{"a":1', TurnFault.TURN_MALFORMED, 6),
        (b"{} x", TurnFault.TURN_MALFORMED, 3),
        (b'{"type":1}', TurnFault.TURN_TYPE, 1),
        (b'{"generate":"no"}', TurnFault.TURN_TYPE, 1),
        (b'{"a":0,"input":{}}', TurnFault.TURN_TYPE, 7),
        (b'{"stream_id":"\\ud800"}', TurnFault.TURN_TYPE, 1),
        (b'{"input":"a","in\\u0070ut":"b"}', TurnFault.TURN_TWICE, 13),
        (b'{"model":"a","model":"b"}', TurnFault.TURN_TWICE, 13),
    ],
)
def test_faults(content: bytes, fault: TurnFault, at: int) -> None:
    """What cannot be read in one way is refused, and where is told."""
    assert (turn(content).fault, turn(content).fault_at) == (fault, at)


LINES = st.sampled_from(
    ["data: a", "data:b", "data", "data: ", "event: x", ": c", "id: 1", "", "", "datax: n", "data:  s"]
)


@given(st.lists(LINES, max_size=12), st.sampled_from(["\n", "\r\n", "\r"]), st.integers(1, 7), st.booleans())
def test_data_of_events(lines: list[str], end: str, size: int, mark: bool) -> None:
    """The data of events are found whatever ends their lines, and however the stream is cut."""
    expected, open_lines = [], list[str]()
    for line in lines:
        if not line:
            if open_lines:
                expected.append("\n".join(open_lines).encode())
            open_lines = []
        elif line.partition(":")[0] == "data":
            value = line.partition(":")[2]
            open_lines.append(value.removeprefix(" "))
    stream = ("\ufeff" if mark else "").encode() + "".join(line + end for line in lines).encode()
    reader = EventData()
    found = [data for at in range(0, len(stream), size) for data in reader.push(stream[at : at + size])]
    assert found == expected
    assert open_lines or not lines or reader.held == 0


def test_an_incomplete_event_is_held() -> None:
    """What is held is counted, so that the caller can bound it."""
    reader = EventData()
    assert reader.push(b"data: " + b"a" * 1000) == []
    assert reader.held == 1006
    assert reader.push(b"\n\n") == [b"a" * 1000]
    assert reader.held == 0
