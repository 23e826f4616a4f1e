"""Asks one target and reports one result; it decides nothing about the exchange."""

from libc.stdint cimport int64_t, uint64_t
from native.balance.balancer cimport Target
from native.codec.head cimport Head
from native.http.connection_pool cimport ConnectionPool
from native.http.stream cimport ClientEvents, ClientStream, ServerEvents
from native.proxy.accounting cimport AttemptFacts, Usage
from native.proxy.answer_reader cimport AnswerReader
from native.proxy.request cimport Request
from native.proxy.router cimport Route
from native.proxy.runtime cimport Runtime
from native.proxy.upload_watch cimport UploadWatch

cdef tuple OUTCOME_NAMES        # native.state.shared_state.Outcome in lower case, by number

cdef class Attempt

cdef enum Phase:
    CONNECTING = 0
    ASKING = 1              # the request is being sent, or was sent, and no head has come
    ANSWERING = 2           # the head has come, and nothing was relayed
    RELAYING = 3            # its answer goes to the client
    OVER = 4

cdef class AttemptResult:
    """How an attempt ended. The owner gets it once, after the attempt has released its connection."""
    cdef int outcome                # native.state.shared_state.Outcome
    cdef str detail                 # why it failed, without secrets
    cdef uint64_t retry_after_ns    # Retry-After of the target; 0 = none
    cdef Usage usage                # tokens and money, of this attempt alone
    cdef list trailers              # of a good answer
    cdef bint relayed               # the client had got some of its answer
    cdef bytes tail                 # the end of a good answer, or the target's error body about a fault of the caller;
                                    # None = there is none, or the error body is too large

cdef class AttemptEvents(ServerEvents):
    """Receives the events of an attempt. A client's events (ServerEvents) are ignored unless a subclass overrides them.

    A subclass overrides every method below; test_contract.py checks it."""
    # The answer has content for the client. Returns True = relay it. length: as in Head.
    cdef bint on_answer(self, Attempt attempt, int64_t length)
    # Returns a whole answer in the client's dialect. ValueError: that dialect cannot express it.
    cdef bytes translate(self, Attempt attempt, bytes content)
    # The answer is a failure (a service's 5xx, UNAVAILABLE). Returns True = relay it, False = end the attempt.
    cdef bint on_failed_answer(self, Attempt attempt)
    cdef int on_answer_data(self, Attempt attempt, bytes data) except -1
    cdef int on_result(self, Attempt attempt, AttemptResult result) except -1        # exactly once, as the last event
    cdef int on_interim_answer(self, Attempt attempt, int status) except -1          # 100: the client may send its body
    cdef int on_late(self, Attempt attempt, uint64_t now) except -1                  # again every 250 ms
    cdef int on_deadline_change(self, Attempt attempt, uint64_t now) except -1       # next_deadline() may be nearer now

cdef class Attempt(ClientEvents):
    cdef AttemptEvents events   # None once it is over
    cdef Runtime runtime
    cdef Request request
    cdef Route route
    cdef Target target
    cdef ConnectionPool upstream
    cdef ClientStream stream
    cdef AttemptFacts facts
    cdef Usage usage
    cdef AnswerReader reader
    cdef int phase
    cdef int outcome            # native.state.shared_state.Outcome once it is settled, -1 before
    cdef int grpc_status        # the status it ended with, -1 = none
    cdef uint64_t span          # the span id that the target gets
    cdef uint64_t continue_ns   # since when a client with Expect: 100-continue waits for the target; 0 = it does not
    cdef UploadWatch upload
    cdef uint64_t late_told_ns     # when its owner was last told that it is late
    cdef str detail             # why it failed
    cdef bint counted           # it is in the target's in-flight counts
    cdef bint charged           # it holds tokens of its credential's allowance
    cdef bint tokens_told       # the answer reported the tokens that are left, with this attempt subtracted
    cdef bint sent, body_done, paused, refused, moved, tripped
    cdef bint retry_granted     # its retry has been taken from the budget
    cdef bint detached          # the client has the answer of another attempt; this one runs on to be learned from
    cdef bint outrun            # a hedge, or the attempt beside it: the other one answered first
    cdef bint asks_usage        # the request asks for usage that its client did not ask for
    cdef bint usage_refused     # the target refused a request that did, and is asked again without
    cdef bint foreign           # the target speaks another dialect than the client
    cdef bint absent            # the target is another region, and has nothing for this request
    cdef int declined           # the Action of an answer with which the target declined the request; 0 = it did not
    cdef Head head
    cdef begin(self)
    cdef bint _refuse_unsigned(self)     # end the attempt if its request cannot be signed; True: it has ended
    cdef int prepare(self) except -1     # set what the request needs to know before it is sent
    # What a kind of attempt does with the answer.
    cdef int hear_head(self, Head head, uint64_t now) except -1
    cdef int hear_data(self, bytes data) except -1
    cdef int hear_end(self, list trailers) except -1
    cdef int settle_usage(self, int outcome, uint64_t now) except -1
    cdef bint judge_part(self)                      # the answer has broken off: end the attempt if enough has come
    cdef bint says_unknown(self)                    # the answer is that it has not what is sought everywhere
    cdef bint offered(self)                         # the target claims this path; if not, a 404 is no fault of it
    cdef uint64_t mark(self)                        # of the request's body: the same for the same body, and never 0
    # Record the outcome in the target's health, and charge what the attempt used. Only the first call has an effect.
    cdef int settle(self, int outcome, uint64_t now, uint64_t retry_after_ns) except -1
    # End the attempt, and give its owner the result.
    cdef int finish(self, int outcome, str detail, uint64_t retry_after_ns, list trailers, bytes tail) except -1
    cdef int cancel(self, int outcome) except -1             # settle and end the attempt without a result
    cdef int end_silent(self) except -1                      # end a detached attempt at its deadline
    cdef int end(self, int outcome, str detail, uint64_t retry_after_ns=*) except -1
    cdef uint64_t next_deadline(self) noexcept
    cdef bint check_deadlines(self, uint64_t now)   # True: it has ended
    cdef bint owes_answer(self) noexcept            # the target has to act next, not the client with its request
    cdef int drain_answer(self, uint64_t now) except -1      # the client reads again
    cdef int finish_upload(self, list trailers) except -1    # the rest of a service's request has come
    cdef int client_sent(self, uint64_t now) except -1       # the client has sent more of its request
    cdef int _sent_whole(self) except -1
    cdef int _note_overhead(self, uint64_t now) except -1
    cdef int _block(self) except -1
    cdef uint64_t _first_limit(self) noexcept
    cdef uint64_t _silence_limit(self) noexcept
    cdef bint _stuck(self, uint64_t now)
    cdef bint _check_silence(self, uint64_t now)
    cdef int _check_lateness(self, uint64_t now) except -1
    cdef int _leave(self) except -1
