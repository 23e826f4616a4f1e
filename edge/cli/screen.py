"""How wide is what a command prints on?  A terminal's width, or in a pipe, a file and a journal as wide as a row is.

A row that is cut or folded to 80 columns because nobody looks at it yet cannot be searched or mended later.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from rich.console import Console

# No row of edge's tables is longer; nothing is padded to it.
_UNBOUNDED: Final = 240


def screen(*, highlight: bool = True) -> Console:
    """Return what to print on: stdout. ``COLUMNS`` says otherwise, as it does everywhere.

    Brackets are text: names and reasons come from people and other nodes, and are no markup.
    """
    from rich.console import Console  # noqa: PLC0415  # not for --help

    console = Console(highlight=highlight, markup=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console = Console(highlight=highlight, markup=False, width=_UNBOUNDED)
    return console
