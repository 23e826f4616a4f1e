"""Drills: the same seed gives the same outage, the real data path rides through it, and floors can fail."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from itertools import pairwise
from random import Random
from typing import TYPE_CHECKING

import msgspec
import pytest
from msgspec import structs

from edge.cli.main import main
from edge.cluster.memory import MemoryCluster
from edge.drills import load
from edge.drills.page import html
from edge.drills.play import play
from edge.drills.scores import report
from edge.drills.scripts import SCRIPTS
from edge.drills.stage import set_stage
from edge.drills.upstream import WELL, Condition, Phase
from edge.drills.virtual_time import VirtualTime
from edge.errors import ConfigInvalidError, DrillError
from edge.terms.ports import Write

if TYPE_CHECKING:
    from pathlib import Path

    from edge.drills.scripts import Script
    from edge.drills.stage import Stage

M = 60.0
LONE = """
providers: {only: {base_url: "http://127.0.0.1:9/v1", api_key: "${ONLY_KEY}"}}
models: {chat: {targets: [only/small]}}
"""


def stage(path: Path | None = None, **given: str) -> Stage:
    """Return a stage with an empty environment."""
    return set_stage(path, environ={}, now=1_770_000_000.0, **given)


def brief(script: Script, minutes: float, phases: tuple[Phase, ...]) -> Script:
    """Return a script whose primary has these phases; the window is from the first to the last."""
    window = (phases[0].start_s, phases[-1].start_s)
    return structs.replace(script, seconds=minutes * M, window=window, phases={"primary": phases})


DARK = brief(
    SCRIPTS["march"],
    24,
    (Phase(6 * M, Condition(dark=1.0), "dark"), Phase(18 * M, WELL, "well")),
)


def test_callers_do_not_notice_a_provider_that_is_dark() -> None:
    """Edge answers at least 99.9% where one provider answers nothing, and no backup gets more than it takes."""
    found = report(play(DARK, stage(), seed=3))
    edge, one, listed = found.sides
    assert found.met
    assert edge.window_requests > 3000
    assert edge.window_availability >= 0.999
    assert one.window_availability == 0
    assert edge.refused == dict.fromkeys(edge.refused, 0)
    assert sum(listed.refused.values()) > 0, "without edge the same backups are asked for more than they take"
    assert edge.first_s[0] < 5 < listed.first_s[0]
    assert all(edge.most[name] <= most for name, most in found.capacities.items())


def test_the_same_seed_gives_the_same_report() -> None:
    """Everything a drill reports follows from its seed, pictures included; another seed gives other figures."""
    short = structs.replace(DARK, seconds=9 * M, window=(6 * M, 9 * M))
    first, second, other = (play(short, stage(), seed=seed) for seed in (5, 5, 6))
    assert msgspec.json.encode(report(first)) == msgspec.json.encode(report(second))
    assert html(first, report(first)) == html(second, report(second))
    assert report(first).sides[0].attempts != report(other).sides[0].attempts


def test_pictures_are_understood_elsewhere() -> None:
    """While the recovered provider declines pictures, another one answers each of them; texts stay with it."""
    script = structs.replace(SCRIPTS["may"], seconds=64 * M, images=0.3)
    played = play(script, stage(), seed=2, rate=2.0)
    found = {score.what: score for score in report(played).scores}
    assert found["pictures understood after the provider calls itself recovered"].met
    assert played.edge.images["answered blind"] == played.edge.images["asked blind"] > 100
    # the first two, and then trials: one after an open period of at most 60 s
    assert 2 < played.edge.images["declined blind"] < 40
    late = played.edge.span(58 * M, 64 * M)
    assert late.answered["deepseek/deepseek-v4-flash"] > late.requests / 2
    assert played.listed.images["answered blind"] == 0


def test_a_stolen_key_takes_what_it_may_and_harms_nobody() -> None:
    """The thief gets at most the key's requests a minute, exactly counted; every other request is answered."""
    script = structs.replace(SCRIPTS["key-leak"], seconds=8 * M, window=(2 * M, 6 * M), leak=(2 * M, 6 * M))
    played = play(script, stage(), seed=1)
    thief = played.thief.span(0, 1e9)
    assert report(played).met
    assert thief.requests > 20_000
    assert 4 * 300 <= thief.requests - thief.failed <= 4 * 300 + 30
    assert set(played.thief.statuses) == {"429 rate_limit_exceeded"}
    assert played.edge.span(0, 1e9).failed == 0


def test_a_lost_store_changes_nothing_that_is_decided_here() -> None:
    """Other regions are heard before and after, not during; the node falls back to its part of a shared limit."""
    dark = [Phase(at * M, Condition(dark=1.0), "dark") for at in (2, 6, 12)]
    well = [Phase(at * M, WELL, "well") for at in (3, 8, 13)]
    script = structs.replace(
        SCRIPTS["etcd"],
        seconds=14 * M,
        window=(4 * M, 10 * M),
        store_lost=(4 * M, 10 * M),
        phases={"primary": tuple(sorted((*dark, *well), key=lambda phase: phase.start_s))},
        floor=0.99,
    )
    played = play(script, stage(), seed=1, rate=2.0)
    seen = played.neighbours
    assert seen is not None
    assert report(played).met
    assert [word.at_s for word in seen.words if word.threshold and 4 * M + 20 < word.at_s < 10 * M] == []
    before, during, after = (seen.shares[when]["key/application"] for when in ("before", "during", "after"))
    assert during == pytest.approx((2000 / 3,) * 3, rel=0.01)
    assert sum(before) <= 2000
    assert sum(after) <= 2000


