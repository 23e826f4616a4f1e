from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from native.codec.trace_context cimport Trace, blank_trace, read_traceparent, span_hex, trace_hex

# A record takes about a kilobyte, so a worker holds at most a few megabytes while control is away.
cdef int LIMIT = 4096
cdef uint64_t SECOND_NS = 1_000_000_000


cdef inline bint spend(Second* second, uint64_t now_ns) noexcept nogil:
    """Count a record in this second; return False if the second's limit is reached."""
    if now_ns - second.at_ns >= SECOND_NS:
        second.at_ns = now_ns
        second.used = 0
    if second.used >= second.most:
        return False
    second.used += 1
    return True


cdef class Recorder:
    """Decides which exchanges are recorded, and holds the records until take() removes them. One per worker.

    Args:
        tracing: an edge.terms.snapshot.Tracing.
    """

    def __init__(self, tracing):
        self.pending = []
        self.limit = LIMIT
        self.configure(tracing)

    def configure(self, tracing):
        """Use these rules from now on. What the current second has used stays counted."""
        cdef int kind
        cdef double share = tracing.sample
        self.every = share >= 1.0
        self.bound = 0 if self.every else <uint64_t>(share * 18446744073709551616.0)
        self.restart = tracing.propagation == "restart"
        self.slow_ns = tracing.slow_ns
        self.logs_all = tracing.every_request
        self.asked.most = tracing.forced_samples_per_second
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
            # callers choose flag and id, so both are limited by forced_samples_per_second
            if not self.every:
                trace.sampled = spend(&self.asked, now_ns)
        trace.flags = (trace.flags & 2) | trace.sampled
        return known

    cdef int keep(self, const Trace* trace, uint64_t now_ns, bint failed, bint slow, bint retried) noexcept:
        cdef int why
        if trace.sampled:
            return <int>SAMPLED
        if failed or slow or retried:
            why = <int>FAILED if failed else <int>SLOW if slow else <int>RETRIED
            if spend(&self.spare[why], now_ns):
                return why
        return <int>LOGGED if self.logs_all else <int>NOT_KEPT

    cdef bint add(self, object record):
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
        """Begin a trace as an exchange does; return (trace id, own span, parent, link, flags, whether it is continued).

        Args:
            caller: the value of a traceparent field; None: there is none.
            trusted: it comes from a peer.
            now_ns: monotonic time.
            chance: three words of 64 bits.
        """
        cdef Trace trace = blank_trace()
        cdef uint64_t[3] words
        words[0], words[1], words[2] = chance
        cdef bint known = self.begin(&trace, caller, trusted, now_ns, words)
        link = f"{trace_hex(trace.link_high, trace.link_low)}-{span_hex(trace.link_span)}" if trace.link_span else ""
        return trace_hex(trace.high, trace.low), span_hex(trace.span), span_hex(trace.parent), link, trace.flags, known

    def judge(self, bint sampled, uint64_t now_ns, bint failed, bint slow, bint retried):
        """Return why an exchange that is over would be recorded: a Kept."""
        cdef Trace trace = blank_trace()
        trace.sampled = sampled
        return Kept(self.keep(&trace, now_ns, failed, slow, retried))
