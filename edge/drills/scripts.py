"""The drills: which provider has what wrong with it, and when. Times are seconds from the begin.

March and May 2026 follow the outages of DeepSeek as they were recorded: latencies that rose before the black-out, a
route that accepted connections and did not answer, backups that were already full; and in May image recognition that
was still missing after the provider had called itself recovered.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from edge.drills.upstream import WELL, Condition, Phase

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge.drills.stage import Role

M: Final = 60.0
Timeline = tuple[Phase, ...]


class Script(Struct, frozen=True):
    """One drill.

    ``window`` is the time that is scored beside the whole: from the begin of the fault to its end. ``phases`` has what
    is wrong with the targets of a role, by time.
    """

    name: str
    title: str
    says: str
    begins: datetime
    seconds: float
    window: tuple[float, float]
    phases: dict[Role, Timeline]
    images: float = 0.05
    floor: float = 0.999  # of the availability through edge, in the window
    blind: tuple[float, float] | None = None  # when pictures are not understood
    leak: tuple[float, float] | None = None  # when a stolen key is used
    store_lost: tuple[float, float] | None = None  # when the shared store does not answer


def _utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def _march() -> Script:
    dark, over = 30 * M, 30 * M + 433 * M  # 7 h 13 min
    return Script(
        name="march",
        title="March 2026: the preferred provider is dark for 7 h 13 min",
        says="First tokens slow down for half an hour. Then the provider accepts connections and answers nothing, "
        "while everybody else's traffic crowds the backups. It comes back failing a third of its requests.",
        begins=_utc("2026-03-29T16:20:00"),
        seconds=over + 40 * M,
        window=(dark, over),
        phases={
            "primary": (
                Phase(10 * M, Condition(slower=1.5), "slower"),
                Phase(18 * M, Condition(slower=2.5), "slow"),
                Phase(25 * M, Condition(slower=4.0, dark=0.05), "very slow"),
                Phase(dark, Condition(dark=1.0), "dark"),
                Phase(over, Condition(slower=2.5, failing=0.3), "degraded"),
                Phase(over + 20 * M, WELL, "well"),
            ),
            "backup": (
                Phase(dark, Condition(slower=1.4), "crowded"),
                Phase(over, WELL, "well"),
            ),
        },
    )


def _may() -> Script:
    dark = 10 * M
    degraded = dark + 29 * M + 40
    over = degraded + 4 * M
    return Script(
        name="may",
        title="May 2026: half an hour without the API, and pictures that stay broken",
        says="The API fails for 29 min 40 s: half of the requests at once, half never. Four degraded minutes later the "
        "provider calls itself recovered, and still declines every picture.",
        begins=_utc("2026-05-08T09:22:08"),
        seconds=over + 60 * M,
        window=(dark, over),
        phases={
            "primary": (
                Phase(dark - 5 * M, Condition(slower=1.8), "slower"),
                Phase(dark, Condition(dark=0.5, failing=0.5), "down"),
                Phase(degraded, Condition(slower=2.0, failing=0.2, blind=True), "degraded"),
                Phase(over, Condition(blind=True), "blind"),
            )
        },
        images=0.1,
        blind=(over, over + 60 * M),
    )


def _brownout() -> Script:
    return Script(
        name="brown-out",
        title="A brown-out: slow first tokens, and one failure in ten, for an hour",
        says="Nothing is down. First tokens of the preferred provider take six times as long, and a tenth of the "
        "requests fail with 500.",
        begins=_utc("2026-06-10T08:00:00"),
        seconds=90 * M,
        window=(15 * M, 75 * M),
        phases={
            "primary": (
                Phase(15 * M, Condition(slower=6.0, failing=0.1, status=500, code="server_error"), "brown-out"),
                Phase(75 * M, WELL, "well"),
            )
        },
    )


def _egress() -> Script:
    lost = (Phase(10 * M, Condition(refused=True), "unreachable"), Phase(30 * M, WELL, "well"))
    return Script(
        name="egress",
        title="A region loses its way out for 20 minutes",
        says="No provider can be reached from this region, whichever it is. Other regions' edges can, over the private "
        "network.",
        begins=_utc("2026-06-11T08:00:00"),
        seconds=45 * M,
        window=(10 * M, 30 * M),
        phases={"primary": lost, "backup": lost},
    )


def _quota() -> Script:
    return Script(
        name="quota",
        title="The preferred provider's quota is spent for an hour",
        says="Every request to it is answered 429, insufficient_quota, until the quota is raised.",
        begins=_utc("2026-06-12T08:00:00"),
        seconds=80 * M,
        window=(10 * M, 70 * M),
        phases={
            "primary": (
                Phase(10 * M, Condition(failing=1.0, status=429, code="insufficient_quota"), "quota spent"),
                Phase(70 * M, WELL, "well"),
            )
        },
    )


def _store() -> Script:
    dark = [Phase(at * M, Condition(dark=1.0), "dark") for at in (4, 20, 44)]
    well = [Phase(at * M, WELL, "well") for at in (6, 25, 46)]
    return Script(
        name="etcd",
        title="The shared store is gone for half an hour, and a provider fails meanwhile",
        says="The preferred provider goes dark three times: while nodes share through the store, while the store is "
        "lost, and after it is back. Two other regions see the same.",
        begins=_utc("2026-06-13T08:00:00"),
        seconds=50 * M,
        window=(10 * M, 40 * M),
        phases={"primary": tuple(sorted((*dark, *well), key=lambda phase: phase.start_s))},
        store_lost=(10 * M, 40 * M),
        floor=0.998,  # the answers that had begun when the provider went dark at once
    )


def _leak() -> Script:
    return Script(
        name="key-leak",
        title="A caller's key is stolen and used for half an hour",
        says="The thief sends twenty times the usual traffic with the last of the configured keys, and asks for long "
        "answers.",
        begins=_utc("2026-06-14T08:00:00"),
        seconds=50 * M,
        window=(10 * M, 40 * M),
        phases={},
        leak=(10 * M, 40 * M),
    )


_MAKERS: Final[tuple[Callable[[], Script], ...]] = (_march, _may, _brownout, _egress, _quota, _store, _leak)
SCRIPTS: Final[dict[str, Script]] = {script.name: script for script in (make() for make in _MAKERS)}
"""The drills over the data path, by name. ``thousand-nodes`` is another kind: ``edge.drills.nodes``."""
