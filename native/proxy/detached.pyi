# Lets an attempt that lost run on.  Types of the compiled module; the contract is in detached.pxd.

from native.io.timer_wheel import Timer
from native.proxy.attempt import AttemptEvents

class DetachedTimer(Timer): ...
class DetachedAttempt(AttemptEvents): ...
