"""The turns of a request: what makes two requests the same conversation, in the four dialects."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from native.codec.request_peek import read_turns

MARK = {"type": "ephemeral", "ttl": "1h"}


def turns(body: dict[str, Any]) -> dict[str, Any]:
    """Return what is read of a body."""
    names = ("fixed", "named", "chain", "latest", "answered", "keep_s", "range", "system")
    return dict(zip(names, read_turns(json.dumps(body).encode()), strict=True))


def openai(*said: str) -> dict[str, Any]:
    """A conversation in OpenAI's chat dialect."""
    roles = ("system", "user", "assistant")
    first = [{"role": "system", "content": "Be brief."}]
    return {
        "model": "m",
        "messages": first + [{"role": roles[1 + place % 2], "content": text} for place, text in enumerate(said)],
    }


def responses(*said: str) -> dict[str, Any]:
    """The same in the dialect of Responses."""
    return {
        "model": "m",
        "instructions": "Be brief.",
        "input": [
            {
                "type": "message",
                "role": ("user", "assistant")[place % 2],
                "content": [{"type": ("input_text", "output_text")[place % 2], "text": text}],
            }
            for place, text in enumerate(said)
        ],
    }


def anthropic(*said: str) -> dict[str, Any]:
    """The same in Anthropic's dialect."""
    return {
        "model": "m",
        "max_tokens": 10,
        "messages": [{"role": ("user", "assistant")[place % 2], "content": text} for place, text in enumerate(said)],
        "system": "Be brief.",
    }


def gemini(*said: str) -> dict[str, Any]:
    """The same in Gemini's dialect."""
    return {
        "systemInstruction": {"parts": [{"text": "Be brief."}]},
        "contents": [
            {"role": ("user", "model")[place % 2], "parts": [{"text": text}]} for place, text in enumerate(said)
        ],
    }


DIALECTS = pytest.mark.parametrize("dialect", [openai, responses, anthropic, gemini])


@DIALECTS
def test_the_next_request_has_the_chain_of_the_last_among_its_latest(dialect: Any) -> None:
    """A conversation that has grown by an answer and a question is recognized by the chain that it had."""
    first, second = turns(dialect("Hi", "Hello", "How?")), turns(dialect("Hi", "Hello", "How?", "So.", "Why?"))
    assert first["chain"] == second["latest"][-3]
    assert first["fixed"] == second["fixed"]
    assert (second["answered"], turns(dialect("Hi"))["answered"]) == (True, False)


@DIALECTS
def test_another_word_makes_another_conversation(dialect: Any) -> None:
    """A changed turn changes the chain from there on, and no chain before it."""
    first, other = turns(dialect("Hi", "Hello", "How?")), turns(dialect("Hi", "Hallo", "How?"))
    same = [one == two for one, two in zip(first["latest"], other["latest"], strict=True)]
    assert same == [True] * (len(same) - 2) + [False, False]


def test_system_prompts_and_cache_keys_tell_conversations_apart() -> None:
    """The same turns under another system prompt or another prompt_cache_key are another conversation."""
    one = anthropic("Hi")
    other, keyed = copy.deepcopy(one), copy.deepcopy(one)
    other["system"] = "Be long."
    keyed["prompt_cache_key"] = "a"
    assert len({turns(body)["fixed"] for body in (one, other, keyed)}) == 3


@pytest.mark.parametrize("where", ["system", "first", "last", "tools", "body"])
def test_a_mark_of_a_cache_changes_its_time_and_not_the_conversation(where: str) -> None:
    """Anthropic's marks move from turn to turn, and with them texts become blocks: both are the same conversation."""
    plain = anthropic("Hi", "Hello", "How?")
    marked = copy.deepcopy(plain)
    if where == "system":
        marked["system"] = [{"type": "text", "text": "Be brief.", "cache_control": MARK}]
    elif where == "tools":
        plain["tools"] = [{"name": "t", "input_schema": {}}]
        marked["tools"] = [{"name": "t", "input_schema": {}, "cache_control": MARK}]
    elif where == "body":
        marked["cache_control"] = MARK
    else:
        turn = marked["messages"][0 if where == "first" else -1]
        turn["content"] = [{"type": "text", "text": turn["content"], "cache_control": MARK}]
    one, other = turns(plain), turns(marked)
    assert (one["fixed"], one["latest"]) == (other["fixed"], other["latest"])
    assert (one["keep_s"], other["keep_s"]) == (300, 3600)


