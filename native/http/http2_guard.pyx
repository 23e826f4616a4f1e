cimport cython
from libc.stdint cimport int64_t
from libc.string cimport memcpy
from native.codec.field_rules cimport field_value
from native.codec.grpc cimport timeout_ns
from native.codec.numbers cimport parse_seconds

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
# Resets spend a budget of their own, which time and complete answers refill: a hundred resets that cost an upstream work
# may come at once, and then 50 each second and one more for each complete answer. Those that cost edge no more than an
# answer of its own spend a tenth of that.
cdef int RESET_BUDGET = 1000
cdef int RESET_MOST = 10_000
cdef int RESET_REFILL_PER_S = 500
# Too many resets that the peer's errors caused, within the window.
cdef uint64_t RESET_WINDOW_NS = 30_000_000_000
cdef int RESET_FAULTS = 250
# What a client may still send that opens streams, or is an error, after it was told to open none. It hears of that a
# round trip later.
cdef int LATE_FRAMES = 1000
cdef uint64_t SECOND = 1_000_000_000
# A stream that lived at least this long and reached its own deadline is no abuse: MAX_STREAMS limits the rate. Its reset
# may seem early by this much and by a tenth of its deadline, because the request and the reset travel separately.
cdef uint64_t LIVED_NS = 1_000_000
cdef uint64_t TRAVEL_NS = 5_000_000

cdef enum Frame:
    DATA = 0
    HEADERS = 1
    PRIORITY = 2
    RST_STREAM = 3
    SETTINGS = 4
    PUSH_PROMISE = 5
    CONTINUATION = 9

cdef uint32_t PROTOCOL_ERROR = 1
cdef uint32_t ENHANCE_YOUR_CALM = 11
cdef int END_STREAM = 1
cdef int ACK = 1
cdef int END_HEADERS = 4
cdef int PADDED = 8
cdef uint32_t PREFACE_SIZE = 24


cdef bint has_passed_deadline(Head head, uint64_t lived_ns):
    cdef bytes value
    cdef int64_t timeout
    if head is None or lived_ns < LIVED_NS:
        return False
    value = field_value(head.fields, b"grpc-timeout")
    if value is not None:
        timeout = timeout_ns(value)
    else:
        value = field_value(head.fields, b"x-request-timeout")
        timeout = -1 if value is None else parse_seconds(value)
    return timeout >= 0 and lived_ns + TRAVEL_NS >= <uint64_t>(timeout - timeout // 10)


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
        self.reset_budget = RESET_BUDGET
        self.resets_refilled_ns = now_ns
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
                if self.number_left and self._depends_on_itself(data + at, n):
                    return at
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
        self.number_left = 4 if kind == PRIORITY and self.left == 5 and self.order is not None else 0
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
            if self.spent is not None and self._late():
                return -1
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

    cdef bint _depends_on_itself(self, const uint8_t* data, Py_ssize_t size):
        """Read on in the number of the stream that a PRIORITY depends on; return True if it is its own (RFC 7540 5.3.1).

        The session reads no priorities. A stream error would reset a stream that may be idle, so it is the connection's."""
        cdef Py_ssize_t i
        for i in range(min(size, <Py_ssize_t>self.number_left)):
            self.number = self.number << 8 | data[i]
            self.number_left -= 1
        if self.number_left or self.number & 0x7FFFFFFF != self._stream():
            return False
        self.fault_code = PROTOCOL_ERROR
        self.fault = f"stream {self._stream()}, which depends on itself"
        return True

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

    cdef void completed(self) noexcept:
        self.reset_budget = min(self.reset_budget + <int>RESET_COST, RESET_MOST)

    cdef bint reset(self, int cost, uint64_t now_ns):
        cdef uint64_t gained
        if self.spent is not None:
            return False
        if now_ns > self.resets_refilled_ns:
            gained = (now_ns - self.resets_refilled_ns) * <uint64_t>RESET_REFILL_PER_S // SECOND
            if self.reset_budget + <int64_t>gained >= RESET_BUDGET:
                self.reset_budget = max(self.reset_budget, RESET_BUDGET)    # answers alone fill it further
                self.resets_refilled_ns = now_ns
            else:
                self.reset_budget += <int>gained
                self.resets_refilled_ns += gained * SECOND // <uint64_t>RESET_REFILL_PER_S
        self.reset_budget -= cost
        if self.reset_budget < 0:
            self.spent = "more streams reset than answered"
        return self.spent is not None

    cdef bint provoked(self, int cost, uint64_t now_ns):
        if self.spent is not None:
            return self._late()
        self._turn(now_ns)
        self.faults += 1
        if self.faults >= RESET_FAULTS:
            self.spent = f"{RESET_FAULTS} faulty streams within {RESET_WINDOW_NS // SECOND} s"
            if self.order is None:
                self.fault = self.spent     # a server has no streams of its own that could finish
            return True
        return self.order is not None and self.reset(cost, now_ns)

    cdef bint _late(self):
        """Count what comes after the peer was told to open no more streams; return True if it is too much."""
        self.late += 1
        if self.late > LATE_FRAMES and self.fault is None:
            self.fault = self.spent
        return self.fault is not None

    cdef void _turn(self, uint64_t now_ns) noexcept:
        if now_ns - self.window_ns < RESET_WINDOW_NS:
            return
        self.window_ns = now_ns
        self.faults = 0

    def judge(self, bytes data, uint64_t now_ns):
        """Count these bytes; return how many of them to process. ``fault`` says why if not all."""
        return self.feed(data, len(data), now_ns)

    def count_answer(self):
        """Count an answer that was sent to its end."""
        self.completed()

    def count_reset(self, int cost, uint64_t now_ns):
        """Count a stream that the peer reset; return True if there are too many resets."""
        return self.reset(cost, now_ns)

    def count_provoked(self, int cost, uint64_t now_ns):
        """Count a stream that was reset for an error of the peer; return True if there are too many."""
        return self.provoked(cost, now_ns)
