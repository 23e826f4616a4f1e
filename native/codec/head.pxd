"""Holds one parsed message head, of a request or a response, for HTTP/1.1 and HTTP/2."""

from libc.stdint cimport int64_t, uint64_t

cpdef enum Length:
    NO_BODY = -1            # the message has no body
    UNKNOWN_LENGTH = -2     # chunked, or until the end of the stream
    TUNNEL = -3             # after a 101: bytes in both directions until one side closes

cdef class FieldMemo:
    """What was found out about one list of fields, which the heads of a connection share while their fields stay the
    same. Each part is of the module that sets it, and None until then."""
    cdef object callers             # native.state.callers: whose answer ``caller`` is
    cdef object tokens              # ... the Tokens that it was asked with
    cdef object caller              # ... the Caller
    cdef object token               # ... the Token by which it was found; None = by a key
    cdef uint64_t changes           # ... of the cluster's keys, by then
    cdef Py_ssize_t place           # ... of the field with the credential
    cdef list provided              # native.proxy.model_request: the fields that a provider gets

cdef class Head:
    """One parsed message head. ``fields`` is a list of the end-to-end fields as (lower-case name, value). Hop-by-hop
    fields, framing fields, Host and Expect are not in the list; attributes hold their meaning."""
    cdef readonly bytes method      # request
    cdef readonly bytes target      # request: origin form, path and query
    cdef readonly bytes path        # target without the query
    cdef readonly bytes authority   # Host or :authority, as sent
    cdef readonly bytes host        # lower case, no port
    cdef readonly int status        # answer
    cdef readonly list fields
    cdef readonly int64_t length    # Content-Length, or Length
    cdef readonly int version       # 10, 11, 20
    cdef readonly bint expects      # Expect: 100-continue
    cdef readonly bint keep_alive
    cdef readonly bint upgrades     # Upgrade, with Connection: upgrade or without
    cdef readonly bytes upgrade     # value of Upgrade if Connection lists it (RFC 9110 7.8), else None
    cdef readonly bint until_close  # response: the body ends when the connection closes
    cdef readonly bytes content_type
    cdef readonly bytes content_encoding
    cdef FieldMemo memo             # of a request: what is known about ``fields``; None = nothing is kept
