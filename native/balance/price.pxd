"""Holds what one upstream model costs, and what it can answer at most."""

from libc.stdint cimport int64_t, uint64_t

cdef struct Used:               # tokens of one answer; parts are contained in their wholes
    int64_t prompt, cached, audio_prompt, image_prompt
    int64_t output, reasoning, audio_output

cdef class Price:
    """A price; ``plan`` is an ``edge.terms.snapshot.Price``, None = unknown. Amounts are US dollars * 1e9 per token."""
    cdef readonly bint known        # False: a key with a budget may not use the model
    cdef readonly double input, output, cached, reasoning, audio_input, audio_output, image
    cdef readonly int64_t max_output
    # Return what these tokens cost, in US dollars * 1e9.
    cdef uint64_t cost(self, const Used* used) noexcept nogil
    # Return what a prompt and an output cost at the highest prices of their kinds of tokens; ``sounds``: sound is one.
    cdef uint64_t most(self, uint64_t prompt, uint64_t output, bint sounds) noexcept nogil
