# Runs one exchange, from the head of its request to its end.  Types of the compiled module; see exchange.pxd.

from native.io.timer_wheel import Timer
from native.proxy.attempt import AttemptEvents

class Alarm(Timer): ...
class Exchange(AttemptEvents): ...
