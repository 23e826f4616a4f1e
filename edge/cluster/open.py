"""Through what does this edge agree with the others?  The store that the configuration names, or its own memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge import clock as real
from edge.cluster.memory import MemoryCluster
from edge.telemetry import logs

if TYPE_CHECKING:
    from edge.clock import Clock
    from edge.config.schema import Config
    from edge.terms.ports import Store


def open_store(config: Config, clock: Clock = real) -> Store:
    """Return the store.

    Nothing is read and nothing connects before the first call: it returns at once whether or not etcd is there, and a
    certificate file that is missing fails each call, with its name, until it is there.
    """
    etcd = config.cluster.etcd
    if etcd is None:
        return MemoryCluster(clock).client()
    logs.redact([etcd.password])
    from edge.cluster.etcd import EtcdStore  # noqa: PLC0415  # grpc takes 150 ms to import, and most nodes have no etcd

    return EtcdStore(etcd, clock)
