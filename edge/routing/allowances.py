"""Conversion of the configured limits and prices into the numbers of the data path."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edge.config import effective
from edge.config.compiled import compiled
from edge.terms.snapshot import PRIORITIES, Allowance, Credential, Key, Price

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge.config import schema
    from edge.config.schema_keys import Key as WrittenKey
    from edge.config.schema_keys import ProviderLimits
    from edge.terms import places
    from edge.terms.snapshot import Snapshot

NANO: Final = 1_000_000_000
"""Units of money in the shared state per US dollar."""

# A burst of a tenth of a minute's requests: bursty callers are not refused, and no minute exceeds 110% of the limit.
_REQUESTS_BURST: Final = 10


def key(written: WrittenKey, slot: int) -> Key:
    """Return a caller's key; ``slot`` is its record in the shared state and selects its bit in the breakers' maps."""
    apart = written.each is not None
    return compiled(
        written,
        Key,
        apart=apart,
        sha256=written.sha256.lower(),
        certificates=tuple(name if "://" in name else name.lower() for name in written.certificates),
        slot=slot,
        # a group whose members are callers of their own is none itself
        allowance=None if apart else _allowance(slot, written, written.requests_burst, written.tokens_burst),
        # 0 would mean no limit, so a tiny budget becomes the smallest amount that can be counted
        budget_nano=0 if written.budget is None else max(round(written.budget * NANO), 1),
        priority=PRIORITIES.index(written.priority),
    )


def credential(provider: str, limits: ProviderLimits, slot: int) -> Credential:
    """Return the limits of a provider's credential."""
    return Credential(provider, _allowance(slot, limits, 0, 0))


def price(provider: schema.Provider, known: places.Provider | None, model: str) -> Price:
    """Return what an upstream model costs; what is not written about a kind of token follows input or output."""
    written = effective.price(provider, known, model)
    prompt, answer = written.input or 0.0, written.output or 0.0
    return Price(
        known=written.known,
        input=prompt,
        output=answer,
        cached_input=_or(written.cached_input, prompt),
        reasoning=_or(written.reasoning, answer),
        audio_input=_or(written.audio, prompt),
        audio_output=_or(written.audio, answer),
        image=_or(written.image, prompt),
        max_output=effective.max_output(known, model),
    )


def prices(provider: schema.Provider, known: places.Provider | None) -> dict[str, Price]:
    """Return what the models of a provider cost, as far as they are known by name."""
    named = {*provider.prices, *(() if known is None else (*known.prices, *known.max_outputs))} - {"*"}
    return {model: price(provider, known, model) for model in sorted(named)}


def is_bounded(provider: schema.Provider) -> bool:
    """Return whether the limits of a provider's credential are known."""
    return bool(provider.limits.requests_per_minute or provider.limits.tokens_per_minute)


def held(snapshot: Snapshot) -> Iterator[Allowance]:
    """Yield every allowance in a Snapshot."""
    yield from (each.allowance for each in snapshot.keys if each.allowance is not None)
    yield from (each.allowance for each in snapshot.credentials)


def _or(written: float | None, default: float) -> float:
    return default if written is None else written


def _allowance(slot: int, bounds: WrittenKey | ProviderLimits, requests_burst: int, tokens_burst: int) -> Allowance:
    requests, tokens = bounds.requests_per_minute, bounds.tokens_per_minute
    return compiled(
        bounds,
        Allowance,
        slot=slot,
        requests_burst=requests and (requests_burst or max(requests // _REQUESTS_BURST, 1)),
        tokens_burst=tokens and (tokens_burst or tokens),
        shared=bounds.scope == "global",
    )
