"""A failure belongs to the target as a whole, or to something that the request needed.

After an outage a provider may answer text and no pictures. Then its circuit must stay closed, and requests with pictures
must go elsewhere until they work. Such a failure is told from others by what other requests see:

1. A failure is blamed on a capability if requests that do not need it succeed at the same target: within the window of
   the breaker, and nothing that was blamed on the target has failed since; or, at any later time, after the failures
   began. What nearly every request needs (streaming, chat) is blamed by the second rule only: a total outage must open
   the target's circuit, although a few requests of another kind were the last that succeeded.
2. Of several capabilities the one with the fewest recent successes is blamed, then the most special one.
3. What is blamed on a capability does not count against its target.
4. A capability's circuit opens by the policy of the route, like a target's, but only after two different bodies of
   requests have failed, and two keys if several keys need it: a caller's own broken picture must not take pictures from
   everybody. If the target declines requests in words that name the capability, the second different one is enough.
5. Trials are requests that need it. A request that a caller got wrong proves nothing, and the permit is given back.

A capability is looked at only while there is doubt about it (``doubted`` in the target's record): a failure of a request
that needs it casts it, and a success removes it once the circuit is closed and slow start is over.
"""

from native.balance.breaker cimport (
    ADMIT_NO, ADMIT_TRIAL, CLOSED, OPEN, RETRY_AFTER_MAX_NS, breaker_declined, breaker_note, breaker_peek, breaker_report,
    breaker_report_target, breaker_return, breaker_slow_start, breaker_take, circuit_generation, circuit_state,
    fill_policy,
)
from native.io.atomics cimport add64, cas64, load32, load64, or64, store64
from native.state.shared_state cimport (
    CircuitRec, C_STREAMING, SharedState, WindowSum, edge_remote_failure_threshold, edge_remote_weight,
)
from native.state.window cimport window_read

cdef extern from *:
    int lowest_bit "__builtin_ctzll"(uint64_t bits) noexcept nogil

cdef enum:
    MS = 1_000_000

cdef uint64_t BODIES_DIFFER = 0xFFFFFFFFFFFFFFFF    # in place of the mark of the first body


cdef int capability_barred(TargetRec* rec, uint64_t needs, uint64_t now_ns, bint* due) noexcept nogil:
    cdef uint64_t left = load64(&rec.doubted) & needs
    cdef int capability, admit
    due[0] = False
    while left:
        capability = lowest_bit(left)
        left &= left - 1
        admit = breaker_peek(&rec.capability[capability], now_ns)
        if admit == <int>ADMIT_NO:
            return capability
        due[0] = due[0] or admit == <int>ADMIT_TRIAL
    return -1


