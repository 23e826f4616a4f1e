"""What coding agents send, as their released versions write it: Claude Code 2 and Codex CLI 0.50."""

from __future__ import annotations

from typing import Any, Final

SYSTEM: Final = "You are an interactive agent that helps with software engineering tasks."
CACHED: Final = {"type": "ephemeral"}
READ: Final = {
    "$schema": "http://json-schema.org/draft-07/schema#",
    "type": "object",
    "properties": {
        "file_path": {"type": "string", "description": "The absolute path to the file to read"},
        "limit": {"type": "integer", "description": "The number of lines to read", "exclusiveMinimum": 0},
        "mode": {"type": "string", "enum": ["text", "notebook"], "default": "text"},
    },
    "required": ["file_path"],
    "additionalProperties": False,
}
CLAUDE_FIELDS: Final = {
    "anthropic-version": "2023-06-01",
    "anthropic-beta": "claude-code-20250219,interleaved-thinking-2025-05-14,fine-grained-tool-streaming-2025-05-14",
    "anthropic-dangerous-direct-browser-access": "true",
    "x-app": "cli",
    "user-agent": "claude-cli/2.0.0 (external, cli)",
    "x-stainless-lang": "js",
    "x-stainless-retry-count": "0",
    "accept": "application/json",
}
CODEX_FIELDS: Final = {
    "originator": "codex_cli_rs",
    "session_id": "0199aaaa-0000-7000-8000-000000000000",
    "conversation_id": "0199aaaa-0000-7000-8000-000000000000",
    "openai-beta": "responses=experimental",
    "user-agent": "codex_cli_rs/0.50.0 (Linux; x86_64)",
    "accept": "text/event-stream",
}
"""Fields of each agent's requests, without its key."""


def claude_code(model: str, text: str, *, thinking: bool = False, called: bool = False) -> dict[str, Any]:
    """Return a request of Claude Code to ``/v1/messages?beta=true``; ``called``: after a call of a tool that failed."""
    reminder = (
        "<system-reminder>\nAs you answer the user's questions, you can use the following context.\n</system-reminder>"
    )
    messages: list[dict[str, Any]] = [
        {"role": "user", "content": [{"type": "text", "text": reminder}, {"type": "text", "text": text}]}
    ]
    if called:
        call = {"type": "tool_use", "id": "toolu_01A", "name": "Read", "input": {"file_path": "/src/a.py"}}
        result = {
            "type": "tool_result",
            "tool_use_id": "toolu_01A",
            "content": "File does not exist.",
            "is_error": True,
        }
        messages += [
            {"role": "assistant", "content": [{"type": "text", "text": "I'll read it."}, call]},
            {"role": "user", "content": [{**result, "cache_control": CACHED}]},
        ]
    body: dict[str, Any] = {
        "model": model,
        "messages": messages,
        "temperature": 1,
        "system": [
            {
                "type": "text",
                "text": "You are Claude Code, Anthropic's official CLI for Claude.",
                "cache_control": CACHED,
            },
            {"type": "text", "text": SYSTEM, "cache_control": CACHED},
        ],
        "tools": [
            {"name": "Read", "description": "Reads a file from the local filesystem.", "input_schema": READ},
            {"name": "Glob", "description": "Finds files.", "input_schema": {"type": "object", "properties": {}}},
        ],
        "metadata": {"user_id": "user_0a1b_account__session_0199aaaa-0000-7000-8000-000000000000"},
        "max_tokens": 32000,
        "stream": True,
    }
    return body | ({"thinking": {"budget_tokens": 31999, "type": "enabled"}} if thinking else {})


def codex(model: str, text: str, *, called: bool = False, patch: bool = False) -> dict[str, Any]:
    """Return a request of Codex to ``/v1/responses``, after a call of its shell, or with its free-form tool."""
    said = [{"type": "input_text", "text": text}]
    given: list[dict[str, Any]] = [
        {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "<permissions/>"}]},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "<environment_context/>"}]},
        {"type": "message", "role": "user", "content": said},
    ]
    if called:
        arguments = '{"command":["bash","-lc","ls"],"workdir":"/src","timeout_ms":10000}'
        given += [
            {"type": "function_call", "name": "shell", "arguments": arguments, "call_id": "call_A1"},
            {
                "type": "function_call_output",
                "call_id": "call_A1",
                "output": '{"output":"a.py\\n","metadata":{"exit_code":0}}',
            },
        ]
    shell = {
        "type": "object",
        "properties": {
            "command": {"type": "array", "items": {"type": "string"}, "description": "The command to execute"},
            "workdir": {"type": "string"},
            "timeout_ms": {"type": "number"},
        },
        "required": ["command"],
        "additionalProperties": False,
    }
    tools: list[dict[str, Any]] = [
        {"type": "function", "name": "shell", "description": "Runs a command.", "strict": False, "parameters": shell}
    ]
    if patch:
        lark = {"type": "grammar", "syntax": "lark", "definition": 'start: "*** Begin Patch"'}
        tools.append({"type": "custom", "name": "apply_patch", "description": "Edits files.", "format": lark})
    return {
        "model": model,
        "instructions": SYSTEM,
        "input": given,
        "tools": tools,
        "tool_choice": "auto",
        "parallel_tool_calls": False,
        "reasoning": {"effort": "medium", "summary": "auto"},
        "store": False,
        "stream": True,
        "include": ["reasoning.encrypted_content"],
        "prompt_cache_key": "0199aaaa-0000-7000-8000-000000000000",
    }
