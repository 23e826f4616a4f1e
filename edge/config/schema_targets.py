"""Targets as models and services of edge.yaml name them: who, and its place in the pool."""

from typing import Annotated

from msgspec import Struct

from edge.config.fields import about
from edge.config.schema_policy import Canary


class ModelTarget(Struct, frozen=True, forbid_unknown_fields=True):
    """A provider's model, and its place in the pool."""

    target: Annotated[str, about("provider/upstream-model, or provider/* where the alias is a pattern.")]
    tier: Annotated[
        int,
        about(
            "1 is preferred. A higher tier is used when no target of the tiers before it can answer.", low=1, high=64
        ),
    ] = 1
    weight: Annotated[
        float, about("Its share of the tier's traffic, relative to the other targets.", above=0, high=1000)
    ] = 1.0
    canary: Annotated[Canary | None, about("Take it out if it does worse than its tier. Default: never.")] = None
    context_window: Annotated[
        int,
        about(
            "Tokens of prompt and answer that it takes. A request that is too long for one target is tried at targets "
            "whose window is larger. 0: what edge knows of the model.",
            low=0,
        ),
    ] = 0


class ServiceTarget(Struct, frozen=True, forbid_unknown_fields=True):
    """An address of a service, and its place in the pool."""

    target: Annotated[str, about("host:port.")]
    tier: Annotated[
        int,
        about(
            "1 is preferred. A higher tier is used when no target of the tiers before it can answer.", low=1, high=64
        ),
    ] = 1
    weight: Annotated[
        float, about("Its share of the tier's traffic, relative to the other targets.", above=0, high=1000)
    ] = 1.0
    canary: Annotated[Canary | None, about("Take it out if it does worse than its tier. Default: never.")] = None
