"""Holds the states of an exchange and decides what each event leads to.

The exchange acts on a Step only after it is decided; nothing here touches a socket, a clock or a counter.
"""

cdef int[10] TRANSITIONS = [
    1 << State.ADMITTED | 1 << State.LOCAL | 1 << State.CLOSED,                                     # RECEIVING
    1 << State.WAITING | 1 << State.QUEUED | 1 << State.ATTEMPTING | 1 << State.BACKOFF | 1 << State.COMMITTED
    | 1 << State.CLOSED,                                                                            # ADMITTED
    1 << State.CLOSED,                                                                              # LOCAL
    1 << State.COMMITTED | 1 << State.ADMITTED | 1 << State.CLOSED,                                 # WAITING
    1 << State.ATTEMPTING | 1 << State.COMMITTED | 1 << State.CLOSED,                               # QUEUED
    1 << State.QUEUED | 1 << State.BACKOFF | 1 << State.COMMITTED | 1 << State.CLOSED,              # ATTEMPTING
    1 << State.QUEUED | 1 << State.ATTEMPTING | 1 << State.COMMITTED | 1 << State.CLOSED,           # BACKOFF
    1 << State.RESUMING | 1 << State.CLOSED,                                                        # COMMITTED
    1 << State.COMMITTED | 1 << State.CLOSED,                                                       # RESUMING
    0,                                                                                              # CLOSED
]


cdef bint allowed(int state, int next_state) noexcept nogil:
    return state == next_state or TRANSITIONS[state] >> next_state & 1


cdef bint is_retry(int step) noexcept nogil:
    return step == Step.CHOOSE_AGAIN or step == Step.BACK_OFF or step == Step.RESUME or step == Step.REPEAT


cdef int after_failure(const Facts* facts) noexcept nogil:
    """Decide what follows a failed attempt before the commit point."""
    if facts.others and not facts.others_late:
        return Step.KEEP_WAITING        # the other attempt is not late
    if not facts.may_retry or facts.cutting:
        return Step.KEEP_WAITING if facts.others and not facts.cutting else Step.GIVE_UP
    if facts.moved:
        return Step.CHOOSE_AGAIN
    if facts.others:
        return Step.CHOOSE_AGAIN if facts.another else Step.KEEP_WAITING
    if facts.may_repeat and not facts.told_to_wait:
        return Step.REPEAT
    return Step.CHOOSE_AGAIN if facts.another and not facts.told_to_wait else Step.BACK_OFF


cdef int after_decline(const Facts* facts) noexcept nogil:
    """Decide what follows when a target has declined the request before the commit point."""
    if facts.others and not facts.others_late:
        return Step.KEEP_WAITING
    if facts.may_retry and facts.another and not facts.cutting:
        return Step.CHOOSE_AGAIN
    return Step.KEEP_WAITING if facts.others else Step.GIVE_UP


cdef int after_break(int event) noexcept nogil:
    """Decide what is done while another target is sought, or asked, to go on with an answer."""
    if event == Event.TARGET_DRAWN:
        return Step.START_ATTEMPT
    if event == Event.TARGETS_FULL or event == Event.NO_TARGET:
        return Step.BREAK               # the client has waited for the rest already
    return Step.COMMIT if event == Event.ANSWER_BEGUN else Step.KEEP_WAITING


cdef int next_step(int state, int event, const Facts* facts) noexcept nogil:
    if event == Event.DEADLINE_OVER:
        if facts.others:
            return Step.END_ATTEMPTS
        return Step.BREAK if state == State.COMMITTED or state == State.RESUMING else Step.GIVE_UP
    if state == State.COMMITTED or state == State.RESUMING:
        if event == Event.ANSWER_COMPLETE:
            return Step.FINISH
        if event == Event.ATTEMPT_FAILED or event == Event.ATTEMPT_REFUSED or event == Event.ATTEMPT_DECLINED:
            return Step.RESUME if facts.may_resume and not facts.cutting else Step.BREAK
        return after_break(event) if state == State.RESUMING else Step.KEEP_WAITING
    if event == Event.TARGET_DRAWN:
        return Step.START_ATTEMPT
    if event == Event.TARGETS_FULL:
        return Step.KEEP_WAITING if facts.others else Step.GIVE_UP if facts.declined else Step.QUEUE
    if event == Event.NO_TARGET:
        return Step.KEEP_WAITING if facts.others else Step.GIVE_UP
    if event == Event.TARGETS_REST:
        return Step.KEEP_WAITING if facts.others else Step.BACK_OFF
    if event == Event.ATTEMPT_LATE:
        if not facts.may_retry or not facts.another:
            return Step.KEEP_WAITING
        if not facts.may_join:
            return Step.LEAVE_TARGET if facts.circuit_open else Step.KEEP_WAITING
        return Step.START_BESIDE if not facts.others or facts.others_late else Step.KEEP_WAITING
    if event == Event.HEDGE_DUE:
        if state == State.ATTEMPTING and facts.others == 1 and facts.may_join and not facts.cutting:
            return Step.START_HEDGE
        return Step.KEEP_WAITING
    if event == Event.ATTEMPT_FAILED:
        return after_failure(facts)
    if event == Event.ATTEMPT_REFUSED:
        return Step.PASS_ON_REFUSAL
    if event == Event.ATTEMPT_DECLINED:
        return after_decline(facts)
    if event == Event.ANSWER_BEGUN:
        return Step.COMMIT
    if event == Event.ANSWER_COMPLETE:
        return Step.FINISH
    if event == Event.MOMENT_OVER:
        if state == State.WAITING:
            return Step.LOOK_AGAIN
        return Step.SHED if state == State.QUEUED else Step.CHOOSE_AGAIN
    if event == Event.ANSWER_KEPT:
        return Step.REPLAY
    if event == Event.ANSWER_AWAITED:
        return Step.AWAIT
    if event == Event.NOT_KEPT:
        return Step.CHOOSE_AGAIN
    return Step.KEEP_WAITING


def decide(int state, int event, *, int others=0, bint others_late=False, bint may_retry=False, bint another=False,
           bint moved=False, bint told_to_wait=False, bint may_join=False, bint cutting=False, bint circuit_open=False,
           bint declined=False, bint may_resume=False, bint may_repeat=False):
    """``next_step`` for tests: the Step that an Event in a State leads to, by the Facts."""
    cdef Facts facts = Facts(
        others, others_late, may_retry, another, moved, told_to_wait, may_join, cutting, circuit_open, declined,
        may_resume, may_repeat,
    )
    return Step(next_step(State(state), Event(event), &facts))


def may_follow(int state, int next_state):
    """``allowed`` for tests: whether an exchange may go from one state to another."""
    return allowed(State(state), State(next_state))
