"""Copies records of the shared block into plain data for Python; views.pyi has the keys of each view.

Latencies are milliseconds as last averaged (not decayed to ``now_ns``), 0.0 = no data; other times are monotonic ns. A
copy is not atomic: its words are read one after the other while other processes write."""

from libc.stdint cimport uint32_t, uint64_t
from native.state.layout cimport *

cdef dict target_view(TargetRec* rec, int workers, uint64_t now_ns)
cdef dict use_views(UseRec* uses)
cdef dict route_view(RouteRec* rec, int workers)
cdef dict allowance_view(AllowanceRec* rec, int workers)
cdef dict worker_view(WorkerRec* rec)
