"""The table of scenarios: what is compared with what, in which unit, and with which bar.

Two variants of one proxy can be compared as well: ``KEYED`` beside ``EDGE`` shows the cost of keys and limits. ``FULL``
is edge with everything that production has on; its scenarios have HAProxy and nginx in the same rounds.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

from msgspec import Struct, structs

from bench.macro.busbar import Busbar
from bench.macro.envoy import Envoy
from bench.macro.greeter import ASKED, CALL, MESSAGES, REPLY, SAID, STREAM
from bench.macro.load import STREAMED, Kind, Order
from bench.macro.others import HAProxy, Nginx
from bench.macro.proxies import Edge, Proxy, Variant
from bench.macro.wire import EVENTS, KEY, PACE_MS, PACED_EVENTS

if TYPE_CHECKING:
    from bench.macro.load import Ran
    from bench.macro.processes import Upstream

EDGE: Final = Edge()
# The client's key is one of a hundred and has every limit there is; none is ever reached. The provider's credential has
# limits too.
_BOUNDS: Final = {
    "requests_per_minute": 60_000_000,
    "tokens_per_minute": 10_000_000_000,
    "concurrent": 10_000,
    "budget": 1_000_000,
    "priority": "high",
}
KEYED: Final = Edge(
    "edge, with keys and limits",
    {
        "keys": [
            {
                "name": f"key-{number}",
                "sha256": hashlib.sha256(secret.encode()).hexdigest(),
                "models": ["chat", "service:greeter"],
                **_BOUNDS,
            }
            for number, secret in enumerate([f"other-{number}" for number in range(99)] + [KEY])
        ]
    },
    {
        "limits": {"requests_per_minute": 60_000_000, "tokens_per_minute": 10_000_000_000},
        "prices": {"gpt-4.1-mini": {"input": 0.4, "output": 1.6}},
    },
)
FULL: Final = structs.replace(KEYED, name="edge, full", sample="1%")
TRANSLATING: Final = Edge("edge, translating to Anthropic", provider={"dialect": "anthropic"})
CACHING: Final = Edge(
    "edge, from its cache", {"models": {"chat": {"targets": ["local/gpt-4.1-mini"], "cache": {"ttl": "10m"}}}}
)
UNLIMITED: Final = Edge("edge, learning no limit", provider={"concurrency": {"adaptive": False}})
ENVOY: Final = Envoy()
ENVOY_H2: Final = Envoy("envoy, HTTP/2", http2=True)
OTHERS: Final = (HAProxy(), Nginx())
BUSBAR: Final = Busbar()
BUSBAR_TRANSLATING: Final = Busbar("busbar, translating to Anthropic", "anthropic")


class Scenario(Struct, frozen=True):
    """One row of the table: the CPU time that ``subject`` uses per unit, divided by that of ``beside``.

    With a ``rate`` it is not CPU time, but what they add to the latency of the way without a proxy.
    """

    name: str
    says: str
    subject: Variant
    beside: Variant
    unit: str  # what the CPU time is divided by
    count: int  # requests in one run
    bar: float | None = None  # the ratio that must not be exceeded
    over_bar: float | None = None  # microseconds per unit that the subject may use over what it stands beside
    others: tuple[Variant, ...] = ()  # measured in the same rounds, where they are installed
    kind: Kind = "whole"
    connections: int = 32
    workers: bool = False  # count only the workers' CPU time, which delays responses
    streams: int = 0  # concurrent gRPC calls per connection
    fresh: bool = False  # a new client connection for each request
    rate: int = 0  # requests per second of an open loop
    tls: bool = False  # clients speak TLS
    tail: str = ""  # a second figure, a latency in microseconds
    tail_bar: float | None = None  # the ratio of it that must not be exceeded

    def units(self, ran: Ran) -> int:
        """Return the number of units in a run."""
        return ran.events if self.kind in STREAMED else ran.right

    def order(self, proxy: Proxy, count: int, upstream: Upstream) -> Order:
        """Return a run of ``count`` requests through a proxy."""
        ca = upstream.files.ca if self.tls else ""
        return Order(
            proxy.port, count, self.connections, self.kind, self.streams, fresh=self.fresh, rate=self.rate, ca=ca
        )


def _tls(where: str) -> tuple[Variant, Variant, tuple[Variant, ...]]:
    """Return the variants that speak TLS on one side, ``tls_in`` or ``tls_out``."""
    said = ", " + {"tls_in": "TLS in", "tls_out": "TLS out"}[where]
    found = [structs.replace(variant, name=variant.name + said, **{where: True}) for variant in (FULL, ENVOY, *OTHERS)]
    return found[0], found[1], tuple(found[2:])


_TLS_IN, _ENVOY_TLS_IN, _OTHERS_TLS_IN = _tls("tls_in")
_TLS_OUT, _ENVOY_TLS_OUT, _OTHERS_TLS_OUT = _tls("tls_out")
_POST: Final = "POST /v1/chat/completions with 211 bytes, answered with 400 bytes"
_WHOLE: Final = Scenario("whole", _POST, FULL, ENVOY, unit="request", count=4000, others=OTHERS)

SCENARIOS: Final = (
    Scenario("json", _POST, EDGE, ENVOY, unit="request", count=10_000, bar=0.7),
    Scenario(
        name="keys",
        says="json with a key that has every limit, beside edge without keys",
        subject=KEYED,
        beside=EDGE,
        unit="request",
        count=10_000,
        bar=1.05,
    ),
    Scenario(
        name="learned",
        says="json with edge learning its target's concurrency limit, beside edge that does not learn it",
        subject=EDGE,
        beside=UNLIMITED,
        unit="request",
        count=10_000,
        bar=1.03,
    ),
    Scenario(
        name="sse",
        says=f"json answered as a stream of {EVENTS} events of 195 bytes, each in a separate write",
        subject=EDGE,
        beside=ENVOY,
        unit="chunk",
        count=32,
        bar=1.0,
        kind="stream",
        tail="first byte p99",
    ),
    Scenario(
        name="grpc",
        says=f"unary {CALL} with {len(ASKED)} bytes, answered with {len(REPLY)}, 16 concurrent calls per connection",
        subject=EDGE,
        beside=ENVOY_H2,
        unit="call",
        count=16_000,
        bar=0.4,
        kind="call",
        connections=4,
        streams=16,
    ),
    Scenario(
        name="grpc-stream",
        says=f"{STREAM} with {MESSAGES} messages of {len(SAID)} bytes, one DATA frame each, 16 streams per connection",
        subject=EDGE,
        beside=ENVOY_H2,
        unit="message",
        count=128,
        bar=0.5,
        kind="call-stream",
        connections=4,
        streams=16,
    ),
    *(
        Scenario(
            name=f"traces-{share}{suffix}",
            says=f"json with {share}% of requests traced to a collector over HTTP, beside 0%; {counted} counted",
            subject=Edge(f"edge, {share}% traced", sample=f"{share}%"),
            beside=Edge("edge, 0% traced", sample="0%"),
            unit="request",
            count=10_000,
            bar=bar,
            workers=workers,
        )
        for share, bar in ((1, 1.03), (100, 1.6))
        for suffix, workers, counted in (("", True, "the worker alone is"), ("-node", False, "the whole node is"))
    ),
    Scenario(
        name="translate",
        says="json to a target of Anthropic's dialect and back, beside edge that passes it through",
        subject=TRANSLATING,
        beside=EDGE,
        unit="request",
        count=4000,
        kind="translated",
        over_bar=45.0,
        others=(BUSBAR, BUSBAR_TRANSLATING),
    ),
    Scenario(
        name="translate-sse",
        says="the same as a stream, by event",
        subject=TRANSLATING,
        beside=EDGE,
        unit="chunk",
        count=64,
        kind="stream",
        over_bar=6.0,
        others=(BUSBAR, BUSBAR_TRANSLATING),
    ),
    Scenario(
        name="cache",
        says="json answered from the cache, beside edge that asks its target",
        subject=CACHING,
        beside=EDGE,
        unit="request",
        count=10_000,
        bar=0.5,
    ),
    structs.replace(_WHOLE, name="json-full", bar=0.32),
    structs.replace(_WHOLE, name="body-64k", says="json with a prompt of 64 KiB", kind="long", count=1500, bar=0.55),
    structs.replace(_WHOLE, name="newconn", says="json, each request on a new connection", fresh=True, bar=0.5),
    structs.replace(
        _WHOLE,
        name="tls-in",
        says="json over TLS 1.3 from the client",
        subject=_TLS_IN,
        beside=_ENVOY_TLS_IN,
        others=_OTHERS_TLS_IN,
        count=8000,  # so that the handshakes of its connections count little
        tls=True,
        bar=0.42,
    ),
    structs.replace(
        _WHOLE,
        name="tls-out",
        says="json over TLS 1.3 to the provider, whose certificate is verified",
        subject=_TLS_OUT,
        beside=_ENVOY_TLS_OUT,
        others=_OTHERS_TLS_OUT,
        bar=0.40,
    ),
    structs.replace(
        _WHOLE,
        name="paced",
        says=f"200 streams of {PACED_EVENTS} events of 195 bytes, {PACE_MS} ms apart",
        kind="paced",
        unit="event",
        count=200,
        connections=200,
        bar=0.6,
    ),
    structs.replace(
        _WHOLE,
        name="sse-full",
        says=f"streams of {EVENTS} events, as sse",
        kind="stream",
        unit="chunk",
        count=64,
        bar=1.0,
        tail="first byte p99",
        tail_bar=2.0,
    ),
    structs.replace(
        _WHOLE,
        name="grpc-full",
        says="unary calls, as grpc",
        beside=ENVOY_H2,
        others=(HAProxy("haproxy, HTTP/2", http2=True), Nginx("nginx, HTTP/2", http2=True)),
        kind="call",
        unit="call",
        count=8000,
        connections=4,
        streams=16,
        bar=0.26,
    ),
    structs.replace(
        _WHOLE,
        name="latency",
        says="added to the latency without a proxy: json at 200 requests/s in an open loop",
        unit="request, p50 added",
        count=400,
        rate=200,
        tail="p99 added",
        bar=0.45,
    ),
)
