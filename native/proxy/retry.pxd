"""Decides whether an exchange may be retried, and takes the retry from the route's budget."""

from libc.stdint cimport uint64_t
from native.proxy.attempt cimport Attempt
from native.proxy.live_attempts cimport LiveAttempts
from native.proxy.request cimport Request
from native.proxy.selection cimport Selection
from native.proxy.steps cimport Facts

# Return the native.proxy.steps.Event of an attempt's end. While another target is sought that goes on with an answer, a
# refusal is a failure as any other: what is refused is not what the client has asked. So is the refusal of a hedge while
# the attempt beside it runs, which may take what the other does not.
cdef int event_of(LiveAttempts live, Attempt attempt, int outcome, int state) noexcept
# Return whether another attempt is allowed: the deadline has not passed, ``begun`` is below the route's attempts,
# and the request may be sent again.
cdef bint repeatable(Request request, Attempt attempt, int outcome, int begun, uint64_t now) noexcept
# How long to wait before the same targets are asked again: as the server says, else longer each time, with jitter.
cdef uint64_t pause_ns(Attempt attempt, int begun, uint64_t chance) noexcept
# Take a retry from the budget; False = the budget is spent.
cdef bint pay_for_retry(Request request, Attempt attempt, int outcome, uint64_t now) noexcept
# Collect what may follow an attempt that is late, and one that has failed and is no longer live.
cdef int facts_of_late(
    Facts* facts, Request request, LiveAttempts live, Selection selection, Attempt attempt, uint64_t now
) except -1
cdef int facts_of_failure(
    Facts* facts, Request request, LiveAttempts live, Selection selection, Attempt attempt, int outcome, uint64_t now
) except -1
# Return whether another target may be asked for an attempt that is still live; if so, the retry is paid for.
cdef bint may_ask_another(
    Request request, LiveAttempts live, Selection selection, Attempt attempt, int outcome, uint64_t now
)
