"""Exports the numbers of outcomes and counters to Python; counters.pxd says what each counts."""
