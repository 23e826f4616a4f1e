"""Holds what is asked, for whom, and until when; one class for each kind of request."""

from libc.stdint cimport int64_t, uint64_t
from native.codec.head cimport Head
from native.http.connection_pool cimport ConnectionPool
from native.http.stream cimport ClientStream, ServerStream, Share
from native.codec.trace_context cimport Trace
from native.proxy.router cimport Route
from native.proxy.runtime cimport Runtime
from native.state.callers cimport Caller

cdef class Request

cdef enum ResponseFormat:
    PLAIN = 0                   # HTTP, in the caller's own JSON dialect
    CHAT = 1                    # edge.v1.Inference/Chat: one message
    CHAT_STREAM = 2             # edge.v1.Inference/ChatStream
    LOCAL = 3                   # a gRPC method that edge answers itself: health, reflection, the list of models

cdef enum:
    MOST_HOPS = 2               # how often a request may go on to another region

cdef class Refusal:
    """Why edge refuses a request: a kind of edge.listen.reply.PROBLEMS, the value for its sentence, more fields."""
    cdef str kind, detail
    cdef str noted              # the detail for a record, without the client's words; None = it has none
    cdef list fields
    cdef int counter(self) noexcept     # a native.state.shared_state.WorkerCounter

cdef tuple NO_TRACEPARENT      # holds the place of an attempt's traceparent in a list of fields

cdef Refusal refusal(str kind, str detail=*, list fields=*)

cdef tuple LIMITED             # kinds of edge.listen.reply.PROBLEMS, indexed by native.state.allowance.Bound
cdef Py_ssize_t SMALL_BODY     # the body of a request that a bound refuses is read up to this size
cdef Refusal refuse_bound(Request request)
cdef Py_ssize_t COPY_MOST      # bytes of a whole answer that a shadow copy holds

cdef class Identity:
    """For whom a request is made."""
    cdef Caller caller          # the owner of the key; None = no keys are configured, or none is required
    cdef int key                # its place in the breakers' bit maps, -1 = none
    cdef int priority           # a native.state.callers.Priority
    cdef Py_ssize_t credential_field    # which field of the request holds the key, -1 = none
    cdef bytes name, priority_name      # what another region is told of the caller; None = not known
    cdef bytes hops             # the regions that it has passed, as in x-edge-hops; None = it has no such field
    cdef uint64_t session       # the word of the key that has begun the upload which is shown instead of a key
    cdef bint peer              # it comes from another region's edge, which has admitted and charged the caller

cdef class Request:
    cdef Runtime runtime
    cdef ServerStream stream    # of the client; None once the exchange is over
    cdef Head head
    cdef Identity identity
    cdef Route route            # None until it is found
    cdef int operation          # native.proxy.router.Operation
    cdef int response_format
    cdef int latency_cell       # native.balance.balancer.Cell
    cdef bint grpc              # it is a gRPC call
    cdef bint received          # all of it has come
    cdef bint reached           # an attempt has sent it to an upstream
    cdef bint answer_begun      # the client has the head of an event stream
    cdef Refusal refused        # why it is refused by its head; None = it is not
    cdef bint bounded           # the client set a deadline; the rest of it is sent upstream
    cdef int call_code          # the gRPC status that the last failed attempt stands for; 0 = UNAVAILABLE
    cdef int moves              # attempts that a connection's end refused, before the upstream began them
    cdef uint64_t started_ns, deadline_ns
    cdef uint64_t request_complete_ns   # when all of it had come (a service: its head); 0 = overhead is not measured
    cdef list fields            # fields for the upstream, without credentials
    cdef bytes identifier       # x-edge-request-id; None until it is admitted
    cdef list page_fields       # fields that let the web page that asks read the answer; None = no page asks
    cdef Trace trace
    cdef Py_ssize_t trace_at    # where its traceparent stands among the fields
    cdef list body              # the bytes that have come and may be sent again; None = not kept
    cdef Py_ssize_t body_size, holding  # bytes that have come, bytes counted as held
    cdef Share share            # of which they are counted; see ServerStream
    cdef list trailers
    cdef uint64_t needs         # a bit per native.state.counters.Capability
    cdef bint begun             # its key has given it a slot and a request, which Charge.reserve() takes over
    cdef int bound              # the native.state.allowance.Bound that refuses it, although its body is read; 0 = none
    cdef uint64_t bound_wait_ns
    cdef bint is_copy           # a shadow copy: its answer is dropped, and held up to COPY_MOST
    cdef bint left              # the client has left before the answer was complete
    cdef uint64_t closed        # a bit per member that its ids exclude: another provider issued them
    cdef uint64_t unmet         # ... that do not meet its x-edge-require, which are closed too
    cdef list unmet_why         # "TARGET: WHY" of these; None = there are none
    cdef bint searching         # nobody remembers who issued its id: each member is asked once
    cdef uint64_t seed          # ... in an order that this decides
    cdef bint names_ids         # it names what a provider has made
    cdef bytes sought           # ... that id, or one whose issuer alone is asked; None = it names none
    cdef uint64_t prompt_guess, output_guess    # tokens, before a target has counted them
    cdef uint64_t output_worst  # the most that the answers can have, as the allowance reserves it
    cdef bint hold(self, Py_ssize_t size) noexcept      # hold this many bytes from now on; False = no room
    cdef Refusal bind(self, int64_t timeout_ns, str kind, bytes value)
    cdef void bind_route(self) noexcept         # apply the route's total deadline too
    # The caller's own deadline has passed. told: the upstream, which knows that deadline, has just said so.
    cdef bint caller_is_over(self, uint64_t now, bint told) noexcept
    cdef begin_trace(self)
    cdef list fields_for(self, ConnectionPool upstream)
    cdef bint is_model(self) noexcept
    cdef bint is_collected(self) noexcept       # no target is asked before all of it has come
    # What each kind of request does with its bytes.
    cdef Refusal take_data(self, bytes data)
    cdef Refusal take_end(self, list trailers)
    cdef bint streams(self) noexcept            # the client asked for an event stream
    cdef bint may_hedge(self) noexcept              # two targets may be asked at once: nothing of it belongs to a provider
    cdef bint may_join(self) noexcept           # a second attempt may run beside a late one
    cdef bint may_resend(self, bint sent, bint refused) noexcept
    # Send it to an upstream. Returns True if all of it was sent but the end, which the attempt sends.
    cdef bint send(self, ClientStream stream, ConnectionPool upstream, uint64_t span, uint64_t now)
    cdef int upload_ended(self) except -1                # the upstream takes no more of it
    cdef release(self)                          # drop the bytes, because nothing is sent again
    # Whether a member of the pool does not speak the client's dialect, and its words for the request. translate_for()
    # returns None = it is ready to be sent; "cannot_carry" = this target cannot be asked; else the client's mistake.
    cdef bint is_foreign(self, int index) noexcept
    cdef Refusal translate_for(self, int index)
    cdef bint may_be_rescued(self, int index) noexcept  # another target may go on with an answer that breaks off there
