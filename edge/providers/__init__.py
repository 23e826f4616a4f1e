"""Facts about known providers, one file each: base URL, authentication, capabilities, prices, and what errors mean."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edge.providers import anthropic, deepseek, gemini, openai

if TYPE_CHECKING:
    from edge.terms.places import Provider

KNOWN: Final[dict[str, Provider]] = {
    known.PROVIDER.name: known.PROVIDER for known in (openai, anthropic, deepseek, gemini)
}
"""Known providers by name, in the order in which a start without a configuration file prefers them."""
