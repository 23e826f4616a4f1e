"""In what order do things happen to a request?  The one place that knows; docs/life-of-a-request.md follows its names."""

from libc.stdint cimport int64_t, uint64_t
from native.attempt cimport Attempt, ExchangeCore
from native.balancer cimport Choice
from native.lane cimport LaneCore
from native.queue cimport Waiter
from native.stream cimport ServerStream
from native.timerwheel cimport Timer

cdef enum Voice:
    PLAIN = 0                   # HTTP, in the caller's own JSON dialect
    CHAT = 1                    # edge.v1.Inference/Chat: one message
    CHAT_STREAM = 2             # edge.v1.Inference/ChatStream
    LOCAL = 3                   # a method that edge answers itself: health, reflection, the list of models

cdef class Lane(LaneCore):
    pass

cdef class Alarm(Timer):
    cdef Exchange exchange

cdef class Exchange(ExchangeCore):
    """A request and its answer, with every attempt in between."""
    cdef uint64_t tried         # a bit per member of the pool
    cdef int attempts
    cdef Attempt attempt
    cdef Attempt latest         # the attempt begun last, over or not
    cdef list tries             # what is to be told of those before it
    cdef uint64_t queued_ns     # waited for a place
    cdef int code               # the gRPC status the client got, -1 = none
    cdef list trail             # (target id, outcome, detail) of the attempts that failed
    cdef str reason             # why not the first choice
    cdef int voice              # enum Voice: in which language the client is answered
    cdef object writer          # of a stream in edge's own gRPC language
    cdef bytes unread           # of a local call: the beginning of a message
    cdef Alarm alarm
    cdef uint64_t loops         # a bit per member that leads back to where the request has been
    cdef Waiter waiter          # its place in the route's queue, while it waits there
    cdef admit(self)
    cdef bint hear_peer(self)
    cdef mark_loops(self)
    cdef uint64_t away(self, uint64_t tried, uint64_t now)
    cdef bint identify(self)
    cdef admit_model(self)
    cdef route_model(self)
    cdef route_service(self)
    cdef begin(self)
    cdef bint enter(self)
    cdef draw(self, uint64_t now, uint64_t tried, Choice* choice)
    cdef choose(self)
    cdef passed_over(self, const Choice* choice)
    cdef wait(self, uint64_t now)
    cdef shed(self, uint64_t now)
    cdef int come_back_s(self)
    cdef explain(self, int chosen, uint64_t now)
    cdef bint may_retry(self, Attempt attempt, int outcome, uint64_t now)
    cdef list trace_fields(self, Attempt attempt)
    cdef broken(self, Attempt attempt, int outcome, str detail)
    cdef unavailable(self)
    cdef list target_states(self, uint64_t now)
    cdef refuse(self, str kind, str detail, list extra)
    cdef answer_problem(self, tuple problem)
    cdef answer(self, int status, list fields, bytes content)
    cdef close(self, int status)
    cdef follow(self)
    cdef consider(self, int status, uint64_t now)
    cdef tuple record(self, int why, int status, uint64_t now)
    cdef tuple tell_of(self, Attempt attempt, uint64_t end)
    cdef look(self, uint64_t now)
    cdef comfort(self, uint64_t now)
    cdef read_call(self)
    cdef hear_local(self, bytes data)
    cdef tuple answered_by(self, Attempt attempt)
    cdef dict facts(self, Attempt attempt)
