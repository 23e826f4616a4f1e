"""Checks of ``affinity``, ``prefer`` and ``hedge``: that what they go by can be known of the targets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge.config import effective
from edge.config.problems import Path, Problem

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from edge.config.schema import Config, Model
    from edge.terms import places


def choice(config: Config, known: Mapping[str, places.Provider], path: Path, model: Model) -> Iterator[Problem]:
    """Check the targets of a model against its ``affinity`` and its ``prefer``."""
    named = [at.target for at in model.targets if at.target.partition("/")[0] in config.providers]
    if model.affinity == "prefix":
        machines = ", ".join(sorted({facts.name for facts in known.values() if _is_own(facts)}))
        for name in dict.fromkeys(target.partition("/")[0] for target in named):
            facts = known.get(name)
            if facts is None or _is_own(facts) or config.providers[name].discover:
                continue
            sentence = (
                f"prefix is for machines of your own, and edge cannot know what {name} keeps in its caches; write "
                f"auto, or kind ({machines}) or discover in providers.{name} if it is yours"
            )
            yield Problem((*path, "affinity"), sentence)
    if model.prefer == "cost":
        for target in named:
            name, _, upstream = target.partition("/")
            if upstream != "*" and not effective.price(config.providers[name], known.get(name), upstream).known:
                sentence = (
                    f"the price of {target} is unknown, so that it is asked after all that have one; write it in "
                    f"providers.{name}.prices, or 0 if it is free"
                )
                yield Problem((*path, "prefer"), sentence, severity="warning")


def hedge(config: Config, path: Path, model: Model) -> Iterator[Problem]:
    """Check that a request of a model can be hedged: some tier has two targets, or may have."""
    if model.hedge is None:
        return
    tiers = [at.tier for at in model.targets]
    found = any(
        at.target.partition("/")[0] in config.providers and config.providers[at.target.partition("/")[0]].discover
        for at in model.targets
    )
    if not found and len(set(tiers)) == len(tiers):
        sentence = (
            "no tier has two targets, and a hedge asks another one of the same tier, so there will be none; give two "
            "targets the same tier, or leave hedge out"
        )
        yield Problem((*path, "hedge"), sentence, severity="warning")


def _is_own(facts: places.Provider) -> bool:
    """Return whether a known provider is software that runs on machines of the user."""
    return not facts.base_url and not facts.needs_key
