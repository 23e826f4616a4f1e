from native.io.atomics cimport cas64, load64
from native.state.shared_state cimport SharedState

cdef enum:
    WAYS = MOST_HOLDERS
    TRIES = 4               # against other processes that write to the same bucket

# A word: the upper half of the key (32) | slot (16) | expiry in steps, modulo 2**16. Only a difference of expiry and now
# has a meaning, which is right for 36 hours either way: no provider keeps a prompt for longer than a day.
cdef uint64_t STEP_NS = 4_000_000_000


cdef inline int _left(uint64_t word, uint64_t step) noexcept nogil:
    """Return how many steps a pin has left; 0 or less = it has expired."""
    cdef int left = <int>((word - step) & 0xFFFF)
    return left if left < 0x8000 else left - 0x10000


cdef inline uint64_t _tag(uint64_t key) noexcept nogil:
    return (key >> 32 or 1) << 32       # a word of 0 is a free place


cdef inline uint64_t* _bucket(SharedState shared_state, uint64_t key) noexcept:
    return shared_state.pins + (key & (shared_state.pin_buckets - 1)) * WAYS


cdef int pin_find(SharedState shared_state, uint64_t key, uint64_t now_ns, uint64_t* until_ns) noexcept:
    cdef uint64_t step = now_ns // STEP_NS
    cdef uint64_t tag = _tag(key)
    cdef uint64_t* bucket
    cdef uint64_t word
    cdef int way, left
    if shared_state.pin_buckets == 0:
        return -1
    bucket = _bucket(shared_state, key)
    for way in range(WAYS):
        word = load64(bucket + way)
        if word & <uint64_t>0xFFFFFFFF00000000 == tag:
            left = _left(word, step)
            if left > 0:
                until_ns[0] = (step + <uint64_t>left) * STEP_NS
                return <int>(word >> 16 & 0xFFFF)
    return -1


cdef int pin_holders(SharedState shared_state, uint64_t key, uint64_t now_ns, uint16_t* slots) noexcept:
    cdef uint64_t step = now_ns // STEP_NS
    cdef uint64_t tag = _tag(key)
    cdef uint64_t* bucket
    cdef uint64_t word
    cdef int way
    cdef int count = 0
    if shared_state.pin_buckets == 0:
        return 0
    bucket = _bucket(shared_state, key)
    for way in range(WAYS):
        word = load64(bucket + way)
        if word & <uint64_t>0xFFFFFFFF00000000 == tag and _left(word, step) > 0:
            slots[count] = <uint16_t>(word >> 16)
            count += 1
    return count


cdef void pin_put(
    SharedState shared_state, uint64_t key, int slot, uint64_t now_ns, uint64_t until_ns, bint alone
) noexcept:
    cdef uint64_t step = now_ns // STEP_NS
    cdef uint64_t tag = _tag(key)
    cdef uint64_t own = tag | <uint64_t>(slot & 0xFFFF) << 16
    cdef uint64_t* bucket
    cdef uint64_t word, found
    cdef int way, chosen, least, left
    cdef int tries = TRIES
    if shared_state.pin_buckets == 0:
        return
    own |= ((until_ns + STEP_NS - 1) // STEP_NS) & 0xFFFF
    bucket = _bucket(shared_state, key)
    while tries:
        tries -= 1
        chosen = 0
        found = 0
        least = 0x10000
        for way in range(WAYS):
            word = load64(bucket + way)
            if word & <uint64_t>0xFFFFFFFF00000000 == tag and (alone or (word ^ own) & 0xFFFF0000 == 0):
                if word == own:
                    return
                chosen = way
                found = word
                break
            left = _left(word, step) if word else -0x10000
            if left < least:
                least = left
                chosen = way
                found = word
        if cas64(bucket + chosen, found, own):
            return


cdef class Pins:
    """The pins of a shared block, for tests and drills. Keys are 64 bits, times are monotonic nanoseconds."""

    cdef SharedState shared_state

    def __init__(self, SharedState shared_state not None):
        self.shared_state = shared_state

    def find(self, uint64_t key, uint64_t now_ns):
        """Return (slot, when it expires), or None."""
        cdef uint64_t until_ns = 0
        cdef int slot = pin_find(self.shared_state, key, now_ns, &until_ns)
        return None if slot < 0 else (slot, until_ns)

    def holders(self, uint64_t key, uint64_t now_ns):
        """Return the slots of all targets that a key is kept for."""
        cdef uint16_t[MOST_HOLDERS] slots
        cdef int count = pin_holders(self.shared_state, key, now_ns, slots)
        return [slots[place] for place in range(count)]

    def put(self, uint64_t key, int slot, uint64_t now_ns, uint64_t until_ns, bint alone=True):
        """Keep a key for a target until ``until_ns``; ``alone``: for no other any longer."""
        pin_put(self.shared_state, key, slot, now_ns, until_ns, alone)
