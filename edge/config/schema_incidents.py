"""The sections of edge.yaml about outages: what is remembered, what providers say, who is told."""

from typing import Annotated, Literal

from msgspec import Struct

from edge.config.fields import Duration, FilePath, Secret, about
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
    share: Annotated[
        bool,
        about(
            "Whether nodes that share a cluster exchange their minutes, so that each knows the traffic of all regions; "
            "with false this one neither tells nor takes. Each further region takes as much room as this one."
        ),
    ] = True


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


class Alert(Struct, frozen=True, forbid_unknown_fields=True):
    """A webhook that is told of incidents, once for all nodes that share a cluster."""

    webhook: Annotated[
        Secret,
        about("URL that notices are sent to by POST. It is hidden when the configuration is shown."),
    ]
    on: Annotated[
        tuple[
            Literal[
                "target_down",
                "target_recovered",
                "capability",
                "credential",
                "budget",
                "quota",
                "region",
                "store",
            ],
            ...,
        ],
        about(
            "Which incidents it is told of. target_recovered: also when targets are back; every other kind is told "
            "when it is over, too. capability: a target answers, but nothing that needs vision, tools or the like. "
            "Empty: all."
        ),
    ] = ()
    secret: Annotated[
        Secret,
        about("Signs what is sent, by HMAC-SHA256 in x-edge-signature; for PagerDuty it is the routing key."),
    ] = Secret()
    format: Annotated[
        Literal["auto", "json", "slack", "pagerduty", "alertmanager"],
        about("What is sent. auto: by the host and path of the URL, else json."),
    ] = "auto"
    proxy: Annotated[
        str,
        about("HTTP proxy to reach it through: http://host:port, or env for what HTTPS_PROXY and NO_PROXY say."),
    ] = ""
    playbooks: Annotated[
        str, about("URL under which your playbooks stand: provider-dark.md and so on is appended. Empty: no link.")
    ] = ""
