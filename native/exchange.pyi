# In what order do things happen to a request?  Types of the compiled module; the contract is in exchange.pxd.

from native.answering import Answering
from native.lane import LaneCore
from native.timerwheel import Timer

class Lane(LaneCore):
    # A worker's data path: give ``protocol`` to ``loop.create_server`` and ``start`` it.
    def cut(self) -> None: ...

class Exchange(Answering): ...
class Alarm(Timer): ...
