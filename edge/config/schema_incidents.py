"""The sections of edge.yaml about outages: what is remembered of them, and what providers say."""

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


class StatusPages(Struct, frozen=True, forbid_unknown_fields=True):
    """Reading of providers' status pages. They are shown beside edge's own measurements, and never decide."""

    enabled: Annotated[bool, about("false reads no page.")] = True
    interval: Annotated[Duration, about("How often each page is read, give or take a quarter.", low=10 * NS_PER_S)] = (
        60 * NS_PER_S
    )
    proxy: Annotated[
        str,
        about(
            "HTTP proxy to reach pages through: http://host:port, or env for what HTTPS_PROXY, HTTP_PROXY and "
            "NO_PROXY say. Empty: none."
        ),
    ] = ""
