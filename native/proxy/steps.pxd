"""Holds the states of an exchange and decides, by pure functions, what each event leads to."""

cpdef enum State:           # docs/life-of-a-request.md has a heading for each
    RECEIVING = 0           # the head is here (services), or the body is being collected (models)
    ADMITTED = 1            # its allowance is taken, and its deadlines run
    LOCAL = 2               # edge answers it itself
    WAITING = 3             # another exchange asks the same question, and its answer will serve both (cache)
    QUEUED = 4              # every usable target is full: it waits for a place
    ATTEMPTING = 5          # one target is being asked, or two
    BACKOFF = 6             # every usable target was tried: the next attempt starts after a pause
    COMMITTED = 7           # content was sent to the client: no other target is asked for the whole answer
    RESUMING = 8            # the answer broke off and another target goes on with it (rescue)
    CLOSED = 9

cpdef enum Event:           # what may happen to an exchange that has its route
    TARGET_DRAWN = 0        # a target was chosen
    TARGETS_FULL = 1        # the usable targets have no place
    NO_TARGET = 2           # none is usable
    ATTEMPT_LATE = 3
    ATTEMPT_FAILED = 4
    ATTEMPT_REFUSED = 5     # the target says that the request is the caller's own fault
    ANSWER_BEGUN = 6
    ANSWER_COMPLETE = 7
    MOMENT_OVER = 8         # the pause of a back-off, or the time limit of the queue
    DEADLINE_OVER = 9       # of the whole exchange; or the node stops
    ANSWER_KEPT = 10        # the cache has a fresh answer
    ANSWER_AWAITED = 11     # another exchange asks the same question
    NOT_KEPT = 12           # the cache has no answer, and nobody else asks
    ATTEMPT_DECLINED = 13   # the target does not take this request, and another one may
    TARGETS_REST = 14       # a better tier than the usable one comes back soon, and is waited for
    HEDGE_DUE = 15          # the attempt that runs has shown no content for the time after which it is hedged

cpdef enum Step:            # what is done about it
    KEEP_WAITING = 0
    START_ATTEMPT = 1       # the drawn target
    START_BESIDE = 2        # choose another target and ask it too
    CHOOSE_AGAIN = 3        # another target, at once
    BACK_OFF = 4
    QUEUE = 5
    SHED = 6                # reply that every target is full, with Retry-After
    GIVE_UP = 7             # reply that no usable target is left, and what was tried
    COMMIT = 8
    FINISH = 9
    PASS_ON_REFUSAL = 10
    BREAK = 11              # end an answer that broke off after the commit point
    LEAVE_TARGET = 12       # end a late attempt beside which no other may run
    REPLAY = 13             # answer from the cache
    AWAIT = 14              # look again in a moment
    LOOK_AGAIN = 15         # in the cache
    END_ATTEMPTS = 16       # the running ones; the older reports the result
    RESUME = 17             # let another target go on with an answer that broke off
    REPEAT = 18             # ask the target that has failed once more, after a pause
    START_HEDGE = 19        # ask another target too, if there is one and the budget allows it

cdef struct Facts:          # what a decision needs to know
    int others              # running attempts, without the one that the event is about
    bint others_late        # all of them are late
    bint may_retry          # before the deadline, attempts are left, and this request may be sent again
    bint another            # a usable target has not been tried
    bint moved              # the connection ended before the upstream began the request: no target is blamed
    bint told_to_wait       # a gRPC server says when to come back
    bint may_join           # a second attempt may run beside this one
    bint cutting            # the node stops: exchanges in flight are being ended
    bint circuit_open       # of the target of a late attempt
    bint declined           # a target has declined the request: its answer is relayed if no other can do better
    bint may_resume         # another target may go on with the answer
    bint may_repeat         # the target has failed fast, and is asked once more before others

cdef Facts NO_FACTS             # all zero: for events that need none

# Pure: the same state, event and facts give the same step.
cdef int next_step(int state, int event, const Facts* facts) noexcept nogil
cdef bint is_retry(int step) noexcept nogil     # it starts another attempt, for which the retry budget pays
cdef bint allowed(int state, int next_state) noexcept nogil
