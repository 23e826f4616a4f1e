"""Gives Python the numbers of outcomes and counters; counters.pxd says what each counts."""
