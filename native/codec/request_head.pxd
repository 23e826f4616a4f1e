"""Makes the Head of a request from its request line or pseudo-header fields and the fields in a HeadReader.

Rules: RFC 9112 3.2, 6 and 9.3, RFC 9113 8.3.1. Each function returns None for a refused request. The reader's ``fault``
and ``fault_status`` tell the reason."""

from native.codec.head cimport Head
from native.codec.head_reader cimport HeadReader

cdef Head take_request(HeadReader reader, bytes method, bytes target, int version)
# A pseudo-header field that was not received is None; ended = no body follows.
cdef Head take_http2_request(
    HeadReader reader, bytes method, bytes scheme, bytes path, bytes authority, bint ended
)
