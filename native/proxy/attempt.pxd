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
    ASKING = 1              # the request is on its way, no answer yet
    ANSWERING = 2           # the head has come, nothing has been handed on
    RELAYING = 3            # its answer goes to the client
    OVER = 4

cdef class AttemptResult:
    """How an attempt ended. It is given once, after the attempt has let go of its connection."""
    cdef int outcome                # native.state.shared_state.Outcome
    cdef str detail                 # of a failure, in words, without secrets
    cdef uint64_t retry_after_ns    # how long the target asks to stay away; 0 = it does not say
    cdef Usage usage                # tokens and money, of this attempt alone
    cdef list trailers              # of a good answer
    cdef bint relayed               # its answer was going to the client
    cdef bytes tail                 # what completes a good answer, or the target's words about the caller's own fault;
                                    # None = there is nothing more, or the words are too many

cdef class AttemptEvents(ServerEvents):
    """Receives what an attempt does; of a client it hears nothing unless a subclass listens.

    A subclass overrides every method; test_contract.py checks it."""
    # An answer has begun, and may go to the client: True = hand it to me. length as in Head.
    cdef bint on_answer(self, Attempt attempt, int64_t length)
    # A whole answer in the caller's dialect; ValueError: it cannot be said there.
    cdef bytes translate(self, Attempt attempt, bytes content)
    # It has begun with a failure (a service's 5xx, UNAVAILABLE): True = hand it to me all the same.
    cdef bint on_failed_answer(self, Attempt attempt)
    cdef void on_answer_data(self, Attempt attempt, bytes data)
    cdef void on_result(self, Attempt attempt, AttemptResult result)        # exactly once, the last of all
    cdef void on_interim_answer(self, Attempt attempt, int status)          # 100: the client may send its body
    cdef void on_late(self, Attempt attempt, uint64_t now)                  # ... and again every quarter of a second
    cdef void on_deadline_change(self, Attempt attempt, uint64_t now)       # next_deadline() may be nearer now

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
    cdef uint64_t span          # under which the target knows it
    cdef uint64_t continue_ns   # since when the target owes a word to a client that waits with its body (100-continue)
    cdef UploadWatch upload
    cdef uint64_t looked_ns     # when its owner was last told that it is late
    cdef str detail             # of a failure, in words
    cdef bint counted           # it stands in the target's in-flight counts
    cdef bint charged           # it holds tokens of its credential's
    cdef bint tokens_told       # the provider has said what is left of its tokens, this attempt included
    cdef bint sent, body_done, paused, refused, moved, tripped
    cdef bint retry_granted     # its retry has been taken from the budget
    cdef bint detached          # it runs on beside an answer that the client already has
    cdef bint absent            # the target is another region that has nothing for this request
    cdef Head head
    cdef begin(self)
    # What a kind of attempt does with the answer.
    cdef void hear_head(self, Head head, uint64_t now)
    cdef void hear_data(self, bytes data)
    cdef void hear_end(self, list trailers)
    cdef void settle_usage(self, int outcome, uint64_t now)
    cdef bint offered(self)                         # it claims to offer this path: else a 404 says nothing about it
    # Settle it, exactly once: what the target is remembered for, and what the attempt used.
    cdef void settle(self, int outcome, uint64_t now, uint64_t retry_after_ns)
    # It is over, and its owner gets the result.
    cdef void finish(self, int outcome, str detail, uint64_t retry_after_ns, list trailers, bytes tail)
    cdef void cancel(self, int outcome)             # nobody wants its answer: settle it, without a result
    cdef void end_silent(self)                      # a detached attempt has come to its deadline
    cdef void end(self, int outcome, str detail, uint64_t retry_after_ns=*)
    cdef uint64_t next_deadline(self) noexcept
    cdef bint check_deadlines(self, uint64_t now)   # True: it has ended
    cdef bint owes_answer(self) noexcept            # it is the target's turn, not a client's whose request is not here
    cdef void drain_answer(self, uint64_t now)      # the client reads again
    cdef void finish_upload(self, list trailers)    # the rest of a service's request has come
    cdef void client_sent(self, uint64_t now)       # the client goes on with its request
    cdef void _sent_whole(self)
    cdef void _note_overhead(self, uint64_t now)
    cdef void _block(self)
    cdef uint64_t _first_limit(self) noexcept
    cdef bint _stuck(self, uint64_t now)
    cdef bint _check_silence(self, uint64_t now)
    cdef void _check_lateness(self, uint64_t now)
    cdef void _leave(self)
