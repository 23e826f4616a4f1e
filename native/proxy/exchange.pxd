"""Runs one exchange, from the head of its request to its end. steps.pxd has the states and the decisions."""

from libc.stdint cimport uint64_t
from native.balance.balancer cimport Choice
from native.codec.head cimport Head
from native.http.stream cimport ServerStream
from native.io.timer_wheel cimport Timer
from native.proxy.attempt cimport Attempt, AttemptEvents, AttemptResult
from native.proxy.charge cimport Charge
from native.proxy.flight cimport Flight
from native.proxy.live_attempts cimport LiveAttempts
from native.proxy.place cimport Place
from native.proxy.request cimport Refusal, Request
from native.proxy.response cimport Response
from native.proxy.runtime cimport Runtime
from native.proxy.selection cimport Selection
from native.proxy.steps cimport Facts

cdef class Alarm(Timer):
    cdef Exchange exchange
    cdef int fire(self, uint64_t now_ns) except -1

cdef class Exchange(AttemptEvents):
    """One request, its attempts and its response."""
    cdef Runtime runtime
    cdef ServerStream stream
    cdef Request request
    cdef Response response
    cdef Selection selection
    cdef int state
    cdef LiveAttempts live
    cdef Charge charge          # None until the request is admitted
    cdef bint choosing          # choose() is running, further up the stack
    cdef bint again             # ... and has to make another turn
    cdef Alarm alarm            # fires at the earliest deadline; None = not counted as in flight
    cdef Place place            # in the queue of its route; None = it never waited
    cdef uint64_t resume_ns     # when a back-off ends
    cdef AttemptResult broken   # how the last attempt ended with whose answer another goes on; None = none did
    cdef Flight flight          # its part in the cache of its route; None = it has none
    cdef receive(self, Runtime runtime, ServerStream stream, Head head)
    cdef check_deadlines(self, uint64_t now)
    cdef cut_off(self, uint64_t now)
    cdef choose(self)                           # start an attempt, or reply why there is none
    cdef int _enter(self, int state) except -1
    cdef _refuse(self, Refusal why)
    cdef _answer_call(self)
    cdef _end_call(self, list trailers)
    cdef _admitted(self)
    cdef _ask_cache(self)
    cdef _replay(self, bint stale)
    cdef bint _replays_stale(self, uint64_t now)
    cdef _choose_once(self)
    cdef _wait_for_place(self, uint64_t now)
    cdef _shed(self, uint64_t now)
    cdef _start_attempt(self, const Choice* choice, uint64_t now, bint beside=*)   # beside: as a hedge
    cdef void _gather(self, Facts* facts, Attempt about) noexcept
    cdef int _start_hedge(self, uint64_t now) except -1
    cdef int _start_beside(self, Attempt attempt, uint64_t now) except -1
    cdef int _note_failure(self, Attempt attempt, AttemptResult result, Facts* facts, uint64_t now) except -1
    cdef int _retry(self, Attempt attempt, int step, uint64_t now) except -1
    cdef _give_up(self, uint64_t now)
    cdef int _finish(self, Attempt attempt, AttemptResult result) except -1
    cdef int _pass_on_refusal(self, Attempt attempt, AttemptResult result) except -1
    cdef int _break(self, Attempt attempt, AttemptResult result) except -1
    cdef int _resume(self, Attempt attempt, AttemptResult result) except -1
    cdef _reply_own(self, object reply)         # an error of edge's own, said in the client's dialect
    cdef _reply_counted(self, int status, list fields, bytes content)
    cdef _reply(self, int status, list fields, bytes content)
    cdef _close(self, int status)
    cdef int _arm_deadline(self) except -1
    cdef bint _is_queued(self) noexcept
    cdef _expire(self, uint64_t now, str why, int outcome)
