"""Maps the block of memory that all processes of a node share: one memfd of fixed records, read and written with atomics.

The process that creates the block passes its descriptor on (it is inheritable); the others attach to it. Nothing is ever
locked. Python gets copies only. Whoever cimports the block gets the names of its records, counters and histograms too."""

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
    cdef readonly int fd
    cdef bint owns_fd       # created here: closed with the shared state; an attached one borrows it
    cdef size_t size
    cdef TargetRec* target(self, int slot) except NULL
    cdef RouteRec* route(self, int slot) except NULL
    cdef WorkerRec* worker(self, int index) except NULL
    cdef AllowanceRec* allowance(self, int slot) except NULL


# A free probe answered: an open circuit may be tried from now on, but not before rec.hint_ns. True if that moved it.
cdef bint circuit_hint(TargetRec* rec, uint64_t now_ns) noexcept nogil
