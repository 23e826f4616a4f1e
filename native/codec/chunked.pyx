from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.string cimport memcmp, memcpy
from native.codec.characters cimport IN_QUOTES, IN_VALUE, char_class, token_char

# A size has at most this many digits: with more it may overflow, and leading zeros are of no use.
cdef int DIGIT_LIMIT = 16
cdef int64_t LARGEST_CHUNK = 0x7FFFFFFFFFFFFFFF
# Of each chunk so much framing costs nothing: its size in hexadecimal digits and two line ends.
cdef int CHUNK_ALLOWANCE = 16

cdef enum:
    PIECES = 64         # that one call finds at most
    PLAIN_LINE = 10     # bytes of the line of a size that has up to eight digits and no extension

cdef struct Piece:      # a run of data in the bytes that were given
    Py_ssize_t at, size

# What the last call found. It is taken before anything else is decoded, so that all decoders share it.
cdef Piece[PIECES] FOUND

cdef dict SENTENCES = {
    <int>BAD_CHUNK_SIZE: "the size of a chunk is not hexadecimal digits",
    <int>LARGE_CHUNK: "the size of a chunk is too large",
    <int>BAD_EXTENSION: "a chunk extension is not a name with a value",
    <int>BAD_CHUNK_END: "a chunk or its size does not end in CR LF",
    <int>HEAVY_FRAMING: "chunk framing outweighs the body",
    <int>BAD_TRAILER: "a trailer is not a field",
    <int>FRAMING_TRAILER: "a trailer that frames the message",
    <int>LARGE_TRAILERS: "trailers without end",
}

cdef enum State:
    SIZE
    EXTENSION           # behind ";"; a name follows
    EXTENSION_NAME
    EXTENSION_EQUALS    # behind "=": a value follows
    EXTENSION_VALUE
    QUOTED
    ESCAPED
    AFTER_QUOTES
    SIZE_LF
    DATA                # nothing of the framing
    DATA_CR
    DATA_LF
    TRAILER             # the first byte of a line behind the last chunk
    TRAILER_NAME_REST
    TRAILER_VALUE
    TRAILER_LF
    END_LF


cdef void begin_chunks(
    ChunkDecoder* decoder, Py_ssize_t overhead_limit, Py_ssize_t trailer_limit, bint per_chunk
) noexcept nogil:
    decoder.piece_count = 0
    decoder.piece_bytes = 0
    decoder.complete = False
    decoder.fault = CHUNKS_SOUND
    decoder.state = SIZE
    decoder.digits = 0
    decoder.left = 0
    decoder.overhead = 0
    decoder.allowed = overhead_limit
    decoder.data = decoder.chunks = 0
    decoder.overhead_limit = overhead_limit
    decoder.trailer_limit = trailer_limit
    decoder.per_chunk = per_chunk
    decoder.trailer_bytes = 0


cdef inline int hex_value(unsigned char c) noexcept nogil:
    """Return the value of a digit in either case; -1 = no digit."""
    if c"0" <= c <= c"9":
        return c - c"0"
    c |= 32
    return c - c"a" + 10 if c"a" <= c <= c"f" else -1


cdef int end_size(ChunkDecoder* decoder) noexcept nogil:
    """Return the state behind the line of a size."""
    decoder.digits = 0
    if decoder.left == 0:
        return TRAILER
    decoder.chunks += 1
    return DATA


cdef int next_chunk(ChunkDecoder* decoder) noexcept nogil:
    """Count what the next line of a size may cost; return its state."""
    if decoder.per_chunk:
        decoder.overhead = 0
        decoder.allowed = decoder.overhead_limit
    else:
        decoder.allowed = decoder.overhead_limit + decoder.data // 10 + decoder.chunks * CHUNK_ALLOWANCE
    return SIZE


