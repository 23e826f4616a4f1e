"""The metrics of shadow copies, with the sentences that explain them (``ALL``)."""

from __future__ import annotations

from typing import Final

from edge.telemetry.metric import Metric

_PAIR: Final = ("route", "target")
_SIDES: Final = (*_PAIR, "side")

COPIES = Metric(
    "edge_shadow_copies_total",
    "counter",
    (*_PAIR, "result"),
    "Shadow copies of requests to this route. agreed, differed: the status was the caller's, or another; uncompared: "
    "the caller left, or the copy was cut off; busy, memory, unusable: dropped because too many were in flight, "
    "memory was scarce, or the target was down, full or rate-limited; unfit: may not be sent twice, or elsewhere.",
)
INFLIGHT = Metric("edge_shadow_inflight", "gauge", _PAIR, "Shadow copies in progress.")
FIRST = Metric(
    "edge_shadow_time_to_first_token_seconds_total",
    "counter",
    _SIDES,
    "Sum of the times from asking the target to its first content, of pairs that agreed: side caller or copy.",
)
TOTAL = Metric(
    "edge_shadow_seconds_total",
    "counter",
    _SIDES,
    "Sum of the times from asking the target to the end of its response, of pairs that agreed: side caller or copy.",
)
TOKENS = Metric(
    "edge_shadow_output_tokens_total",
    "counter",
    _SIDES,
    "Output tokens of pairs that agreed: side caller or copy.",
)
COST = Metric(
    "edge_shadow_cost_usd_total", "counter", _PAIR, "US dollars spent on copies, by the configured prices; no key pays."
)
CIRCUIT = Metric(
    "edge_shadow_circuit", "gauge", _PAIR, "State of the circuit for copies alone: 0 closed, 1 open, 2 half-open."
)

ALL: Final = (COPIES, INFLIGHT, FIRST, TOTAL, TOKENS, COST, CIRCUIT)
