"""Tells what was used from usage objects, one name after the other: the reference model of native.codec.usage."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.reference.peek import INT64_MAX, Members, count

if TYPE_CHECKING:
    from collections.abc import Iterable

NAMES = {
    "prompt_tokens": "prompt",
    "input_tokens": "prompt",
    "promptTokenCount": "prompt",
    "completion_tokens": "output",
    "output_tokens": "output",
    "candidatesTokenCount": "output",
    "total_tokens": "total",
    "totalTokenCount": "total",
    "reasoning_tokens": "reasoning",
    "thoughtsTokenCount": "thoughts",
    "cached_tokens": "cached",
    "prompt_cache_hit_tokens": "cached",
    "cachedContentTokenCount": "cached",
    "cache_read_input_tokens": "read",
    "cache_creation_input_tokens": "written",
    "toolUsePromptTokenCount": "tools",
}
PROMPT_DETAILS = ("prompt_tokens_details", "input_tokens_details", "input_token_details")
OUTPUT_DETAILS = ("completion_tokens_details", "output_tokens_details", "output_token_details")
DETAILS = {
    **{
        name: {"cached_tokens": "cached", "audio_tokens": "audio_prompt", "image_tokens": "image_prompt"}
        for name in PROMPT_DETAILS
    },
    **{name: {"reasoning_tokens": "reasoning", "audio_tokens": "audio_output"} for name in OUTPUT_DETAILS},
}
# Gemini: a list of one count for each modality
MODALITIES = {
    "promptTokensDetails": {"AUDIO": "audio_prompt", "IMAGE": "image_prompt"},
    "cacheTokensDetails": {"AUDIO": "cached_audio", "IMAGE": "cached_image"},
    "candidatesTokensDetails": {"AUDIO": "audio_output"},
}


def collect_modalities(kinds: dict[str, str], parts: list[Any], counts: dict[str, int]) -> None:
    """Note the counts of a list of modalities; of a member that stands twice the later one counts."""
    for part in parts:
        kind, number = None, None
        for name, value in part if isinstance(part, Members) else ():
            if name == "modality":
                kind = kinds.get(value) if isinstance(value, str) else None
            if name == "tokenCount":
                number = count(value)
        if kind is not None and number is not None:
            counts[kind] = number


def collect(objects: Iterable[Any]) -> dict[str, int]:
    """Return the last count of each kind; ``input`` is 1 if the prompt was named input_tokens."""
    counts: dict[str, int] = {}
    for usage in objects:
        for name, value in usage if isinstance(usage, Members) else ():
            for detail, number in value if name in DETAILS and isinstance(value, Members) else ():
                if detail in DETAILS[name] and count(number) is not None:
                    counts[DETAILS[name][detail]] = count(number) or 0
            if name in MODALITIES and isinstance(value, list) and not isinstance(value, Members):
                collect_modalities(MODALITIES[name], value, counts)
            if name in NAMES and count(value) is not None:
                counts[NAMES[name]] = count(value) or 0
                if NAMES[name] == "prompt":
                    counts["input"] = int(name == "input_tokens")
    return counts


def resolve(counts: dict[str, int]) -> dict[str, int]:
    """Return what was used, with the names of native.codec.usage.Tokens; -1 = not counted."""

    def of(kind: str) -> int:
        return counts.get(kind, 0)

    prompt, output = counts.get("prompt", -1), counts.get("output", -1)
    if prompt >= 0:
        beside = of("tools") + (of("read") + of("written") if of("input") else 0)
        prompt = min(prompt + beside, INT64_MAX)
    beside = of("reasoning") if 0 <= output < of("reasoning") else of("thoughts")
    if output >= 0 or beside:
        output = min(max(output, 0) + beside, INT64_MAX)
    said = output
    if prompt >= 0 and "total" in counts and of("total") - prompt > output:
        output = of("total") - prompt
    return {
        "prompt": prompt,
        "cached": max(of("cached"), of("read")),
        "written": of("written"),
        "audio_prompt": max(of("audio_prompt") - of("cached_audio"), 0),
        "image_prompt": max(of("image_prompt") - of("cached_image"), 0),
        "output": output,
        "said": said,
        "reasoning": max(of("reasoning"), of("thoughts")),
        "audio_output": of("audio_output"),
    }


def read_usage(objects: Iterable[Any]) -> dict[str, int]:
    """Return what was used by these usage objects, of which later ones add to earlier ones."""
    return resolve(collect(objects))
