"""Clocks, timers, atomic operations and descriptor limits."""
