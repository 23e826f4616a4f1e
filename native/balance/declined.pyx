"""Remembers what a target has declined lately.

A 402, 403 or 404 may be about edge's account or the configured model, and then every request fails; or about one
request, and then nobody else may lose the target. Which of the two it is shows when another request is declined alike.
Up to four kinds of answers are remembered for a minute, each by two words. Two processes that write at once may lose one
of their notes, which costs at most one more request. A good answer refutes everything that was noted before it.
"""

from libc.stdint cimport uint32_t
from native.io.atomics cimport load64, store64
from native.state.shared_state cimport EDGE_DECLINED, SharedState, edge_answered

cdef enum:
    MS = 1_000_000
    HOLDS_MS = 60_000
    GOOD_MASK = 0xFFFF

cdef uint64_t KEYS_EPOCH_NS = 10_000_000_000    # of the maps of keys, as in native/balance/breaker
cdef uint64_t LOW32 = <uint64_t>0xFFFFFFFF


cdef inline uint64_t _good(TargetRec* rec) noexcept nogil:
    return edge_answered(rec) & GOOD_MASK


cdef inline bint _holds(TargetRec* rec, int place, uint64_t now_ms) noexcept nogil:
    """Return whether a note is younger than a minute and than the last good answer."""
    cdef uint64_t at = load64(&rec.declined_at[place])
    if at == 0 or <uint32_t>now_ms - <uint32_t>(at >> 32) > HOLDS_MS:
        return False
    return load64(&rec.declined_as[place]) >> 16 & GOOD_MASK == _good(rec)


cdef bint _several_keys(TargetRec* rec, uint64_t now_ns, int key) noexcept nogil:
    """Return whether other keys than this one have used the target within the last 10 to 20 s."""
    cdef uint64_t epoch = now_ns // KEYS_EPOCH_NS
    cdef uint64_t seen = load64(&rec.own.keys_epoch)
    cdef uint64_t bits = 0
    if seen == epoch:
        bits = load64(&rec.own.keys_active) | load64(&rec.own.keys_active_before)
    elif seen + 1 == epoch:
        bits = load64(&rec.own.keys_active)
    return bits & ~(<uint64_t>1 << (key & 63)) != 0


cdef bint declined_alike(TargetRec* rec, uint64_t now_ns, int status, uint64_t answer, uint64_t body,
                         int key) noexcept nogil:
    cdef uint64_t now_ms = now_ns // MS
    cdef uint64_t kind = answer & LOW32
    cdef uint64_t note, caller = <uint64_t>((key & 63) + 1 if key >= 0 else 0)
    cdef uint32_t age, oldest = 0
    cdef int place, free = 0, known = -1
    cdef bint alike = False
    for place in range(EDGE_DECLINED):
        if not _holds(rec, place, now_ms):
            free = place
            oldest = <uint32_t>-1
            continue
        if load64(&rec.declined_at[place]) & LOW32 == kind:
            known = place
            break
        age = <uint32_t>now_ms - <uint32_t>(load64(&rec.declined_at[place]) >> 32)
        if age >= oldest:
            free = place
            oldest = age
    if known >= 0:
        free = known
        note = load64(&rec.declined_as[known])
        alike = note >> 32 != body & LOW32 and (
            key < 0 or note >> 8 & 0xFF != caller or not _several_keys(rec, now_ns, key)
        )
    if alike:
        for place in range(EDGE_DECLINED):
            store64(&rec.declined_at[place], 0)
        return True
    store64(
        &rec.declined_as[free],
        (body & LOW32) << 32 | _good(rec) << 16 | caller << 8 | <uint64_t>min(max(status - 400, 0), 255),
    )
    store64(&rec.declined_at[free], (now_ms & LOW32) << 32 | kind)
    return False


cdef int declined_with(TargetRec* rec, uint64_t now_ns) noexcept nogil:
    cdef uint64_t now_ms = now_ns // MS
    cdef uint32_t age, youngest = <uint32_t>-1
    cdef int place, status = 0
    for place in range(EDGE_DECLINED):
        if _holds(rec, place, now_ms):
            age = <uint32_t>now_ms - <uint32_t>(load64(&rec.declined_at[place]) >> 32)
            if age <= youngest:
                youngest = age
                status = 400 + <int>(load64(&rec.declined_as[place]) & 0xFF)
    return status


cdef class Declined:
    """What one target has declined lately, for tests."""

    cdef TargetRec* rec
    cdef SharedState shared_state

    def __init__(self, SharedState shared_state not None, int slot):
        self.shared_state = shared_state        # keeps the record mapped
        self.rec = shared_state.target(slot)

    def alike(self, uint64_t now_ns, int status, uint64_t answer, uint64_t body, int key=-1):
        """Note an answer; return whether another request was declined alike."""
        return declined_alike(self.rec, now_ns, status, answer, body, key)

    def status(self, uint64_t now_ns):
        """Return the status of the last unexplained answer, 0 = there is none."""
        return declined_with(self.rec, now_ns)
