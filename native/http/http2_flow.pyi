# Adds flow control to the queue of one HTTP/2 stream.  Types of the compiled module; see http2_flow.pxd.

from native.http.http2_outbox import Outbox

class StreamFlow(Outbox): ...
