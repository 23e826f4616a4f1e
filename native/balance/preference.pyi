# Ranks the members of a pool by cost or latency.  Types of the compiled module; the contract is in preference.pxd.

from enum import IntEnum

class Preference(IntEnum):
    PREFER_ORDER = 0
    PREFER_COST = 1
    PREFER_LATENCY = 2
