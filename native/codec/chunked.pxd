"""Decodes chunked bodies (RFC 9112 7.1) strictly: finds the data in the bytes, and refuses malformed chunks.

A size is hexadecimal digits and nothing else, a line ends in CR LF, extensions are checked and dropped, and so are
trailers (RFC 9110 6.5.1). What framing may cost beside the data is bounded."""

from libc.stdint cimport int64_t

cdef enum ChunkFault:
    CHUNKS_SOUND = 0
    BAD_CHUNK_SIZE
    LARGE_CHUNK
    BAD_EXTENSION
    BAD_CHUNK_END       # no CR LF where one belongs
    HEAVY_FRAMING
    BAD_TRAILER
    FRAMING_TRAILER     # a trailer that frames the message, or ends the connection
    LARGE_TRAILERS

cdef enum:
    TRAILER_NAME = 20   # bytes of a trailer's name that are kept to know it by

cdef struct ChunkDecoder:
    int piece_count             # runs of data that the last call found
    Py_ssize_t piece_bytes      # ... and their bytes
    bint complete               # the body has ended, trailers included
    ChunkFault fault
    int state
    int digits                  # of the present size
    int64_t left                # bytes of the present chunk that are still to come
    int64_t overhead, allowed   # bytes of framing, and their limit
    int64_t data, chunks        # that have come
    int64_t overhead_limit, trailer_limit
    bint per_chunk              # the limit is for what stands between two chunks; otherwise for the message
    Py_ssize_t trailer_bytes
    int name_size
    char[TRAILER_NAME] name     # of the present trailer, lower case

# per_chunk: the bound on framing is for what stands between two pieces of data, otherwise for the message, with a tenth of
# the data and CHUNK_ALLOWANCE for each chunk on top.
cdef void begin_chunks(
    ChunkDecoder* decoder, Py_ssize_t overhead_limit, Py_ssize_t trailer_limit, bint per_chunk
) noexcept nogil
# How many bytes were used; fewer than ``size`` at the end of the body, at a fault, and after so many runs of data.
cdef Py_ssize_t decode_chunks(ChunkDecoder* decoder, const char* data, Py_ssize_t size) noexcept
# A copy of the data that the last call found, of whichever decoder; None = there is none.
cdef bytes take_pieces(ChunkDecoder* decoder, const char* data)
cdef str describe_chunks(ChunkDecoder* decoder)                    # the fault