cdef int step_size(ChunkDecoder* decoder, unsigned char c) noexcept nogil:
    """Take a byte of the line of a size; return the next state, -1 = refused."""
    cdef int state = decoder.state
    cdef int digit
    if state == SIZE:
        digit = hex_value(c)
        if digit >= 0:
            decoder.digits += 1
            if decoder.digits > DIGIT_LIMIT or decoder.left > LARGEST_CHUNK >> 4:
                decoder.fault = LARGE_CHUNK
                return -1
            decoder.left = decoder.left << 4 | digit
            return SIZE
        if decoder.digits and c == c"\r":
            return SIZE_LF
        if decoder.digits and c == c";":
            return EXTENSION
        decoder.fault = BAD_CHUNK_SIZE
        return -1
    if state == SIZE_LF:
        if c == c"\n":
            return end_size(decoder)
        decoder.fault = BAD_CHUNK_END
        return -1
    if state == EXTENSION:
        if token_char[c]:
            return EXTENSION_NAME
    elif state == EXTENSION_EQUALS:
        if token_char[c]:
            return EXTENSION_VALUE
        if c == c'"':
            return QUOTED
    elif state == QUOTED:
        if char_class[c] & IN_QUOTES:
            return QUOTED
        if c == c"\\":
            return ESCAPED
        if c == c'"':
            return AFTER_QUOTES
    elif state == ESCAPED:
        if char_class[c] & IN_VALUE:
            return QUOTED
    else:
        if state != AFTER_QUOTES and token_char[c]:
            return state
        if state == EXTENSION_NAME and c == c"=":
            return EXTENSION_EQUALS
        if c == c";":
            return EXTENSION
        if c == c"\r":
            return SIZE_LF
    decoder.fault = BAD_EXTENSION
    return -1


cdef bint is_framing(ChunkDecoder* decoder) noexcept nogil:
    """Return whether the present trailer has a meaning that comes too late (RFC 9110 6.5.1)."""
    cdef const char* name = decoder.name
    cdef int size = decoder.name_size
    return (
        size == 14 and memcmp(name, b"content-length", 14) == 0
        or size == 17 and memcmp(name, b"transfer-encoding", 17) == 0
        or size == 10 and memcmp(name, b"connection", 10) == 0
        or size == 16 and memcmp(name, b"proxy-connection", 16) == 0
    )


cdef int step_trailer(ChunkDecoder* decoder, unsigned char c) noexcept nogil:
    """Take a byte behind the last chunk; return the next state, -1 = refused."""
    cdef int state = decoder.state
    decoder.trailer_bytes += 1
    if decoder.trailer_bytes > decoder.trailer_limit:
        decoder.fault = LARGE_TRAILERS
        return -1
    if state == TRAILER_VALUE:
        if char_class[c] & IN_VALUE:
            return TRAILER_VALUE
        if c == c"\r":
            return TRAILER_LF
    elif state == TRAILER_LF:
        if c == c"\n":
            return TRAILER
    elif state == END_LF:
        if c == c"\n":
            decoder.complete = True
            return END_LF
    elif state == TRAILER and c == c"\r":
        return END_LF
    else:
        if state == TRAILER:
            decoder.name_size = 0
        if token_char[c]:
            if decoder.name_size < TRAILER_NAME:
                decoder.name[decoder.name_size] = <char>token_char[c]
                decoder.name_size += 1
            return TRAILER_NAME_REST
        if c == c":" and decoder.name_size:
            if not is_framing(decoder):
                return TRAILER_VALUE
            decoder.fault = FRAMING_TRAILER
            return -1
    decoder.fault = BAD_TRAILER
    return -1


cdef int step(ChunkDecoder* decoder, unsigned char c) noexcept nogil:
    """Take a byte of the framing; return the next state, -1 = refused."""
    cdef int state = decoder.state
    if state >= TRAILER:
        return step_trailer(decoder, c)
    decoder.overhead += 1
    if decoder.overhead > decoder.allowed:
        decoder.fault = HEAVY_FRAMING
        return -1
    if state < DATA:
        return step_size(decoder, c)
    if state == DATA_CR and c == c"\r":
        return DATA_LF
    if state == DATA_LF and c == c"\n":
        return next_chunk(decoder)
    decoder.fault = BAD_CHUNK_END
    return -1


