"""Claude Code and Codex work against a target of each dialect: text, tools, tool results and reasoning, streamed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from agents import CLAUDE_FIELDS, CODEX_FIELDS, claude_code, codex
from dialect_sdks import DIALECTS
from one_data_plane import one_data_plane

from edge.sim.asked import TOOL_MARKER, Pace
from edge.sim.provider import ProviderSpec, SimProvider

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from one_data_plane import OneDataPlane

MODEL = "sim-small@seed=7,tokens=6,ttft=0s,tps=0"
ALL = pytest.mark.parametrize("dialect", DIALECTS)
BEHIND = pytest.mark.parametrize("called", [False, True], ids=["first", "after a tool"])


@pytest.fixture
async def plane() -> AsyncIterator[OneDataPlane]:
    """Run a provider that speaks each dialect, and edge with a model before each."""
    async with SimProvider(ProviderSpec(name="sim-a", pace=Pace(ttft_s=0, tps=0))) as sim:
        roots = {name: f"{sim.url}/{'v1beta' if name == 'gemini' else 'v1'}" for name in DIALECTS}
        text = "providers:\n" + "".join(
            f"  {name}-p: {{base_url: '{root}', dialect: {name}, api_key: sk-of-edge}}\n"
            for name, root in roots.items()
        )
        text += "models:\n" + "".join(f"  {name}: {{targets: ['{name}-p/{MODEL}']}}\n" for name in DIALECTS)
        async with one_data_plane(text) as running:
            yield running


async def events(plane: OneDataPlane, path: str, fields: dict[str, str], body: dict[str, Any]) -> list[dict[str, Any]]:
    """Send a request; return the data of all events."""
    async with httpx.AsyncClient(base_url=plane.url, headers={**fields, "authorization": "Bearer x"}) as client:
        answer = await client.post(path, json=body, timeout=30)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/event-stream")
    lines = [line.removeprefix("data:") for line in answer.text.splitlines() if line.startswith("data:")]
    return [json.loads(line) for line in lines if line.strip() != "[DONE]"]


@ALL
@BEHIND
async def test_claude_code_gets_its_text(plane: OneDataPlane, dialect: str, *, called: bool) -> None:
    """A turn is a whole message of Anthropic's: one block of text between start and stop, with the tokens used."""
    told = await events(plane, "/v1/messages?beta=true", CLAUDE_FIELDS, claude_code(dialect, "hello", called=called))
    kinds = [event["type"] for event in told if event["type"] != "ping"]
    assert (kinds[0], kinds[-2:]) == ("message_start", ["message_delta", "message_stop"])
    text = "".join(event["delta"].get("text", "") for event in told if event["type"] == "content_block_delta")
    assert len(text.split()) >= 5
    assert told[-2]["delta"]["stop_reason"] == "end_turn"
    assert told[-2]["usage"]["output_tokens"] == 6


@ALL
async def test_claude_code_calls_a_tool(plane: OneDataPlane, dialect: str) -> None:
    """A call comes as a block tool_use whose input is JSON in pieces, and ends the turn."""
    body = claude_code(dialect, f"read it {TOOL_MARKER}")
    told = await events(plane, "/v1/messages?beta=true", CLAUDE_FIELDS, body)
    (block,) = [event["content_block"] for event in told if event["type"] == "content_block_start"]
    given = "".join(event["delta"]["partial_json"] for event in told if event["type"] == "content_block_delta")
    assert (block["type"], block["name"], sorted(json.loads(given))) == (
        "tool_use",
        "Read",
        ["file_path", "limit", "mode"],
    )
    assert told[-2]["delta"]["stop_reason"] == "tool_use"


@ALL
async def test_claude_code_thinks(plane: OneDataPlane, dialect: str) -> None:
    """With thinking on, the thoughts come before the text, as far as the dialect tells them."""
    body = claude_code(dialect, "hello", thinking=True)
    told = await events(plane, "/v1/messages?beta=true", CLAUDE_FIELDS, body)
    kinds = [event["content_block"]["type"] for event in told if event["type"] == "content_block_start"]
    assert kinds[-1] == "text"
    assert set(kinds[:-1]) <= {"thinking"}


@ALL
@BEHIND
async def test_codex_gets_its_text(plane: OneDataPlane, dialect: str, *, called: bool) -> None:
    """A turn is a response from created to completed, whose items are each added and done."""
    told = await events(plane, "/v1/responses", CODEX_FIELDS, codex(dialect, "hello", called=called))
    assert (told[0]["type"], told[-1]["type"]) == ("response.created", "response.completed")
    done = [event["item"] for event in told if event["type"] == "response.output_item.done"]
    added = [event["item"]["id"] for event in told if event["type"] == "response.output_item.added"]
    assert [item["id"] for item in done] == added
    assert (done[-1]["type"], done[-1]["content"][0]["type"]) == ("message", "output_text")
    assert told[-1]["response"]["usage"]["output_tokens"] >= 6


@ALL
async def test_codex_calls_its_shell(plane: OneDataPlane, dialect: str) -> None:
    """A call comes as an item function_call that is done with its whole arguments."""
    told = await events(plane, "/v1/responses", CODEX_FIELDS, codex(dialect, f"list {TOOL_MARKER}"))
    calls = [
        event["item"]
        for event in told
        if event["type"] == "response.output_item.done" and event["item"]["type"] == "function_call"
    ]
    assert [call["name"] for call in calls] == ["shell"]
    assert "command" in json.loads(calls[0]["arguments"])


