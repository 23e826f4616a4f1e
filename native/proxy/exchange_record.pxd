"""Records an exchange that is over, for traces and the access log."""

from libc.stdint cimport uint64_t
from native.proxy.charge cimport Charge
from native.proxy.live_attempts cimport LiveAttempts
from native.proxy.request cimport Request
from native.proxy.response cimport Response

# Where it is sampled, or failed, slow or retried and within what may be kept of those. status: of HTTP, as the client saw
# it; 0 broken off after content, -1 the client left. charge: None where it was refused before it was charged.
cdef void record(Request request, Response response, LiveAttempts live, Charge charge, int status, uint64_t now,
                 uint64_t queue_ns)