cdef Py_ssize_t take_plain(ChunkDecoder* decoder, const char* data, Py_ssize_t size) noexcept nogil:
    """Take the line end behind a chunk, or a size of up to eight digits without an extension, as nearly all are.

    Returns the bytes that were taken; 0 = these are not plain, not all here, or may cost too much: ``step`` takes them.
    """
    cdef Py_ssize_t at = 0
    cdef int64_t left = 0
    cdef int digit
    if size < 2 or decoder.overhead + PLAIN_LINE > decoder.allowed:
        return 0
    if decoder.state == DATA_CR:
        if data[0] != c"\r" or data[1] != c"\n":
            return 0
        decoder.overhead += 2
        decoder.state = next_chunk(decoder)
        return 2
    if decoder.state != SIZE or decoder.digits:
        return 0
    size = min(size - 1, <Py_ssize_t>(PLAIN_LINE - 1))
    while at < size:
        digit = hex_value(<unsigned char>data[at])
        if digit < 0:
            break
        left = left << 4 | digit
        at += 1
    if left == 0 or at == size or data[at] != c"\r" or data[at + 1] != c"\n":
        return 0
    decoder.overhead += at + 2
    decoder.left = left
    decoder.state = end_size(decoder)
    return at + 2


cdef Py_ssize_t decode_chunks(ChunkDecoder* decoder, const char* data, Py_ssize_t size) noexcept:
    cdef Py_ssize_t at = 0
    cdef Py_ssize_t plain
    cdef Py_ssize_t run
    cdef int state
    decoder.piece_count = 0
    decoder.piece_bytes = 0
    while at < size:
        if decoder.state == DATA:
            if decoder.piece_count == PIECES:
                return at
            run = <Py_ssize_t>min(decoder.left, <int64_t>(size - at))
            FOUND[decoder.piece_count].at = at
            FOUND[decoder.piece_count].size = run
            decoder.piece_count += 1
            decoder.piece_bytes += run
            decoder.data += run
            decoder.left -= run
            at += run
            if decoder.left == 0:
                decoder.state = DATA_CR
            continue
        plain = take_plain(decoder, data + at, size - at)
        if plain:
            at += plain
            continue
        state = step(decoder, <unsigned char>data[at])
        if state < 0:
            return at
        decoder.state = state
        at += 1
        if decoder.complete:
            return at
    return at


cdef bytes take_pieces(ChunkDecoder* decoder, const char* data):
    cdef bytes joined
    cdef char* out
    cdef int i
    if decoder.piece_count == 0:
        return None
    if decoder.piece_count == 1:
        return PyBytes_FromStringAndSize(data + FOUND[0].at, decoder.piece_bytes)
    joined = PyBytes_FromStringAndSize(NULL, decoder.piece_bytes)
    out = PyBytes_AS_STRING(joined)
    for i in range(decoder.piece_count):
        memcpy(out, data + FOUND[i].at, FOUND[i].size)
        out += FOUND[i].size
    return joined


cdef str describe_chunks(ChunkDecoder* decoder):
    return SENTENCES[<int>decoder.fault]


def decode_body(list pieces not None, Py_ssize_t overhead_limit=65536, Py_ssize_t trailer_limit=65536, bint per_chunk=False):
    """Decode a chunked body that comes in these pieces.

    Returns:
        (data, whether the body is complete, bytes that were used, the fault or None).
    """
    cdef ChunkDecoder decoder
    cdef bytes piece
    cdef Py_ssize_t at
    cdef Py_ssize_t taken
    cdef Py_ssize_t used = 0
    cdef const char* start
    cdef list found = []
    begin_chunks(&decoder, overhead_limit, trailer_limit, per_chunk)
    for item in pieces:
        piece = <bytes?>item
        at = 0
        while at < PyBytes_GET_SIZE(piece) and not decoder.complete and decoder.fault == CHUNKS_SOUND:
            start = PyBytes_AS_STRING(piece) + at
            taken = decode_chunks(&decoder, start, PyBytes_GET_SIZE(piece) - at)
            at += taken
            used += taken
            if decoder.piece_count:
                found.append(take_pieces(&decoder, start))
    return (
        b"".join(found), decoder.complete, used, None if decoder.fault == CHUNKS_SOUND else describe_chunks(&decoder)
    )
