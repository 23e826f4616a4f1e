"""OpenTelemetry's variables set the sampling if the file does not, and only then."""

from __future__ import annotations

import pytest

from edge.config.load import from_environment, read_text
from edge.providers import KNOWN


@pytest.mark.parametrize(
    ("written", "environ", "expected"),
    [
        ("", {}, (0.01, 100)),
        ("", {"OTEL_TRACES_SAMPLER": "always_on"}, (1.0, 0)),
        ("", {"OTEL_TRACES_SAMPLER": "always_off"}, (0.0, 0)),
        ("", {"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.25"}, (0.25, 0)),
        ("", {"OTEL_TRACES_SAMPLER": "traceidratio"}, (1.0, 0)),
        ("", {"OTEL_TRACES_SAMPLER": "parentbased_always_on"}, (1.0, 100)),
        ("", {"OTEL_TRACES_SAMPLER": "parentbased_always_off"}, (0.0, 100)),
        ("", {"OTEL_TRACES_SAMPLER": " ParentBased_TraceIdRatio ", "OTEL_TRACES_SAMPLER_ARG": "5e-2"}, (0.05, 100)),
        ("", {"OTEL_TRACES_SAMPLER_ARG": "0.5"}, (0.01, 100)),
        ("telemetry: {forced_samples_per_second: 7}", {"OTEL_TRACES_SAMPLER": "always_on"}, (1.0, 7)),
        ("telemetry: {sample: 3%}", {"OTEL_TRACES_SAMPLER": "always_on"}, (0.03, 100)),
    ],
)
def test_the_variables_fill_what_is_not_written(
    written: str, environ: dict[str, str], expected: tuple[float, int]
) -> None:
    """The file wins over the variables; a sampler that ignores the parent gives callers no forced samples."""
    document = read_text(written, "edge.yaml", environ=environ)
    assert document.problems == ()
    assert (document.config.telemetry.sample, document.config.telemetry.forced_samples_per_second) == expected


@pytest.mark.parametrize(
    ("environ", "sample"),
    [
        ({"OTEL_TRACES_SAMPLER": "jaeger_remote"}, 0.01),
        ({"OTEL_TRACES_SAMPLER": "parentbased_"}, 0.01),
        ({"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "25%"}, 1.0),
        ({"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "nan"}, 1.0),
        ({"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "-1"}, 1.0),
    ],
)
def test_nonsense_is_ignored_with_a_warning(environ: dict[str, str], sample: float) -> None:
    """An invalid value is ignored, as specified, with a warning that names the variable but not the value."""
    document = read_text("", "edge.yaml", environ=environ)
    (problem,) = document.problems
    assert problem.severity == "warning"
    assert list(environ)[-1] in problem.sentence
    assert document.config.telemetry.sample == sample


def test_without_a_file_they_hold_too() -> None:
    """A node that is configured by keys in the environment uses the variables too."""
    environ = {"OPENAI_API_KEY": "sk-0123456789", "OTEL_TRACES_SAMPLER": "always_on"}
    config = from_environment(environ, KNOWN)
    assert config is not None
    assert config.telemetry.sample == 1.0
