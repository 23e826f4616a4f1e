"""Collects the fields of one message head and judges each of them, for requests and responses of HTTP/1.1 and HTTP/2.

``codec.request_head`` and ``codec.response_head`` make the Head. What is forwarded is written anew from the fields kept
here, never relayed raw. Rules: RFC 9110 5.5, 6.5.1, 7.6.1, 8.6 and 10.1.1, RFC 9112 5 and 6, RFC 9113 8.2."""

from native.codec.head cimport Head
from native.codec.http1_head cimport FieldSlice, HeadScan, HeadScanner
from native.codec.kept_head cimport KeptHead

cdef class HeadReader:
    """Collects the fields of one head. The head is handed over once it is made; ``begin`` starts the next."""
    cdef Head head
    cdef Py_ssize_t size, size_limit
    cdef int count, count_limit
    cdef int length_fields, host_fields, coding_fields      # Content-Length, Host and Transfer-Encoding seen
    cdef bint chunked               # the transfer coding is chunked and nothing else
    cdef bint chunked_last          # another coding, followed by chunked
    cdef bint option_close, option_keep_alive, option_upgrade       # in Connection
    cdef bytes announced            # Trailer, which only HTTP/2 keeps: trailers of HTTP/1.1 messages are dropped
    cdef list nominated             # names listed in Connection; None = none
    cdef bint untouched             # True = only the list was used, so the next message may reuse the head
    cdef tuple last_field           # the last field added, where add_known() may take it; None = it may not
    cdef int last_kind
    cdef KeptHead kept              # the head before on a connection of HTTP/1.1; None = none is kept
    cdef list made                  # pairs of the lines that are not those of the head before; None = all are
    cdef readonly str fault         # why the head was refused; None = sound so far
    cdef readonly int fault_status
    # Forget all fields, and have room for so many; 0 = they come as slices. Making an HTTP/1.1 head does so itself, HTTP/2
    # begins each block.
    cdef int begin(self, int room) except -1
    cdef int refuse(self, int status, str reason) except? -1    # -1; the first reason stays
    cdef int add(self, bytes name, bytes value) except? -1      # 0 sound, -1 refused
    # A field that add() found sound before; ``size`` is that of name and value.
    cdef int add_known(self, tuple pair, int kind, Py_ssize_t size) except? -1
    # All fields of a head that was scanned, and is within the bounds; where one is refused, ``fault`` says why.
    cdef int add_slices(self, const char* head, HeadScan* scan) except -1
    cdef int add_kept(self) except -1       # ... where the head is the one before
    # A head that was scanned, added and accepted is the head before of the next one; without effect where none is kept.
    cdef int keep(self, const char* head, HeadScan* scan, Head accepted) except -1
    cdef tuple make_pair(self, const char* head, FieldSlice* field)
    cdef int add_special(self, bytes name, bytes value, int kind) except? -1
    cdef int count_field(self, Py_ssize_t size) except? -1
    cdef int read_connection(self, bytes value, bint close_only) except -1
    cdef int take_option(self, const char* p, Py_ssize_t size, bint close_only) except -1
    cdef bint has_http1_fields(self) noexcept                   # fields that only an HTTP/1.1 connection may have
    cdef bint keeps_alive(self, int version) noexcept
    cdef int drop_nominated(self) except -1
    cdef int keep_announced(self) except -1                     # make Trailer one of the fields
    cdef list take_trailers(self)                           # None = there are none

cdef keep_heads(HeadReader reader, HeadScanner scanner)        # from now on, for the heads of this connection
