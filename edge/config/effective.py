"""What holds for a provider in the end?  What the file says, and where it is silent, what is known of the name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import structs

from edge.config.schema_keys import Price

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge.config.schema import Config, Provider
    from edge.terms import places


def provider(name: str, written: Provider, known: Mapping[str, places.Provider]) -> Provider:
    """Return the provider with every field filled. ``/models`` is a free probe in every dialect so far."""
    facts = known.get(name)
    return structs.replace(
        written,
        base_url=written.base_url or (facts.base_url if facts else ""),
        jurisdiction=written.jurisdiction or (facts.jurisdiction if facts else None) or "",
        capabilities=(facts.capabilities if facts else ()) if written.capabilities is None else written.capabilities,
        probe=(facts.probe if facts else "/models") if written.probe is None else written.probe,
    )


def price(provider: Provider, known: places.Provider | None, model: str) -> Price:
    """Return what an upstream model costs: as written, else as known, else as written for ``*``, else nothing.

    ``model`` is ``*`` for a target whose model the caller chooses.
    """
    if model not in provider.prices and known is not None and model in known.prices:
        return Price(*known.prices[model])
    return provider.prices.get(model) or provider.prices.get("*") or Price()


def whole(config: Config, known: Mapping[str, places.Provider]) -> Config:
    """Return the configuration with every provider filled."""
    filled = {name: provider(name, written, known) for name, written in config.providers.items()}
    return structs.replace(config, providers=filled)
