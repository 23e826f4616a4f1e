from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.unicode cimport PyUnicode_DecodeASCII

# A record is about a kilobyte: what a worker holds for a control that is away stays under a few megabytes.
cdef int LIMIT = 4096
cdef uint64_t SECOND_NS = 1_000_000_000
cdef const char* DIGITS = b"0123456789abcdef"
# version, trace id, span id, flags with three hyphens between
cdef enum:
    LENGTH = 55


cdef inline int digit(char c) noexcept nogil:
    """A lower-case hexadecimal digit; anything else is -1 (3.2.2: upper case is malformed)."""
    if c"0" <= c <= c"9":
        return c - c"0"
    if c"a" <= c <= c"f":
        return c - c"a" + 10
    return -1


cdef bint read_hex(const char* p, int size, uint64_t* out) noexcept nogil:
    cdef uint64_t value = 0
    cdef int i
    cdef int d
    for i in range(size):
        d = digit(p[i])
        if d < 0:
            return False
        value = value << 4 | <uint64_t>d
    out[0] = value
    return True


cdef inline void write_hex(char* p, int size, uint64_t value) noexcept nogil:
    while size:
        size -= 1
        p[size] = DIGITS[value & 15]
        value >>= 4


cdef bint read_traceparent(const char* value, Py_ssize_t size, Trace* out) noexcept nogil:
    cdef uint64_t version = 0
    cdef uint64_t flags = 0
    if size < LENGTH or value[2] != c"-" or value[35] != c"-" or value[52] != c"-":
        return False
    if not read_hex(value, 2, &version) or version == 255:
        return False
    # a later version may say more, behind another hyphen (4.3)
    if size > LENGTH and (version == 0 or value[LENGTH] != c"-"):
        return False
    if not (
        read_hex(value + 3, 16, &out.high) and read_hex(value + 19, 16, &out.low)
        and read_hex(value + 36, 16, &out.parent) and read_hex(value + 53, 2, &flags)
    ):
        return False
    if (out.high == 0 and out.low == 0) or out.parent == 0:
        return False
    out.flags = <unsigned int>flags
    return True


cdef bytes write_traceparent(const Trace* trace, uint64_t span):
    cdef bytes written = PyBytes_FromStringAndSize(NULL, LENGTH)
    cdef char* p = PyBytes_AS_STRING(written)
    p[0] = c"0"
    p[1] = c"0"
    p[2] = c"-"
    write_hex(p + 3, 16, trace.high)
    write_hex(p + 19, 16, trace.low)
    p[35] = c"-"
    write_hex(p + 36, 16, span)
    p[52] = c"-"
    write_hex(p + 53, 2, trace.flags)
    return written


cdef str trace_hex(uint64_t high, uint64_t low):
    cdef char[32] text
    write_hex(text, 16, high)
    write_hex(text + 16, 16, low)
    return PyUnicode_DecodeASCII(text, 32, NULL)


cdef str span_hex(uint64_t span):
    cdef char[16] text
    if span == 0:
        return ""
    write_hex(text, 16, span)
    return PyUnicode_DecodeASCII(text, 16, NULL)


cdef inline bint spend(Second* second, uint64_t now_ns) noexcept nogil:
    """One more in this second?"""
    if now_ns - second.at_ns >= SECOND_NS:
        second.at_ns = now_ns
        second.used = 0
    if second.used >= second.most:
        return False
    second.used += 1
    return True


