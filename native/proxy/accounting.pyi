# What is a target remembered for, and what did an attempt use?  Types of the compiled module; the contract is in
# settling.pxd.

from native.http.stream import ClientEvents, ServerEvents

class ExchangeCore(ServerEvents): ...
class AttemptCore(ClientEvents): ...
