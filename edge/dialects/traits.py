"""What models of one API take differently: settings that some refuse, read from the name of the model.

A request to such a model would be refused with a 400, although another model of the same API takes it. A name that is
not known here is asked as the oldest models are.

Facts, each looked up on 2026-12-01:

- Claude from Opus 4.7 on takes no ``temperature``, ``top_p`` or ``top_k``, and thinks by ``adaptive`` and
  ``output_config.effort`` instead of a budget (https://platform.claude.com/docs/en/models/opus-5/migration-guide). From
  4.6 on it continues no last message of the assistant. Opus 5.5, Sonnet 5.5 and Fable from 5.1 on refuse a
  ``tool_choice`` that forces a call; Opus 5.5 and Fable cannot stop thinking, Sonnet 5.5 does with ``between_tools``,
  Haiku 5.5, Opus 5 and Sonnet 5 with ``disabled``
  (https://platform.claude.com/docs/en/models/opus-5-5/migration-guide and its siblings).
- OpenAI's models that reason take ``temperature``, ``top_p`` and penalties only where they do not reason, which is the
  default from gpt-5.1 to gpt-5.5 (github.com/vercel/ai issue 10932), and o3 and o4-mini no ``stop`` (the types of
  OpenAI's SDK). Efforts: low, medium and high of o1, o3 and o4; minimal of gpt-5 alone; none from gpt-5.1 to gpt-6,
  xhigh from gpt-5.2, max from gpt-5.6 on (https://developers.openai.com/api/docs/guides/reasoning,
  https://developers.openai.com/api/docs/models/gpt-6.2-sol and
  github.com/anomalyco/opencode issue 36141). From gpt-5.6 on chat completions call functions with the effort none alone
  (github.com/itzcrazykns/vane issue 1173). Four stop words are the most (the same types), Gemini's five
  (https://ai.google.dev/api/generate-content).
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from edge.terms import chat

Version = tuple[int, int]

_CLAUDE: Final = re.compile(r"claude-(opus|sonnet|haiku|fable|mythos)-(\d{1,2})(?:[-.](\d{1,2})(?!\d))?")
_GPT: Final = re.compile(r"(?:^|/)(?:gpt-(\d)(?:\.(\d{1,2}))?|o([134]))(?![\w.])")
_CHATTING: Final = ("chat-latest", "chat")  # models of the name that do not reason
_ORDER: Final[tuple[chat.Effort, ...]] = ("none", "minimal", "low", "medium", "high", "xhigh", "max")


class Claude(NamedTuple):
    """What one of Anthropic's models takes."""

    samples: bool = True  # temperature, top_p and top_k
    budgets: bool = True  # thinks by a budget, rather than by effort
    prefill: bool = True
    forced: bool = True  # a tool_choice that forces a call
    off: str = "disabled"  # the type of thinking that stops it; "" = none does


class Gpt(NamedTuple):
    """What one of OpenAI's models takes that reason."""

    efforts: tuple[chat.Effort, ...]
    silent: bool  # it reasons only if it is asked to
    calls: bool  # chat completions call functions while it reasons
    stop: bool


def claude(model: str) -> Claude:
    """Return what a model of Anthropic's takes."""
    found = _CLAUDE.search(model)
    if found is None:
        return Claude()
    family = found[1]
    version = (int(found[2]), int(found[3] or 0))
    if version < (4, 6):
        return Claude()
    if version < (4, 7):
        return Claude(prefill=False)
    always = family in {"fable", "mythos"} or (family == "opus" and version >= (5, 5))
    off = "" if always else "between_tools" if family == "sonnet" and version >= (5, 5) else "disabled"
    # Opus 4.7 and 4.8 do not think unless they are asked to, and have no word for it
    off = "omitted" if version < (5, 0) else off
    bound = family in {"opus", "sonnet"} and version >= (5, 5)
    bound = bound or (family in {"fable", "mythos"} and version >= (5, 1))
    return Claude(samples=False, budgets=False, prefill=False, forced=not bound, off=off)


def gpt(model: str) -> Gpt | None:
    """Return what a model of OpenAI's takes that reasons; None = it does not, or is not known."""
    found = _GPT.search(model)
    if found is None or any(word in model for word in _CHATTING):
        return None
    if found[3]:
        return Gpt(("low", "medium", "high"), silent=False, calls=True, stop=found[3] == "1")
    version = (int(found[1]), int(found[2] or 0))
    if version < (5, 0):
        return None
    if version == (5, 0):
        return Gpt(("minimal", "low", "medium", "high"), silent=False, calls=True, stop=True)
    efforts: tuple[chat.Effort, ...] = ("low", "medium", "high")
    if version < (6, 1):
        efforts = ("none", *efforts)
    if version >= (5, 2):
        efforts += ("xhigh",)
    if version >= (5, 6):
        efforts += ("max",)
    return Gpt(efforts, silent=version < (5, 6), calls=version < (5, 6), stop=True)


def nearest(effort: chat.Effort, known: tuple[chat.Effort, ...]) -> chat.Effort:
    """Return the effort that a model knows for one that it does not: the next lower, else its lowest."""
    if effort in known:
        return effort
    below = [word for word in known if word != "none" and _ORDER.index(word) < _ORDER.index(effort)]
    return below[-1] if below else next(word for word in known if word != "none")


def effort_for(budget: int) -> chat.Effort:
    """Return the effort that stands for a budget of tokens."""
    return next((word for word in _ORDER if budget <= chat.EFFORT_BUDGETS[word]), "max")
