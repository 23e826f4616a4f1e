"""The processes of a node: builds every part from the configuration, starts, restarts and drains them.

supervisor   starts the others and restarts them; owns signals (supervisor.py, children.py)
control      publishes the Snapshot, probes, serves the admin API (control.py)
worker       listeners and the native data plane (worker.py)
single       control and one worker on one loop: ``--workers 0`` (single.py)
"""
