# Registers a client connection with the data plane.  Types of the compiled module; see connection_slot.pxd.

class ConnectionSlot:
    def check_deadlines(self, now_ns: int) -> None: ...
