"""Holds one target as a worker sees it: its record in the shared state, and its part of the Snapshot."""

from libc.stdint cimport uint32_t, uint64_t
from native.balance.capacity cimport Bounds
from native.state.allowance cimport Allowance
from native.state.shared_state cimport SharedState, TargetRec

cdef class Target:
    cdef readonly SharedState shared_state      # keeps the block mapped
    cdef TargetRec* rec
    cdef readonly int slot
    cdef readonly str id                # "deepseek/deepseek-chat", "greeter/10.0.0.7:50051"
    cdef readonly uint32_t max_inflight     # 0 = no limit
    cdef Bounds bounds                  # settings of the learned limit
    cdef public object plan             # edge.terms.snapshot.Target; holds the credential, so it must not be logged
    cdef public Allowance allowance     # the allowance of the credential; None = its limits are unknown
    cdef public double input_nano, output_nano      # US dollars * 1e9 per token
    cdef public object pool             # native.http.connection_pool.ConnectionPool of this worker
    # Record one attempt's latency: in the peak-EWMA (a failure as at least FAILURE_PENALTY_MS) and, for a success, in
    # the baseline and in the average that reports show.
    cdef void observe(self, int latency_cell, uint64_t now_ns, uint64_t latency_ns, bint failed) noexcept
