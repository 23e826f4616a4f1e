"""Lets an attempt that lost run on beside its exchange.

An attempt that is late is joined by another one, and the first content wins. Cancelling the loser would hide how long its
target takes: a model that thinks for 40 s would be late for ever, and a target that never answers would never be found out.
One loser per target runs on, to its deadline: its first content is a sample of its latency, and if no byte has come
by the deadline its circuit opens. What it costs is counted for the target and the route, not charged to a caller.
"""

from libc.stdint cimport int64_t
from native.proxy.attempt cimport ANSWERING, ASKING, AttemptResult


cdef class DetachedTimer(Timer):
    cdef int fire(self, uint64_t now_ns) except -1:
        cdef DetachedAttempt owner = self.owner
        if owner is not None:
            owner.check(now_ns)


cdef class DetachedAttempt(AttemptEvents):
    """The owner of an attempt whose answer goes to no client."""

    def __repr__(self):
        return f"<DetachedAttempt {self.attempt!r}>"

    cdef int check(self, uint64_t now) except -1:
        if self.attempt.check_deadlines(now):
            return 0
        if now >= self.deadline_ns:
            self.attempt.end_silent()
            return 0
        self.arm()

    cdef int arm(self) except -1:
        self.runtime.deadlines.arm(self.timer, min(self.attempt.next_deadline(), self.deadline_ns))

    cdef bint on_answer(self, Attempt attempt, int64_t length):
        return False        # the attempt settles itself: its first content has come

    cdef bint on_failed_answer(self, Attempt attempt):
        return False

    cdef bytes translate(self, Attempt attempt, bytes content):
        return content

    cdef int on_answer_data(self, Attempt attempt, bytes data) except -1:
        return 0

    cdef int on_interim_answer(self, Attempt attempt, int status) except -1:
        return 0

    cdef int on_late(self, Attempt attempt, uint64_t now) except -1:
        return 0

    cdef int on_deadline_change(self, Attempt attempt, uint64_t now) except -1:
        self.arm()

    cdef int on_result(self, Attempt attempt, AttemptResult result) except -1:
        self.runtime.deadlines.disarm(self.timer)
        self.timer.owner = None
        if self.runtime.detached.get(attempt.target.id) is self:
            del self.runtime.detached[attempt.target.id]


cdef bint detach(Attempt attempt, uint64_t deadline_ns):
    cdef Runtime runtime = attempt.runtime
    cdef DetachedAttempt owner
    if (attempt.phase != ASKING and attempt.phase != ANSWERING) or not attempt.body_done or runtime.cutting:
        return False
    if attempt.target.id in runtime.detached:
        return False
    owner = DetachedAttempt.__new__(DetachedAttempt)
    owner.runtime = runtime
    owner.attempt = attempt
    owner.deadline_ns = deadline_ns
    owner.timer = DetachedTimer.__new__(DetachedTimer)
    owner.timer.owner = owner
    attempt.events = owner
    attempt.detached = True
    runtime.detached[attempt.target.id] = owner
    owner.arm()
    return True
