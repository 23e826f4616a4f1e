"""Reads the header blocks of one HTTP/2 connection: pseudo-header fields, cookies, a cache of repeated fields.

Rules: RFC 9113 8.2 and 8.3. Peers send the same fields again and again (RFC 7541 2.3). A field in the cache is not
copied, looked up and checked again."""

from libc.stdint cimport uint8_t
from native.codec.head_reader cimport HeadReader
from native.http.nghttp2 cimport nghttp2_rcbuf

cdef enum:
    # Fields in the cache of each connection (64, because the hash has six bits), the largest size of a cached field,
    # and the number of slots that are tried for a field.
    CACHED = 64
    CACHED_BYTES = 256
    TRIES = 4

cdef enum Block:                # the kind of the header block that is being received
    UNWANTED = 0
    HEAD = 1
    TRAILERS = 2

cdef struct CachedField:
    nghttp2_rcbuf* name             # NULL = the slot is free
    nghttp2_rcbuf* value
    int kind
    bint is_recent                  # the field was received after its slot was last considered for another field
    Py_ssize_t size                 # of name and value

cdef class BlockReader:
    cdef HeadReader reader          # receives the fields that are not pseudo-header fields
    cdef int block                  # enum Block
    cdef Py_ssize_t decoded, decoded_limit      # bytes of the block
    cdef bytes method, scheme, path, authority  # None = not received
    cdef int status                 # 0 = not received
    cdef list cookies
    # The cache: references to the decompressor's own buffers, so that the same address means the same text, and the
    # object in ``made`` of each (the value of a pseudo-header field, or an argument of HeadReader.add_known).
    cdef CachedField cache[CACHED]
    cdef list made
    cdef int begin(self, int block) except -1       # start a Block
    # 0 = taken (or the block is unwanted), 1 = the block is too large; ``reader.fault`` describes a malformed field
    cdef int add(self, nghttp2_rcbuf* name, nghttp2_rcbuf* value, uint8_t flags) except -1
    cdef int end(self) except -1            # returns the Block
    cdef void forget(self) noexcept         # empty the cache
    cdef int _add_new(self, nghttp2_rcbuf* name, nghttp2_rcbuf* value, uint8_t flags) except -1
    cdef int _find(self, const nghttp2_rcbuf* name, const nghttp2_rcbuf* value) noexcept
    cdef int _remember(self, nghttp2_rcbuf* name, nghttp2_rcbuf* value, object made, int kind) except -1
    cdef int _take_pseudo(self, int kind, bytes value) except -1
