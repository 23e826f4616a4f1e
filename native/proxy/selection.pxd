"""Chooses the target of an exchange's next attempt, and says why the better ones are not used."""

from libc.stdint cimport uint64_t
from native.balance.balancer cimport Choice
from native.proxy.affinity cimport Affinity
from native.proxy.request cimport Refusal, Request
from native.proxy.router cimport Route

cdef class Selection:
    """The targets that one exchange has tried, and those that it may not use."""
    cdef Request request
    cdef Route route
    cdef uint64_t tried         # a bit per member of the pool
    cdef uint64_t declined      # a bit per member that does not take the request, and would not take it again
    cdef uint64_t excluded_targets      # a bit per member in a region that the request may not enter
    cdef uint64_t unable        # a bit per member that does not offer this operation, or cannot express the request
    cdef uint64_t needs         # of the request: a bit per native.state.counters.Capability
    cdef uint64_t barred        # a bit per member that does not do now what the request needs
    cdef list excluded          # "TARGET: WHY" of members that are barred, or cannot express it; None = none was
    cdef Refusal refused        # what they cannot express, or the client's mistake; None = neither
    cdef Affinity affinity      # None = no prompt cache counts
    cdef int again              # the member that is asked once more before others; -1 = none
    cdef int repeats            # how often a member was asked once more
    cdef uint64_t rest_ns       # when a better tier comes back that is waited for
    cdef uint64_t patient_ns    # until when the exchange waits for it; 0 = it has not begun to
    cdef str failover_reason    # why the first choice did not answer; None = it did
    cdef exclude_visited_regions(self)
    # A member does not take the request; too_long: nor does any whose context window is not larger.
    cdef int decline(self, int index, bint too_long) except -1
    cdef int choose(self, uint64_t now, uint64_t running, bint again, Choice* choice) except -1
    # The same, and what it leads to: a native.proxy.steps.Event. queued: passed-over targets have been counted.
    cdef int draw(self, uint64_t now, uint64_t running, bint again, bint queued, Choice* choice)
    # Members that may not be asked beside one that is being asked, whatever their tier and health.
    cdef uint64_t not_beside(self, uint64_t now) except? 0
    # Choose among the members without a bit in ``gone``.
    cdef int draw_beside(self, uint64_t now, uint64_t gone, Choice* choice) except -1
    cdef bint another(self, uint64_t now, uint64_t running) noexcept    # whether a usable target was not tried
    cdef void narrow(self, uint64_t usable) noexcept    # leave only these, and none that was tried
    cdef void count_passed_over(self, const Choice* choice) noexcept
    cdef int set_failover_reason(self, int chosen, uint64_t now) except -1
    # Both return a native.proxy.hooks.Reply. failed_attempts: native.proxy.hooks.FailedAttempt.
    cdef object unavailable(self, uint64_t now, list failed_attempts)   # nothing usable is left
    cdef object overloaded(self, uint64_t now, list failed_attempts)    # there is no room
    cdef list _target_states(self, uint64_t now)        # native.proxy.hooks.TargetState
    cdef double _wait_s(self, uint64_t now, list states)
    cdef int _retry_after_s(self)
    cdef uint64_t _closed(self, uint64_t tried, uint64_t now) noexcept
    cdef bint _has_native(self, uint64_t foreign) noexcept
    cdef bint is_mistaken(self)         # the request cannot be read, so that no target of another dialect can get it
    cdef bint is_refused(self)          # mistaken, or nobody can
    cdef object refusal(self)           # the Reply that says so
    cdef tuple exclusions(self)         # "TARGET: WHY" of members that could not be asked what the request needs
    cdef bint nobody_can(self) noexcept     # no target of the pool can be asked this at all
    cdef void repeat(self, int index) noexcept      # ask a member that has failed once more, before others
    cdef int remember(self, int index) except -1    # a member has begun its answer
    cdef int learn(self, int index, bytes data) except -1   # ... and these are the first bytes of it
    cdef bint _rests(self, uint64_t now) noexcept
    cdef int _rank(self, uint64_t now) except -1
    cdef bint has_unasked(self) noexcept    # a member that may have what is sought has not said that it has not
    cdef uint64_t _behind(self, uint64_t gone, uint64_t now) noexcept
    cdef bint _ready(self, int index)
    # Choose a member; where something that the request needs is in doubt, by that too. False: look again.
    cdef bint _pick(self, uint64_t now, uint64_t tried, Choice* choice) except -1
    cdef int _pick_able(self, uint64_t now, uint64_t tried, uint64_t due, uint64_t aside, Choice* choice) except -1
    cdef int _pick_from(self, uint64_t now, uint64_t tried, uint64_t closed, Choice* choice) except -1
    cdef void _give_back(self, uint64_t now, Choice* choice) noexcept
    cdef bint _any_usable(self, uint64_t now, uint64_t gone) noexcept
    cdef bint _find_barred(self, uint64_t now, uint64_t* due, uint64_t* aside) except -1
    cdef int _note_excluded(self, int index, str label) except -1
    cdef int _note_unreadable(self, uint64_t members) except -1
    cdef int _missing(self, int index, uint64_t now) noexcept   # what a member does not do now, -1 = nothing
    cdef int _draw(self, uint64_t now, uint64_t tried, Choice* choice) except -1

cdef Selection new_selection(Request request)
