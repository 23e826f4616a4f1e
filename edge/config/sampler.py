"""Sampling of traces by OpenTelemetry's environment variables, where the configuration does not set it.

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
    """Return the section completed from the variables, and a warning if a variable is ignored ("" otherwise).

    Args:
        telemetry: the section as written.
        environ: the environment, with ``OTEL_TRACES_SAMPLER`` and ``OTEL_TRACES_SAMPLER_ARG``.
        sample: whether ``telemetry.sample`` is written; it then takes precedence.
        asked: whether ``telemetry.forced_samples_per_second`` is written; a sampler that is not parent-based then does
            not set it to 0.
    """
    named = environ.get(SAMPLER, "").strip().lower()
    if not named or sample:
        return telemetry, ""
    kind = named.removeprefix(_BY_PARENT)
    if kind not in _SHARES:
        known = ", ".join((*_SHARES, *(_BY_PARENT + each for each in _SHARES)))
        return telemetry, f"{SAMPLER} is ignored, because edge does not have this sampler; write one of {known}"
    share, told = _SHARES[kind], ""
    if share is None:
        share, told = _argument(environ.get(ARGUMENT, "").strip())
    budget = 0 if kind == named and not asked else telemetry.forced_samples_per_second
    return structs.replace(telemetry, sample=share, forced_samples_per_second=budget), told


def _argument(text: str) -> tuple[float, str]:
    """Return the share and a warning; the share is 1.0, as the specification says, if none or no valid one is given."""
    if not text:
        return 1.0, ""
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if 0.0 <= share <= 1.0:
        return share, ""
    return 1.0, f"{ARGUMENT} is ignored, because it is not a number from 0 to 1; all requests are sampled"
