# Opens and closes the circuit of a target, or of a capability of one.
# Reached from Python through native.balance.balancer.TargetPool.

from enum import IntEnum

class CircuitState(IntEnum):
    CLOSED = 0
    OPEN = 1
    HALF_OPEN = 2

class TripReason(IntEnum):
    TRIP_NONE = 0
    TRIP_CONSECUTIVE = 1
    TRIP_RATIO = 2
    TRIP_SLOW = 3
    TRIP_TRIAL = 4
    TRIP_RETRY_AFTER = 5
    TRIP_REMOTE = 6
    TRIP_LATE = 7
    TRIP_DECLINED = 8

class Admit(IntEnum):
    ADMIT_NO = 0
    ADMIT_YES = 1
    ADMIT_TRIAL = 2
