# In what order do things happen to a request?  Types of the compiled module; the contract is in exchange.pxd.

from native.io.timer_wheel import Timer
from native.proxy.data_plane import DataPlaneCore
from native.proxy.response import Answering

class DataPlane(DataPlaneCore):
    # A worker's data path: give ``protocol`` to ``loop.create_server`` and ``start`` it.
    def cut(self) -> None: ...

class Exchange(Answering): ...
class Alarm(Timer): ...
