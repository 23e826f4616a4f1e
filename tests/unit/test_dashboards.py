"""Dashboards and alerts name metrics that edge publishes, and each alert says what to do."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import promql
import pytest
import yaml
from test_meters import everything, page

from edge.config import schema
from edge.telemetry import catalog

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge.telemetry.metric import Metric

ROOT = Path(__file__).parents[2]
SCRAPED = frozenset({"instance", "job"})  # Prometheus adds them to every sample
BUILT_IN = {"up": SCRAPED}


def series() -> dict[str, Metric]:
    """Return every sample name of the catalogue."""
    found = {}
    for metric in catalog.ALL:
        endings = {"histogram": ("_bucket", "_sum", "_count"), "summary": ("_sum", "_count")}.get(metric.kind, ("",))
        found.update({metric.name + ending: metric for ending in endings})
    return found


def rules() -> list[dict[str, Any]]:
    """Return every rule of the alerts file."""
    groups = yaml.safe_load((ROOT / "deploy/prometheus/alerts.yaml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def alerts() -> list[dict[str, Any]]:
    """Return the rules that alert."""
    return [rule for rule in rules() if "alert" in rule]


def panels() -> list[dict[str, Any]]:
    """Return every panel of the dashboard that has a query."""
    board = json.loads((ROOT / "deploy/grafana/edge.json").read_text())
    return [panel for panel in board["panels"] if panel["type"] != "row"]


def expressions() -> Iterator[tuple[str, str]]:
    """Return (where, text) of all queries."""
    for rule in rules():
        yield rule.get("alert", rule.get("record", "?")), rule["expr"]
    for panel in panels():
        for target in panel["targets"]:
            yield panel["title"], target["expr"]
    board = json.loads((ROOT / "deploy/grafana/edge.json").read_text())
    for annotation in board["annotations"]["list"]:
        yield annotation["name"], annotation["expr"]
    for variable in board["templating"]["list"]:
        if variable["type"] == "query":
            yield variable["name"], re.sub(r"^label_values\((.+), \w+\)$", r"\1", variable["definition"])


def fixed_values() -> dict[tuple[str, str], set[str]]:
    """Return the fixed values of labels, by family and label, as an idle node publishes them."""
    plan, board = everything()
    found: dict[tuple[str, str], set[str]] = {}
    for metric, samples in page(board, plan):
        for place, label in enumerate(metric.labels):
            if label in ("class", "priority", "outcome", "kind", "reason", "bound", "result", "state"):
                found[metric.name, label] = {sample.labels[place] for sample in samples}
    return found


@pytest.mark.parametrize(("where", "text"), list(expressions()))
def test_every_expression_names_what_is_published(where: str, text: str) -> None:
    """Metrics, labels and label values of every expression are in the catalogue, or recorded by a rule."""
    known, values = series(), fixed_values()
    recorded = {rule["record"]: promql.parse(rule["expr"]) for rule in rules() if "record" in rule}
    expression = promql.parse(text)
    assert expression.selectors, where
    labels: set[str] = set(SCRAPED)
    for selector in expression.selectors:
        if selector.name in BUILT_IN:
            own = set(BUILT_IN[selector.name])
        elif selector.name in recorded:
            own = recorded[selector.name].grouped
        else:
            assert selector.name in known, f"{where}: {selector.name} is not in the catalogue"
            metric = known[selector.name]
            own = {*metric.labels, *SCRAPED, *(["le"] if selector.name.endswith("_bucket") else [])}
            for label, wanted in selector.matchers.items():
                allowed = values.get((metric.name, label))
                assert allowed is None or set(wanted) <= allowed, f"{where}: {label} is never {wanted}"
        assert set(selector.matchers) <= own, f"{where}: {selector.name} has no label {set(selector.matchers) - own}"
        labels |= own
    assert expression.grouped <= labels, f"{where}: nothing here has {expression.grouped - labels}"


@pytest.mark.parametrize("text", ["rate(x[5m]", "sum by (a) x)", "nothing(x)", "x{a}", "rate(x)", "sum(x[5m])", "x y"])
def test_the_parser_refuses_what_is_no_promql(text: str) -> None:
    """Expressions that Prometheus would refuse, wrong types included, are refused."""
    with pytest.raises(ValueError):
        promql.parse(text)


def test_the_parser_finds_what_is_named() -> None:
    """Names, labels, groups and alternatives are distinguished from functions and keywords."""
    text = 'sum by (a) (rate(x_total{b=~"c|d", e!="f.*"}[$__rate_interval])) / on (g) group_left(h) y > 0.5 and z'
    found = promql.parse(text)
    assert [selector.name for selector in found.selectors] == ["x_total", "y", "z"]
    assert found.selectors[0].matchers == {"b": ("c", "d"), "e": ()}
    assert found.grouped == {"a", "g", "h"}


def test_legends_name_labels_that_are_left() -> None:
    """A legend shows only labels that its expression keeps."""
    for panel in panels():
        for target in panel["targets"]:
            named = set(re.findall(r"{{(\w+)}}", target["legendFormat"]))
            expression = promql.parse(target["expr"])
            known = series()
            left = expression.grouped or {
                label for selector in expression.selectors for label in (*known[selector.name].labels, *SCRAPED)
            }
            assert named <= left, panel["title"]


def test_the_dashboard_asks_the_source_that_is_chosen() -> None:
    """All queries use the data source variable, and all variables exist."""
    text = (ROOT / "deploy/grafana/edge.json").read_text()
    board = json.loads(text)
    declared = {variable["name"] for variable in board["templating"]["list"]}
    assert {"name": "datasource", "type": "datasource", "query": "prometheus"}.items() <= (
        board["templating"]["list"][0].items()
    )
    asked = [*panels(), *(target for panel in panels() for target in panel["targets"]), *board["annotations"]["list"]]
    assert all(one["datasource"] == {"type": "prometheus", "uid": "${datasource}"} for one in asked)
    named = {left or right for left, right in re.findall(r"\$(?:\{(\w+)\}|(\w+))", text)}
    assert {name for name in named if not name.startswith("__")} == declared


def test_panels_do_not_overlap() -> None:
    """Each panel has its own place on the 24 columns, and a unique id."""
    board = json.loads((ROOT / "deploy/grafana/edge.json").read_text())
    taken: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert place["x"] + place["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])


@pytest.mark.parametrize("rule", alerts(), ids=lambda rule: rule["alert"])
def test_every_alert_says_what_to_do(rule: dict[str, Any]) -> None:
    """An alert has a summary, an action, a severity, and an existing runbook."""
    notes = rule["annotations"]
    assert notes["summary"]
    assert notes["action"].endswith(".")
    assert rule["labels"]["severity"] in ("page", "ticket")
    path, _, anchor = notes["runbook"].partition("#")
    headings = re.findall(r"^#+ (.+)$", (ROOT / path).read_text(), re.MULTILINE)
    assert anchor in {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}
    assert len({other["alert"] for other in alerts()}) == len(alerts())


def test_every_runbook_belongs_to_an_alert() -> None:
    """Every heading of the runbooks belongs to an existing alert."""
    headings = re.findall(r"^### (Edge\w+)$", (ROOT / "docs/operating.md").read_text(), re.MULTILINE)
    assert headings == [rule["alert"] for rule in alerts()]


def test_labels_in_summaries_exist() -> None:
    """A summary shows only labels of its alert."""
    known = series()
    for rule in alerts():
        expression = promql.parse(rule["expr"])
        left: set[str] = set(SCRAPED) | expression.grouped
        for selector in expression.selectors:
            left |= set(known[selector.name].labels) if selector.name in known else {"route"}
        assert set(re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"])) <= left, rule["alert"]


def test_the_scrape_example_asks_the_admin_address() -> None:
    """The example is valid YAML, loads the alerts, and uses the default job and port."""
    example = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yaml").read_text())
    (job,) = example["scrape_configs"]
    assert example["rule_files"] == ["alerts.yaml"]
    assert job["job_name"] == "edge"
    assert job["static_configs"] == [{"targets": [schema.Admin().address]}]
