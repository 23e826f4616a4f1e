# Queues the data that one HTTP/2 stream still has to send.  Types of the compiled module; see http2_outbox.pxd.

class Outbox:
    # The queue of one stream.

    @property
    def queued(self) -> int: ...
