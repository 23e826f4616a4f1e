"""The control plane of a node: publishes the Snapshot, probes targets, shares with other nodes, applies operations."""
