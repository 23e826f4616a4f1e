"""Remembers which target has which prompt in its cache: a bounded table in the shared block.

A pin is one word: the target's slot, part of the key and when it expires. Words stand in buckets of a cache line. A full
bucket gives up the pin that expires first, so that memory is bounded by construction. Nothing is locked, and a word is
written whole: a process that is killed leaves no half a pin. Two keys may be taken for one with a probability of about
2**-50; a request then goes to another target than it would have, and no more."""

from libc.stdint cimport uint16_t, uint64_t
from native.state.shared_state cimport SharedState

cdef enum:
    MOST_HOLDERS = 8        # targets that one key may be kept for: the words of a bucket

# Returns the slot of the target that a key is kept for, and sets when it expires (ns); -1 = none.
cdef int pin_find(SharedState shared_state, uint64_t key, uint64_t now_ns, uint64_t* until_ns) noexcept
# Sets ``slots``, with room for MOST_HOLDERS, to all targets that a key is kept for; returns how many there are.
cdef int pin_holders(SharedState shared_state, uint64_t key, uint64_t now_ns, uint16_t* slots) noexcept
# Keeps a key for a target until ``until_ns``. alone: no other target has it any longer.
cdef void pin_put(
    SharedState shared_state, uint64_t key, int slot, uint64_t now_ns, uint64_t until_ns, bint alone
) noexcept
