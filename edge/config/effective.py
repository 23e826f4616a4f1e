"""Effective settings of providers: those in the file, completed with what is known about a provider's name."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from msgspec import structs

from edge.config.schema_keys import Price

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge.config.schema import Config, Provider
    from edge.config.schema_provider_auth import ProviderAuth
    from edge.terms import places


UNKNOWN_MAX_OUTPUT: Final = 131_072
"""Output tokens that a response of an unknown model is believed to have at most: the limit of most large models."""

REGION: Final = re.compile(r"[a-z]{2,4}(-[a-z]{1,16}){1,3}-[0-9]")
"""Names of AWS's regions."""

_OF_AWS: Final = re.compile(
    r"https://[a-z0-9.-]*\.(" + REGION.pattern + r")\.(?:amazonaws\.(?:com(?:\.cn)?|eu)|api\.aws)[:/]"
)
_DATE: Final = re.compile(r"-(\d{8}|\d{4}-\d{2}-\d{2})$")


def named(config: Config, known: Mapping[str, places.Provider]) -> dict[str, places.Provider]:
    """Return what is known by the names of this configuration: a provider with a ``kind`` is known as that kind."""
    kinds = {name: known[provider.kind] for name, provider in config.providers.items() if provider.kind in known}
    return {**known, **kinds}


def provider(name: str, written: Provider, known: Mapping[str, places.Provider]) -> Provider:
    """Return the provider with every field set. Anthropic's ``/models`` needs a version field, which no probe has."""
    facts = known.get(name)
    written = _in_region(written, facts)
    dialect = written.dialect or (facts.dialect if facts else "openai")
    probe = "" if dialect == "anthropic" else "/models"
    return structs.replace(
        written,
        dialect=dialect,
        base_url=written.base_url or (facts.base_url if facts else ""),
        jurisdiction=written.jurisdiction or (facts.jurisdiction if facts else None) or "",
        capabilities=(facts.capabilities if facts else ()) if written.capabilities is None else written.capabilities,
        probe=(facts.probe if facts else probe) if written.probe is None else written.probe,
        status_page=_status_page(written, facts),
    )


def region_of(base_url: str) -> str:
    """Return the region in a URL of AWS; "": it has none."""
    found = _OF_AWS.match(base_url + "/")
    return found[1] if found else ""


def domain_of(region: str) -> str:
    """Return the domain of AWS's endpoints in a region: those of China and of the European Sovereign Cloud differ."""
    return {"cn": "amazonaws.com.cn", "eusc": "amazonaws.eu"}.get(region.partition("-")[0], "amazonaws.com")


def auths(config: Config, known: Mapping[str, places.Provider]) -> dict[str, ProviderAuth]:
    """Return how the credential of each provider whose credential is fetched is had, by the provider's name."""
    completed = whole(config, known).providers
    return {name: one.auth for name, one in completed.items() if one.auth is not None and one.auth.fetched}


def _in_region(written: Provider, facts: places.Provider | None) -> Provider:
    """Return a provider of AWS with its region in its URL and in what signs its requests, and with the region's law."""
    auth = written.auth
    region = written.region or (auth.region if auth is not None else "") or region_of(written.base_url)
    if auth is not None and auth.is_aws and not auth.region:
        auth = structs.replace(auth, region=region)
    if facts is None or not facts.regional_url:
        return structs.replace(written, auth=auth)
    url = facts.regional_url.format(region=region, domain=domain_of(region)) if region else ""
    return structs.replace(
        written,
        auth=auth,
        region=region,
        base_url=written.base_url or url,
        jurisdiction=written.jurisdiction or facts.laws.get(region, ""),
    )


def law(provider: Provider, facts: places.Provider | None, model: str) -> str:
    """Return the jurisdiction of an upstream model, ``*`` being any; "": none.

    Some models of a regional provider are computed in other regions too, whatever the region that is asked.
    """
    if facts is None or not facts.several_laws or provider.jurisdiction != facts.laws.get(provider.region):
        return provider.jurisdiction
    return "" if model == "*" or model.startswith(facts.several_laws) else provider.jurisdiction


def _status_page(written: Provider, facts: places.Provider | None) -> str:
    """Return the address of its status page; a known name at another address is another machine, without one."""
    if written.status_page is not None:
        return written.status_page
    moved = facts is not None and written.base_url not in ("", facts.base_url)
    return "" if facts is None or moved else facts.status_page


def price(provider: Provider, known: places.Provider | None, model: str) -> Price:
    """Return the price of an upstream model: the configured one, the known one, the one configured for ``*``, or none.

    A dated name, such as gpt-4.1-mini-2025-04-14, has the price of its undated name unless it has its own. ``model`` is
    ``*`` for a target whose model the client chooses.
    """
    for name in (model, _DATE.sub("", model)):
        if name in provider.prices:
            return provider.prices[name]
        if known is not None and name in known.prices:
            prompt, answer, *cached = known.prices[name]
            return Price(prompt, answer, cached[0] if cached else None, audio=known.spoken.get(name))
    return provider.prices.get("*") or Price()


def max_output(known: places.Provider | None, model: str) -> int:
    """Return the most output tokens that a response of an upstream model can have, as far as that is known."""
    return UNKNOWN_MAX_OUTPUT if known is None else _of_model(known.max_outputs, model, UNKNOWN_MAX_OUTPUT)


def context_window(known: places.Provider | None, model: str) -> int:
    """Return the tokens of prompt and answer that an upstream model takes; 0 = not known."""
    return 0 if known is None else _of_model(known.windows, model, 0)


def _of_model(facts: Mapping[str, int], model: str, otherwise: int) -> int:
    """Return the fact about a model, by its name or by that without its date."""
    return facts.get(model, facts.get(_DATE.sub("", model), otherwise))


def whole(config: Config, known: Mapping[str, places.Provider]) -> Config:
    """Return the configuration with every provider completed."""
    known = named(config, known)
    filled = {name: provider(name, written, known) for name, written in config.providers.items()}
    return structs.replace(config, providers=filled)