cdef double capability_share(TargetRec* rec, const Policy* policy, uint64_t needs, uint64_t now_ns) noexcept nogil:
    cdef uint64_t left = load64(&rec.doubted) & needs
    cdef double share = 1.0
    cdef CircuitRec* part
    while left:
        part = &rec.capability[lowest_bit(left)]
        left &= left - 1
        share = min(share, edge_remote_weight(load64(&part.remote), now_ns // MS))
        if circuit_state(load64(&part.circuit)) == <int>CLOSED:
            share = min(share, breaker_slow_start(part, policy, now_ns))
    return share


cdef bint capability_take(TargetRec* rec, const Policy* policy, uint64_t needs, uint64_t now_ns, bint last_resort,
                          Claims* claims) noexcept nogil:
    cdef uint64_t left = needs
    cdef uint64_t doubted = load64(&rec.doubted)
    cdef int capability, admit
    claims.needs = needs
    claims.trials = 0
    while left:
        capability = lowest_bit(left)
        left &= left - 1
        if not doubted >> capability & 1:
            claims.generations[capability] = circuit_generation(load64(&rec.capability[capability].circuit))
            continue
        admit = breaker_take(
            &rec.capability[capability], policy, now_ns, last_resort, &claims.generations[capability]
        )
        if admit == <int>ADMIT_NO:
            capability_return(rec, now_ns, claims)
            return False
        if admit == <int>ADMIT_TRIAL:
            claims.trials |= <uint64_t>1 << capability
    return True


cdef void capability_return(TargetRec* rec, uint64_t now_ns, Claims* claims) noexcept nogil:
    cdef int capability
    while claims.trials:
        capability = lowest_bit(claims.trials)
        claims.trials &= claims.trials - 1
        breaker_return(&rec.capability[capability], now_ns, claims.generations[capability])


cdef int capability_blamed(TargetRec* rec, const Policy* policy, const Claims* claims, uint64_t now_ns) noexcept nogil:
    cdef uint64_t left = claims.needs
    cdef WindowSum whole, part
    cdef uint64_t good, least = 0, since
    cdef int capability, blamed = -1
    cdef bint others
    if left == 0:
        return -1
    whole = window_read(&rec.own, now_ns, policy.window_s)
    while left:
        capability = lowest_bit(left)
        left &= left - 1
        part = window_read(&rec.capability[capability], now_ns, policy.window_s)
        good = part.total - part.failed
        since = load64(&rec.capability[capability].doubted_ns)
        others = since != 0 and load64(&rec.capability[capability].others_ns) > since
        if not others and capability < <int>C_STREAMING and load32(&rec.own.consecutive) == 0:
            others = whole.total - whole.failed > good
        if others and (blamed < 0 or good < least):
            blamed = capability
            least = good
    return blamed


cdef void capability_doubt(TargetRec* rec, const Claims* claims, uint64_t now_ns) noexcept nogil:
    cdef uint64_t left = claims.needs
    cdef CircuitRec* part
    while left:
        part = &rec.capability[lowest_bit(left)]
        left &= left - 1
        if cas64(&part.doubted_ns, 0, now_ns):
            store64(&part.body, 0)
    if claims.needs & ~load64(&rec.doubted):
        or64(&rec.doubted, claims.needs)


cdef int capability_failed(TargetRec* rec, int capability, const Policy* policy, const Claims* claims, uint64_t now_ns,
                           bint declined, int key, uint64_t body, uint64_t retry_after_ns, uint64_t rnd) noexcept nogil:
    cdef CircuitRec* part = &rec.capability[capability]
    cdef uint32_t generation = claims.generations[capability]
    cdef bint trial = claims.trials >> capability & 1
    cdef uint64_t first = load64(&part.body)
    add64(&part.failures, 1)
    if trial or circuit_state(load64(&part.circuit)) != <int>CLOSED:
        return breaker_report(part, policy, now_ns, generation, True, trial, key, retry_after_ns, rnd)
    if first == 0:
        store64(&part.body, body)
    elif first != body and first != BODIES_DIFFER:
        store64(&part.body, BODIES_DIFFER)
    if (first == 0 or first == body) and edge_remote_failure_threshold(load64(&part.remote), now_ns // MS) != 1:
        breaker_note(part, now_ns, generation, True, key)
        return 0
    if declined:
        return breaker_declined(part, policy, now_ns, generation, key, rnd)
    return breaker_report(part, policy, now_ns, generation, True, False, key, retry_after_ns, rnd)


cdef void _settle_doubt(TargetRec* rec, int capability, const Policy* policy, uint64_t now_ns) noexcept nogil:
    """Remove the doubt about a capability that has just worked. While slow start lasts it is still looked at."""
    cdef CircuitRec* part = &rec.capability[capability]
    cdef uint64_t bit = <uint64_t>1 << capability
    cdef uint64_t doubted
    if circuit_state(load64(&part.circuit)) != <int>CLOSED:
        return
    if load64(&part.doubted_ns):
        store64(&part.doubted_ns, 0)
        store64(&part.others_ns, 0)
    if breaker_slow_start(part, policy, now_ns) < 1.0 or edge_remote_failure_threshold(
        load64(&part.remote), now_ns // MS
    ):
        return
    doubted = load64(&rec.doubted)
    while doubted & bit and not cas64(&rec.doubted, doubted, doubted & ~bit):
        doubted = load64(&rec.doubted)
    if circuit_state(load64(&part.circuit)) != <int>CLOSED or load64(&part.doubted_ns):
        or64(&rec.doubted, bit)     # another process has seen failures meanwhile


cdef void capability_proven(TargetRec* rec, const Policy* policy, Claims* claims, uint64_t now_ns, int key,
                            uint64_t rnd) noexcept nogil:
    cdef int capability
    while claims.trials:
        capability = lowest_bit(claims.trials)
        claims.trials &= claims.trials - 1
        breaker_report(
            &rec.capability[capability], policy, now_ns, claims.generations[capability], False, True, key, 0, rnd
        )
        _settle_doubt(rec, capability, policy, now_ns)


cdef void capability_worked(TargetRec* rec, const Policy* policy, Claims* claims, uint64_t now_ns, int key,
                            uint64_t rnd) noexcept nogil:
    cdef uint64_t doubted = load64(&rec.doubted)
    cdef uint64_t left = claims.needs
    cdef int capability
    if claims.trials:
        capability_proven(rec, policy, claims, now_ns, key, rnd)
    while left:
        capability = lowest_bit(left)
        left &= left - 1
        breaker_note(&rec.capability[capability], now_ns, claims.generations[capability], False, key)
        if doubted >> capability & 1:
            _settle_doubt(rec, capability, policy, now_ns)
    left = doubted & ~claims.needs
    while left:
        capability = lowest_bit(left)
        left &= left - 1
        if load64(&rec.capability[capability].doubted_ns):
            store64(&rec.capability[capability].others_ns, now_ns)


cdef bint capability_open(TargetRec* rec, uint64_t needs) noexcept nogil:
    cdef uint64_t left = load64(&rec.doubted) & needs
    while left:
        if circuit_state(load64(&rec.capability[lowest_bit(left)].circuit)) == <int>OPEN:
            return True
        left &= left - 1
    return False


cdef class Taken:
    """What one attempt has claimed."""

    cdef Claims claims
    cdef uint32_t generation

    @property
    def trials(self):
        """Return the capabilities for which it holds a permit, as bits."""
        return self.claims.trials


cdef class Capabilities:
    """The capabilities of one target, with its own circuit, for tests. Times are monotonic ns, needs are bits."""

    cdef TargetRec* rec
    cdef SharedState shared_state
    cdef Policy policy

    def __init__(self, SharedState shared_state not None, int slot, breaker, uint64_t permit_ns):
        self.shared_state = shared_state        # keeps the record mapped
        self.rec = shared_state.target(slot)
        fill_policy(&self.policy, breaker, permit_ns, RETRY_AFTER_MAX_NS)

    def barred(self, uint64_t needs, uint64_t now_ns):
        """Return (the capability that keeps the target from these requests, or -1; whether a trial is due)."""
        cdef bint due = False
        cdef int capability = capability_barred(self.rec, needs, now_ns, &due)
        return capability, due

    def share(self, uint64_t needs, uint64_t now_ns):
        """Return the share of such requests that the target may take."""
        return capability_share(self.rec, &self.policy, needs, now_ns)

    def take(self, uint64_t needs, uint64_t now_ns, bint last_resort=False):
        """Admit an attempt; return what it has claimed, None = it is not admitted."""
        cdef Taken taken = Taken.__new__(Taken)
        taken.generation = circuit_generation(load64(&self.rec.own.circuit))
        return taken if capability_take(
            self.rec, &self.policy, needs, now_ns, last_resort, &taken.claims
        ) else None

    def fail(self, Taken taken not None, uint64_t now_ns, uint64_t body, int key=-1, uint64_t rnd=0):
        """Report a failure as the data path does; return (the capability that is blamed, or -1; what that moved)."""
        cdef int capability = capability_blamed(self.rec, &self.policy, &taken.claims, now_ns)
        cdef int moved
        capability_doubt(self.rec, &taken.claims, now_ns)
        if capability < 0:
            moved = breaker_report_target(
                self.rec, &self.policy, now_ns, taken.generation, True, False, key, 0, rnd
            )
        else:
            moved = capability_failed(
                self.rec, capability, &self.policy, &taken.claims, now_ns, False, key, body, 0, rnd
            )
            taken.claims.trials &= ~(<uint64_t>1 << capability)
        capability_return(self.rec, now_ns, &taken.claims)
        return capability, moved

    def decline(self, Taken taken not None, int capability, uint64_t now_ns, uint64_t body, int key=-1, uint64_t rnd=0):
        """Report that the target said that it lacks a capability; return what that moved."""
        capability_doubt(self.rec, &taken.claims, now_ns)
        return capability_failed(
            self.rec, capability, &self.policy, &taken.claims, now_ns, True, key, body, 0, rnd
        )

    def work(self, Taken taken not None, uint64_t now_ns, int key=-1):
        """Report a success."""
        capability_worked(self.rec, &self.policy, &taken.claims, now_ns, key, 0)
        breaker_report_target(self.rec, &self.policy, now_ns, taken.generation, False, False, key, 0, 0)

    def give_back(self, Taken taken not None, uint64_t now_ns):
        """Report nothing, because the attempt proved nothing."""
        capability_return(self.rec, now_ns, &taken.claims)
