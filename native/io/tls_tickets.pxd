"""Derives the keys of TLS session tickets from a secret of the node and the hour, so that its workers share them."""

from native.io.openssl cimport SSL_CTX

cdef class TicketKeys:
    cdef bytes secret
    cdef dict derived               # hour -> (name, HMAC key, AES key)
    cdef public long ahead_s        # added to the wall clock; 0 outside of tests
    cdef tuple keys_of(self, long hour)

cdef int use_ticket_keys(SSL_CTX* context, TicketKeys keys) except -1  # borrowed: ``keys`` must outlive the context
