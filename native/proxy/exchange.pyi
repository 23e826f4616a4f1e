# Holds the order of everything that happens to a request.  Types of the compiled module; see exchange.pxd.

from native.io.timer_wheel import Timer
from native.proxy.attempt import AttemptEvents

class Alarm(Timer): ...
class Exchange(AttemptEvents): ...
