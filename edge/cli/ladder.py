"""Tells in a line on which rung of its ladder a model stands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edge.terms.rungs import SAYS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def ladder_lines(standings: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return what ``/api/ladder`` says of each model that is not at its best, or whose requests wait."""
    return [_line(each) for each in standings if each["rung"] != "first_choice" or each["waiting"]]


def _line(each: Mapping[str, Any]) -> str:
    parts = [f"{each['model']}: {_says(each['rung'])}"]
    if each["targets"]:
        parts.append(f"{', '.join(each['targets'])} {'answers' if len(each['targets']) == 1 else 'answer'}")
    if each["out"]:
        again = "" if each["until_s"] is None else f", tried again within {each['until_s']:.0f} s"
        parts.append(f"not {', '.join(each['out'])}{again}")
    if each["waiting"]:
        parts.append(f"{each['waiting']} wait for a place, of at most {each['queue']} per worker")
    if each["below"]:
        parts.append(f"then {', then '.join(map(_says, each['below']))}")
    return "; ".join(parts)


def _says(rung: str) -> str:
    """Return a rung in words; one that only a later version knows stays as it is."""
    return next((words for name, words in SAYS.items() if name == rung), rung)
