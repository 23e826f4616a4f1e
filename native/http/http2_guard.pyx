cimport cython
from libc.string cimport memcpy

# A peer may send many frames that carry no message for a moment, but not for long. Real clients send a few of them per
# message (mostly window updates), and every message earns credit for more. grpc-go measures bandwidth with a ping per
# round trip while data flows, so pings alone are no sign of abuse.
cdef int BUDGET = 1000
cdef int REFILL_PER_S = 100
cdef int EARNED = 4
cdef int SETTINGS_COST = 10
# RFC 9113 4.3: a block is one HEADERS frame and its CONTINUATIONs. No other frame may come in between, so the block
# must end soon. 64 KiB of fields are five frames of 16 KiB.
cdef int BLOCK_FRAMES = 16
# Too many resets within the window: more than half of at least RESET_STREAMS streams, or RESET_FAULTS resets that the
# peer's errors caused. Clients that hedge or give up at their deadline stay far below a half.
cdef uint64_t RESET_WINDOW_NS = 30_000_000_000
cdef int RESET_STREAMS = 100
cdef int RESET_FAULTS = 250
cdef uint64_t SECOND = 1_000_000_000

cdef enum Frame:
    DATA = 0
    HEADERS = 1
    PRIORITY = 2
    RST_STREAM = 3
    SETTINGS = 4
    PUSH_PROMISE = 5
    CONTINUATION = 9

cdef uint32_t ENHANCE_YOUR_CALM = 11
cdef int END_STREAM = 1
cdef int ACK = 1
cdef int END_HEADERS = 4
cdef int PADDED = 8
cdef uint32_t PREFACE_SIZE = 24


