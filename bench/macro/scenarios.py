"""The table of scenarios: what is compared with what, in which unit, and with which bar.

Two variants of one proxy can be compared as well: ``KEYED`` beside ``EDGE`` shows the cost of keys and limits.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from bench.macro.greeter import ASKED, CALL, MESSAGES, REPLY, SAID, STREAM
from bench.macro.proxies import Edge, Envoy, Variant
from bench.macro.wire import EVENTS, KEY

if TYPE_CHECKING:
    from bench.macro.load import Ran

EDGE: Final = Edge()
# The client's key is one of a hundred and has every limit there is; none is ever reached. The provider's credential has
# limits too.
_BOUNDS: Final = {
    "models": ["chat"],
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
            {"name": f"key-{number}", "sha256": hashlib.sha256(secret.encode()).hexdigest(), **_BOUNDS}
            for number, secret in enumerate([f"other-{number}" for number in range(99)] + [KEY])
        ]
    },
    {
        "limits": {"requests_per_minute": 60_000_000, "tokens_per_minute": 10_000_000_000},
        "prices": {"gpt-4.1-mini": {"input": 0.4, "output": 1.6}},
    },
)
UNLIMITED: Final = Edge("edge, learning no limit", provider={"concurrency": {"adaptive": False}})
ENVOY: Final = Envoy()
ENVOY_H2: Final = Envoy("envoy, HTTP/2", http2=True)


class Scenario(Struct, frozen=True):
    """One row of the table: the CPU time that ``subject`` uses per unit, divided by that of ``beside``."""

    name: str
    says: str
    subject: Variant
    beside: Variant
    unit: str  # what the CPU time is divided by
    count: int  # requests in one run
    bar: float | None = None  # the ratio that must not be exceeded
    stream: bool = False
    connections: int = 32
    workers: bool = False  # count only the workers' CPU time, which delays responses
    streams: int = 0  # concurrent gRPC calls per connection; 0: HTTP/1.1

    def units(self, ran: Ran) -> int:
        """Return the number of units in a run."""
        return ran.events if self.stream else ran.right


SCENARIOS: Final = (
    Scenario(
        name="json",
        says="POST /v1/chat/completions with 211 bytes, answered with 400 bytes",
        subject=EDGE,
        beside=ENVOY,
        unit="request",
        count=10_000,
        bar=0.7,
    ),
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
        stream=True,
    ),
    Scenario(
        name="grpc",
        says=f"unary {CALL} with {len(ASKED)} bytes, answered with {len(REPLY)}, 16 concurrent calls per connection",
        subject=EDGE,
        beside=ENVOY_H2,
        unit="call",
        count=16_000,
        bar=0.4,
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
        stream=True,
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
)