def test_a_region_without_a_way_out_is_answered_by_another(tmp_path: Path) -> None:
    """With peers another region answers; without them the floor is not met, and the report says why."""
    script = structs.replace(SCRIPTS["egress"], seconds=16 * M, window=(10 * M, 16 * M))
    found = report(play(script, stage(), seed=1))
    assert found.sides[0].answered.keys() == {"region:elsewhere/edge.elsewhere.internal:8080"}
    assert found.sides[0].window_availability > 0.99
    file = tmp_path / "edge.yaml"
    file.write_text(LONE)
    alone = report(play(script, stage(file), seed=1))
    assert not alone.met
    assert alone.sides[0].window_availability == 0
    assert any("write peers" in note for note in alone.notes)


def test_a_backup_whose_capacity_nobody_wrote_is_spared_too(tmp_path: Path) -> None:
    """Where no max_inflight is written, edge learns the limit, and few attempts are refused for want of room."""
    file = tmp_path / "edge.yaml"
    text = (
        "providers: {one: {base_url: 'http://127.0.0.1:9/v1'}, two: {base_url: 'http://127.0.0.1:9/v1'}, "
        "three: {base_url: 'http://127.0.0.1:9/v1'}}\n"
        "models: {chat: {targets: [one/m, {target: two/m, tier: 2}, {target: three/m, tier: 3}]}}\n"
    )
    file.write_text(text)
    found = report(play(DARK, stage(file), seed=4))
    asked, refused = found.sides[0].attempts["two/m"], found.sides[0].refused["two/m"]
    assert found.sides[0].window_availability >= 0.999
    assert found.met
    assert 0 < refused <= asked / 6
    assert found.sides[2].refused["two/m"] > 3 * refused


def test_the_page_stands_alone() -> None:
    """The document is well formed, has its pictures within, and asks nobody for anything."""
    played = play(structs.replace(DARK, seconds=9 * M, window=(6 * M, 9 * M)), stage(), seed=1, rate=2.0)
    text = html(played, report(played))
    assert re.findall(r"https?://|<script|<link|<img|src=|@import|url\(", text) == []
    assert text.count("<svg") == text.count("</svg>") == 5
    assert _unclosed(text) == []
    assert 'class="ok">met' in text


def _unclosed(text: str) -> list[str]:
    """Return the elements that are not closed in order."""
    empty = {"meta", "br"}
    wrong: list[str] = []

    class Reader(HTMLParser):
        standing: list[str] = []  # noqa: RUF012

        def handle_starttag(self, tag: str, attrs: object) -> None:
            if tag not in empty:
                self.standing.append(tag)

        def handle_startendtag(self, tag: str, attrs: object) -> None:
            pass

        def handle_endtag(self, tag: str) -> None:
            if not self.standing or self.standing.pop() != tag:
                wrong.append(tag)

    reader = Reader()
    reader.feed(text)
    return wrong + reader.standing


