"""The alert rules fire when they should, as evaluated by Prometheus' own promtool if it is installed.

``PROMTOOL`` is its path; by default it is searched for on PATH. The check that every alert is tested needs no promtool.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

DEPLOY: Final = Path(__file__).parents[2] / "deploy"
PROMTOOL: Final = os.environ.get("PROMTOOL") or shutil.which("promtool")
WITH_PROMTOOL: Final = pytest.mark.skipif(
    PROMTOOL is None, reason="no promtool here: put it on PATH or name it by PROMTOOL"
)
PLAYED: Final[list[dict[str, Any]]] = yaml.safe_load((DEPLOY / "prometheus/alerts.test.yaml").read_text())["tests"]


def alerts() -> list[str]:
    """Return the names of all alerts."""
    groups = yaml.safe_load((DEPLOY / "prometheus/alerts.yaml").read_text())["groups"]
    return [rule["alert"] for group in groups for rule in group["rules"] if "alert" in rule]


def said(*arguments: str, given: str = "") -> str:
    """Run promtool, which must succeed; return its output."""
    assert PROMTOOL is not None
    done = subprocess.run(
        [PROMTOOL, *arguments], input=given, capture_output=True, text=True, timeout=50, check=False, cwd=DEPLOY
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def fires(check: dict[str, Any]) -> set[str]:
    """Return the alerts that are expected at one moment of a test."""
    return {name for sample in check["exp_samples"] for name in re.findall(r'alertname="(\w+)"', sample["labels"])}


@pytest.mark.parametrize("alert", alerts())
def test_every_alert_is_played(alert: str) -> None:
    """For each alert some test expects it to fire, and at another moment not to fire."""
    played = [[fires(check) for check in test["promql_expr_test"]] for test in PLAYED]
    mine = [moments for moments in played if any(alert in moment for moment in moments)]
    assert mine, "no test expects it"
    assert any(alert not in moment for moments in mine for moment in moments), "no test expects its silence"


def test_what_is_played_exists() -> None:
    """Every tested alert exists, and each test lists all alerts that fire."""
    checks = [check for test in PLAYED for check in test["promql_expr_test"]]
    assert set().union(*(fires(check) for check in checks)) == set(alerts())
    assert all(check["expr"].find("ALERTS") >= 0 for check in checks)


@WITH_PROMTOOL
def test_alerts_fire_when_they_should() -> None:
    """Prometheus' own evaluation agrees with every test."""
    assert "SUCCESS" in said("test", "rules", "prometheus/alerts.test.yaml")


@WITH_PROMTOOL
@pytest.mark.parametrize("name", ["prometheus.yaml", "kubernetes.yaml"])
def test_prometheus_takes_the_examples(name: str) -> None:
    """A recent Prometheus accepts the example configurations."""
    version = re.search(r"version (\d+)\.(\d+)", said("--version"))  # one built by hand does not say
    if version is not None and (int(version[1]), int(version[2])) < (2, 49):
        pytest.skip(f"promtool {version[0]} does not know scrape_protocols")
    said("check", "config", "--syntax-only", f"prometheus/{name}")


@WITH_PROMTOOL
def test_prometheus_takes_every_expression(tmp_path: Path) -> None:
    """Prometheus accepts the rules, and the dashboard's queries as rules."""
    said("check", "rules", "prometheus/alerts.yaml")
    shared_state = json.loads((DEPLOY / "grafana/edge.json").read_text())
    asked = [target["expr"] for panel in shared_state["panels"] for target in panel.get("targets", ())]
    asked += [annotation["expr"] for annotation in shared_state["annotations"]["list"]]
    assert len(asked) > 60
    rules = [{"record": f"x{at}", "expr": text.replace("$__rate_interval", "1m")} for at, text in enumerate(asked)]
    file = tmp_path / "rules.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "shared_state", "rules": rules}]}))
    assert f"{len(asked)} rules found" in said("check", "rules", str(file))
