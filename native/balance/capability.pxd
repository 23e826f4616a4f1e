"""Keeps the health of a target's capabilities: of what requests need of it, beside its own circuit.

A capability has a circuit like that of its target (native/balance/breaker). ``needs`` is a bit for each
native.state.counters.Capability that a request needs, 0 = none."""

from libc.stdint cimport uint32_t, uint64_t
from native.balance.breaker cimport Policy
from native.state.shared_state cimport C_CHAT, TargetRec

cdef struct Claims:         # what an attempt needs of its target
    uint64_t needs
    uint64_t trials         # of these, for which it holds the half-open permit
    uint32_t[9] generations # of the circuits that admitted it, by Capability; only those of ``needs`` are set

# Return a capability that keeps the target from this request now, -1 = none does. ``due``: a trial of one is due.
cdef int capability_barred(TargetRec* rec, uint64_t needs, uint64_t now_ns, bint* due) noexcept nogil
# Return the share of its requests that the target may take, 0.1 to 1.0: one of its capabilities has just recovered, or
# other regions find it failing.
cdef double capability_share(TargetRec* rec, const Policy* policy, uint64_t needs, uint64_t now_ns) noexcept nogil
# Admit an attempt to all that it needs, and take the permits of trials that are due. Returns False, and has taken none,
# if a circuit does not admit it. ``last_resort``: as in breaker_take.
cdef bint capability_take(TargetRec* rec, const Policy* policy, uint64_t needs, uint64_t now_ns, bint last_resort,
                          Claims* claims) noexcept nogil
# Give the permits of trials back unused.
cdef void capability_return(TargetRec* rec, uint64_t now_ns, Claims* claims) noexcept nogil
# Return the capability that a failure is blamed on, -1 = the target as a whole: it did not hold for others either, or
# that is not known.
cdef int capability_blamed(TargetRec* rec, const Policy* policy, const Claims* claims, uint64_t now_ns) noexcept nogil
# An attempt has failed: cast doubt on all that it needed. Only then is it noticed whether others succeed.
cdef void capability_doubt(TargetRec* rec, const Claims* claims, uint64_t now_ns) noexcept nogil
# Report a failure that is blamed on a capability, or that of a trial. declined: the target said that it lacks it.
# ``body``: a mark of the request (native.codec.likeness), so that one request that is sent again and again is not taken
# for many. The others as in breaker_report, and so is the result.
cdef int capability_failed(TargetRec* rec, int capability, const Policy* policy, const Claims* claims, uint64_t now_ns,
                           bint declined, int key, uint64_t body, uint64_t retry_after_ns, uint64_t rnd) noexcept nogil
# A good answer has begun: trials have succeeded, and the circuits close.
cdef void capability_proven(TargetRec* rec, const Policy* policy, Claims* claims, uint64_t now_ns, int key,
                            uint64_t rnd) noexcept nogil
# Report a success.
cdef void capability_worked(TargetRec* rec, const Policy* policy, Claims* claims, uint64_t now_ns, int key,
                            uint64_t rnd) noexcept nogil
# Return which of ``needs`` apply to a target: chats have a circuit of their own only where other requests come too.
cdef inline uint64_t needed_of(bint mixed, uint64_t needs) noexcept nogil:
    return needs if mixed else needs & ~(<uint64_t>1 << <int>C_CHAT)
# Whether the circuit of something that is needed is open.
cdef bint capability_open(TargetRec* rec, uint64_t needs) noexcept nogil