def test_the_load_is_drawn_as_measured() -> None:
    """Rates, tokens at the known quantiles and the variation of the gaps are those of the trace."""
    for kind, mix in load.MIXES.items():
        drawn = list(load.requests(mix, 4 * 3600, Random(1), images=0.0))
        prompts = sorted(one.prompt for one in drawn)
        gaps = [(after.at_ns - one.at_ns) / 1e9 for one, after in pairwise(drawn)]
        mean = sum(gaps) / len(gaps)
        variation = (sum((gap - mean) ** 2 for gap in gaps) / len(gaps)) ** 0.5 / mean
        assert len(drawn) == pytest.approx(mix.rate * 4 * 3600, rel=0.12), kind
        assert prompts[len(prompts) // 2] == pytest.approx(mix.prompt[3], rel=0.05), kind
        assert prompts[len(prompts) * 9 // 10] == pytest.approx(mix.prompt[5], rel=0.05), kind
        assert variation == pytest.approx(mix.gap_cv, rel=0.2), kind


def test_a_configuration_needs_no_secret(tmp_path: Path) -> None:
    """Variables that are not set are made up; a default of the file and a value of the environment count."""
    file = tmp_path / "edge.yaml"
    file.write_text(LONE.replace("127.0.0.1:9", "${PLACE:-127.0.0.1:7}"))
    assert [target.port for target in stage(file).snapshot.targets if target.model] == [7]
    given = set_stage(file, environ={"PLACE": "127.0.0.1:8", "ONLY_KEY": "sk-real-one-0000"}, now=1.0)
    assert given.places[0].target.port == 8
    assert given.places[0].target.fields == (("authorization", "Bearer sk-real-one-0000"),)


def test_callers_with_tokens_are_played_without(tmp_path: Path) -> None:
    """Where only tokens of an identity provider are accepted, callers of a drill are admitted without one."""
    file = tmp_path / "edge.yaml"
    issuer = '{issuer: "https://id.example", jwks: "https://id.example/keys", audience: edge}'
    file.write_text(f'listen: [{{address: "0.0.0.0:8080"}}]\nauth: {{jwt: [{issuer}]}}\n{LONE}')
    short = structs.replace(DARK, seconds=6 * M, window=(0.0, 6 * M), phases={})
    assert report(play(short, stage(file), seed=1, rate=1.0)).sides[0].availability == 1


@pytest.mark.parametrize(
    ("text", "model", "error", "says"),
    [
        (f'node: {{workers: "${{WORKERS}}"}}\n{LONE}', "", ConfigInvalidError, "'${WORKERS}' is not a whole number"),
        (f"{LONE}\n---\nnode: {{}}\n", "", ConfigInvalidError, "a Kubernetes manifest"),
        (LONE, "chit", DrillError, "there is no model 'chit' to drill; models are chat"),
        (LONE.replace("only/small", "other/small"), "", ConfigInvalidError, "other"),
        ("services: {a: {match: {host: a.test}, targets: ['127.0.0.1:9']}}\n", "", DrillError, "models are none"),
    ],
)
def test_a_stage_that_cannot_be_set_says_why(
    tmp_path: Path, text: str, model: str, error: type[Exception], says: str
) -> None:
    """A model that is not there and an invalid file are errors with the remedy."""
    file = tmp_path / "edge.yaml"
    file.write_text(text)
    with pytest.raises(error, match=re.escape(says)):
        stage(file, route=model)


def test_what_is_no_file_is_not_read(tmp_path: Path) -> None:
    """A missing file, a folder, a device and bytes are errors with the file's name."""
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    for name, says in ((".", "directory"), ("gone", "No such file"), ("bytes", "UTF-8"), ("/dev/zero", "regular file")):
        with pytest.raises(DrillError, match=says) as error:
            stage(tmp_path / name)
        assert str(error.value).startswith(f"{tmp_path / name}: cannot be read: ")


def test_a_rate_that_no_machine_bears_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """Hours at a high rate would be requests without number; the error names the highest rate."""
    assert main(["drill", "run", "march", "--rate", "1000"]) == 1
    assert "more than 1,000,000 requests; write --rate 33" in capsys.readouterr().err
    assert main(["drill", "run", "key-leak", "--rate", "30"]) == 1
    assert "write --rate 25" in capsys.readouterr().err


def test_the_report_depends_on_no_order_of_hashes() -> None:
    """Two processes with other seeds of Python's hashes print the same bytes."""
    command = [sys.executable, "-m", "edge", "drill", "run", "quota", "--rate", "0.2", "--json"]
    reports = [
        subprocess.run(command, capture_output=True, check=False, env={**os.environ, "PYTHONHASHSEED": seed}).stdout
        for seed in ("1", "2")
    ]
    assert len(reports[0]) > 1000
    assert reports[0] == reports[1]


async def test_a_store_wakes_its_watches_in_order() -> None:
    """Who waits first is woken first; in the order of addresses in memory no drill could be repeated."""
    cluster = MemoryCluster(VirtualTime(1))
    woken: list[int] = []

    async def wait(number: int) -> None:
        await cluster.wait(cluster.revision + 1)
        woken.append(number)

    tasks = [asyncio.create_task(wait(number)) for number in range(100)]
    await asyncio.sleep(0)
    cluster.write((), (Write("a", b"1"),))
    await asyncio.gather(*tasks)
    assert woken == list(range(100))


def test_the_command_lists_and_plays(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """The list names every drill; a run prints its scores, as JSON too, and fails when a floor is not met."""
    assert main(["drill", "list", "--json"]) == 0
    assert [row["name"] for row in json.loads(capsys.readouterr().out)] == [*SCRIPTS, "thousand-nodes"]
    assert main(["drill", "run", "quota", "--rate", "0.5"]) == 0
    said = capsys.readouterr().out
    assert "availability in the window" in said
    assert "not met" not in said
    file = tmp_path / "edge.yaml"
    file.write_text(LONE)
    assert main(["drill", "run", "quota", "--rate", "0.5", "-c", str(file), "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert (found["source"], found["scores"][0]["met"]) == ("edge.yaml", False)
    assert main(["drill", "run", "april"]) == 1
    assert "there is no drill 'april'" in capsys.readouterr().err


@pytest.mark.prove
def test_the_whole_of_march() -> None:
    """7 h 13 min of darkness take less than a minute of processor time, and meet every floor."""
    import time

    began = time.process_time()
    found = report(play(SCRIPTS["march"], stage(), seed=1))
    assert time.process_time() - began < 60
    assert found.met
    assert found.sides[0].window_requests > 140_000
    assert found.sides[1].window_availability == 0