@cython.final
cdef class Guard:
    """Counts the frames of one connection.

    Args:
        now_ns: when the connection began.
        block_limit: bytes of one header block, compressed.
        preface: the client's 24 octets come first.
    """

    def __init__(self, uint64_t now_ns, Py_ssize_t block_limit, bint preface):
        self.skip = PREFACE_SIZE if preface else 0
        self.fault_code = ENHANCE_YOUR_CALM
        self.order = StreamOrder() if preface else None
        self.budget = BUDGET
        self.refilled_ns = now_ns
        self.window_ns = now_ns
        self.block_limit = block_limit

    cdef Py_ssize_t feed(self, const uint8_t* data, Py_ssize_t size, uint64_t now_ns):
        """Count these bytes; return how many of them to process: all, or those before a frame that exceeds a limit."""
        cdef Py_ssize_t at = 0
        cdef Py_ssize_t start
        cdef Py_ssize_t n
        if self.fault is not None:
            return 0
        self._refill(now_ns)
        while at < size:
            if self.skip:
                n = min(<Py_ssize_t>self.skip, size - at)
                self.skip -= <uint32_t>n
                at += n
                continue
            if self.left:
                n = min(<Py_ssize_t>self.left, size - at)
                self.left -= <uint32_t>n
                at += n
                if self.last and not self.left:
                    self.last = False
                    self.block_since_ns = 0
                continue
            start = at
            n = min(<Py_ssize_t>(9 - self.have), size - at)
            memcpy(self.head + self.have, data + at, n)
            self.have += <int>n
            at += n
            if self.have < 9:
                break
            self.have = 0
            self.left = (<uint32_t>self.head[0] << 16) | (<uint32_t>self.head[1] << 8) | self.head[2]
            if self._judge(now_ns) < 0:
                return start
        return size

    cdef int _judge(self, uint64_t now_ns):
        """Count the frame whose header is complete; return -1 if the frame exceeds a limit."""
        cdef int kind = self.head[3]
        cdef int flags = self.head[4]
        cdef uint32_t code
        if self.order is not None and kind <= RST_STREAM:
            code = self.order.judge(kind, flags, self._stream())
            if code:
                self.fault_code = code
                self.fault = f"a frame of type {kind} for stream {self._stream()}, which may not come there"
                return -1
        if kind == DATA:
            if flags & END_STREAM:
                return 0
            # a small frame may consist of padding only
            if self.left == 0 or (flags & PADDED and self.left <= 256):
                return self._spend(1, "empty DATA frames without end")
            self.earn(1)
            return 0
        if kind == HEADERS or kind == PUSH_PROMISE:
            self.earn(EARNED)
            self.block = self.left
            self.frames = 1
            self.block_since_ns = now_ns
            self._close_block(flags)
        elif kind == CONTINUATION:
            self.block += self.left
            self.frames += 1
            if self.frames > BLOCK_FRAMES:
                self.fault = f"a header block in more than {BLOCK_FRAMES} frames"
                return -1
            self._close_block(flags)
        elif kind == SETTINGS:
            return self._spend(1 if flags & ACK else SETTINGS_COST, "SETTINGS frames without end")
        elif kind != RST_STREAM:
            return self._spend(1, "frames that carry no message, without end")
        if self.block > self.block_limit:
            self.fault = f"a header block larger than {self.block_limit} bytes"
            return -1
        return 0

    cdef uint32_t _stream(self) noexcept:
        """Return the stream of the current frame; its highest bit is reserved."""
        return (
            (<uint32_t>(self.head[5] & 0x7F) << 24) | (<uint32_t>self.head[6] << 16) | (<uint32_t>self.head[7] << 8)
            | self.head[8]
        )

    cdef void _close_block(self, int flags) noexcept:
        """End the block when the last byte of its last frame has come; until then the header timeout applies."""
        self.last = flags & END_HEADERS and self.left
        if flags & END_HEADERS and not self.left:
            self.block_since_ns = 0

    cdef int _spend(self, int cost, str what):
        self.budget -= cost
        if self.budget < 0:
            self.fault = what
            return -1
        return 0

    cdef void _refill(self, uint64_t now_ns) noexcept:
        cdef uint64_t gained
        if now_ns <= self.refilled_ns:
            return
        gained = (now_ns - self.refilled_ns) * <uint64_t>REFILL_PER_S // SECOND
        if gained >= <uint64_t>BUDGET:
            self.budget = BUDGET
            self.refilled_ns = now_ns
        elif gained:
            self.refilled_ns += gained * SECOND // <uint64_t>REFILL_PER_S
            self.earn(<int>gained)

    cdef void earn(self, int amount) noexcept:
        """Add credit: a frame of a message was received or sent."""
        self.budget = min(self.budget + amount, BUDGET)

    cdef void opened(self, uint64_t now_ns) noexcept:
        """Count an opened stream."""
        self._turn(now_ns)
        self.streams += 1

    cdef bint reset(self, bint fault, uint64_t now_ns):
        """Count a stream that the peer reset, or that we reset for an error of the peer's; return True if too many."""
        self._turn(now_ns)
        self.resets += 1
        if fault:
            self.faults += 1
        if self.fault is None:
            if self.faults >= RESET_FAULTS:
                self.fault = f"{RESET_FAULTS} faulty streams within {RESET_WINDOW_NS // SECOND} s"
            elif self.streams >= RESET_STREAMS and self.resets * 2 > self.streams:
                self.fault = f"more than half of {self.streams} streams reset"
        return self.fault is not None

    cdef void _turn(self, uint64_t now_ns) noexcept:
        if now_ns - self.window_ns < RESET_WINDOW_NS:
            return
        self.window_ns = now_ns
        self.streams = 0
        self.resets = 0
        self.faults = 0

    def judge(self, bytes data, uint64_t now_ns):
        """Count these bytes; return how many of them to process. ``fault`` says why if not all."""
        return self.feed(data, len(data), now_ns)

    def count_stream(self, uint64_t now_ns):
        """Count a stream that was opened."""
        self.opened(now_ns)

    def count_reset(self, bint fault, uint64_t now_ns):
        """Count a stream that was reset; return True if there are too many resets."""
        return self.reset(fault, now_ns)