@ALL
async def test_codex_edits_by_its_free_form_tool(plane: OneDataPlane, dialect: str) -> None:
    """A call of apply_patch is an item custom_tool_call with one text in pieces, whatever the target's dialect has."""
    body = codex(dialect, "hello", patch=True) | {"tool_choice": {"type": "custom", "name": "apply_patch"}}
    told = await events(plane, "/v1/responses", CODEX_FIELDS, body)
    done_items = [event["item"] for event in told if event["type"] == "response.output_item.done"]
    (item,) = [item for item in done_items if item["type"] != "reasoning"]
    pieces = [event["delta"] for event in told if event["type"] == "response.custom_tool_call_input.delta"]
    (done,) = [event["input"] for event in told if event["type"] == "response.custom_tool_call_input.done"]
    native = dialect in {"openai", "responses"}  # the first declares nothing, so it is asked for responses too
    assert (item["type"], item["name"], item["input"]) == ("custom_tool_call", "apply_patch", done)
    assert "".join(pieces) == done
    assert done.startswith("*** Begin Patch" if native else "sim")
    given = [*body["input"], item, {"type": "custom_tool_call_output", "call_id": item["call_id"], "output": "Done!"}]
    again = await events(plane, "/v1/responses", CODEX_FIELDS, body | {"input": given, "tool_choice": "auto"})
    assert again[-1]["type"] == "response.completed"


async def test_claude_code_counts_and_probes(plane: OneDataPlane) -> None:
    """Its count of tokens and its one-token question reach a target of its dialect."""
    async with httpx.AsyncClient(base_url=plane.url, headers=CLAUDE_FIELDS) as client:
        body = claude_code("anthropic", "hello")
        counted = await client.post(
            "/v1/messages/count_tokens?beta=true",
            json={name: body[name] for name in ("model", "messages", "tools", "system")},
        )
        assert counted.json()["input_tokens"] > 0
        quota = {"model": "anthropic", "max_tokens": 1, "messages": [{"role": "user", "content": "quota"}]}
        probed = await client.post("/v1/messages?beta=true", json=quota)
        assert (probed.status_code, probed.json()["type"]) == (200, "message")


@pytest.mark.parametrize("dialect", ["anthropic", "gemini"])
async def test_codex_calls_a_function_in_a_namespace(plane: OneDataPlane, dialect: str) -> None:
    """A call of an MCP server's tool names the namespace, and its result goes back under the same name."""
    find = {"type": "function", "name": "find", "description": "Finds.", "strict": False, "parameters": {}}
    find["parameters"] = {"type": "object", "properties": {"q": {"type": "string"}}, "required": ["q"]}
    body = codex(dialect, f"find {TOOL_MARKER}")
    body["tools"] = [{"type": "namespace", "name": "mcp__crm", "description": "Knows customers.", "tools": [find]}]
    told = await events(plane, "/v1/responses", CODEX_FIELDS, body)
    done = [event["item"] for event in told if event["type"] == "response.output_item.done"]
    (item,) = [item for item in done if item["type"] == "function_call"]
    assert (item["namespace"], item["name"]) == ("mcp__crm", "find")
    result = {"type": "function_call_output", "call_id": item["call_id"], "output": "none"}
    again = await events(plane, "/v1/responses", CODEX_FIELDS, body | {"input": [*body["input"], item, result]})
    assert again[-1]["type"] == "response.completed"


@pytest.mark.parametrize("dialect", ["anthropic", "gemini"])
async def test_codex_is_told_that_no_target_searches_the_web(plane: OneDataPlane, dialect: str) -> None:
    """Its web_search runs at OpenAI: where no target is of that API the answer is a 400 that names the tool."""
    body = codex(dialect, "hello")
    body["tools"].append({"type": "web_search", "external_web_access": False})
    async with httpx.AsyncClient(base_url=plane.url, headers=CODEX_FIELDS) as client:
        refused = await client.post("/v1/responses", json=body)
    error = refused.json()["error"]
    assert (refused.status_code, error["code"]) == (400, "cannot_carry")
    assert "tools[1].type web_search" in error["message"]


@ALL
async def test_claude_code_thinks_by_effort(plane: OneDataPlane, dialect: str) -> None:
    """Its newer requests say how hard to think, edit the context, and bring back what a search for tools has found."""
    body = claude_code(dialect, "hello") | {"thinking": {"type": "adaptive"}, "output_config": {"effort": "medium"}}
    body |= {"context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]}}
    del body["temperature"]
    body["tools"].append({"name": "Find", "input_schema": {"type": "object"}, "defer_loading": True})
    found = {
        "type": "tool_result",
        "tool_use_id": "toolu_9",
        "content": [{"type": "tool_reference", "tool_name": "Find"}],
    }
    search = {"type": "tool_use", "id": "toolu_9", "name": "Glob", "input": {}, "caller": {"type": "direct"}}
    body["messages"] += [{"role": "assistant", "content": [search]}, {"role": "user", "content": [found]}]
    told = await events(plane, "/v1/messages?beta=true", CLAUDE_FIELDS, body)
    assert [event["type"] for event in told if event["type"] != "ping"][-1] == "message_stop"
