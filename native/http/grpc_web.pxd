"""Stands between a client of gRPC-Web and an exchange, which sees a gRPC call over HTTP/2.

The request's head is rewritten and text is decoded; trailers become the last frame of the body. An answer that is not
gRPC passes unchanged."""

from libc.stdint cimport int64_t
from native.codec.grpc_web cimport TextReader
from native.codec.head cimport Head
from native.http.stream cimport ServerEvents, ServerStream

cdef class GrpcWebStream(ServerStream):
    """One call of a client. ``inner`` is the stream that it came on, and takes the answer."""
    cdef ServerStream inner
    cdef Head head              # what the exchange is told
    cdef TextReader text        # decodes the request; None = it is binary
    cdef bint answers_text
    cdef bytes format           # of the request's messages, such as b"+proto"
    cdef bint head_sent
    cdef bint is_other          # the answer is not gRPC
    cdef list status_fields     # of an answer without messages: they are sent in the body
    cdef int admitted(self) except -1       # the exchange has received the head, and is not over
    cdef int share_state(self) noexcept     # tell ``inner`` what the exchange has told this stream
    cdef int refuse(self, str reason) except -1
    cdef int _send(self, bytes data) except -1

cdef class GrpcWebEvents(ServerEvents):
    """Passes a client's events to the exchange."""
    cdef GrpcWebStream stream
    cdef ServerEvents exchange
    cdef int reject(self) except -1

# Return the stream for an exchange, which gets the events of ``inner`` from now on.
cdef GrpcWebStream translate_web(ServerStream inner, Head head, int kind, ServerEvents exchange)
