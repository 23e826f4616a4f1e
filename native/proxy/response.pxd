"""What is the client told?  The head and the body of an answer, honest errors, and the record that is kept of it all."""

from libc.stdint cimport int64_t, uint64_t
from native.proxy.request cimport Intake
from native.proxy.data_plane cimport DataPlaneCore
from native.proxy.accounting cimport AttemptCore
from native.http.stream cimport ServerStream

# What a route's doors are called by those who say what they offer, and outcomes by their small names.
cdef dict CAPABILITIES
cdef tuple OUTCOME_NAMES

cdef class Answering(Intake):
    """The last part of an exchange: everything the client gets to hear."""
    cdef int attempts
    cdef AttemptCore latest         # the attempt begun last, over or not
    cdef list tries             # what is to be told of those before it
    cdef uint64_t queued_ns     # waited for a place
    cdef list failed_attempts             # (target id, outcome, detail) of the attempts that failed
    cdef str reason             # why not the first choice
    cdef object writer          # of a stream in edge's own gRPC language
    cdef uint64_t excluded_targets         # a bit per member that leads back to where the request has been
    cdef tuple answered_by(self, AttemptCore attempt)
    cdef dict facts(self, AttemptCore attempt)
    cdef trace_fields(self, list fields, AttemptCore attempt)   # append what tells how the answer came about
    cdef broken(self, AttemptCore attempt, int outcome, str detail)
    cdef unavailable(self)
    cdef list target_states(self, uint64_t now)
    cdef consider(self, int status, uint64_t now)
    cdef tuple record(self, int why, int status, uint64_t now)
    cdef tuple tell_of(self, AttemptCore attempt, uint64_t end)
    cdef send_keepalive(self, uint64_t now)
