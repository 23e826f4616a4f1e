"""Chooses the target of an attempt: one of two random members of the best tier with a free place."""

from cpython.list cimport PyList_GET_ITEM
from libc.stdint cimport uint32_t, uint64_t
from native.balance.breaker cimport Policy
from native.balance.capability cimport Claims
from native.balance.capacity cimport Bounds
from native.balance.inflight cimport inflight_note, inflight_of, inflight_total
from native.balance.latency cimport BASELINE_TAU_MS, CELL_STREAM, CELL_WHOLE, ewma_read
from native.balance.price cimport Price
from native.balance.target cimport Target
from native.state.allowance cimport Grant
from native.state.shared_state cimport TargetRec

cpdef enum Barred:          # why a target is not usable now, for status and error bodies; 0 = usable
    USABLE = 0
    BARRED_OPEN = 1
    BARRED_TRIAL = 2        # half-open and the permit is taken
    BARRED_RATE_LIMITED = 3 # the target answered 429
    BARRED_QUARANTINED = 4  # credential refused or misconfigured
    BARRED_FULL = 5         # no place for this priority: by its cap, its limit or a share of that
    BARRED_MANUAL = 6       # drained or ejected by hand
    BARRED_TRIED = 7
    BARRED_EXHAUSTED = 8    # the credential's allowance is used up
    BARRED_RAMP = 9         # the target replaces a better tier, and has all the traffic that it may get for now
    BARRED_CAPABILITY = 12  # what the request needs does not work there (native/balance/capability)
    # These do not bar a target; they say why a usable target may stand aside for another.
    ASIDE_SLOW_START = 10   # the target has just recovered, and its traffic grows gradually
    ASIDE_REGIONS = 11      # other regions report the target as unhealthy
    ASIDE_KEPT = 13         # the conversation stays at another target, which has its prompt in its cache

cdef struct Choice:
    int index               # position in the pool, -1 = none
    int admit               # enum Admit
    uint32_t generation
    uint64_t full           # a bit for each member that was passed over because it had no place
    Claims claims           # what the request needs of the target; set by native.proxy.selection

cdef class TargetPool:
    """The targets that can answer a route, in tiers. At most 64 members."""
    cdef readonly list targets
    cdef readonly int size
    cdef TargetRec* recs[64]
    cdef const Grant* allowed[64]   # the allowance of each member's credential, or NULL
    cdef uint32_t[64] caps
    cdef int[64] tiers
    cdef double[64] weights
    cdef double[64] load_each       # the load that one request is for a member: the mean weight of its tier / its weight
    cdef bint uneven                # the weights of a tier differ
    cdef Policy policy
    cdef int workers
    cdef Bounds[64] bounds
    cdef double[3] shares           # the part of a limit that each priority may use
    cdef bint shared                # there are several classes, so the shares apply
    cdef int best_tier
    cdef uint64_t canaries          # a bit for each member that has its share by weight alone
    cdef int[64] slots              # of the members' records in the shared state
    # For the next pick alone: among the usable members of the best tier only those whose rank is within ``rank_slack`` of
    # the lowest are chosen from.
    cdef double[64] rank
    cdef double rank_slack          # below 0 = ranks do not count
    cdef Target target_at(self, int index)
    # Return why a member is not usable now (enum Barred). ``priority``: 0 high, 1 normal (the default), 2 low.
    cdef int barred(self, int index, uint64_t now_ns, uint64_t tried, int priority=*) noexcept
    # The same; sets ``admit`` to ADMIT_TRIAL if a usable member is due for its trial.
    cdef int inspect(self, int index, uint64_t now_ns, uint64_t tried, int priority, int* admit) noexcept nogil
    # Return the limit of concurrent requests of a member that has ``inflight`` of them; 0 = no limit.
    cdef double limit_of(self, int index, uint64_t now_ns, uint32_t inflight) noexcept nogil
    cdef double capped(self, int index, double limit) noexcept nogil    # the lower one of a limit and ``max_inflight``
    cdef int crowded(self, int index, uint64_t now_ns, int priority) noexcept nogil
    # Return whether the rest of a limit is for other priorities.
    cdef bint outranked(self, int index, double limit, uint32_t total, int priority) noexcept nogil
    # Return whether a full member may take a request that no other member can take.
    cdef bint passes(self, int index, uint64_t now_ns, int priority) noexcept nogil
    # Return why a usable member may not take its whole share (ASIDE_SLOW_START, ASIDE_REGIONS), else USABLE.
    cdef int aside(self, int index, uint64_t now_ns) noexcept nogil
    cdef bint spilled(self, int index) noexcept nogil           # the member is not in the best tier
    # Return the latency in ms of a member with ``pending`` requests in flight; below 0 = not known any more.
    cdef double slowness(self, int index, uint64_t now_ns, int latency_cell, uint32_t pending) noexcept nogil
    # Return whether a member that was drawn leaves the attempt to the second one.
    cdef bint gives_way(self, int first, int second, uint64_t now_ns, int latency_cell) noexcept nogil
    cdef int take(self, int index, uint64_t now_ns, bint last_resort, Choice* out) noexcept nogil
    # Choose a member, and take the permit if the attempt is a trial. ``tried``: a bit for each member that this
    # exchange has tried; ``closed``: a bit for each member that the exchange may not use at all.
    # ``kept``: the member that is taken whatever its tier, while it is usable and has room; -1 = none.
    cdef void pick(self, uint64_t now_ns, uint64_t rnd, uint64_t tried, int latency_cell, int priority, Choice* out,
                   uint64_t closed=*, int kept=*) noexcept
    cdef void _pick(self, uint64_t now_ns, uint64_t rnd, uint64_t tried, int latency_cell, int priority, Choice* out,
                    uint64_t closed, int kept) noexcept
    # Return whether a member has not much more in flight than its share of what ``members`` have.
    cdef bint roomy(self, int index, uint64_t members) noexcept nogil
    cdef int member_of(self, int slot) noexcept nogil           # -1 = no member has it
    cdef void note(self, int index, uint64_t now_ns, int priority) noexcept nogil
    cdef int _rank(self, int priority) except -1
    cdef int _apart(self, int* group, int count, double draw) noexcept nogil
    cdef int _drawn(self, const int* group, int count, double draw) noexcept nogil
    cdef int _best_ranked(self, int* group, int count) noexcept nogil
    cdef uint64_t _without(self, uint64_t usable, uint64_t aside) noexcept nogil
    cdef bint _take_first(self, uint64_t members, uint64_t now_ns, bint last_resort, Choice* out) noexcept nogil
    cdef bint _take_passing(self, uint64_t members, uint64_t now_ns, Choice* out) noexcept nogil
    cdef int _checked(self, int index) except -1
    # Return the earliest monotonic ns at which a member may be usable again; 0 = now, UINT64_MAX = unknown.
    cdef uint64_t earliest_ns(self, uint64_t now_ns) noexcept

# Return the price of a model at a member of a pool; None = of the member's own. index: of the pool.
cdef inline Price price_at(TargetPool pool, int index, bytes model):
    if model is None:
        return (<Target>PyList_GET_ITEM(pool.targets, index)).price
    return (<Target>PyList_GET_ITEM(pool.targets, index)).price_of(model)
