"""Drills: outages replayed against a user's own configuration, on a virtual clock, over the real data path.

A drill runs in one process without sockets. Exchanges, attempts, circuits, balancing, learned capacity, queues, retry
budgets and keys are those of a worker (``native/proxy/virtual_wire``); clients and providers are models.
"""
