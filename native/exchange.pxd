"""In what order do things happen to a request?  The one place that knows; docs/life-of-a-request.md follows its names."""

from libc.stdint cimport int64_t, uint32_t, uint64_t
from native.balancer cimport Target
from native.lane cimport LaneCore
from native.peek cimport Peek
from native.pool cimport ConnectionPool
from native.router cimport Route
from native.sse cimport Scanner
from native.stream cimport ClientEvents, ClientStream, Head, ServerEvents, ServerStream
from native.timerwheel cimport Timer

cdef enum Phase:            # of an attempt
    CONNECTING = 0
    ASKING = 1              # the request is on its way, no answer yet
    ANSWERING = 2           # the head has come, nothing is committed
    RELAYING = 3            # committed
    OVER = 4

cdef enum Mode:             # what is done with an answer's body
    HOLD = 0                # whole, checked, then sent
    EVENTS = 1              # server-sent events: held until the first content, then relayed event by event
    RAW = 2                 # relayed as it comes
    FAULT = 3               # an error's body: held (bounded) until it is known whose fault it is

cdef class Attempt(ClientEvents):
    """One try of an exchange at one target."""
    cdef Exchange exchange
    cdef Target target
    cdef ConnectionPool pool
    cdef ClientStream stream
    cdef int index, admit, phase, mode
    cdef uint32_t generation
    cdef uint64_t began_ns, asked_ns, head_ns, content_ns, last_ns
    cdef bint sent, body_done, counted, slow, settled, paused
    cdef Head head
    cdef list held
    cdef Py_ssize_t held_size
    cdef Scanner scanner
    cdef begin(self)
    cdef push_body(self)
    cdef asked(self)
    cdef uint64_t patience(self, uint64_t deadline_ns) noexcept
    cdef answer_events(self, bytes data)
    cdef answer_fault(self)
    cdef settle(self, int outcome, uint64_t now, uint64_t rest_ns=*)
    cdef leave(self)
    cdef uint64_t next_deadline(self) noexcept
    cdef bint overdue(self, uint64_t now)

cdef class Alarm(Timer):
    cdef Exchange exchange

cdef class Exchange(ServerEvents):
    """A request and its answer, with every attempt in between."""
    cdef LaneCore lane
    cdef Route route
    cdef ServerStream stream
    cdef Head head
    cdef int door, cell
    cdef list body
    cdef Py_ssize_t body_size
    cdef bint received, replayable, committed, early, over, climbing
    cdef Peek peek
    cdef bytes content          # the whole body of a model request
    cdef bytes wildcard         # the upstream model the client named after "provider/"
    cdef bytes identity
    cdef list fields            # what goes on to the upstream, without credentials
    cdef uint64_t began_ns, total_ns, quiet_ns, resume_ns
    cdef uint64_t tried
    cdef int attempts
    cdef Attempt attempt
    cdef list trail             # (target id, outcome, detail) of the attempts that failed
    cdef str reason             # why not the first choice
    cdef Alarm alarm
    cdef admit(self)
    cdef route_model(self)
    cdef route_service(self)
    cdef choose(self)
    cdef failed(self, Attempt attempt, int outcome, str detail, uint64_t rest_ns)
    cdef bint repeatable(self, Attempt attempt, uint64_t now)
    cdef bint may_retry(self, Attempt attempt, int outcome, uint64_t now)
    cdef commit(self, Attempt attempt, int64_t length)
    cdef finish(self, Attempt attempt)
    cdef broken(self, Attempt attempt, int outcome, str detail)
    cdef unavailable(self)
    cdef refuse(self, str kind, str detail, list extra)
    cdef close(self, int status)
    cdef ring(self, uint64_t now)
    cdef look(self, uint64_t now)
    cdef list trace_fields(self, Attempt attempt)
