# Keeps average latencies in words of the shared state. Reached from Python through native.balance.target.Target.

from enum import IntEnum

class Cell(IntEnum):
    CELL_STREAM = 0
    CELL_WHOLE = 1
