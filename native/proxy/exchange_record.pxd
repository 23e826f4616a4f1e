"""Records an exchange that is over, for traces and the access log."""

from libc.stdint cimport uint64_t
from native.proxy.charge cimport Charge
from native.proxy.live_attempts cimport LiveAttempts
from native.proxy.place cimport Place
from native.proxy.request cimport Request
from native.proxy.response cimport Response
from native.proxy.selection cimport Selection

# Record the exchange if it is sampled, or if it failed, was slow or was retried and the rate of such records allows it.
# status: HTTP status that the client saw; 0 = broken off after content, -1 = the client left. charge: None = refused
# before it was charged. place: in the queue; None = it never waited. selection: None = no target was looked for. What edge
# answers itself is not recorded.
cdef int record(Request request, Response response, LiveAttempts live, Charge charge, int status, uint64_t now,
                 Place place, Selection selection) except -1
