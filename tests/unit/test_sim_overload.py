"""edge accepts the overload drill's configuration, and the drill's plot is an image."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING

import pytest

from edge.cli.main import main
from edge.sim import overload
from edge.sim.load import Shot
from edge.sim.plot import Line, Panel, svg

if TYPE_CHECKING:
    from pathlib import Path


def test_its_configuration_is_accepted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """``edge check`` has no errors for the drill's edge.yaml."""
    file = tmp_path / "edge.yaml"
    urls = dict.fromkeys(overload.CAPACITY, "http://127.0.0.1:9/v1")
    file.write_text(json.dumps(overload.config(urls, dict.fromkeys(overload.OFFERED, "x" * 50))))
    # the same clear key twice is refused: the classes need one each
    assert main(["check", str(file)]) == 1
    file.write_text(json.dumps(overload.config(urls, {name: name * 20 for name in overload.OFFERED})))
    assert main(["check", str(file)]) == 0, capsys.readouterr()


def crowd(*shots: Shot) -> overload.Crowd:
    """A finished load."""
    load = overload.Crowd("http://127.0.0.1:9/v1", "key", rate=1.0)
    load.shots.extend(shots)
    return load


def shot(at_s: float, latency_s: float, target: str = "backup/sim-small", reason: str = "") -> Shot:
    """One request."""
    return Shot(at_s, not reason, False, latency_s, None, target, reason)


def test_the_figures_are_those_of_the_loads() -> None:
    """Only requests that began while the primary was dead count for the backup; shed and failed are separate."""
    high = crowd(shot(1, 1.0, "primary/sim-small"), shot(5, 2.0), shot(6, 3.0))
    low = crowd(shot(5, 2.5), shot(5.5, 0.1, reason="SentAwayError: overloaded"), shot(6, 0.2, reason="TimeoutError"))
    low.told_s[1] = 7
    summary = overload.summarise(overload.Phases(4, 4, 2), 4.0, 2.0, [], high, low)
    assert (summary.high_failed, summary.low_ok, summary.low_shed, summary.low_failed) == (0, 1, 1, 1)
    assert (summary.backup_p50_ms, summary.backup_max_ms, summary.times_unloaded) == (2500, 3000, 1.5)
    assert summary.retry_after_s == (7, 7)
    assert not summary.good
    assert [point.low_shed for point in summary.series][5] == 1


def test_the_plot_is_well_formed() -> None:
    """The plot is valid XML, escapes its texts, and has a line for each series."""
    panel = Panel("a < b", (Line("one", [0.0, 5.0, 2.0]), Line("two & three", [1.0, 1.0, 1.0], dashed=True)))
    root = ET.fromstring(svg("title", [0.0, 1.0, 2.0], [panel, panel], shade=(0.5, 1.5)))
    lines = [element for element in root.iter() if element.tag.endswith("polyline")]
    assert len(lines) == 4
    assert lines[0].attrib["points"].count(",") == 3


@pytest.mark.parametrize("fast", [True, False])
def test_it_lasts_as_long_as_it_says(fast: bool) -> None:
    """The drill takes about half a minute, or about a minute."""
    assert overload.phases(fast=fast).total == (23 if fast else 56)
