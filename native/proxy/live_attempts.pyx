cimport cython
from native.proxy.accounting cimport is_trial
from native.proxy.attempt cimport OUTCOME_NAMES, OVER
from native.proxy.detached cimport detach
from native.proxy.hooks import FailedAttempt
from native.proxy.runtime cimport NEVER
from native.proxy.shadow cimport copy_of, is_due
from native.state.shared_state cimport CANCELLED, CLIENT_FAULT, DEADLINE


@cython.freelist(64)
cdef class LiveAttempts:
    """The attempts of one exchange."""

    def __repr__(self):
        return f"<LiveAttempts begun={self.begun} {self.first!r} {self.second!r}>"

    cdef bint is_failover(self, Attempt attempt) noexcept:
        return attempt is self.hedge or self.tries() > 1

    cdef int tries(self) noexcept:
        return self.begun - (self.hedge is not None and not self.hedge.moved)

    cdef int add(self, Attempt attempt) except -1:
        self.begun += 1
        if attempt.route.shadow is not None and not self.drawn and attempt.request.received:
            self.draw_copy(attempt.request)
        if self.first is None:
            self.first = attempt
        else:
            self.second = attempt

    cdef int draw_copy(self, Request request) except -1:
        self.drawn = True
        self.copy = copy_of(request)

    cdef int finish_upload(self, Request request) except -1:
        if not self.drawn and is_due(request):
            self.draw_copy(request)
        if self.first.sent:
            self.first.finish_upload(request.trailers)

    cdef int remove(self, Attempt attempt) except -1:
        if self.past is None:
            self.past = []
        self.past.append(attempt)
        if attempt.moved:
            self.begun -= 1     # the upstream has not begun it
            attempt.request.moves += 1
        if attempt is self.first:
            self.first = self.second
            self.second = None
        elif attempt is self.second:
            self.second = None

    cdef int let_go(self, Attempt attempt, uint64_t deadline_ns) except -1:
        self.remove(attempt)
        attempt.outrun = self.hedge is not None and not (self.runs_on or attempt.facts.late or is_trial(&attempt.facts))
        if attempt.outrun or not detach(attempt, deadline_ns):
            attempt.outrun = self.hedge is not None
            attempt.cancel(CANCELLED)

    cdef int keep_only(self, Attempt attempt, uint64_t deadline_ns) except -1:
        if self.second is not None:
            self.let_go(self.second if attempt is self.first else self.first, deadline_ns)

    cdef int stop(self, int outcome, Charge charge) except -1:
        cdef Attempt attempt
        while self.first is not None:
            attempt = self.first
            attempt.cancel(outcome)
            if charge is not None:
                charge.add(&attempt.usage)
                charge = None       # of two that are still unanswered, the caller pays for one
            self.remove(attempt)

    cdef int expire(self, int outcome, str why, Charge charge) except -1:
        cdef Attempt attempt = self.second
        if attempt is not None:
            attempt.cancel(outcome if attempt.owes_answer() else CANCELLED)
            self.remove(attempt)        # the caller pays for one of the two: for the older, as it reports its result
        attempt = self.first
        attempt.end(outcome if outcome != <int>DEADLINE or attempt.owes_answer() else CANCELLED, why)

    cdef uint64_t running(self) noexcept:
        cdef uint64_t bits = 0
        if self.first is not None:
            bits |= <uint64_t>1 << self.first.facts.index
        if self.second is not None:
            bits |= <uint64_t>1 << self.second.facts.index
        return bits

    cdef void gather(self, Facts* facts, Attempt about) noexcept:
        cdef bint first = self.first is not None and self.first is not about
        cdef bint second = self.second is not None and self.second is not about
        facts.others = first + second
        facts.others_late = (
            facts.others > 0 and (not first or self.first.facts.late) and (not second or self.second.facts.late)
        )
        facts.may_retry = facts.another = facts.moved = facts.told_to_wait = facts.circuit_open = facts.may_resume = False
        facts.declined = self.declined is not None

    cdef int pause(self) except -1:
        if self.first is not None and self.first.stream is not None:
            self.first.paused = True
            self.first.stream.pause()

    cdef uint64_t next_deadline(self) noexcept:
        cdef uint64_t when = NEVER
        if self.first is not None:
            when = self.first.next_deadline()
        if self.second is not None:
            when = min(when, self.second.next_deadline())
        return min(when, self.hedge_ns) if self.hedge_ns else when

    cdef check_deadlines(self, uint64_t now):
        cdef Attempt attempt
        for attempt in (self.first, self.second):
            if attempt is not None and attempt.phase != OVER:
                attempt.check_deadlines(now)

    cdef list all(self):
        cdef list attempts = [] if self.past is None else self.past[:]
        if self.first is not None:
            attempts.append(self.first)
        if self.second is not None:
            attempts.append(self.second)
        return attempts

    cdef int note_failure(self, Attempt attempt, AttemptResult result) except -1:
        if self.failed is None:
            self.failed = []
        self.failed.append(FailedAttempt(attempt.target.id, OUTCOME_NAMES[result.outcome], result.detail))
        self.stale = self.stale or attempt.moved
        if self.declined is None and (
            attempt.declined or attempt is self.second and result.outcome == <int>CLIENT_FAULT
        ):
            self.declining = attempt
            self.declined = result

    cdef str why(self, str otherwise):
        cdef list failed = self._failures(self.first)
        if not failed:
            return otherwise
        return f"{failed[-1].target}: {failed[-1].outcome}"

    cdef list _failures(self, Attempt attempt):
        if self.failed and attempt is not None and attempt is self.hedged and (
            self.failed[-1].target == self.hedge.target.id
        ):
            return self.failed[:-1]
        return self.failed

    cdef str reason(self, Attempt attempt, str otherwise):
        cdef list failed = self._failures(attempt)
        cdef Attempt earlier
        if self.past is None:
            return otherwise
        earlier = <Attempt>self.past[0]
        if earlier is attempt:
            return otherwise
        if failed:
            last = failed[-1]
            if (attempt is self.declining or self.stale) and last.target == attempt.target.id:
                if len(failed) == 1:
                    return otherwise
                last = failed[-2]
            return f"{last.target}: {last.outcome}"
        if attempt is self.hedge and otherwise is None:
            return f"{self.hedged.target.id}: hedged"
        return f"{earlier.target.id}: late" if earlier.facts.late and attempt is not self.hedged else otherwise