cdef class Recorder:
    """Decides what is recorded and holds what was, until somebody takes it. One per worker.

    Args:
        tracing: an edge.terms.snapshot.Tracing.
    """

    def __init__(self, tracing):
        self.pending = []
        self.limit = LIMIT
        self.configure(tracing)

    def configure(self, tracing):
        """Decide by these rules from now on; what was used up in this second stays so."""
        cdef int kind
        cdef double share = tracing.sample
        self.every = share >= 1.0
        self.bound = 0 if self.every else <uint64_t>(share * 18446744073709551616.0)
        self.restart = tracing.restart
        self.slow_ns = tracing.slow_ns
        self.asked.most = tracing.asked_per_second
        for kind in range(5):
            self.spare[kind].most = tracing.errors_per_second

    cdef bint begin(self, Trace* trace, bytes caller, bint trusted, uint64_t now_ns, const uint64_t* chance) noexcept:
        cdef bint known = caller is not None and read_traceparent(
            PyBytes_AS_STRING(caller), PyBytes_GET_SIZE(caller), trace
        )
        cdef bint wished = known and trace.flags & 1
        if known and self.restart and not trusted:
            trace.link_high = trace.high
            trace.link_low = trace.low
            trace.link_span = trace.parent
            known = False
        if not known:
            trace.high = chance[0]
            trace.low = chance[1] if chance[1] else 1
            trace.parent = 0
            trace.flags = 2
        trace.span = chance[2] if chance[2] else 1
        trace.sampled = self.every or trace.low < self.bound
        if trusted:
            if known:
                trace.sampled = wished
        elif (known and trace.sampled) or wished:
            # flag and id are the caller's choice: neither may cost more than the budget for callers
            if not self.every:
                trace.sampled = spend(&self.asked, now_ns)
        trace.flags = (trace.flags & 2) | trace.sampled
        return known

    cdef int keep(self, const Trace* trace, uint64_t now_ns, bint failed, bint slow, bint retried) noexcept:
        cdef int why
        if trace.sampled:
            return <int>SAMPLED
        if not (failed or slow or retried):
            return <int>NOT_KEPT
        why = <int>FAILED if failed else <int>SLOW if slow else <int>RETRIED
        return why if spend(&self.spare[why], now_ns) else <int>NOT_KEPT

    cdef bint add(self, tuple record):
        if len(self.pending) >= self.limit:
            self.dropped += 1
            return False
        self.pending.append(record)
        return True

    cdef list take(self, Py_ssize_t most):
        cdef list taken
        if not self.pending:
            return None
        if len(self.pending) <= most:
            taken = self.pending
            self.pending = []
        else:
            taken = self.pending[:most]
            del self.pending[:most]
        return taken

    def decide(self, bytes caller, bint trusted, uint64_t now_ns, tuple chance):
        """Begin a trace as an exchange does: (trace id, own span, parent, link, flags, goes on).

        Args:
            caller: the value of a traceparent field; None: there is none.
            trusted: it comes from a peer.
            now_ns: monotonic time.
            chance: three words of 64 bits.
        """
        cdef Trace trace = read_nothing()
        cdef uint64_t[3] words
        words[0], words[1], words[2] = chance
        cdef bint known = self.begin(&trace, caller, trusted, now_ns, words)
        link = f"{trace_hex(trace.link_high, trace.link_low)}-{span_hex(trace.link_span)}" if trace.link_span else ""
        return trace_hex(trace.high, trace.low), span_hex(trace.span), span_hex(trace.parent), link, trace.flags, known

    def judge(self, bint sampled, uint64_t now_ns, bint failed, bint slow, bint retried):
        """Why an exchange that is over would be recorded: a Kept."""
        cdef Trace trace = read_nothing()
        trace.sampled = sampled
        return Kept(self.keep(&trace, now_ns, failed, slow, retried))


cdef Trace read_nothing() noexcept:
    cdef Trace trace
    trace.high = trace.low = trace.span = trace.parent = 0
    trace.link_high = trace.link_low = trace.link_span = 0
    trace.flags = 0
    trace.sampled = False
    return trace


def parse_traceparent(bytes value):
    """Return (trace id, parent id, flags) of a traceparent's value, None when it is malformed (W3C, section 3.2)."""
    cdef Trace trace = read_nothing()
    if not read_traceparent(PyBytes_AS_STRING(value), PyBytes_GET_SIZE(value), &trace):
        return None
    return trace_hex(trace.high, trace.low), span_hex(trace.parent), trace.flags


def format_traceparent(uint64_t high, uint64_t low, uint64_t span, unsigned int flags):
    """Return a traceparent's value, version 00."""
    cdef Trace trace = read_nothing()
    trace.high = high
    trace.low = low
    trace.flags = flags
    return write_traceparent(&trace, span)
