"""Bodies of simulated responses that are neither chat nor vectors: moderation, rerank, images, speech and transcripts.

Formats: OpenAI's API reference for moderations, images and audio; rerank as vLLM, Jina and Cohere have it. The same
request gives the same bytes.
"""

from __future__ import annotations

import base64
import zlib
from random import Random
from typing import TYPE_CHECKING, Any, Final

from edge.sim.answers import Answer, dumps, event

if TYPE_CHECKING:
    from collections.abc import Iterator

CATEGORIES: Final = (
    "harassment",
    "harassment/threatening",
    "hate",
    "hate/threatening",
    "illicit",
    "illicit/violent",
    "self-harm",
    "self-harm/instructions",
    "self-harm/intent",
    "sexual",
    "sexual/minors",
    "violence",
    "violence/graphic",
)
BAD_WORD: Final = "[flag]"
"""A text with this is flagged as violence."""
PICTURE_TOKENS: Final = 1056  # a square picture of medium quality of gpt-image-1
SPEECH_BYTES: Final = 3000  # of sound for each token of the pace
_SOUNDS: Final = {
    "mp3": "audio/mpeg",
    "opus": "audio/ogg",
    "aac": "audio/aac",
    "flac": "audio/flac",
    "wav": "audio/wav",
}
# The smallest PNG that every reader accepts: one transparent pixel.
_PIXEL: Final = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


class Moderation(Answer):
    """One result for each input; it has no usage."""

    def whole(self) -> bytes:
        """Return the response as one JSON body."""
        given = self.ask.given.get("input")
        inputs = given if isinstance(given, list) else [given]
        results = [self._result(str(each)) for each in inputs]
        return dumps({"id": f"modr-{self.serial}", "model": self.ask.model, "results": results})

    def _result(self, text: str) -> dict[str, Any]:
        bad = {name: name == "violence" and BAD_WORD in text for name in CATEGORIES}
        return {
            "flagged": any(bad.values()),
            "categories": bad,
            "category_scores": {name: 0.97 if flagged else 0.01 for name, flagged in bad.items()},
            "category_applied_input_types": {name: ["text"] for name in CATEGORIES},
        }


class Rerank(Answer):
    """The documents by how many words they share with the query."""

    def whole(self) -> bytes:
        """Return the response as one JSON body."""
        query = set(str(self.ask.given["query"]).lower().split())
        texts = [each.get("text", "") if isinstance(each, dict) else str(each) for each in self.ask.given["documents"]]
        scores = [round(len(query & set(text.lower().split())) / max(len(query), 1), 4) for text in texts]
        order = sorted(range(len(texts)), key=lambda index: (-scores[index], index))
        results = [
            {"index": index, "document": {"text": texts[index]}, "relevance_score": scores[index]}
            for index in order[: self.ask.given.get("top_n") or len(order)]
        ]
        usage = {"total_tokens": self.ask.prompt_tokens}
        return dumps({"id": f"rerank-{self.serial}", "model": self.ask.model, "results": results, "usage": usage})


class Images(Answer):
    """Pictures of one pixel, in base64; by URL and without usage if the model's name begins with dall-e."""

    def output_tokens(self) -> int:
        """Return the number of billed output tokens."""
        return PICTURE_TOKENS * self._count()

    def usage(self) -> dict[str, Any]:
        """Return the billed tokens."""
        prompt, output = self.ask.prompt_tokens, self.output_tokens()
        details = {"text_tokens": prompt, "image_tokens": 0}
        return {
            "input_tokens": prompt,
            "output_tokens": output,
            "total_tokens": prompt + output,
            "input_tokens_details": details,
        }

    def whole(self) -> bytes:
        """Return the response as one JSON body."""
        if self.ask.model.startswith("dall-e"):
            data = [{"url": f"https://images.invalid/{self.serial}-{place}.png"} for place in range(self._count())]
            return dumps({"created": self.created, "data": data})
        data = [{"b64_json": _PIXEL}] * self._count()
        return dumps({"created": self.created, "data": data, "usage": self.usage()})

    def opening(self) -> list[bytes]:
        """Return nothing: the first event is a picture."""
        return []

    def content(self) -> Iterator[bytes]:
        """Yield the partial pictures."""
        for place in range(int(self.ask.given.get("partial_images") or 0)):
            yield self._event("partial_image", {"partial_image_index": place})

    def closing(self) -> list[bytes]:
        """Return the event of the whole picture."""
        return [self._event("completed", {"usage": self.usage()})]

    def _event(self, kind: str, more: dict[str, Any]) -> bytes:
        kind = f"{'image_edit' if self.ask.operation == 'image_edit' else 'image_generation'}.{kind}"
        seen = {"created_at": self.created, "size": "1024x1024", "quality": "medium", "background": "opaque"}
        return event({"type": kind, "b64_json": _PIXEL, **seen, "output_format": "png", **more}, kind)

    def _count(self) -> int:
        return int(self.ask.given.get("n") or 1)


