"""Holds one target as a worker sees it: its record in the shared state, and its part of the Snapshot."""

from libc.stdint cimport uint32_t, uint64_t
from native.balance.capacity cimport Bounds
from native.balance.price cimport Price
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
    cdef readonly Price price           # of its model; of a wildcard target: of models that have no price by name
    cdef dict prices                    # model (bytes) -> Price: of a wildcard target; None = it is none
    cdef public bint mixed              # it is asked more than chats: it has the model that the client names
    cdef readonly int media_rule        # native.codec.media.Rule
    cdef dict usage_refused             # model (bytes) -> until when it is not asked for usage (monotonic ns)
    cdef bint usage_accepted            # it has answered a request that asked for usage
    cdef uint32_t outrun                # attempts that were hedged and lost without content, since it last showed some
    cdef public object pool             # native.http.connection_pool.ConnectionPool of this worker
    # Return the price of the model that was asked for; None = the target's own.
    cdef Price price_of(self, bytes model)
    # A provider that refuses stream_options is not asked for usage for an hour, by model.
    cdef bint may_ask_usage(self, bytes model, uint64_t now_ns)
    cdef refuse_usage(self, bytes model, uint64_t now_ns)
    # Record one attempt's latency: in the peak-EWMA (a failure as at least FAILURE_PENALTY_MS) and, for a success, in
    # the baseline and in the average that reports show.
    cdef void observe(self, int latency_cell, uint64_t now_ns, uint64_t latency_ns, bint failed) noexcept
