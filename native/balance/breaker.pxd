"""Opens and closes a circuit, of a target or of a capability of one: a word of the shared state, moved by compare-and-swap."""

from libc.stdint cimport uint32_t, uint64_t
from native.state.shared_state cimport CircuitRec, TargetRec

cpdef enum CircuitState:
    CLOSED = 0
    OPEN = 1
    HALF_OPEN = 2

cpdef enum TripReason:
    TRIP_NONE = 0
    TRIP_CONSECUTIVE = 1
    TRIP_RATIO = 2
    TRIP_SLOW = 3
    TRIP_TRIAL = 4          # the half-open trial failed
    TRIP_RETRY_AFTER = 5
    TRIP_REMOTE = 6         # fewer failures than the policy says, because other regions reported the same
    TRIP_LATE = 7           # attempts in a row that were late without a byte, or one that stayed silent to its deadline
    TRIP_DECLINED = 8       # of a capability: the target declines requests that need it

cpdef enum Admit:
    ADMIT_NO = 0
    ADMIT_YES = 1
    ADMIT_TRIAL = 2         # with the half-open permit: the outcome must be reported before the permit expires

cdef uint64_t RETRY_AFTER_MAX_NS    # a longer Retry-After, or pushback of a gRPC server, is cut to this, as in linkerd

cdef struct Policy:         # one per route, compiled from its config
    uint32_t consecutive_failures   # failures in a row that trip; 0 = off
    uint32_t min_requests   # volume below which neither ratio trips
    double failure_ratio    # 0..1; 0 = off
    double slow_ratio       # 0..1; 0 = off
    uint64_t slow_threshold_ns  # a first token or byte later than this is slow; 0 = off
    bint slow_adaptive      # also slow: more than four times the target's usual latency and more than 2 s (the default)
    int window_s            # 1..10
    uint64_t open_duration_ns       # first open period
    uint64_t open_duration_max_ns   # cap of the back-off
    uint64_t permit_ns      # a trial that reports no outcome loses its permit after this
    uint64_t slow_start_ns  # how long the target's share of traffic grows after recovery
    uint64_t retry_after_max_ns  # cap of a Retry-After taken as floor

# Take the numbers of an edge.terms.snapshot.Breaker. ValueError: a window that is not of 1 to 10 seconds.
cdef int fill_policy(Policy* policy, object breaker, uint64_t permit_ns, uint64_t retry_after_max_ns) except -1
# Return whether an attempt would be admitted. Only reads; ADMIT_TRIAL = breaker_take would try to get the permit.
cdef int breaker_peek(CircuitRec* rec, uint64_t now_ns) noexcept nogil
# Admit one attempt, and write the generation that its outcome must carry. ``last_resort``: no other target is left. In
# that case a target whose circuit is open may be tried early, and a target on trial may be tried by a second request:
# once per policy.open_duration_ns, and once a second if that is longer.
cdef int breaker_take(CircuitRec* rec, const Policy* policy, uint64_t now_ns, bint last_resort,
                      uint32_t* generation) noexcept nogil
# Report one outcome. Returns the TripReason if this report opened the circuit, -1 if it closed it, else 0.
# A report with an older generation never moves the state. It enters the window only while the circuit is not closed:
# after a recovery, calls from before it would open the circuit again. A 429 outside a trial is not reported; the 429 of
# a trial is reported as failed, with its Retry-After. Trips, trials and slow attempts are counted here and nowhere else.
# ``key``: 0..63 the caller's key, -1 keys are not in use. ``retry_after_ns``: 0 = none. ``rnd``: 64 random bits for the
# jitter.
cdef int breaker_report(CircuitRec* rec, const Policy* policy, uint64_t now_ns, uint32_t generation, bint failed,
                        bint trial, int key, uint64_t retry_after_ns, uint64_t rnd) noexcept nogil
# The same for a target as a whole. If the circuit closes, the latency cells are cleared: they hold the penalties of
# failures, and slow start protects a target that has just recovered.
cdef int breaker_report_target(TargetRec* rec, const Policy* policy, uint64_t now_ns, uint32_t generation, bint failed,
                               bint trial, int key, uint64_t retry_after_ns, uint64_t rnd) noexcept nogil
# Report that the target has declined another request for the same reason: this opens a closed circuit, unless only one
# of several keys was declined. Returns TRIP_DECLINED if it did, else 0.
cdef int breaker_declined(CircuitRec* rec, const Policy* policy, uint64_t now_ns, uint32_t generation, int key,
                          uint64_t rnd) noexcept nogil
# Record an outcome without moving the circuit.
cdef void breaker_note(CircuitRec* rec, uint64_t now_ns, uint32_t generation, bint failed, int key) noexcept nogil
# Report that a call still runs after slow_threshold_ns, or was answered later; at most once per attempt.
cdef int breaker_slow(CircuitRec* rec, const Policy* policy, uint64_t now_ns, uint32_t generation, bint trial,
                      uint64_t rnd) noexcept nogil
# Open a closed circuit for ``reason``. Returns the reason if this call opened the circuit, else 0. An older generation
# has no effect.
cdef int breaker_trip(CircuitRec* rec, const Policy* policy, uint64_t now_ns, uint32_t generation, int reason,
                      uint64_t rnd) noexcept nogil
# Give a trial's permit back unused, because the client left before the target could prove anything.
cdef void breaker_return(CircuitRec* rec, uint64_t now_ns, uint32_t generation) noexcept nogil
# Report that a free probe succeeded: the target may be tried from now on, but not before a quarter of its wait.
cdef bint breaker_hint(CircuitRec* rec, const Policy* policy, uint64_t now_ns) noexcept nogil
# Return the share of its weight that a recovering target may take: 0.1 to 1.0 over policy.slow_start_ns; 1.0 if the
# circuit never opened.
cdef double breaker_slow_start(CircuitRec* rec, const Policy* policy, uint64_t now_ns) noexcept nogil
cdef int circuit_state(uint64_t word) noexcept nogil
cdef uint64_t circuit_until_ns(uint64_t word) noexcept nogil
cdef uint32_t circuit_generation(uint64_t word) noexcept nogil