def test_the_time_of_a_cache_is_not_asked_for_in_a_text() -> None:
    """A text that speaks of "1h" asks for nothing; OpenAI's prompt_cache_retention does."""
    assert turns(anthropic('Wait "1h"'))["keep_s"] == 300
    assert turns(openai("Hi") | {"prompt_cache_retention": "24h"})["keep_s"] == 86400
    mark = {"type": "ephemeral", "ttl": "5m"}
    assert turns(anthropic("Hi") | {"cache_control": mark})["keep_s"] == 300


def test_long_texts_are_told_apart_by_their_parts() -> None:
    """Of a long text the first 2 KiB count: a difference at its beginning, middle or end shows."""
    text = "The quick brown fox jumps over the lazy dog. " * 40
    variants = [text, "X" + text[1:], text[:900] + "X" + text[901:], text[:-1] + "X"]
    assert len(text) < 2048
    assert len({turns(openai(variant))["chain"] for variant in variants}) == len(variants)
    assert turns(openai(text * 3))["chain"] != turns(openai(text * 3 + "X", "a"))["chain"]


def test_escapes_and_numbers_stand_between() -> None:
    """Quotes within a text, tool calls and numbers are read as what they are; the answer's turn is recognized."""
    body = openai('She said "yes" \\ "no"', "x")
    body["messages"][2] = {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "call_1", "type": "function", "function": {"name": "f", "arguments": '{"a": [1, 2]}'}}],
    }
    body["messages"].append({"role": "tool", "tool_call_id": "call_1", "content": "17"})
    one = turns(body)
    body["messages"][3]["content"] = "18"
    other = turns(body)
    assert one["answered"]
    assert one["latest"][:3] == other["latest"][:3]
    assert one["latest"][3] != other["latest"][3]


def test_white_space_changes_nothing() -> None:
    """A body that is written with more white space, or with less, is the same conversation."""
    body = openai("Hi", "Hello", "How?")
    written = [json.dumps(body), json.dumps(body, separators=(",", ":")), json.dumps(body, indent=2)]
    assert len({read_turns(text.encode())[2:5:2] for text in written}) == 1


def test_function_calls_of_responses_have_begun_the_conversation() -> None:
    """An item without a role is the model's, or follows from it; Gemini's only turn may lack its role."""
    call = {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}
    body = responses("Hi")
    body["input"].append(call)
    assert turns(body)["answered"]
    assert not turns({"contents": [{"parts": [{"text": "Hi"}]}]})["answered"]


def test_names_of_responses_and_conversations_are_read() -> None:
    """previous_response_id and conversation, as a name or as an object, name what the request goes on with."""
    named = [
        turns({"model": "m", "input": "Hi", "previous_response_id": "resp_1"})["named"],
        turns({"model": "m", "input": "Hi", "conversation": "conv_1"})["named"],
        turns({"model": "m", "input": "Hi", "conversation": {"id": "conv_1"}})["named"],
        turns({"model": "m", "input": "Hi", "previous_response_id": None})["named"],
    ]
    assert named[0] != named[1]
    assert named[1] == named[2]
    assert named[3] == 0
    assert 0 not in named[:3]


def test_only_the_latest_turns_are_kept() -> None:
    """Of forty turns the chains of the last sixteen are kept, and the last is that of all."""
    said = [f"turn {number}" for number in range(40)]
    found = turns(openai(*said))
    assert len(found["latest"]) == 16
    assert found["latest"][-1] == found["chain"]
    assert turns(openai(*said[:-3]))["chain"] == found["latest"][-4]


def test_the_ranges_hold_the_turns_and_the_system_prompt() -> None:
    """The ranges are those of the JSON values in the body."""
    body = json.dumps(anthropic("Hi", "Hello")).encode()
    *_, (start, end), (system, after) = read_turns(body)
    assert json.loads(body[start:end]) == anthropic("Hi", "Hello")["messages"]
    assert json.loads(body[system:after]) == "Be brief."


def test_a_broken_body_is_read_as_far_as_it_goes() -> None:
    """Bodies that are cut anywhere are no error here: the peek refuses them."""
    body = json.dumps(anthropic("Hi", 'a "quoted" \\ text') | {"cache_control": MARK}).encode()
    for size in range(len(body)):
        read_turns(body[:size])
