"""Which requests are traced where the configuration does not say?  What OpenTelemetry's own variables say, if they do.

Source: OpenTelemetry specification, configuration/sdk-environment-variables.md, "General SDK Configuration".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec import structs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge.config.schema_telemetry import Telemetry

SAMPLER: Final = "OTEL_TRACES_SAMPLER"
ARGUMENT: Final = "OTEL_TRACES_SAMPLER_ARG"
_SHARES: Final[dict[str, float | None]] = {"always_on": 1.0, "always_off": 0.0, "traceidratio": None}
_BY_PARENT: Final = "parentbased_"


def sampled(
    telemetry: Telemetry, environ: Mapping[str, str], *, sample: bool = False, asked: bool = False
) -> tuple[Telemetry, str]:
    """Return the section as the variables complete it, and a sentence about what in them is ignored ("": nothing).

    Args:
        telemetry: the section as it was written.
        environ: ``OTEL_TRACES_SAMPLER`` and ``OTEL_TRACES_SAMPLER_ARG``.
        sample: ``telemetry.sample`` is written, so that it wins.
        asked: ``telemetry.forced_samples_per_second`` is written: a sampler that heeds no parent does not change it.
    """
    named = environ.get(SAMPLER, "").strip().lower()
    if not named or sample:
        return telemetry, ""
    kind = named.removeprefix(_BY_PARENT)
    if kind not in _SHARES:
        known = ", ".join((*_SHARES, *(_BY_PARENT + each for each in _SHARES)))
        return telemetry, f"{SAMPLER} names no sampler that edge has; it is ignored, write one of {known}"
    share, told = _SHARES[kind], ""
    if share is None:
        share, told = _argument(environ.get(ARGUMENT, "").strip())
    budget = 0 if kind == named and not asked else telemetry.forced_samples_per_second
    return structs.replace(telemetry, sample=share, forced_samples_per_second=budget), told


def _argument(text: str) -> tuple[float, str]:
    """Return a share; 1.0, as the specification has it, where none is given or it is none."""
    if not text:
        return 1.0, ""
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if 0.0 <= share <= 1.0:
        return share, ""
    return 1.0, f"{ARGUMENT} is no number from 0 to 1; it is ignored, and everything is traced"