class Speech(Answer):
    """Sound, or with ``stream_format: sse`` events that hold it; the same words give the same sound."""

    @property
    def content_type(self) -> str:
        """The type of the body."""
        return _SOUNDS.get(str(self.ask.given.get("response_format") or "mp3"), "application/octet-stream")

    def whole(self) -> bytes:
        """Return the sound."""
        return b"".join(self._sounds())

    def opening(self) -> list[bytes]:
        """Return nothing: the first event is sound."""
        return []

    def content(self) -> Iterator[bytes]:
        """Yield the sound in pieces."""
        for sound in self._sounds():
            yield event({"type": "speech.audio.delta", "audio": base64.b64encode(sound).decode()})

    def closing(self) -> list[bytes]:
        """Return the event with the usage."""
        prompt, output = self.ask.prompt_tokens, self.output_tokens()
        usage = {"input_tokens": prompt, "output_tokens": output, "total_tokens": prompt + output}
        return [event({"type": "speech.audio.done", "usage": usage})]

    def _sounds(self) -> Iterator[bytes]:
        chance = Random(zlib.crc32(f"{self.name} {self.ask.given['input']}".encode()))
        for _ in range(self.ask.pace.tokens):
            yield chance.randbytes(SPEECH_BYTES)


class Transcript(Answer):
    """What sound says: as JSON, as bare text or subtitles, or in events."""

    @property
    def content_type(self) -> str:
        """The type of the body."""
        return "application/json" if self._as_json() else "text/plain"

    def usage(self) -> dict[str, Any]:
        """Return the billed tokens."""
        prompt, output = self.ask.prompt_tokens, self.output_tokens()
        details = {"text_tokens": 0, "audio_tokens": prompt}
        return {
            "type": "tokens",
            "input_tokens": prompt,
            "input_token_details": details,
            "output_tokens": output,
            "total_tokens": prompt + output,
        }

    def whole(self) -> bytes:
        """Return the response as one body."""
        heard = f"{self.text()} ({self.ask.given['file']['size']} bytes of {self.ask.given['file']['name']})"
        if not self._as_json():
            return heard.encode() + b"\n"
        usage = {} if self.ask.model.startswith("whisper") else {"usage": self.usage()}
        return dumps({"text": heard, **usage})

    def opening(self) -> list[bytes]:
        """Return nothing: the first event is text."""
        return []

    def content(self) -> Iterator[bytes]:
        """Yield the text token by token."""
        for token in self.tokens():
            yield event({"type": "transcript.text.delta", "delta": token})

    def closing(self) -> list[bytes]:
        """Return the event with the whole text."""
        return [event({"type": "transcript.text.done", "text": self.text(), "usage": self.usage()})]

    def _as_json(self) -> bool:
        return str(self.ask.given.get("response_format") or "json").endswith("json")


LANGUAGES: Final[dict[str, type[Answer]]] = {
    "moderation": Moderation,
    "rerank": Rerank,
    "image": Images,
    "speech": Speech,
    "transcription": Transcript,
    "translation": Transcript,
    "image_edit": Images,
    "image_variation": Images,
}
"""The format of each operation."""
