# What do a wire and an exchange say to each other?  Types of the compiled module; the contract is in stream.pxd.

class Certified: ...
class ServerEvents: ...

class ServerStream:
    # The client's side of one exchange.

    @property
    def scheme(self) -> str: ...

class ClientEvents: ...

class ClientStream:
    # The upstream's side of one attempt.

    @property
    def reused(self) -> bool: ...
    @property
    def refused(self) -> bool: ...
    @property
    def moved(self) -> bool: ...

class Acceptor:
    # What a server connection needs from the data plane it belongs to.

    @property
    def coarse(self) -> object: ...
