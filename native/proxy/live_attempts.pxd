"""Holds the attempts of one exchange: the one or two that run, and the earlier ones."""

from libc.stdint cimport uint64_t
from native.proxy.attempt cimport Attempt, AttemptResult
from native.proxy.charge cimport Charge
from native.proxy.request cimport Request
from native.proxy.shadow cimport ShadowCopy
from native.proxy.steps cimport Facts

cdef class LiveAttempts:
    cdef Attempt first          # the one that answers, or the older of two
    cdef Attempt second         # the newer of two; None = there is one at most
    cdef list past              # attempts that ended or were detached, oldest first; None = none
    cdef int begun              # how many were started
    cdef uint64_t fresh         # a bit per member whose idle connections are not to be trusted
    cdef bint stale             # an attempt met a connection that had died while it was idle; it does not count
    cdef list failed            # native.proxy.hooks.FailedAttempt of those without a good answer; None = none
    cdef Attempt declining      # the first whose target declined the request; None = none
    cdef AttemptResult declined     # ... and how it ended
    cdef ShadowCopy copy        # of the request, for the shadow of its route; None = there is none
    cdef bint drawn             # it is decided whether there is one: once, whatever is tried again
    cdef Attempt hedge          # the attempt that was started as a hedge; None = none was
    cdef Attempt hedged         # ... and the one beside which it was started
    cdef uint64_t hedge_ns      # when a hedge is due; 0 = none is
    cdef bint hedge_settled     # its result is counted
    cdef bint runs_on           # its loser is not cancelled: nobody has heard of that target for long
    cdef bint is_failover(self, Attempt attempt) noexcept   # another one was started before it
    cdef int tries(self) noexcept                   # how many were started, without a hedge
    cdef int add(self, Attempt attempt) except -1
    cdef int draw_copy(self, Request request) except -1
    cdef int finish_upload(self, Request request) except -1  # the rest of a service's request has come
    cdef int remove(self, Attempt attempt) except -1         # take out an attempt that has ended
    # Detach it, or cancel it. The loser of a hedge is cancelled, unless it is late, a trial, or ``runs_on``.
    cdef int let_go(self, Attempt attempt, uint64_t deadline_ns) except -1
    cdef int keep_only(self, Attempt attempt, uint64_t deadline_ns) except -1    # let go of the other attempt
    cdef int stop(self, int outcome, Charge charge) except -1        # cancel all, and charge what they used
    # End the running attempts: the deadline has passed, or the node stops. The older one reports the result.
    cdef int expire(self, int outcome, str why, Charge charge) except -1
    cdef uint64_t running(self) noexcept            # a bit per member of the pool with a running attempt
    cdef void gather(self, Facts* facts, Attempt about) noexcept    # count the attempts other than ``about``
    cdef int pause(self) except -1                           # read no more of the answer: the client does not read
    cdef uint64_t next_deadline(self) noexcept      # the earliest of the running attempts; NEVER = none runs
    cdef check_deadlines(self, uint64_t now)
    cdef list all(self)                             # oldest first
    cdef int note_failure(self, Attempt attempt, AttemptResult result) except -1
    cdef list _failures(self, Attempt attempt)      # without that of a hedge beside ``attempt``
    # Return why ``attempt`` answers and not an earlier one, for x-edge-reason; ``otherwise`` = it is the first.
    cdef str reason(self, Attempt attempt, str otherwise)
    cdef str why(self, str otherwise)       # the same, before an answer has begun
