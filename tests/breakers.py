"""Breaker policies that several suites test with."""

from __future__ import annotations

from edge.terms.snapshot import Breaker

S = 1_000_000_000

USUAL = Breaker(
    consecutive_failures=5,
    failure_ratio=0.5,
    window_ns=10 * S,
    min_requests=10,
    slow_ratio=0.5,
    slow_threshold_ns=10 * S,
    slow_adaptive=False,
    open_duration_ns=S,
    open_duration_max_ns=60 * S,
    slow_start_ns=10 * S,
)
"""The defaults of edge.yaml, with a fixed threshold for slow answers and a ramp of ten seconds."""
