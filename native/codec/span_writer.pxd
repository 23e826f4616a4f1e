"""How are spans written for OTLP when thousands like them were?  What repeats is copied, what differs is put beside it.

Most of a span is the same in all exchanges that went the same way. That part, its shape, is encoded once, by whoever is
asked for it, and held under all that it depends on; ids, times, counts and the few texts that differ are written here.
In protobuf that is a concatenation: fields may come in any order, and those of a repeated one need not stand together.

Sources: protobuf.dev/programming-guides/encoding; opentelemetry/proto/trace/v1/trace.proto 1.x."""

from libc.stdint cimport uint64_t

cdef struct Page:           # what has been written
    char* at
    size_t size, room

cdef class SpanWriter:
    """Writes spans from records. Copies what it is given, and shares no state but shapes between two calls."""
    cdef object server, client          # who is asked for shapes
    cdef dict servers, clients          # shapes, by what they depend on
    cdef readonly int most              # of each, before all are forgotten
    # KeyValues up to their value
    cdef bytes request_id, path, url, input_tokens, output_tokens
    cdef bytes queued, cost, connected, sent, first_byte, first_content, first_chunk
    cdef Py_ssize_t keys                # bytes of all of them
    cdef int put_server(self, Page* page, dict shapes, object record, tuple attempts, const char* ids) except -1
    cdef int put_client(
        self, Page* page, dict shapes, object record, int index, object attempt, const char* ids
    ) except -1
    cdef char* put_tokens(self, char* p, object record) except NULL
