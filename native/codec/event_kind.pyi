# Classifies one event of a streamed response.  Types of the compiled module; the contract is in event_kind.pxd.

from enum import IntEnum

class Said(IntEnum):
    # Bits; several may be set at once.

    SAID_COMMENT = 1
    SAID_PREAMBLE = 2
    SAID_CONTENT = 4
    SAID_ERROR = 8
    SAID_FINISH = 16
    SAID_DONE = 32
    SAID_ERROR_FIRST = 64
    SAID_GARBAGE = 128
    SAID_CALL = 256
    SAID_CHOICES = 512
