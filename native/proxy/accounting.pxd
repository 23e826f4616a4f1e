"""Settles an attempt: what its target is remembered for (health, latency, capacity), and what it used (tokens, money)."""

from libc.stdint cimport int64_t, uint32_t, uint64_t
from native.balance.balancer cimport Target
from native.proxy.router cimport Route

cdef struct AttemptFacts:       # what is known of an attempt; times are monotonic ns, 0 = it has not happened
    int index                   # of the target in its pool
    int admit                   # native.balance.breaker.Admit
    int latency_cell, key
    uint32_t generation         # of the circuit that admitted it
    uint64_t request_started_ns, started_ns
    uint64_t waiting_ns         # since when it waits for a connection
    uint64_t connected_ns       # when it had one, if it had to wait
    uint64_t asked_ns           # the request is sent whole
    uint64_t head_ns, content_ns, last_ns, ended_ns
    uint64_t late_after_ns      # from asking to being late
    bint slow                   # noted as slow
    bint late                   # ... as late
    bint silent                 # it ran beside an answer, to its deadline, without a byte
    bint caller_bound           # the client set the deadline

cdef struct Usage:
    int64_t prompt_tokens, output_tokens    # -1 = nobody has counted them
    uint64_t cost_nano                      # US dollars * 1e9

# When it was asked for what it answered: an answer may begin before an upload is whole.
cdef uint64_t asked_from(const AttemptFacts* facts) noexcept nogil
# A rightful answer has begun: a half-open trial has succeeded, whatever the length of the rest.
cdef void note_proof(Route route, Target target, AttemptFacts* facts, uint64_t now_ns, uint64_t rnd) noexcept
# The first content is here: what it says about how much the target takes.
cdef void note_first_content(Route route, Target target, AttemptFacts* facts, uint64_t now_ns) noexcept
# It has taken longer than what counts as slow; at most once.
cdef void note_slow(Route route, Target target, AttemptFacts* facts, uint64_t now_ns, uint64_t rnd) noexcept
# It is late; at most once. ``heard``: at least a head has come.
cdef void note_late(Route route, Target target, AttemptFacts* facts, bint heard, uint64_t now_ns, uint64_t rnd) noexcept
# How long a half-open trial may take where another target may answer instead, from asking; 0 = it is no trial.
cdef uint64_t trial_bound_ns(Route route, Target target, const AttemptFacts* facts) noexcept
# From when on it is late, from asking.
cdef uint64_t late_bound_ns(Route route, Target target, const AttemptFacts* facts) noexcept
# From when on it counts as slow, from asking; 0 = never.
cdef uint64_t slow_after_ns(Route route, Target target, const AttemptFacts* facts) noexcept
# Remember the outcome. True: that opened the target's circuit. overloaded: it said that it has too much (503, 529).
cdef bint settle_health(Route route, Target target, AttemptFacts* facts, int outcome, bint overloaded, uint64_t now_ns,
                        uint64_t retry_after_ns, uint64_t rnd) noexcept
# Set the target aside where its answer says so: rate limited, quarantined, or nothing here for this route (a region).
cdef void set_aside(Route route, Target target, const AttemptFacts* facts, int outcome, bint offered, uint64_t now_ns,
                    uint64_t retry_after_ns) noexcept
# Read what the provider says is left of its bounds (x-ratelimit-*, anthropic-ratelimit-*). True: tokens, this attempt's
# included. wait_ns: how long the answer asks to stay away.
cdef bint learn_limits(Target target, list fields, uint64_t now_ns, uint64_t wait_ns)
# Price what was used, and count it at target and route. answered_by: the target of another region that answered.
cdef void count_usage(Route route, Target target, Usage* usage, bint is_region, bytes answered_by)
# Settle what was taken from the credential's allowance: ``guess`` tokens. tokens_told: the provider has said what is left.
cdef void settle_credential(Target target, const Usage* usage, uint64_t guess, bint tokens_told, bint sent,
                            uint64_t now_ns) noexcept
# An exchange has begun on a route: it counts as in flight, and entitles to its share of a retry.
cdef void count_begun(Route route, int worker, bint streams, uint64_t started_ns) noexcept
# It is over, with the status that the client saw (below 200: it saw none), after so long.
cdef void count_over(Route route, int worker, int status, uint64_t took_ns) noexcept
