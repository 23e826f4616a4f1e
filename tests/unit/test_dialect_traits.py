"""What one model refuses and another of the same API takes, by the vendors' documents, is not sent to it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from edge.dialects import traits, translate
from edge.dialects.errors import CannotCarryError

USER = {"role": "user", "content": "Hi"}
TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]


def sent(target: str, model: str, **body: Any) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return the body that a target gets for a chat completion, and what was left out."""
    asked = json.dumps({"model": "chat", "messages": [USER], **body}).encode()
    written = translate.conversation("openai", asked, "chat", False).body_for(target, model, False)
    return json.loads(written.body), written.dropped


@pytest.mark.parametrize(
    ("model", "takes"),
    [
        ("claude-haiku-4-5-20251001", traits.Claude()),
        ("claude-3-5-sonnet-20241022", traits.Claude()),
        ("claude-sonnet-4-6", traits.Claude(prefill=False)),
        ("claude-opus-4-8", traits.Claude(False, False, False, True, "omitted")),
        ("anthropic.claude-opus-5", traits.Claude(False, False, False, True, "disabled")),
        ("claude-haiku-5-5", traits.Claude(False, False, False, True, "disabled")),
        ("anthropic/claude-sonnet-5.5", traits.Claude(False, False, False, False, "between_tools")),
        ("claude-opus-5-5", traits.Claude(False, False, False, False, "")),
        ("claude-fable-5", traits.Claude(False, False, False, True, "")),
        ("claude-fable-5-2", traits.Claude(False, False, False, False, "")),
        ("sim-small", traits.Claude()),
    ],
)
def test_a_model_of_anthropics_is_told_by_its_name(model: str, takes: traits.Claude) -> None:
    """Family and version decide, whatever stands around them; a date is no version."""
    assert traits.claude(model) == takes


@pytest.mark.parametrize(
    ("model", "efforts"),
    [
        ("o3", "low medium high"),
        ("o4-mini", "low medium high"),
        ("gpt-5-mini", "minimal low medium high"),
        ("gpt-5.1", "none low medium high"),
        ("gpt-5.4-2026-03-05", "none low medium high xhigh"),
        ("openai/gpt-6-sol", "none low medium high xhigh max"),
        ("gpt-6.2-sol", "low medium high xhigh max"),
        ("gpt-5-chat-latest", None),
        ("gpt-4o", None),
        ("gpt-4.1-mini", None),
        ("mygpt-5", None),
        ("gpt-35-turbo", None),  # Azure's name of gpt-3.5-turbo
        ("gpt-5:free", "minimal low medium high"),
        ("lab/o1js-7b", None),
        ("gpt-5x", None),
    ],
)
def test_a_model_of_openais_is_told_by_its_name(model: str, efforts: str | None) -> None:
    """Each knows some words for how hard it reasons."""
    takes = traits.gpt(model)
    assert (None if takes is None else " ".join(takes.efforts)) == efforts


@pytest.mark.parametrize("model", ["claude-opus-4-7", "claude-sonnet-5", "claude-opus-5-5"])
def test_a_claude_that_does_not_sample_is_sent_no_sampling(model: str) -> None:
    """The values are named; the default is left out without a word."""
    body, dropped = sent("anthropic", model, temperature=0, top_p=0.5, top_k=3)
    assert body.keys().isdisjoint({"temperature", "top_p", "top_k"})
    assert dropped == ("temperature", "top_p", "top_k")
    assert sent("anthropic", model, temperature=1)[1] == ()


def test_a_claude_that_thinks_by_effort_is_sent_no_budget() -> None:
    """Efforts are its own, thoughts are asked for where the client wants to read them."""
    body, dropped = sent("anthropic", "claude-opus-5", reasoning_effort="minimal", max_tokens=100)
    assert body["thinking"] == {"type": "adaptive", "display": "summarized"}
    assert (body["output_config"], dropped) == ({"effort": "low"}, ())
    assert sent("anthropic", "claude-opus-4-5", reasoning_effort="low")[0]["thinking"]["budget_tokens"] == 2048


@pytest.mark.parametrize(
    ("model", "thinking", "effort", "dropped"),
    [
        ("claude-opus-4-5", {"type": "disabled"}, None, ()),
        ("claude-opus-4-8", None, None, ()),
        ("claude-opus-5", {"type": "disabled"}, None, ()),
        ("claude-sonnet-5-5", {"type": "between_tools"}, None, ()),
        ("claude-opus-5-5", None, {"effort": "low"}, ("reasoning",)),
    ],
)
def test_a_claude_is_told_not_to_think_in_its_own_words(model: str, thinking: Any, effort: Any, dropped: Any) -> None:
    """What cannot stop thinking thinks as little as it can, and that is named."""
    body, left = sent("anthropic", model, reasoning_effort="none")
    assert (body.get("thinking"), body.get("output_config"), left) == (thinking, effort, dropped)


