"""How do the parts become a running node?  The root: it builds every part, injects ports, starts, restarts, drains.

supervisor   starts the others and restarts them; owns signals (supervisor.py, children.py)
control      publishes the Snapshot, probes, serves the admin API (control.py)
worker       listeners and the native data plane (worker.py)
single       control and one worker on one loop: ``--workers 0`` (single.py)
"""
