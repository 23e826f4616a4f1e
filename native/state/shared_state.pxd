"""Maps the block of memory that all processes of a node share: one memfd of fixed records, read and written with atomics.

The process that creates the block passes the descriptor on (it is inheritable), and the others attach to it. Nothing is
ever locked. Python gets copies only. A module that cimports from here also gets the names of records and counters."""

from libc.stdint cimport uint64_t
from native.state.counters cimport *
from native.state.histogram cimport hist_bucket
from native.state.layout cimport *

cdef class SharedState:
    cdef SharedStateHeader* header
    cdef TargetRec* targets
    cdef RouteRec* routes
    cdef AllowanceRec* allowances
    cdef WorkerRec* workers
    cdef uint64_t* touched          # one bit for each allowance that a worker has used
    cdef uint64_t* pins             # words of native.state.pins, in buckets of a cache line
    cdef uint64_t pin_buckets       # 0 = there are none
    cdef readonly int fd
    cdef bint owns_fd       # True = created here, and closed with the shared state; False = borrowed
    cdef size_t size
    cdef TargetRec* target(self, int slot) except NULL
    cdef CircuitRec* circuit(self, int slot, int capability) except NULL      # -1 = of the target as a whole
    cdef RouteRec* route(self, int slot) except NULL
    cdef WorkerRec* worker(self, int index) except NULL
    cdef AllowanceRec* allowance(self, int slot) except NULL
    cdef int touch(self, int slot) except -1    # from now on the allowance is one of touched_allowances()


# Allow a trial of an open circuit from now on, but not before rec.hint_ns, because a free probe succeeded. Returns
# whether that changed the circuit.
cdef bint circuit_hint(CircuitRec* rec, uint64_t now_ns) noexcept nogil
