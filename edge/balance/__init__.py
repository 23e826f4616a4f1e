"""Outcome tables, breaker policy and target reports; the balancing itself is native."""
