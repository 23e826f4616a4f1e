"""Writes OTLP spans from cached encoded parts and from the values that differ between spans.

Most of a span is the same in all exchanges with the same course. This part, the span's shape, is encoded once by Python
and cached under everything that it depends on. Ids, times, counts and the few texts that differ are written here. The
span is a concatenation of both: protobuf allows fields in any order, and elements of a repeated field at any place."""

from libc.stdint cimport uint64_t

cdef struct Page:           # the output buffer
    char* at
    size_t size, room

cdef class SpanWriter:
    """Writes spans from records. Copies its arguments; calls share no state except the cached shapes."""
    cdef object server, client          # functions that return the shape of a span
    cdef dict servers, clients          # cached shapes, by everything that they depend on
    cdef readonly int most              # shapes of each kind that are cached before the cache is cleared
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
