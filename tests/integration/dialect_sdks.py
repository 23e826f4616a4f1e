"""The official SDKs as clients of edge or of a provider: what they ask, and what they were told, in one form."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

import anthropic
import openai
from google import genai
from google.genai import types

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

DIALECTS = ("openai", "responses", "anthropic", "gemini")
PARAMETERS = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
    "required": ["city", "days"],
    "additionalProperties": False,
}
PNG = "iVBORw0KGgo="
KEY = "sk-of-a-client-0123456789"


class Told(NamedTuple):
    """What a client was told."""

    text: str
    finish: str
    thoughts: str
    calls: list[tuple[str, Any]]
    tokens: tuple[int, int]


class Asked(NamedTuple):
    """What a client asks."""

    text: str = "Say hello"
    tools: bool = False
    schema: bool = False
    image: bool = False
    thinking: bool = False
    max_tokens: int = 4000


class Sdk:
    """One official SDK; ``url`` is the root of edge or of a provider, without a path."""

    def __init__(self, dialect: str, url: str, key: str = KEY) -> None:
        self.dialect = dialect
        self.openai = openai.AsyncOpenAI(base_url=url + "/v1", api_key=key, max_retries=0, timeout=30)
        self.anthropic = anthropic.AsyncAnthropic(base_url=url, api_key=key, max_retries=0, timeout=30)
        options = types.HttpOptions(base_url=url, timeout=30_000)
        self.gemini = genai.Client(api_key=key, vertexai=False, http_options=options).aio

    async def close(self) -> None:
        """Close the connections."""
        await self.openai.close()
        await self.anthropic.close()
        await self.gemini.aclose()

    async def ask(self, model: str, asked: Asked, *, stream: bool = False) -> Told:
        """Ask a model, as the dialect's users do."""
        how: Any = getattr(self, f"_{self.dialect}{'_stream' if stream else ''}")
        told: Told = await how(model, asked)
        return told

    # ---- chat completions

    @staticmethod
    def _chat(model: str, asked: Asked) -> dict[str, Any]:
        content: Any = asked.text
        if asked.image:
            url = {"url": f"data:image/png;base64,{PNG}"}
            content = [{"type": "text", "text": asked.text}, {"type": "image_url", "image_url": url}]
        body: dict[str, Any] = {
            "model": model,
            "messages": [{"role": "user", "content": content}],
            "max_tokens": asked.max_tokens,
        }
        if asked.tools:
            body["tools"] = [{"type": "function", "function": {"name": "weather", "parameters": PARAMETERS}}]
            body["tool_choice"] = "required"
        if asked.schema:
            form = {"name": "answer", "schema": PARAMETERS, "strict": True}
            body["response_format"] = {"type": "json_schema", "json_schema": form}
        if asked.thinking:
            body["reasoning_effort"] = "low"
        return body

    async def _openai(self, model: str, asked: Asked) -> Told:
        said = await self.openai.chat.completions.create(**self._chat(model, asked))
        return _chat_told(said)

    async def _openai_stream(self, model: str, asked: Asked) -> Told:
        body = self._chat(model, asked)
        async with self.openai.chat.completions.stream(**body, stream_options={"include_usage": True}) as stream:
            thoughts = ""
            async for event in stream:
                if event.type == "chunk" and event.chunk.choices:
                    thoughts += getattr(event.chunk.choices[0].delta, "reasoning_content", None) or ""
            said = await stream.get_final_completion()
        return _chat_told(said)._replace(thoughts=thoughts)

    # ---- responses

    @staticmethod
    def _response(model: str, asked: Asked) -> dict[str, Any]:
        content: list[dict[str, Any]] = [{"type": "input_text", "text": asked.text}]
        if asked.image:
            content.append({"type": "input_image", "image_url": f"data:image/png;base64,{PNG}", "detail": "auto"})
        body: dict[str, Any] = {
            "model": model,
            "input": [{"role": "user", "content": content}],
            "max_output_tokens": asked.max_tokens,
        }
        if asked.tools:
            body["tools"] = [{"type": "function", "name": "weather", "parameters": PARAMETERS, "strict": True}]
            body["tool_choice"] = "required"
        if asked.schema:
            body["text"] = {"format": {"type": "json_schema", "name": "answer", "schema": PARAMETERS, "strict": True}}
        if asked.thinking:
            body["reasoning"] = {"effort": "low", "summary": "auto"}
        return body

    async def _responses(self, model: str, asked: Asked) -> Told:
        return _response_told(await self.openai.responses.create(**self._response(model, asked)))

    async def _responses_stream(self, model: str, asked: Asked) -> Told:
        async with self.openai.responses.stream(**self._response(model, asked)) as stream:
            return _response_told(await stream.get_final_response())

    # ---- messages

    @staticmethod
    def _message(model: str, asked: Asked) -> dict[str, Any]:
        content: Any = asked.text
        if asked.image:
            source = {"type": "base64", "media_type": "image/png", "data": PNG}
            content = [{"type": "text", "text": asked.text}, {"type": "image", "source": source}]
        body: dict[str, Any] = {
            "model": model,
            "messages": [{"role": "user", "content": content}],
            "max_tokens": asked.max_tokens,
        }
        if asked.tools:
            body["tools"] = [{"name": "weather", "input_schema": PARAMETERS}]
            body["tool_choice"] = {"type": "any"}
        if asked.schema:
            body["output_config"] = {"format": {"type": "json_schema", "schema": PARAMETERS}}
        if asked.thinking:
            body["thinking"] = {"type": "enabled", "budget_tokens": 2048}
        return body

    async def _anthropic(self, model: str, asked: Asked) -> Told:
        return _message_told(await self.anthropic.messages.create(**self._message(model, asked)))

    async def _anthropic_stream(self, model: str, asked: Asked) -> Told:
        async with self.anthropic.messages.stream(**self._message(model, asked)) as stream:
            return _message_told(await stream.get_final_message())

    # ---- generateContent

    @staticmethod
    def _content(model: str, asked: Asked) -> dict[str, Any]:
        parts = [types.Part(text=asked.text)]
        if asked.image:
            parts.append(types.Part.from_bytes(data=b"\x89PNG\r\n\x1a\n", mime_type="image/png"))
        config: dict[str, Any] = {"max_output_tokens": asked.max_tokens}
        if asked.tools:
            declared = types.FunctionDeclaration(name="weather", parameters_json_schema=PARAMETERS)
            config["tools"] = [types.Tool(function_declarations=[declared])]
            config["tool_config"] = types.ToolConfig(function_calling_config=types.FunctionCallingConfig(mode="ANY"))
        if asked.schema:
            config |= {"response_mime_type": "application/json", "response_json_schema": PARAMETERS}
        if asked.thinking:
            config["thinking_config"] = types.ThinkingConfig(thinking_budget=2048, include_thoughts=True)
        contents = [types.Content(role="user", parts=parts)]
        return {"model": model, "contents": contents, "config": types.GenerateContentConfig(**config)}

    async def _gemini(self, model: str, asked: Asked) -> Told:
        return _content_told([await self.gemini.models.generate_content(**self._content(model, asked))])

    async def _gemini_stream(self, model: str, asked: Asked) -> Told:
        stream: AsyncIterator[Any] = await self.gemini.models.generate_content_stream(**self._content(model, asked))
        return _content_told([chunk async for chunk in stream])


