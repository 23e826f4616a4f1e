"""Defines what a connection begins with, before TLS and before the bytes that its owner receives."""

cdef class Preface:
    """Bytes that are exchanged first. A subclass overrides ``feed``; tests/native/test_contract.py checks it."""
    cdef bytes greeting             # is sent first; None = nothing
    cdef readonly bint is_complete
    cdef readonly bint is_bad       # the connection cannot be used, because of ``fault``
    cdef readonly str fault
    cdef readonly tuple source      # (address, port) of the client; None = the connection's own
    cdef readonly bint is_secure    # the client's connection to a proxy in front of edge runs over TLS
    # Return how many of these bytes belong to it: all of them until it is complete, or bad. It copies what it keeps.
    cdef Py_ssize_t feed(self, const char* data, Py_ssize_t size)
