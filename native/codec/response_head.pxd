"""Makes the Head of a response from its status and the fields in a HeadReader.

Rules: RFC 9112 6 and 9.3, RFC 9113 8.3.2. Each function returns None for a refused response (502). The reader's
``fault`` tells the reason."""

from native.codec.head cimport Head
from native.codec.head_reader cimport HeadReader

cdef Head take_response(HeadReader reader, int status, int version)
# ended = no body follows; to_head = the response to a HEAD request
cdef Head take_http2_response(HeadReader reader, int status, bint ended, bint to_head)