def _chat_told(said: Any) -> Told:
    choice = said.choices[0]
    calls = [(call.function.name, json.loads(call.function.arguments)) for call in choice.message.tool_calls or ()]
    thoughts = getattr(choice.message, "reasoning_content", None) or ""
    tokens = (said.usage.prompt_tokens, said.usage.completion_tokens)
    return Told(choice.message.content or "", choice.finish_reason, thoughts, calls, tokens)


def _response_told(said: Any) -> Told:
    calls = [(item.name, json.loads(item.arguments)) for item in said.output if item.type == "function_call"]
    thoughts = "".join(part.text for item in said.output if item.type == "reasoning" for part in item.summary)
    finish = {"completed": "tool_calls" if calls else "stop", "incomplete": "length"}[said.status]
    return Told(said.output_text, finish, thoughts, calls, (said.usage.input_tokens, said.usage.output_tokens))


def _message_told(said: Any) -> Told:
    finish = {"end_turn": "stop", "tool_use": "tool_calls", "max_tokens": "length"}[said.stop_reason]
    return Told(
        "".join(block.text for block in said.content if block.type == "text"),
        finish,
        "".join(block.thinking for block in said.content if block.type == "thinking"),
        [(block.name, block.input) for block in said.content if block.type == "tool_use"],
        (said.usage.input_tokens, said.usage.output_tokens),
    )


def _content_told(chunks: list[Any]) -> Told:
    parts = [part for chunk in chunks for part in (chunk.candidates[0].content.parts or ())]
    calls = [(part.function_call.name, part.function_call.args) for part in parts if part.function_call]
    reason = chunks[-1].candidates[0].finish_reason
    finish = {"STOP": "tool_calls" if calls else "stop", "MAX_TOKENS": "length"}[reason.value]
    usage = chunks[-1].usage_metadata
    output = (usage.candidates_token_count or 0) + (usage.thoughts_token_count or 0)
    return Told(
        "".join(part.text or "" for part in parts if not part.thought),
        finish,
        "".join(part.text or "" for part in parts if part.thought),
        calls,
        (usage.prompt_token_count, output),
    )
