"""How does a provider want to be asked?  One file each: its URL, its key, what it offers, what its errors mean."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edge.providers import anthropic, deepseek, gemini, openai

if TYPE_CHECKING:
    from edge.terms.places import Provider

KNOWN: Final[dict[str, Provider]] = {
    known.PROVIDER.name: known.PROVIDER for known in (openai, anthropic, deepseek, gemini)
}
"""Providers of a known name, in the order in which a start without a configuration file prefers them."""
