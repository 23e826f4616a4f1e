"""Settles an attempt: updates its target's health, latency and capacity, and counts the tokens and money it used."""

from libc.stdint cimport int64_t, uint32_t, uint64_t
from native.balance.balancer cimport Target
from native.balance.capability cimport Claims
from native.balance.price cimport Price, Used
from native.proxy.model_request cimport ModelRequest
from native.proxy.router cimport Route

cdef struct AttemptFacts:       # times and marks of one attempt; times are monotonic ns, 0 = not yet
    int index                   # of the target in its pool
    int admit                   # native.balance.breaker.Admit
    int latency_cell, key
    int use                     # the place of its counters in the records' uses
    uint32_t generation         # of the circuit that admitted it
    Claims claims               # what the request needs of the target
    int lacking                 # the capability that the target said it lacks, -1 = none
    uint64_t body               # a mark of the request, if it has failed
    uint64_t request_started_ns, started_ns
    uint64_t waiting_ns         # since when it has waited for a connection
    uint64_t connected_ns       # when it had one, if it had to wait
    uint64_t asked_ns           # when all of the request had been sent
    uint64_t head_ns, content_ns, last_ns, ended_ns
    uint64_t late_after_ns      # how long after asked_ns it is late
    bint slow                   # counted as slow
    bint late                   # counted as late
    bint silent                 # it was detached, and had no byte at its deadline
    bint caller_bound           # the client set the deadline
    bint alive                  # at the caller's own deadline: the target was heard meanwhile, though not for this request

cdef struct Usage:
    int64_t prompt_tokens, output_tokens    # -1 = not counted
    uint64_t cost_nano                      # US dollars * 1e9

# Return the time that latency counts from: asked_ns, or started_ns if the answer began before the upload ended.
cdef uint64_t asked_from(const AttemptFacts* facts) noexcept nogil
# A good answer has begun. That is a success for a half-open trial, which is reported at once.
cdef void note_good_answer(Route route, Target target, AttemptFacts* facts, uint64_t now_ns, uint64_t rnd) noexcept
# The first content has come. Its delay is a sample for the learned capacity of the target.
cdef void note_first_content(Route route, Target target, AttemptFacts* facts, uint64_t now_ns) noexcept
# Count the attempt as slow, at most once.
cdef void note_slow(Route route, Target target, AttemptFacts* facts, uint64_t now_ns, uint64_t rnd) noexcept
# Count the attempt as late, at most once. ``heard``: a head has come.
cdef void note_late(Route route, Target target, AttemptFacts* facts, bint heard, uint64_t now_ns, uint64_t rnd) noexcept
# Whether the attempt is the trial of a circuit: of the target, or of something that the request needs.
cdef bint is_trial(const AttemptFacts* facts) noexcept nogil
# Return the time limit of a half-open trial, from asking; 0 = this is no trial, or there is no other target.
cdef uint64_t trial_bound_ns(Route route, Target target, const AttemptFacts* facts) noexcept
# Return how long after asking the attempt is late.
cdef uint64_t late_bound_ns(Route route, Target target, const AttemptFacts* facts) noexcept
# Return how long after asking the attempt counts as slow; 0 = never.
cdef uint64_t slow_after_ns(Route route, Target target, const AttemptFacts* facts) noexcept
# Whether the circuit is open through which the attempt was made: of the target, or of something that it needs.
cdef bint circuit_open(Target target, const AttemptFacts* facts) noexcept nogil
# Record the outcome; return whether it opened a circuit: of the target, or of a capability. overloaded: the status was 503 or 529.
cdef bint settle_health(Route route, Target target, AttemptFacts* facts, int outcome, bint overloaded, uint64_t now_ns,
                        uint64_t retry_after_ns, uint64_t rnd) noexcept
# Stop using the target for a while if the outcome asks for it: a rate limit, a quarantine, or a region that has
# nothing for this route. rate: because all targets there are rate-limited.
cdef void set_aside(Route route, Target target, const AttemptFacts* facts, int outcome, bint offered, uint64_t now_ns,
                    uint64_t retry_after_ns, bint rate) noexcept
# Adopt the remaining requests and tokens that the provider reports (x-ratelimit-*, anthropic-ratelimit-*). Returns
# whether it reported tokens, from which it has subtracted this attempt. wait_ns: Retry-After of the answer.
cdef bint learn_limits(Target target, list fields, uint64_t now_ns, uint64_t wait_ns)
# Return the price of an attempt's answer. answered_by: the target of another region that says that it answered.
cdef Price price_of(ModelRequest request, Target target, bint is_region, bytes answered_by)
# Set the cost of what a request usually needs, and at most, by the dearest target that may answer it.
cdef int dearest(ModelRequest request, uint64_t* usual_nano, uint64_t* worst_nano) except -1
# Set ``usage`` with its cost, and count both for target and route.
cdef int count_usage(
    ModelRequest request, int index, Usage* usage, const Used* used, Price price, bint is_region
) except -1
# Replace the ``guess`` that was taken from the credential's allowance by the tokens that were used. tokens_told: the
# result of learn_limits.
cdef void settle_credential(Target target, const Usage* usage, uint64_t guess, bint tokens_told, bint sent,
                            uint64_t now_ns) noexcept
# Count an exchange as in flight on its route, and deposit its share of a retry in the budget.
cdef void count_begun(Route route, int worker, bint streams, uint64_t started_ns) noexcept
# Count an answer of a target. failover: it was not the first choice, or not the first attempt.
cdef void count_answered(Route route, int index, bint failover) noexcept
# Count the end of an exchange. needs: of the request, as bits. status: as the client saw it; below 200 = it saw none.
cdef void count_over(Route route, uint64_t needs, int worker, int status, uint64_t took_ns) noexcept
