"""Writes OTLP spans by copying what repeats from one span to the next, and putting beside it what differs.

Most of a span is the same in all exchanges that went the same way. That part, its shape, is encoded once by Python and
held under everything that it depends on; ids, times, counts and the few texts that differ are written here. In protobuf
the result is a concatenation: fields may come in any order, and those of a repeated one need not stand together."""

from libc.stdint cimport uint64_t

cdef struct Page:           # what has been written
    char* at
    size_t size, room

cdef class SpanWriter:
    """Writes spans from records. Copies what it is given, and shares no state but shapes between two calls."""
    cdef object server, client          # return the shape of a span
    cdef dict servers, clients          # shapes, by what they depend on
    cdef readonly int most              # shapes of each kind, before all of the kind are forgotten
    # KeyValues up to their value
    cdef bytes request_id, path, url, input_tokens, output_tokens
    cdef bytes queued, cost, connected, sent, first_byte, first_content, first_chunk
    cdef Py_ssize_t keys                # bytes of all of them
    cdef object hold(self, dict shapes, tuple depends, object made)
    cdef int put_server(self, Page* page, dict shapes, object record, tuple attempts, const char* ids) except -1
    cdef int put_client(
        self, Page* page, dict shapes, object record, int index, object attempt, const char* ids
    ) except -1
    cdef char* put_tokens(self, char* p, object record) except NULL
