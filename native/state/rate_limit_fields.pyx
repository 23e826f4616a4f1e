from native.codec.field_list cimport add_item
from native.codec.numbers cimport decimal, write_duration
from native.io.atomics cimport load64
from native.state.allowance cimport Grant, requests_now, tokens_now
from native.state.token_bucket cimport span


cdef class BucketFields:
    """The fields of one bucket.

    Args:
        unit: ``requests`` or ``tokens``.
        per_minute: the limit; None if it is this node's share, which changes.
    """

    def __init__(self, bytes unit not None, per_minute):
        self.limit_name = b"x-ratelimit-limit-" + unit
        self.remaining_name = b"x-ratelimit-remaining-" + unit
        self.reset_name = b"x-ratelimit-reset-" + unit
        self.limit = None if per_minute is None else (self.limit_name, b"%d" % per_minute)

    cdef append(self, list fields, const Rate* rate, uint64_t* tat, uint64_t now_ns):
        cdef uint64_t full = load64(tat)
        cdef uint64_t used = full - now_ns if full > now_ns else 0
        cdef uint64_t room = span(rate.burst, rate.interval_ns)
        cdef uint64_t units = (room - used) // rate.interval_ns if room > used else 0
        cdef uint64_t ms = (used + 999_999) // 1_000_000
        if self.remaining is None or units != self.remaining_units:
            self.remaining_units = units
            self.remaining = (self.remaining_name, decimal(units))
        if self.reset is None or ms != self.reset_ms:
            self.reset_ms = ms
            self.reset = (self.reset_name, write_duration(ms))
        add_item(fields, (self.limit_name, decimal(rate.thousandths // 1000)) if self.limit is None else self.limit)
        add_item(fields, self.remaining)
        add_item(fields, self.reset)


cdef class RateLimitFields:
    """The fields of one caller; ``plan`` is an ``edge.terms.snapshot.Allowance``, ``allowance`` the object made of it."""

    def __init__(self, Allowance allowance not None, plan not None):
        self.allowance = allowance
        if plan.requests_per_minute:
            self.requests = BucketFields(b"requests", None if plan.shared else plan.requests_per_minute)
        if plan.tokens_per_minute:
            self.tokens = BucketFields(b"tokens", None if plan.shared else plan.tokens_per_minute)

    cdef append(self, list fields, uint64_t now_ns):
        cdef const Grant* bounds = &self.allowance.bounds
        cdef Rate share
        cdef const Rate* rate
        if self.requests is not None:
            rate = &bounds.requests
            if bounds.shared:
                share = requests_now(bounds, now_ns)
                rate = &share
            self.requests.append(fields, rate, &bounds.rec.requests_tat, now_ns)
        if self.tokens is not None:
            rate = &bounds.tokens
            if bounds.shared:
                share = tokens_now(bounds, now_ns)
                rate = &share
            self.tokens.append(fields, rate, &bounds.rec.tokens_tat, now_ns)
