import zlib

from cpython.bytes cimport PyBytes_GET_SIZE

cdef enum:
    FREE_SIZE = 1 << 20         # of output, before the ratio counts
    MOST_RATIO = 100
    PIECE = 1 << 18             # of output, decoded at once
    FREE_MEMBERS = 64           # of a body, before their number counts
    LEAST_GIVEN = 64            # bytes that a member gives, on average
    SLICE = 64                  # of input, for engines that take no limit: what it decodes to is bounded by its size

cdef enum Kind:
    GZIP = 0
    ZSTD = 1
    BR = 2

CODINGS = b"gzip, deflate, zstd, br"


cdef object _new_gzip():
    return zlib.decompressobj(47)       # gzip or zlib, as the header says


# The libraries of zstd and br are imported when a body needs them: few workers ever do.
cdef object _maker(int kind):
    """Return what makes the engine of each member of a body."""
    if kind == GZIP:
        return _new_gzip
    if kind == ZSTD:
        import zstandard
        return zstandard.ZstdDecompressor(max_window_size=1 << 23).decompressobj
    import brotli
    return brotli.Decompressor


cdef Decoder new_decoder(bytes coding):
    cdef Decoder decoder = Decoder.__new__(Decoder)
    cdef bytes name = coding.strip().lower()
    decoder.bounded = True
    if name == b"gzip" or name == b"x-gzip" or name == b"deflate":
        decoder.kind = GZIP
    elif name == b"zstd":
        decoder.kind = ZSTD
        decoder.bounded = False
    elif name == b"br":
        decoder.kind = BR
    else:
        return None
    return decoder


cdef class Decoder:
    def __repr__(self):
        return f"<Decoder kind={self.kind} {self.taken} -> {self.given}>"

    cdef bint _begin_member(self) except -1:
        """Begin a member (gzip) or frame (zstd). Return False if there are too many: an empty one has only a few bytes."""
        if self.fresh is None:
            self.fresh = _maker(self.kind)
        self.members += 1
        if self.members > FREE_MEMBERS + self.given // LEAST_GIVEN:
            return False
        self.engine = self.fresh()
        return True

    cdef bint _too_much(self, Py_ssize_t limit) noexcept:
        return self.given > limit or (self.given > FREE_SIZE and self.given > MOST_RATIO * self.taken)

    cdef bytes feed(self, bytes data, Py_ssize_t limit):
        self.taken += PyBytes_GET_SIZE(data)
        try:
            return self._feed_bounded(data, limit) if self.bounded else self._feed_sliced(data, limit)
        except Exception:       # zlib.error, zstandard.ZstdError, brotli.error: the body is broken
            return None

    cdef bytes _feed_bounded(self, bytes data, Py_ssize_t limit):
        cdef list parts = []
        cdef bytes part
        while data or self.kind == BR:
            # RFC 1952 2.2: a body in gzip may have several members
            if (self.engine is None or (self.kind == GZIP and self.engine.eof)) and not self._begin_member():
                return None
            if self.kind == GZIP:
                part = self.engine.decompress(data, PIECE)
                data = self.engine.unused_data if self.engine.eof else self.engine.unconsumed_tail
            else:
                part = self.engine.process(data, output_buffer_limit=PIECE)
                data = b""
            parts.append(part)
            self.given += PyBytes_GET_SIZE(part)
            if self._too_much(limit):
                return None
            if self.kind == BR and not part:
                break
        return b"".join(parts)

    cdef bytes _feed_sliced(self, bytes data, Py_ssize_t limit):
        cdef list parts = []
        cdef bytes part
        cdef bytes rest
        cdef Py_ssize_t at
        for at in range(0, PyBytes_GET_SIZE(data), SLICE):
            rest = data[at:at + SLICE]
            while rest:
                # RFC 8878 3: a body may have several frames
                if (self.engine is None or self.engine.eof) and not self._begin_member():
                    return None
                part = self.engine.decompress(rest)
                rest = self.engine.unused_data if self.engine.eof else b""
                parts.append(part)
                self.given += PyBytes_GET_SIZE(part)
                if self._too_much(limit):
                    return None
        return b"".join(parts)

    cdef bint is_complete(self):
        if self.engine is None:
            return True         # an empty body
        if self.kind == BR:
            return self.engine.is_finished()
        return self.engine.eof


def decode(bytes coding not None, list pieces not None, Py_ssize_t limit=1 << 30):
    """Decode a body for tests; None = it is broken, expands too much, or has not ended. ValueError: unknown coding."""
    cdef Decoder decoder = new_decoder(coding)
    if decoder is None:
        raise ValueError(f"there is no decoder for {coding!r}")
    parts = []
    for piece in pieces:
        part = decoder.feed(piece, limit)
        if part is None:
            return None
        parts.append(part)
    return b"".join(parts) if decoder.is_complete() else None
