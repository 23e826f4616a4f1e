"""A reading is the same in OpenTelemetry's format, under the names of its conventions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from msgspec import structs
from opentelemetry.sdk.metrics import export as otel
from test_meters import everything, page

from edge.telemetry import catalog, catalog_node, names
from edge.telemetry.measured import CONVENTIONS, Moment, tell
from edge.telemetry.reading import Histogram, Reading

if TYPE_CHECKING:
    from edge.telemetry.metric import Metric


def told(reading: Reading | None = None) -> dict[str, otel.Metric]:
    """Return every family by its name."""
    plan, shared_state = everything()
    data = tell(Moment(page(shared_state, plan) if reading is None else reading, plan, 5, 10))
    return {metric.name: metric for metric in data.resource_metrics[0].scope_metrics[0].metrics}


def points(metric: otel.Metric) -> list[Any]:
    """Return the points of a family."""
    return list(metric.data.data_points)


def test_nothing_is_lost_and_no_name_is_taken_twice() -> None:
    """Each sample of the reading is one point, and a family and a convention never share a name."""
    plan, shared_state = everything()
    reading = page(shared_state, plan)
    samples = sum(len(found) for _, found in reading)
    found = told(reading)
    assert sum(len(points(metric)) for metric in found.values()) == samples
    assert len(found) == len(list(reading)) + 2  # attempts at models are called by GenAI, those at services are not


@pytest.mark.parametrize("metric", catalog.ALL, ids=lambda metric: metric.name)
def test_a_collector_gets_our_names_back(metric: Metric) -> None:
    """With dots as underscores, the unit and _total, the names are those of /metrics."""
    if metric in CONVENTIONS:
        return
    units = {"s": "_seconds", "By": "_bytes", "1": "_ratio"}
    back = {
        name.replace(".", "_") + units.get(each.unit or "", "") + ("_total" if isinstance(each.data, otel.Sum) else "")
        for name, each in told().items()
    }
    assert metric.name in back


def test_conventions_have_their_names_units_and_attributes() -> None:
    """HTTP's conventions for requests and services, GenAI's for models, durations in seconds."""
    found = told()
    assert {names.SERVER_DURATION, names.SERVER_ACTIVE, names.CLIENT_DURATION, names.MODEL_DURATION} < set(found)
    assert found[names.SERVER_DURATION].unit == "s"
    assert "chat" in {point.attributes[names.ROUTE] for point in points(found[names.SERVER_DURATION])}
    models = [point.attributes for point in points(found[names.MODEL_FIRST_CHUNK])]
    assert {attributes[names.TARGET]: (attributes[names.PROVIDER], attributes[names.MODEL]) for attributes in models}[
        "one/small"
    ] == ("one", "small")
    (service,) = [point.attributes for point in points(found[names.CLIENT_DURATION])]
    assert (service[names.ADDRESS], service[names.PORT]) == ("127.0.0.1", 9)
    kinds = {point.attributes[names.TOKEN_TYPE] for point in points(found["edge.target.tokens"])}
    assert kinds == {"input", "output"}


def test_values_are_as_they_were_read() -> None:
    """Histograms keep bounds, buckets and sum; counters are integers; times are the shared state's start and now."""
    reading = Reading()
    reading.add(catalog.ROUTE_TOTAL, ("chat",), Histogram((0.5, 1.0), (1, 2, 3), 4.5))
    reading.add(catalog_node.BYTES_IN, ("0",), 12_345_678_901_234)
    found = told(reading)
    (point,) = points(found[names.SERVER_DURATION])
    assert (point.count, point.sum, point.bucket_counts, point.explicit_bounds) == (6, 4.5, [1, 2, 3], [0.5, 1.0])
    assert (point.start_time_unix_nano, point.time_unix_nano) == (5, 10)
    (counted,) = points(found["edge.worker.received"])
    assert counted.value == 12_345_678_901_234
    assert structs.asdict(CONVENTIONS[catalog.ROUTE_TOTAL]) == {
        "model": names.SERVER_DURATION,
        "other": names.SERVER_DURATION,
    }
