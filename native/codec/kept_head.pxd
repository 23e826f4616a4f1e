"""Keeps the last head of a connection, so that lines that the next head repeats are not read and judged again.

A client or provider that keeps a connection repeats most of each head, byte for byte. A repeated line is found by one
comparison with the line at the same place, and its field is the object that was made of it before. What a line means for
the message (framing, duplicates, bounds) is judged for each head anew. Little is kept: heads above ``KEPT_BYTES`` or
``KEPT_LINES`` are read in full each time, and so are the first two of a connection, so that one request costs nothing.
All connections of a worker together keep at most 64 MiB."""

from native.codec.head cimport FieldMemo, Head
from native.codec.http1_head cimport HeadScan, KeptText

cdef enum:
    KEPT_BYTES = 4096
    KEPT_LINES = 32

cdef class KeptHead:
    cdef KeptText text              # what the scan compares with
    cdef Py_ssize_t room            # bytes that text.start has memory for
    cdef int line_room              # lines that text.lines has memory for
    cdef bytes target, path         # of a request; None = nothing is kept, or the target names an authority
    cdef bytes authority, host      # of a request; None = it names none
    cdef int plain                  # lines that are end-to-end fields
    cdef list fields                # these fields; None = nothing is kept, or Connection names some of them
    cdef FieldMemo memo             # of a request: what is known about this list
    # Keep a head that was accepted. ``made``: the pairs of its lines that were not kept before, in order. Copies.
    cdef int keep(self, const char* head, HeadScan* scan, list made, Head accepted) except -1
    cdef int clear(self) except -1
