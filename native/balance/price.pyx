# The output tokens that an answer of an unknown model is believed to have at most.
cdef int64_t UNKNOWN_MAX_OUTPUT = 131_072
# No sum of money in the shared state is larger, so that sums of such amounts stay within 64 bits.
cdef double MOST_NANO = 1e18


cdef inline int64_t _part(int64_t part, int64_t whole) noexcept nogil:
    """Return a part, which cannot be more than what is left of its whole."""
    return 0 if part < 0 or whole < 0 else part if part < whole else whole


cdef inline uint64_t _nano(double amount) noexcept nogil:
    return <uint64_t>(amount + 0.5) if 0 < amount < MOST_NANO else 0 if amount <= 0 else <uint64_t>MOST_NANO


cdef class Price:
    def __init__(self, plan=None):
        self.max_output = UNKNOWN_MAX_OUTPUT
        if plan is None:
            return
        self.known = plan.known
        # US dollars per million tokens, times a thousand
        self.input = plan.input * 1000
        self.output = plan.output * 1000
        self.cached = plan.cached_input * 1000
        self.reasoning = plan.reasoning * 1000
        self.audio_input = plan.audio_input * 1000
        self.audio_output = plan.audio_output * 1000
        self.image = plan.image * 1000
        self.max_output = plan.max_output

    def __repr__(self):
        return f"<Price {self.input}+{self.output}>"

    cdef uint64_t cost(self, const Used* used) noexcept nogil:
        cdef int64_t cached = _part(used.cached, used.prompt)
        cdef int64_t audio = _part(used.audio_prompt, used.prompt - cached)
        cdef int64_t image = _part(used.image_prompt, used.prompt - cached - audio)
        cdef int64_t reasoning = _part(used.reasoning, used.output)
        cdef int64_t spoken = _part(used.audio_output, used.output - reasoning)
        return _nano(
            (used.prompt - cached - audio - image) * self.input + cached * self.cached + audio * self.audio_input
            + image * self.image + (used.output - reasoning - spoken) * self.output + reasoning * self.reasoning
            + spoken * self.audio_output
        )

    cdef uint64_t most(self, uint64_t prompt, uint64_t output, bint sounds) noexcept nogil:
        cdef double each = max(self.input, self.image)
        cdef double said = max(self.output, self.reasoning)
        if sounds:
            each = max(each, self.audio_input)
            said = max(said, self.audio_output)
        return _nano(prompt * each + output * said)

    def most_of(self, *, uint64_t prompt, uint64_t output, bint sounds):
        """Return what these tokens cost at most, in US dollars * 1e9."""
        return self.most(prompt, output, sounds)

    def cost_of(self, *, int64_t prompt=0, int64_t output=0, int64_t cached=0, int64_t audio_prompt=0,
                int64_t image_prompt=0, int64_t reasoning=0, int64_t audio_output=0):
        """Return what these tokens cost, in US dollars * 1e9."""
        cdef Used used
        used.prompt = prompt
        used.output = output
        used.cached = cached
        used.audio_prompt = audio_prompt
        used.image_prompt = image_prompt
        used.reasoning = reasoning
        used.audio_output = audio_output
        return self.cost(&used)
