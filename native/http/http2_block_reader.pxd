"""Reads the header blocks of one HTTP/2 connection: pseudo-header fields, cookies, and a cache of fields that repeat.

Rules: RFC 9113 8.2 and 8.3. Peers repeat themselves (RFC 7541 2.3): what was read once is not copied, looked up and
judged again."""

from libc.stdint cimport uint8_t
from native.codec.head_reader cimport HeadReader
from native.http.nghttp2 cimport nghttp2_rcbuf

cdef enum:
    # Fields in the cache of each connection (64: their hash has six bits), the most bytes of one of them, and how many
    # slots are tried for one.
    CACHED = 64
    CACHED_BYTES = 256
    TRIES = 4

cdef enum Block:                # what the header block that is coming in is
    UNWANTED = 0
    HEAD = 1
    TRAILERS = 2

cdef class BlockReader:
    cdef HeadReader reader          # has the fields that are no pseudo-header fields
    cdef int block                  # enum Block
    cdef Py_ssize_t decoded, decoded_limit      # bytes of the block
    cdef bytes method, scheme, path, authority  # None = has not come
    cdef int status                 # 0 = has not come
    cdef list cookies
    # The cache: the decompressor's own buffers, held so that the same address is the same text, and what was made of them
    # (the value of a pseudo-header field; what HeadReader.add_known takes of the others).
    cdef nghttp2_rcbuf* names[CACHED]
    cdef nghttp2_rcbuf* values[CACHED]
    cdef int kinds[CACHED]
    cdef bint seen[CACHED]          # the field has come since its slot was last wanted for another
    cdef list made
    cdef void begin(self)                   # the next block
    cdef void begin_fields(self)            # ... is wanted
    # 0 = taken (or the block is unwanted), 1 = the block is too large; ``reader.fault`` says what is wrong with it
    cdef int add(self, nghttp2_rcbuf* name, nghttp2_rcbuf* value, uint8_t flags) except -1
    cdef int end(self)                      # returns the Block
    cdef void forget(self)                  # empty the cache
    cdef int _find(self, const nghttp2_rcbuf* name, const nghttp2_rcbuf* value) noexcept
    cdef void _remember(self, nghttp2_rcbuf* name, nghttp2_rcbuf* value, object made, int kind)
    cdef void _take_pseudo(self, int kind, bytes value)
