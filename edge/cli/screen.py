"""The console that commands print on: as wide as the terminal, or unbounded in a pipe, a file or a journal.

A row that is cut or folded to 80 columns in a file cannot be searched, nor restored later.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from rich.console import Console

# Wider than any row of edge's tables; rows are not padded to it.
_UNBOUNDED: Final = 240


STYLES: Final = {"ok": "green", "limited": "yellow", "failing": "red", "attention": "bold white on red"}
"""The style of a target's state by its severity."""


def style_of(label: str) -> str:
    """Return the style of a target's state by its label; none for a label that only another version knows."""
    from edge.terms.target_state import BY_LABEL  # noqa: PLC0415  # not for --help

    state = BY_LABEL.get(label)
    return "" if state is None else STYLES[state.severity]


def screen(*, highlight: bool = True) -> Console:
    """Return a console for stdout. ``COLUMNS`` overrides the width, as usual.

    Markup is off: names and reasons come from people and other nodes, and may contain brackets.
    """
    from rich.console import Console  # noqa: PLC0415  # not for --help

    console = Console(highlight=highlight, markup=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console = Console(highlight=highlight, markup=False, width=_UNBOUNDED)
    return console
