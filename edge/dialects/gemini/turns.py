"""Reads the turns of a Gemini client. Its calls often have no id, and results name the function alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from edge.dialects import signatures
from edge.dialects.errors import UnreadableRequestError
from edge.dialects.json_text import as_text
from edge.terms import chat

if TYPE_CHECKING:
    from edge.dialects.gemini import schema

DIALECT: Final = "gemini"
# Names under which the SDKs wrap what a function returned (google-genai's automatic function calling uses the first).
_WRAPPERS: Final = ("result", "output")


def add_parts(parts: list[chat.Part], more: list[chat.Part]) -> None:
    """Add parts. Thoughts come in pieces, and their signature stands on the part behind them: here they are one."""
    for part in more:
        last = parts[-1] if parts else None
        if isinstance(part, chat.Reasoning) and isinstance(last, chat.Reasoning) and not last.signature:
            parts[-1] = chat.Reasoning(last.text + part.text, part.signature, part.issuer, part.redacted)
        else:
            parts.append(part)


class Turns:
    """The messages that were read so far, and the calls that have no result yet."""

    def __init__(self) -> None:
        self.messages: list[chat.Message] = []
        self._open: list[tuple[str, str]] = []  # (name, id)
        self._count = 0

    def add_system(self, system: schema.Content | str) -> None:
        """Read the system instruction."""
        if isinstance(system, str):
            self.messages.append(chat.Message("system", (chat.Text(system),)))
            return
        texts = [part.text for part in system.parts or () if part.text]
        if len(texts) != len(system.parts or ()):
            raise UnreadableRequestError("systemInstruction must be text")
        self.messages.append(chat.Message("system", tuple(map(chat.Text, texts))))

    def add(self, content: schema.Content, where: str) -> None:
        """Read one turn; results of functions become a turn of their own."""
        role = content.role or "user"
        if role not in {"user", "model", "function"}:
            raise UnreadableRequestError(f"{where}.role is {role!r}; use user or model")
        results: list[chat.Part] = []
        rest: list[chat.Part] = []
        for index, part in enumerate(content.parts or ()):
            place = f"{where}.parts[{index}]"
            answered = part.function_response or part.function_response2
            if answered is not None:
                results.append(self._result(answered, place))
            else:
                add_parts(rest, self._part(part, place))
        if results:
            self.messages.append(chat.Message("tool", tuple(results)))
        if rest or not results:
            self.messages.append(chat.Message("assistant" if role == "model" else "user", tuple(rest)))

    def _result(self, answered: schema.FunctionResponse, where: str) -> chat.ToolResult:
        place = next(
            (place for place, (name, identifier) in enumerate(self._open) if answered.id == identifier),
            next((place for place, (name, _) in enumerate(self._open) if name == answered.name), None),
        )
        if place is None:
            raise UnreadableRequestError(f"{where}.functionResponse answers no call of {answered.name!r}")
        identifier = self._open.pop(place)[1]
        response: Any = answered.response
        failed = False
        if isinstance(response, dict) and len(response) == 1:
            name, value = next(iter(response.items()))
            failed = name == "error"
            if failed or name in _WRAPPERS:
                response = value
        text = response if isinstance(response, str) else msgspec.json.encode(response).decode()
        media = [self._media(part, where) for part in answered.parts or ()]
        return chat.ToolResult(identifier, (chat.Text(text), *media), failed)

    def _part(self, part: schema.Part, where: str) -> list[chat.Part]:
        kept = part.thought_signature or part.thought_signature2
        signature, issuer = signatures.unseal(kept, DIALECT) if kept else ("", "")
        if part.thought:
            return [chat.Reasoning(part.text or "", signature, issuer)]
        read: list[chat.Part] = []
        if kept and signature:
            read.append(chat.Reasoning("", signature, issuer, redacted=signatures.is_redacted(kept)))
        call = part.function_call or part.function_call2
        if call is not None:
            identifier = call.id or f"call_{self._count}"
            self._count += 1
            self._open.append((call.name, identifier))
            read.append(chat.ToolCall(identifier, call.name, as_text(call.args)))
        elif part.text is not None:
            read += [chat.Text(part.text)] if part.text else []
        elif part.code is not None or part.code_result is not None:
            raise UnreadableRequestError(f"{where}: code that ran at the provider cannot be said in another dialect")
        else:
            read.append(self._media(part, where))
        return read

    @staticmethod
    def _media(part: schema.Part, where: str) -> chat.Media:
        blob = part.inline_data or part.inline_data2
        if blob is not None:
            media_type = blob.mime_type or blob.mime_type2 or ""
            return chat.Media(_kind(media_type), media_type, blob.data)
        file = part.file_data or part.file_data2
        if file is not None:
            media_type = file.mime_type or file.mime_type2 or ""
            url = file.file_uri or file.file_uri2 or ""
            if not url.startswith(("https://", "http://")) or "generativelanguage.googleapis.com" in url:
                raise UnreadableRequestError(f"{where}.fileData: only this provider can read {url[:64]!r}")
            return chat.Media(_kind(media_type), media_type, url=url)
        raise UnreadableRequestError(f"{where} cannot be said in another dialect")


def _kind(media_type: str) -> Any:
    front = media_type.partition("/")[0]
    return front if front in {"image", "audio"} else "document"
