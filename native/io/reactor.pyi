from asyncio import AbstractEventLoop

from native.io.timer_wheel import Wheel

class Deferred: ...

class Pollable(Deferred):
    reactor: Reactor

class Ticker: ...

class Reactor:
    loop: AbstractEventLoop
    watched: int
    deadlines: Wheel
    def __init__(self, loop: AbstractEventLoop) -> None: ...
    def turn(self) -> None: ...
    def close(self) -> None: ...
