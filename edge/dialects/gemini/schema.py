"""Structs for the fields of Gemini's generateContent that edge reads.

Facts: https://ai.google.dev/api/generate-content. The API reads protobuf's JSON, so that each name may come in camel or
in snake case: the SDKs use the first, many examples the second. Both stand here; a field's second spelling ends in 2.
"""

from __future__ import annotations

from typing import Any

from msgspec import Raw, Struct

from edge.dialects.fields import NULL


class Blob(Struct, rename={"mime_type": "mimeType", "mime_type2": "mime_type"}):
    """Bytes in base64."""

    data: str = ""
    mime_type: str | None = None
    mime_type2: str | None = None


class FileData(
    Struct,
    rename={"mime_type": "mimeType", "mime_type2": "mime_type", "file_uri": "fileUri", "file_uri2": "file_uri"},
):
    """The place of a file."""

    mime_type: str | None = None
    mime_type2: str | None = None
    file_uri: str | None = None
    file_uri2: str | None = None


class FunctionCall(Struct):
    """A call of a function."""

    name: str = ""
    id: str | None = None
    args: Raw = NULL


class FunctionResponse(Struct):
    """What a function returned, one JSON object; ``parts`` may hold media."""

    name: str = ""
    id: str | None = None
    response: Any = None
    parts: list[Part] | None = None


class Part(
    Struct,
    rename={
        "inline_data": "inlineData",
        "inline_data2": "inline_data",
        "file_data": "fileData",
        "file_data2": "file_data",
        "function_call": "functionCall",
        "function_call2": "function_call",
        "function_response": "functionResponse",
        "function_response2": "function_response",
        "thought_signature": "thoughtSignature",
        "thought_signature2": "thought_signature",
        "code": "executableCode",
        "code_result": "codeExecutionResult",
    },
):
    """One part of a turn."""

    text: str | None = None
    thought: bool | None = None
    thought_signature: str | None = None
    thought_signature2: str | None = None
    inline_data: Blob | None = None
    inline_data2: Blob | None = None
    file_data: FileData | None = None
    file_data2: FileData | None = None
    function_call: FunctionCall | None = None
    function_call2: FunctionCall | None = None
    function_response: FunctionResponse | None = None
    function_response2: FunctionResponse | None = None
    code: Any = None
    code_result: Any = None


class Content(Struct):
    """One turn."""

    parts: list[Part] | None = None
    role: str | None = None


class Request(
    Struct,
    rename={
        "system": "systemInstruction",
        "system2": "system_instruction",
        "generation_config": "generationConfig",
        "generation_config2": "generation_config",
        "tool_config": "toolConfig",
        "tool_config2": "tool_config",
    },
):
    """The body of ``POST /v1beta/models/MODEL:generateContent``, as far as other dialects can say it."""

    contents: list[Content] | Content | str
    system: Content | str | None = None
    system2: Content | str | None = None
    generation_config: dict[str, Raw] | None = None
    generation_config2: dict[str, Raw] | None = None
    tools: list[dict[str, Raw]] | None = None
    tool_config: dict[str, Any] | None = None
    tool_config2: dict[str, Any] | None = None
    model: str | None = None


class FunctionDeclaration(
    Struct,
    rename={"parameters_json_schema": "parametersJsonSchema", "parameters_json_schema2": "parameters_json_schema"},
):
    """A function that may be called; ``parameters`` is OpenAPI's schema, with types in capitals."""

    name: str
    description: str | None = None
    parameters: Any = None
    parameters_json_schema: Raw = NULL
    parameters_json_schema2: Raw = NULL


class Declarations(Struct, rename={"declarations": "functionDeclarations"}):
    """The functions of one tool."""

    declarations: list[FunctionDeclaration]


class ThinkingConfig(Struct, rename="camel"):
    """How much the model thinks."""

    thinking_budget: int | None = None
    thinking_level: str | None = None
    include_thoughts: bool | None = None


class GenerationConfig(Struct, rename="camel"):
    """How the answer is made."""

    temperature: float | None = None
    top_p: float | None = None
    top_k: float | None = None
    seed: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    max_output_tokens: int | None = None
    stop_sequences: list[str] | None = None
    candidate_count: int | None = None
    response_mime_type: str | None = None
    response_schema: Any = None
    response_json_schema: Raw = NULL
    response_modalities: list[str] | None = None
    thinking_config: dict[str, Any] | None = None


class Candidate(Struct, rename="camel"):
    """One alternative."""

    content: Content | None = None
    finish_reason: str | None = None
    index: int | None = None


class Usage(Struct, rename="camel"):
    """Tokens: those of the thoughts and of the answer are disjoint, cached ones are part of the prompt's."""

    prompt_token_count: int | None = None
    tool_use_prompt_token_count: int | None = None
    candidates_token_count: int | None = None
    thoughts_token_count: int | None = None
    cached_content_token_count: int | None = None


class PromptFeedback(Struct, rename="camel"):
    """Why a prompt was not answered."""

    block_reason: str | None = None


class Answer(Struct, rename="camel"):
    """A whole answer, or one chunk of it."""

    candidates: list[Candidate] | None = None
    prompt_feedback: PromptFeedback | None = None
    usage_metadata: Usage | None = None
    model_version: str | None = None
    response_id: str | None = None
    error: Any = None
