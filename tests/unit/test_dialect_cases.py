"""Each case of tests/reference/dialects is said in each dialect; here each is translated into each other one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from edge.dialects import translate
from edge.dialects.errors import CannotCarryError
from tests.reference import dialect_streams

DIALECTS = ("openai", "responses", "anthropic", "gemini")
CASES = {
    path.stem: yaml.safe_load(path.read_text())
    for path in sorted((Path(__file__).parent.parent / "reference" / "dialects").glob("*.yaml"))
}
PAIRS = [(client, target) for client in DIALECTS for target in DIALECTS if client != target]


def pairs(*sections: str) -> list[Any]:
    """Return (case, client, target) wherever a case has all of these sections."""
    return [
        pytest.param(case, client, target, id=f"{name}-{client}-{target}")
        for name, case in CASES.items()
        for client, target in PAIRS
        if all(case.get(section) for section in sections)
        and ("request" not in sections or client in case["request"])
        and ("answer" not in sections or target in case["answer"])
        and ("client" not in sections or client in case["client"])
        and ("stream" not in sections or target in case["stream"])
    ]


def covers(expected: Any, actual: Any) -> Any:
    """Return ``actual`` with what ``expected`` leaves open taken from it: "*", and fields at the top."""
    if expected == "*":
        return "*" if actual else actual
    if isinstance(expected, dict) and isinstance(actual, dict):
        return {key: covers(expected.get(key, "missing"), value) for key, value in actual.items()}
    if isinstance(expected, list) and isinstance(actual, list) and len(expected) == len(actual):
        return [covers(one, other) for one, other in zip(expected, actual, strict=True)]
    return actual


def shown(expected: dict[str, Any], actual: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of an answer that a case names, comparable with them."""
    return {key: covers(value, actual.get(key)) for key, value in expected.items()}


def conversation(case: dict[str, Any], client: str, stream: bool) -> translate.Conversation:
    """Read the client's request of a case; cases without one ask the shortest question."""
    short = {
        "openai": {"model": "chat", "messages": [{"role": "user", "content": "Hi"}]},
        "responses": {"model": "chat", "input": "Hi"},
        "anthropic": {"model": "chat", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]},
        "gemini": {"contents": [{"parts": [{"text": "Hi"}]}]},
    }
    body = dict(case.get("request", short)[client])
    if stream and client != "gemini":
        body["stream"] = True
    if stream and client == "openai":
        body["stream_options"] = {"include_usage": True}
    return translate.conversation(client, json.dumps(body).encode(), "chat", stream)


@pytest.mark.parametrize(("case", "client", "target"), pairs("request", "upstream"))
def test_a_request_reaches_the_target_in_its_dialect(case: dict[str, Any], client: str, target: str) -> None:
    """The body for the target is exactly that of the case, and what is left out is named."""
    model = case.get("model", "up")
    refused = case.get("refused", {}).get(f"{client}>{target}", case.get("refused", {}).get(target))
    if refused is not None:
        with pytest.raises(CannotCarryError, match=refused):
            conversation(case, client, False).body_for(target, model, False)
        return
    written = conversation(case, client, False).body_for(target, model, False)
    overrides = case.get("overrides", {})
    expected = case["upstream"][target] | overrides.get(f"{client}>{target}", {})
    assert json.loads(written.body) == {key: value for key, value in expected.items() if value is not None}
    dropped = case.get("dropped", {})
    assert list(written.dropped) == dropped.get(f"{client}>{target}", dropped.get(target, []))


@pytest.mark.parametrize(("case", "client", "target"), pairs("answer", "client"))
def test_an_answer_reaches_the_client_in_its_dialect(case: dict[str, Any], client: str, target: str) -> None:
    """The answer for the client is that of the case."""
    asked = conversation(case, client, False)
    answer = json.loads(asked.answer(target, dialect_streams.compact(case["answer"][target]), "q1"))
    expected = case["client"][client] | case.get("overrides", {}).get(f"{target}>>{client}", {})
    assert shown(expected, answer) == expected


@pytest.mark.parametrize("size", [1 << 20, 7], ids=["whole", "cut"])
@pytest.mark.parametrize(("case", "client", "target"), pairs("stream", "client"))
def test_a_stream_says_what_the_whole_answer_says(case: dict[str, Any], client: str, target: str, size: int) -> None:
    """The client's stream has its dialect's grammar, and adds up to the whole answer, however it is cut on its way."""
    stream = conversation(case, client, True).stream(target, "q1")
    sent = dialect_streams.written(target, case["stream"][target])
    said = b"".join(piece for at in range(0, len(sent), size) for piece in stream.push_events(sent[at : at + size]))
    answer = dialect_streams.whole(client, said + stream.finish())
    expected = case["client"][client] | case.get("overrides", {}).get(f"{target}>>{client}", {})
    assert shown(expected, answer) == expected


def test_there_are_enough_cases() -> None:
    """Every pair of dialects is covered many times."""
    counted = len(pairs("request", "upstream")) + len(pairs("answer", "client")) + len(pairs("stream", "client"))
    assert counted >= 250
