"""Selection of the shared store: etcd if the configuration names it, else the node's own memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge import clock as real
from edge.cluster.memory import MemoryCluster
from edge.telemetry import logs

if TYPE_CHECKING:
    from edge.clock import Clock
    from edge.config.schema import Config
    from edge.terms.ports import Store


def open_store(config: Config, clock: Clock = real, *, whole: bool = False, beside: str = "") -> Store:
    """Return the store of this node.

    Nothing connects before the first call, so it returns at once whether or not etcd responds. While a certificate file
    is missing, each call fails with the name of the file. ``whole``: its keys are etcd's own, without edge's prefix;
    ``beside``: they stand behind that prefix and this text.
    """
    etcd = config.cluster.etcd
    if etcd is None:
        return MemoryCluster(clock).client()
    logs.redact([etcd.password])
    from edge.cluster.etcd import EtcdStore  # noqa: PLC0415  # importing grpc takes 150 ms, and most nodes have no etcd

    return EtcdStore(etcd, clock, root="" if whole else etcd.prefix + beside if beside else None)
