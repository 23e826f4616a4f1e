"""A fault on the command line becomes the intended fault."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from edge.cli import sim
from edge.cli.main import main
from edge.sim import remote, serve
from edge.sim.faults import Fault

if TYPE_CHECKING:
    from edge.sim.provider import ProviderSpec

URL = "http://127.0.0.1:1"


@pytest.fixture
def switched(monkeypatch) -> list[Any]:
    """Record what would be sent instead of sending it."""
    sent: list[Any] = []

    async def record(url: str, *faults: Fault) -> dict[str, Any]:
        sent.append((url, *faults))
        return {"faults": []}

    monkeypatch.setattr(remote, "switch", record)
    return sent


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        (["none"], ()),
        (["blackhole", "--for", "10s"], (Fault(kind="blackhole", for_s=10.0),)),
        (["error", "--status", "429", "--retry-after", "7"], (Fault(kind="error", status=429, retry_after="7"),)),
        (["latency", "--delay", "250ms", "--rate", "0.5"], (Fault(kind="latency", delay_s=0.25, rate=0.5),)),
        (["cut", "--clean", "--tokens", "2"], (Fault(kind="cut", clean=True, tokens=2),)),
    ],
)
def test_what_is_typed_is_what_is_sent(switched: list[Any], typed: list[str], meant: tuple[Fault, ...]) -> None:
    """Options become the fields of a fault, durations in seconds; ``none`` removes all faults."""
    assert main(["sim", "fault", URL, *typed]) == 0
    assert switched == [(URL, *meant)]


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (["earthquake"], "not one of: latency"),
        (["latency", "--delay", "5"], "--delay: '5' is not a duration; write 5s"),
        (["capacity"], "needs limit"),
        (["stall", "--at", "start"], "only at: head, middle"),
    ],
)
def test_nonsense_is_refused_before_it_is_sent(switched: list[Any], capsys, typed: list[str], said: str) -> None:
    """An impossible fault is refused with status 2 and a sentence, and nothing is sent."""
    assert main(["sim", "fault", URL, *typed]) == 2
    assert said in capsys.readouterr().err
    assert switched == []


def test_a_bad_pace_of_a_provider_is_refused(capsys) -> None:
    """A time without a unit is refused with the right form."""
    assert main(["sim", "provider", "--ttft", "50"]) == 2
    assert "--ttft: '50' is not a duration" in capsys.readouterr().err


def test_a_provider_is_told_how_to_go_on_with_an_answer(monkeypatch) -> None:
    """The options become the settings of the provider."""
    run: list[ProviderSpec] = []
    monkeypatch.setattr(serve, "run", lambda specs, _announce: run.extend(specs))
    assert main(["sim", "provider", "--prefill", "continue", "--turn", "restart"]) == 0
    assert [(spec.prefill, spec.turn) for spec in run] == [("continue", "restart")]


def test_every_field_of_a_fault_can_be_typed() -> None:
    """Every field of Fault has an option."""
    assert {name for name, _, _ in sim.FAULT_OPTIONS} | {"kind", "clean"} == set(Fault.__struct_fields__)


def test_the_help_names_every_kind(capsys) -> None:
    """``edge sim fault --help`` lists all kinds of faults."""
    with pytest.raises(SystemExit):
        main(["sim", "fault", "--help"])
    shown = "".join(capsys.readouterr().out.split())
    kinds = msgspec.inspect.type_info(Fault).fields[0].type.values
    assert [kind for kind in kinds if kind not in shown] == []
