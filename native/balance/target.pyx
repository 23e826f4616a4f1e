from libc.stdint cimport uint32_t, uint64_t
from native.balance.latency cimport (
    BASELINE_TAU_MS, FAILURE_PENALTY_MS, average_observe, ewma_observe, ewma_read, penalty_observe,
)
from native.io.atomics cimport add32, cas64, load64
from native.state.callers cimport LOW
from native.state.shared_state cimport EDGE_EWMA_TAU_NS, EDGE_MAX_WORKERS, SharedState

cdef enum:
    MS = 1_000_000
    MOST_REFUSED = 64           # models of one target that are remembered to refuse stream_options

cdef uint64_t REFUSED_NS = 3_600_000_000_000
cdef tuple MEDIA_RULES = ("openai", "anthropic", "gemini")


cdef bytes undated(bytes model):
    """Return a model's name without the date at its end: -20250414, or -2025-04-14."""
    cdef bytes date = model[-11:]
    if len(date) == 11 and date[0] == c"-" and date[5] == c"-" and date[8] == c"-" and (
        (date[1:5] + date[6:8] + date[9:]).isdigit()
    ):
        return model[:-11]
    date = model[-9:]
    return model[:-9] if len(date) == 9 and date[0] == c"-" and date[1:].isdigit() else model


cdef class Target:
    """One target as this worker sees it.

    ``plan`` is its part of the Snapshot. If ``plan.adaptive`` is set, its limit is learned, and never falls below
    ``plan.min_concurrency``.
    """

    def __init__(self, SharedState shared_state not None, int slot, str id not None, uint32_t max_inflight=0,
                 plan=None):
        self.rec = shared_state.target(slot)
        self.shared_state = shared_state
        self.slot = slot
        self.id = id
        self.max_inflight = max_inflight
        self.plan = plan
        self.price = Price(None if plan is None else plan.price)
        self.usage_refused = {}
        if plan is not None:
            self.media_rule = MEDIA_RULES.index(plan.media)
            if plan.model_prices:
                self.prices = {model.encode(): Price(price) for model, price in plan.model_prices.items()}
        if plan is not None and plan.adaptive:
            if not plan.min_concurrency > 0:
                raise ValueError(f"{id}: min_concurrency is above 0, not {plan.min_concurrency}")
            self.bounds.learned = True
            self.bounds.least = plan.min_concurrency

    def __repr__(self):
        return f"<Target {self.id} slot {self.slot}>"

    cdef Price price_of(self, bytes model):
        cdef Price price = None
        if model is not None and self.prices is not None:
            price = self.prices.get(model)
            if price is None:
                price = self.prices.get(undated(model))
        return self.price if price is None else price

    def find_price(self, bytes model):
        """Return the Price of the model that was asked for; None = the target's own."""
        return self.price_of(model)

    cdef bint may_ask_usage(self, bytes model, uint64_t now_ns):
        cdef object until = self.usage_refused.get(b"" if model is None else model)
        return until is None or now_ns >= <uint64_t>until

    cdef refuse_usage(self, bytes model, uint64_t now_ns):
        if len(self.usage_refused) >= <int>MOST_REFUSED:
            self.usage_refused = {known: until for known, until in self.usage_refused.items() if until > now_ns}
        if len(self.usage_refused) < <int>MOST_REFUSED:
            self.usage_refused[b"" if model is None else model] = now_ns + REFUSED_NS

    cdef void observe(self, int latency_cell, uint64_t now_ns, uint64_t latency_ns, bint failed) noexcept:
        cdef int cell = latency_cell & 1
        if failed:
            latency_ns = max(latency_ns, <uint64_t>FAILURE_PENALTY_MS * MS)
        else:
            average_observe(&self.rec.baseline[cell], now_ns, latency_ns, <uint64_t>BASELINE_TAU_MS * MS)
            average_observe(&self.rec.measured[cell], now_ns, latency_ns, EDGE_EWMA_TAU_NS)
        penalty_observe(&self.rec.penalty[cell], &self.rec.ewma[cell], now_ns, latency_ns, failed)
        ewma_observe(&self.rec.ewma[cell], now_ns, latency_ns, EDGE_EWMA_TAU_NS)

    def record(self, int latency_cell, uint64_t now_ns, uint64_t latency_ns, bint failed=False):
        """Record one attempt's latency."""
        self.observe(latency_cell, now_ns, latency_ns, failed)

    def latency_ms(self, int latency_cell, uint64_t now_ns):
        """Return the peak-EWMA of a cell, decayed to ``now_ns``; 0.0 = no data."""
        return ewma_read(&self.rec.ewma[latency_cell & 1], now_ns, EDGE_EWMA_TAU_NS)

    def enter(self, int worker, int priority=1):
        """Add an attempt of a priority to that worker's in-flight column."""
        self._count(worker, priority, 1)

    def leave(self, int worker, int priority=1):
        """Remove an attempt from the in-flight column."""
        self._count(worker, priority, -1)

    def _count(self, int worker, int priority, int more):
        if not 0 <= worker < EDGE_MAX_WORKERS:
            raise IndexError(f"there is no worker {worker}")
        if not 0 <= priority <= LOW:
            raise IndexError(f"there is no priority {priority}")
        add32(&self.rec.inflight[worker], more)
        add32(&self.rec.inflight_by_priority[priority][worker], more)

    def set_rate_limited(self, uint64_t until_ns):
        """Give the target no traffic until ``until_ns``, because it rate-limits; the later deadline wins."""
        cdef uint64_t until = load64(&self.rec.rate_limited_until_ns)
        while until < until_ns and not cas64(&self.rec.rate_limited_until_ns, until, until_ns):
            until = load64(&self.rec.rate_limited_until_ns)
