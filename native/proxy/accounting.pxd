"""What is a target remembered for, and what did an attempt use?

Every attempt is settled once: its outcome feeds the target's circuit, its latencies and what it takes at once, and what it
used is charged. ``AttemptCore`` is what is known of an attempt, ``ExchangeCore`` what one may ask of its exchange; the
exchange decides."""

from libc.stdint cimport int64_t, uint32_t, uint64_t
from native.balance.balancer cimport Target
from native.state.callers cimport Caller
from native.proxy.data_plane cimport DataPlaneCore
from native.codec.request_peek cimport Peek
from native.http.connection_pool cimport ConnectionPool
from native.codec.trace_context cimport Trace
from native.proxy.router cimport Route
from native.codec.sse cimport Scanner
from native.codec.head cimport Head
from native.http.stream cimport ClientEvents, ClientStream, ServerEvents, ServerStream

cdef class AttemptCore

cdef enum Phase:
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
    CALL = 4                # gRPC: relayed as it comes, judged by its status in the end
    BARE = 5                # gRPC trailers-only: judged before anything is shown
    PIPE = 6                # an upgrade was taken: bytes both ways

cdef class ExchangeCore(ServerEvents):
    cdef DataPlaneCore data_plane
    cdef Route route
    cdef ServerStream stream
    cdef Head head
    cdef int operation, latency_cell, key
    cdef list body              # a service's request so far, while it may be sent again
    cdef list trailers          # what came behind it
    cdef Py_ssize_t body_size
    cdef bint received, replayable, committed, early, over, backing_off, grpc, tunnel
    cdef bint translated        # the answer is told in gRPC, whichever language it comes in
    cdef Peek peek
    cdef bytes content          # the whole body of a model request
    cdef bytes wildcard         # the upstream model the client named after "provider/"
    cdef bytes identity
    cdef bytes suffix           # of a model request: what follows the provider's base path, with what goes on of the query
    cdef list fields            # what goes on to the upstream, without credentials
    cdef Trace trace
    cdef Py_ssize_t trace_at    # where its traceparent stands among the fields
    cdef uint64_t started_ns, total_ns, last_sent_ns, resume_ns
    cdef uint64_t request_complete_ns      # when the request was here whole (a service's: its head); 0: its own time is told
    cdef bint peer              # it comes from another region's edge, which has admitted and charged the caller
    cdef bytes hops             # regions it came through, as they wrote them; None = it comes from a client
    cdef bytes caller_name, caller_class    # what another region is told of the caller; None = nothing is known
    cdef Caller caller          # whose key it came with; None = there are no keys, or none is asked for
    cdef int priority              # priority: 0 high, 1 normal, 2 low
    cdef Py_ssize_t credential_field       # which field of the request holds the key
    cdef bint entered           # it holds a place and tokens of its caller's
    cdef bint reached           # a request went out upstream
    cdef uint64_t prompt_guess, output_guess    # tokens, before anybody has counted them
    cdef uint64_t prompt_tokens, output_tokens, cost_nano   # of all attempts
    cdef Py_ssize_t holding     # bytes of the request that it has counted as held
    cdef bint bounded           # the client set the deadline (grpc-timeout): what is left of it goes on
    cdef bint hold(self, Py_ssize_t size) noexcept          # of the request, from now on; False: there is no room
    cdef failed(self, AttemptCore attempt, int outcome, str detail, uint64_t rest_ns)
    cdef bint repeatable(self, AttemptCore attempt, int outcome, uint64_t now)
    cdef bint another(self, uint64_t now)
    cdef bint may_retry(self, AttemptCore attempt, int outcome, uint64_t now)   # takes it from the retry budget
    cdef commit(self, AttemptCore attempt, int64_t length)
    cdef bytes tell(self, AttemptCore attempt, bytes content)   # a whole answer in the caller's language; ValueError
    cdef relay(self, bytes data)                    # a piece of the answer's body
    cdef finish(self, AttemptCore attempt, list trailers, bytes last)
    cdef answer_fault(self, AttemptCore attempt, int status, bytes content)     # the caller's own fault, as the provider said it
    cdef arm_deadline(self, uint64_t now)

cdef class AttemptCore(ClientEvents):
    cdef ExchangeCore exchange
    cdef Target target
    cdef ConnectionPool pool
    cdef ClientStream stream
    cdef int index, admit, phase, mode, priority
    cdef uint32_t generation
    cdef uint64_t started_ns, asked_ns, head_ns, content_ns, last_ns
    cdef uint64_t waiting_ns    # since when it waits for a connection
    cdef uint64_t begged_ns     # since when the target owes a word to a client that waits with its body (100-continue)
    cdef uint64_t blocked_ns    # since when the target has taken nothing of the upload; 0 = it is not waited for
    cdef uint64_t viewed_ns     # when that was looked at last
    cdef Py_ssize_t untaken     # bytes that it had still to take then
    cdef int64_t prompt_tokens, output_tokens   # as the target counted them in a whole answer; -1 = it did not
    cdef bint charged           # it holds tokens of its credential's
    cdef bint told              # the provider has said what is left, this attempt included
    cdef uint64_t looked_ns     # when an overdue attempt last looked at its target's circuit
    cdef int64_t pushback       # ms that a gRPC server asked to wait; -1 never retry, -2 nothing said
    cdef uint64_t span          # under which the target knows it
    cdef uint64_t connected_ns  # when it got a connection, if it had to wait for one
    cdef uint64_t ended_ns      # when it was settled
    cdef int outcome            # native.state.shared_state.Outcome once it is settled, -1 before
    cdef int code               # the gRPC status it ended with, -1 = none
    cdef str detail             # of a failure, in words
    cdef bint tripped           # it opened the circuit
    cdef bint sent, body_done, counted, slow, settled, paused, refused, moved
    cdef bint retry_granted           # its retry has been taken from the budget
    cdef bint client_error         # a long answer of a status that is the caller's own fault
    cdef Head head
    cdef list held
    cdef Py_ssize_t held_size
    cdef Scanner scanner
    cdef proven(self, uint64_t now)
    cdef learn(self, uint64_t now)
    cdef settle(self, int outcome, uint64_t now, uint64_t rest_ns=*)
    cdef hear_limits(self, Head head, uint64_t now)
    cdef account(self, int outcome, uint64_t now)
    cdef uint64_t usual_limit(self) noexcept
    cdef uint64_t fair_limit(self) noexcept
    cdef uint64_t slow_limit(self) noexcept
    cdef note_slow(self, uint64_t now)
    cdef leave(self)
