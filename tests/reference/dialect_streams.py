"""Reads the event streams of each dialect the slow way: checks their grammar, and builds the whole answer they say."""

from __future__ import annotations

import json
from typing import Any


def events(stream: bytes) -> list[tuple[str, Any]]:
    """Return (name, data) of each event; the data is JSON, or ``[DONE]``."""
    assert stream.endswith(b"\n\n"), "the stream ends within an event"
    found = []
    for block in stream.decode().split("\n\n")[:-1]:
        name = ""
        data = []
        for line in block.split("\n"):
            field, _, value = line.partition(": ")
            if field == "event":
                name = value
            elif field == "data":
                data.append(value)
        text = "\n".join(data)
        found.append((name, text if text == "[DONE]" else json.loads(text)))
    return found


def compact(value: Any) -> bytes:
    """Return JSON without spaces, as providers write it."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def written(dialect: str, said: list[Any]) -> bytes:
    """Return the events of a provider as it sends them."""
    named = dialect in {"anthropic", "responses"}
    stream = b""
    for data in said:
        if named:
            stream += f"event: {data['type']}\n".encode()
        text = data.encode() if isinstance(data, str) else compact(data)
        stream += b"data: " + text + b"\n\n"
    return stream


def whole(dialect: str, stream: bytes) -> dict[str, Any]:
    """Return the whole answer that a complete stream says."""
    return {"openai": _openai, "responses": _responses, "anthropic": _anthropic, "gemini": _gemini}[dialect](
        events(stream)
    )


def _openai(said: list[tuple[str, Any]]) -> dict[str, Any]:
    assert said[-1] == ("", "[DONE]")
    choices: dict[int, dict[str, Any]] = {}
    answer: dict[str, Any] = {"object": "chat.completion"}
    for name, chunk in said[:-1]:
        assert name == ""
        assert chunk["object"] == "chat.completion.chunk"
        for field in ("id", "model", "created"):
            assert answer.setdefault(field, chunk[field]) == chunk[field], f"{field} changes"
        if chunk.get("usage"):
            assert chunk["choices"] == []
            answer["usage"] = chunk["usage"]
        for choice in chunk["choices"]:
            message = choices.setdefault(choice["index"], {"message": {}, "finish_reason": None})
            assert message["finish_reason"] is None, "content after the finish_reason"
            _openai_delta(message["message"], choice["delta"])
            message["finish_reason"] = choice["finish_reason"]
    answer["choices"] = []
    for index, choice in sorted(choices.items()):
        message = choice["message"]
        for call in message.get("tool_calls", ()):
            del call["index"]
        if not message["content"] and (message.get("tool_calls") or message["refusal"]):
            message["content"] = None
        answer["choices"].append({"index": index, "logprobs": None, **choice})
    return answer


def _openai_delta(message: dict[str, Any], delta: dict[str, Any]) -> None:
    for field, value in delta.items():
        if field == "tool_calls":
            for call in value:
                calls = message.setdefault("tool_calls", [])
                kind, text = ("custom", "input") if "custom" in call else ("function", "arguments")
                if call["index"] == len(calls):
                    calls.append({**call, kind: {**call[kind]}})
                else:
                    calls[call["index"]][kind][text] += call[kind][text]
        elif field == "reasoning_details":
            message.setdefault(field, []).extend(value)
        elif field == "role" or value is None or message.get(field) is None:
            message[field] = value
        else:
            message[field] += value


def _responses(said: list[tuple[str, Any]]) -> dict[str, Any]:
    items: dict[int, dict[str, Any]] = {}
    deltas: dict[tuple[int, int], str] = {}
    for number, (name, event) in enumerate(said):
        assert name == event["type"]
        assert event["sequence_number"] == number
        kind = event["type"].removeprefix("response.")
        if kind == "output_item.added":
            assert event["output_index"] == len(items)
            items[event["output_index"]] = {"added": event["item"]}
        elif kind.endswith(".delta"):
            place = (event["output_index"], event.get("content_index", event.get("summary_index", 0)))
            assert event["item_id"] == items[place[0]]["added"]["id"]
            assert "done" not in items[place[0]]
            deltas[place] = deltas.get(place, "") + event["delta"]
        elif kind == "output_item.done":
            items[event["output_index"]]["done"] = event["item"]
            _check_item(event["item"], event["output_index"], deltas)
    assert said[0][0] == "response.created"
    assert said[-1][0] in {"response.completed", "response.incomplete"}
    answer: dict[str, Any] = said[-1][1]["response"]
    assert said[-1][0] == f"response.{answer['status']}"
    assert answer["output"] == [items[index]["done"] for index in sorted(items)]
    return answer


def _check_item(item: dict[str, Any], index: int, deltas: dict[tuple[int, int], str]) -> None:
    if item["type"] == "message":
        for place, part in enumerate(item["content"]):
            assert deltas[index, place] == part.get("text", part.get("refusal"))
    elif item["type"] == "custom_tool_call":
        assert deltas.get((index, 0), "") == item["input"]
    elif item["type"] == "function_call":
        assert deltas.get((index, 0), "{}") == item["arguments"]
    else:
        assert deltas.get((index, 0), "") == "".join(part["text"] for part in item["summary"])


def _anthropic(said: list[tuple[str, Any]]) -> dict[str, Any]:
    assert said[0][0] == "message_start"
    answer: dict[str, Any] = said[0][1]["message"]
    assert answer["content"] == []
    assert [name for name, _ in said[-2:]] == ["message_delta", "message_stop"]
    block: dict[str, Any] | None = None
    pieces: list[str] = []
    for name, event in said[1:-2]:
        assert name == event["type"]
        if name == "ping":
            continue
        assert event["index"] == len(answer["content"])
        if name == "content_block_start":
            assert block is None, "a block begins within another"
            block = event["content_block"]
        elif name == "content_block_delta":
            assert block is not None
            _anthropic_delta(block, event["delta"], pieces)
        else:
            assert name == "content_block_stop"
            assert block is not None
            if block["type"] == "tool_use":
                block["input"] = json.loads("".join(pieces) or "{}")
            answer["content"].append(block)
            block, pieces = None, []
    assert block is None, "a block is never closed"
    answer |= said[-2][1]["delta"]
    answer["usage"] |= said[-2][1]["usage"]
    return answer


def _anthropic_delta(block: dict[str, Any], delta: dict[str, Any], pieces: list[str]) -> None:
    kinds = {"text_delta": "text", "thinking_delta": "thinking", "signature_delta": "thinking"}
    assert block["type"] == kinds.get(delta["type"], "tool_use")
    if delta["type"] == "text_delta":
        block["text"] += delta["text"]
    elif delta["type"] == "thinking_delta":
        block["thinking"] += delta["thinking"]
    elif delta["type"] == "signature_delta":
        block["signature"] = delta["signature"]
    else:
        pieces.append(delta["partial_json"])


def _gemini(said: list[tuple[str, Any]]) -> dict[str, Any]:
    candidates: dict[int, dict[str, Any]] = {}
    answer: dict[str, Any] = {}
    for name, chunk in said:
        assert name == ""
        for field in ("modelVersion", "responseId"):
            assert answer.setdefault(field, chunk[field]) == chunk[field], f"{field} changes"
        if "usageMetadata" in chunk:
            answer["usageMetadata"] = chunk["usageMetadata"]
        for candidate in chunk["candidates"]:
            place = candidates.setdefault(
                candidate["index"], {"content": {"parts": [], "role": "model"}, "index": candidate["index"]}
            )
            assert "finishReason" not in place
            for part in candidate["content"]["parts"]:
                _add_part(place["content"]["parts"], part)
            if "finishReason" in candidate:
                place["finishReason"] = candidate["finishReason"]
    assert all("finishReason" in candidate for candidate in candidates.values())
    return answer | {"candidates": [candidates[index] for index in sorted(candidates)]}


def _add_part(parts: list[dict[str, Any]], part: dict[str, Any]) -> None:
    """Join neighbouring texts, as the SDK's users do."""
    last = parts[-1] if parts else {}
    if (
        "text" in part
        and "text" in last
        and part.get("thought") == last.get("thought")
        and "thoughtSignature" not in (part)
    ):
        last["text"] += part["text"]
    elif part != {"text": ""}:
        parts.append(dict(part))
