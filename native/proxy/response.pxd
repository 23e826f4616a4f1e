"""Sends the client of one exchange its answer: from an attempt, from a cache entry, or from edge itself."""

from libc.stdint cimport int64_t, uint64_t
from native.codec.head cimport Head
from native.http.stream cimport ServerStream
from native.proxy.answer_reader cimport AnswerReader
from native.proxy.attempt cimport Attempt
from native.proxy.flight cimport Flight
from native.proxy.request cimport Refusal, Request
from native.proxy.runtime cimport Runtime

cdef enum Source:
    NO_SOURCE = 0
    FROM_ATTEMPT = 1            # or several, one after the other: the client sees one answer
    FROM_CACHE = 2
    FROM_EDGE = 3

cdef class Origin:
    """Where an answer comes from."""
    cdef bytes target, region
    cdef int attempts           # how many were started, a peer's included

cdef class Response:
    cdef Runtime runtime
    cdef Request request
    cdef ServerStream stream    # None once the exchange is over
    cdef int source
    cdef bint stream_begun      # the head of an event stream was sent before any content, so that comments could follow
    cdef bint committed         # content was sent: no other attempt is started
    cdef bint tunnel            # bytes in both directions, until one side ends
    cdef bint events            # the answer of the attempt is an event stream
    cdef AnswerReader reader    # of the attempt whose answer is relayed
    cdef int told_cut           # how many events that were not relayed the client knows of
    cdef bint spoiled           # a part of the answer could not be translated, so that it is not known what was shown
    cdef int rescues            # how often another target went on with it
    cdef bint hides_usage       # ... and edge asked for the usage in it, which its client did not
    cdef int64_t sent_bytes     # of content, before any transfer coding
    cdef int grpc_status        # the gRPC status that the client got; -1 = none
    cdef uint64_t last_sent_ns  # when the last comment was sent; at first, when the request began
    cdef Flight flight          # the exchange's part in the cache; None = it has none
    cdef bint stale             # the answer from the cache is older than its time to live
    cdef object dialects        # native.proxy.hooks.StreamTranslation between dialects; None = both speak the same
    cdef object translator      # native.proxy.hooks.StreamTranslator, if the client speaks another dialect; else None
    # Send the head of an attempt's answer. attempts: how many were started. reason: why the first choice did not
    # answer; None = it did.
    cdef commit(self, Attempt attempt, int64_t length, int attempts, str reason)
    cdef bytes translate(self, Attempt attempt, bytes content, int attempts)    # a whole answer; ValueError
    # A target's error about the caller's fault as a native.proxy.hooks.Reply; None = it is relayed as it came.
    cdef object refusal(self, Attempt attempt, bytes content)
    cdef object translate_error(self, Attempt attempt, bytes content)
    # Send more of the body, which is in the target's dialect. ValueError: the client's dialect cannot express it.
    cdef relay(self, bytes data)
    # Expect the rest of an answer that broke off, as native.proxy.hooks.Continuation joins it; a comment, ``told``,
    # says so.
    cdef resume(self, Attempt attempt, object continuation, str told, uint64_t now)
    cdef bint has_comments(self)                # the client's dialect has them: Google's SDK for Python takes one for JSON
    # Return how an attempt ends whose events cannot be told to the client.
    cdef int outcome_of(self, object error)
    cdef relay_end(self, bytes tail)            # ``tail`` is what finish() will send; None = nothing
    cdef _send(self, bytes data)
    cdef _tell_cut(self)                        # say in a comment that an event was not relayed
    cdef object refused(self, Refusal why)      # the Reply to a request that edge does not accept
    cdef object own(self, object reply)         # a Reply of edge's own, in the client's dialect
    cdef bytes _named_event(self, bytes content)
    cdef _end_error(self)                       # end a stream behind an error event
    cdef bytes _event(self, bytes event)        # an event of edge's own, in the client's dialect
    cdef finish(self, list trailers, bytes tail)            # the answer is complete
    cdef str _where_kept(self)
    cdef broken(self, str detail, str target, bint deadline, bint say)  # end an answer that broke off
    cdef list own_fields(self, list fields, int attempts)   # of a reply to a request that had a route
    # A whole reply: an error of edge's own, or a target's error body. prepare() returns its fields, send() sends it.
    cdef list prepare(self, int status, list fields, bytes content)
    cdef send(self, int status, list fields, bytes content) # what prepare() gave
    cdef list from_cache(self, Flight flight, bint stale)   # the fields of the entry that was found
    # When a comment is due; NEVER = the client gets none now. resuming: it waits for the rest of an answer that broke off.
    cdef uint64_t next_keepalive(self, bint resuming) except? 0
    cdef send_keepalive(self, uint64_t now, int attempts, str reason)
    cdef answer_call(self, list answers)                    # a gRPC call that edge answers itself: messages
    cdef end_call(self, list trailers)

cdef Response new_response(Request request, ServerStream stream)

cdef bint is_event_stream(bytes content_type) noexcept
