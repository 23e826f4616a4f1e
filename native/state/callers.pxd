"""Who is calling, and what may they?  Keys by their SHA-256, compiled from a Snapshot; no clear key is kept or compared."""

from libc.stdint cimport int64_t, uint64_t
from native.state.allowance cimport Allowance
from native.state.rate_limit_fields cimport RateLimitFields
from native.state.shared_state cimport SharedState

cdef enum Shown:
    SHOWN_NONE = 0          # no credential that could be a key
    SHOWN_UNKNOWN = 1       # one or more, none of them ours
    SHOWN_KNOWN = 2

cdef class Caller:
    """One key."""
    cdef readonly object plan       # edge.terms.snapshot.Key
    cdef readonly str name
    cdef readonly int slot          # its place in the breakers' bit maps; -1 where there is nobody else to compare with
    cdef readonly int priority      # 0 high, 1 normal, 2 low
    cdef readonly Allowance allowance
    cdef readonly bint everything   # may use all models and services
    cdef frozenset models           # bytes: aliases and provider/model
    cdef frozenset providers        # bytes: of provider/*
    cdef frozenset services         # str
    cdef int workers, concurrent
    cdef uint64_t budget_nano
    cdef bytes told_name, told_class    # as another region's edge is told
    cdef RateLimitFields limits     # None = responses tell of no bound
    cdef bint may_use(self, bytes model)
    cdef bint may_call(self, str service)
    # A Bound, or 0: then one request, ``tokens`` and a place are taken, and ``leave`` gives back what was not used.
    cdef int enter(self, int worker, uint64_t now_ns, uint64_t tokens, uint64_t month, uint64_t* wait_ns) noexcept
    cdef void leave(self, int worker, uint64_t now_ns, uint64_t reserved, uint64_t prompt, uint64_t output,
                    uint64_t cost_nano, uint64_t month, bint untouched) noexcept
    # So many tokens were reserved and so many are right; ``leave`` is told the same number twice afterwards.
    cdef void repay(self, uint64_t now_ns, uint64_t reserved, uint64_t used) noexcept
    cdef tell(self, list fields, uint64_t now_ns)   # append x-ratelimit-*
    cdef str limit_of(self, int bound)              # in words, for an error

cdef class Callers:
    """All keys of a Snapshot."""
    cdef dict known                 # digest -> Caller
    # The caller whose key is among these fields, or None. ``shown`` gets a Shown, ``credential_field`` the index of that field.
    cdef Caller find(self, list fields, int* shown, Py_ssize_t* credential_field)
