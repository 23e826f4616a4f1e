# Holds the states of an exchange and decides what each event leads to.  Types of the compiled module; see steps.pxd.

from enum import IntEnum

class State(IntEnum):
    RECEIVING = 0
    ADMITTED = 1
    LOCAL = 2
    WAITING = 3
    QUEUED = 4
    ATTEMPTING = 5
    BACKOFF = 6
    COMMITTED = 7
    RESUMING = 8
    CLOSED = 9

class Event(IntEnum):
    TARGET_DRAWN = 0
    TARGETS_FULL = 1
    NO_TARGET = 2
    ATTEMPT_LATE = 3
    ATTEMPT_FAILED = 4
    ATTEMPT_REFUSED = 5
    ANSWER_BEGUN = 6
    ANSWER_COMPLETE = 7
    MOMENT_OVER = 8
    DEADLINE_OVER = 9
    ANSWER_KEPT = 10
    ANSWER_AWAITED = 11
    NOT_KEPT = 12
    ATTEMPT_DECLINED = 13
    TARGETS_REST = 14
    HEDGE_DUE = 15

class Step(IntEnum):
    KEEP_WAITING = 0
    START_ATTEMPT = 1
    START_BESIDE = 2
    CHOOSE_AGAIN = 3
    BACK_OFF = 4
    QUEUE = 5
    SHED = 6
    GIVE_UP = 7
    COMMIT = 8
    FINISH = 9
    PASS_ON_REFUSAL = 10
    BREAK = 11
    LEAVE_TARGET = 12
    REPLAY = 13
    AWAIT = 14
    LOOK_AGAIN = 15
    END_ATTEMPTS = 16
    RESUME = 17
    REPEAT = 18
    START_HEDGE = 19

def decide(
    state: int,
    event: int,
    *,
    others: int = 0,
    others_late: bool = False,
    may_retry: bool = False,
    another: bool = False,
    moved: bool = False,
    told_to_wait: bool = False,
    may_join: bool = False,
    cutting: bool = False,
    circuit_open: bool = False,
    declined: bool = False,
    may_resume: bool = False,
    may_repeat: bool = False,
) -> Step: ...
def may_follow(state: int, next_state: int) -> bool: ...