def test_a_schema_and_an_effort_stand_beside_each_other() -> None:
    """Both are members of output_config."""
    form = {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "object"}}}
    body, _ = sent("anthropic", "claude-opus-5", reasoning_effort="high", response_format=form)
    assert body["output_config"] == {"format": {"type": "json_schema", "schema": {"type": "object"}}, "effort": "high"}


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "f"}}])
def test_a_call_is_not_forced_where_the_model_refuses_it(choice: Any) -> None:
    """Another target is asked, rather than one that answers 400."""
    assert sent("anthropic", "claude-opus-5", tools=TOOLS, tool_choice=choice)[0]["tool_choice"]
    with pytest.raises(CannotCarryError, match="forces a call"):
        sent("anthropic", "claude-opus-5-5", tools=TOOLS, tool_choice=choice)


def test_a_begun_answer_is_not_sent_to_a_claude_that_refuses_it() -> None:
    """Gemini's clients may end with a turn of the model, too."""
    turns = [{"role": "user", "parts": [{"text": "Hi"}]}, {"role": "model", "parts": [{"text": "{"}]}]
    asked = translate.conversation("gemini", json.dumps({"contents": turns}).encode(), "chat", False)
    assert asked.body_for("anthropic", "claude-opus-4-5", False)
    with pytest.raises(CannotCarryError, match="last message of the assistant"):
        asked.body_for("anthropic", "claude-sonnet-4-6", False)


def from_anthropic(model: str, target: str = "openai", **body: Any) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return what a target gets of a message of Anthropic's."""
    asked = json.dumps({"model": "chat", "max_tokens": 9, "messages": [USER], **body}).encode()
    written = translate.conversation("anthropic", asked, "chat", False).body_for(target, model, False)
    return json.loads(written.body), written.dropped


@pytest.mark.parametrize("target", ["openai", "responses"])
def test_a_model_that_reasons_is_sent_no_sampling(target: str) -> None:
    """It would answer 400. Where it reasons only when it is asked to, it takes it."""
    for model in ("gpt-5", "o3", "gpt-5.6-sol"):
        body, dropped = from_anthropic(model, target, temperature=0.5, top_p=0.9)
        assert body.keys().isdisjoint({"temperature", "top_p"}), model
        assert dropped == ("temperature", "top_p")
        assert from_anthropic(model, target, temperature=1)[1] == ()
    assert from_anthropic("gpt-5.1", target, temperature=0.5)[0]["temperature"] == 0.5
    thinks = {"thinking": {"type": "enabled", "budget_tokens": 4096}, "temperature": 0.5}
    assert from_anthropic("gpt-5.1", target, **thinks)[1] == ("temperature",)


@pytest.mark.parametrize(
    ("model", "effort", "said"),
    [
        ("o3", "max", "high"),
        ("o4-mini", "minimal", "low"),
        ("gpt-5", "xhigh", "high"),
        ("gpt-5.4", "max", "xhigh"),
        ("gpt-6-sol", "max", "max"),
        ("up", "high", "high"),
    ],
)
def test_an_effort_is_one_that_the_model_knows(model: str, effort: str, said: str) -> None:
    """The next lower one stands for it, or the lowest."""
    asked = json.dumps({"input": "Hi", "reasoning": {"effort": effort}}).encode()
    conversation = translate.conversation("responses", asked, "chat", False)
    body = json.loads(conversation.body_for("openai", model, False).body)
    assert body["reasoning_effort"] == said


def test_functions_are_called_without_reasoning_where_chat_completions_refuse_both() -> None:
    """gpt-5.6 and later answer 400 to functions with an effort; that none is used is named."""
    tool = [{"name": "f", "input_schema": {"type": "object"}}]
    thinking = {"type": "enabled", "budget_tokens": 4096}
    body, dropped = from_anthropic("gpt-5.6-terra", tools=tool, thinking=thinking)
    assert (body["reasoning_effort"], dropped) == ("none", ("reasoning",))
    assert from_anthropic("gpt-5.6-terra", tools=tool)[0]["reasoning_effort"] == "none"
    body, dropped = from_anthropic("gpt-6.2-sol", tools=tool, thinking=thinking)
    assert ("reasoning_effort" in body, dropped) == (False, ("reasoning",))  # it refuses none, too
    body, dropped = from_anthropic("gpt-5.6-terra", "responses", tools=tool, thinking=thinking)
    assert (body["reasoning"]["effort"], dropped) == ("medium", ())


def test_stop_words_that_a_model_refuses_are_a_constraint() -> None:
    """o3 takes none, OpenAI's others four, Gemini five; a server that edge does not know may take more."""
    words = [str(number) for number in range(6)]
    assert len(from_anthropic("up", stop_sequences=words)[0]["stop"]) == 6
    for model, stops in (("o3", words[:1]), ("gpt-4.1", words), ("gpt-5.4", words)):
        with pytest.raises(CannotCarryError, match="stop"):
            from_anthropic(model, stop_sequences=stops)
    assert from_anthropic("gemini-2.5-pro", "gemini", stop_sequences=words[:5])
    with pytest.raises(CannotCarryError, match="5 stop"):
        from_anthropic("gemini-2.5-pro", "gemini", stop_sequences=words)
