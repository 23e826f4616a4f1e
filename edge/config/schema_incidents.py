"""The sections of edge.yaml about outages: what is remembered of them."""

from typing import Annotated

from msgspec import Struct

from edge.config.fields import Duration, FilePath, about
from edge.config.units import NS_PER_S

_DAY: int = 24 * 3600 * NS_PER_S


class History(Struct, frozen=True, forbid_unknown_fields=True):
    """What this node remembers: traffic per minute, incidents, and what operators did. It holds no prompt, no key."""

    path: Annotated[
        FilePath | None,
        about(
            "SQLite file of the history. Default: a file in node.state_dir, or memory if there is none. "
            '"" keeps it in memory, for a week at most and until control is started again.'
        ),
    ] = None
    keep: Annotated[
        Duration,
        about("How long it is kept. 400 days of 200 models take less than 2 GB.", low=_DAY),
    ] = 400 * _DAY
