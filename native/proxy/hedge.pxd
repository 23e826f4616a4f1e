"""Decides when a second target is asked beside an attempt that shows no content yet, and which.

A hedge is no retry: the attempt beside it is well as far as edge knows, only slower than most. It has a budget of its own
(native/state/hedge_budget), does not count among ``retry.attempts``, and its loser is cancelled at once."""

from libc.stdint cimport uint64_t
from native.balance.balancer cimport Choice
from native.proxy.attempt cimport Attempt
from native.proxy.live_attempts cimport LiveAttempts
from native.proxy.request cimport Request
from native.proxy.router cimport Route
from native.proxy.selection cimport Selection

# Add an attempt that is about to begin, and note when a hedge beside it is due, if the route hedges and the exchange has
# not; whether the request may be hedged is asked only then. ``beside``: the attempt is the hedge.
cdef int add_attempt(LiveAttempts live, Request request, Attempt attempt, bint beside, uint64_t now_ns) except -1
# Choose the target of a hedge beside ``attempt``, and take it from the budget. False: there is none, or no budget.
cdef bint draw_hedge(Selection selection, Attempt attempt, uint64_t now_ns, Choice* choice)
# The hedge met a connection that had died while it was idle: one is due again at once, and gets a new connection there.
cdef int hedge_again(LiveAttempts live, Selection selection, uint64_t now_ns) except -1
# The exchange commits to ``winner``: the other attempt has lost, and says what it has shown of its target's latency.
# Call this before the other is let go of.
cdef int settle_hedge(LiveAttempts live, Selection selection, Attempt winner, uint64_t now_ns) except -1
# Count a hedge of an exchange that ends without an answer.
cdef void count_unanswered(LiveAttempts live, Route route) noexcept
