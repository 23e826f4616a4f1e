"""Holds what one listener demands of its clients, and what it believes of them."""

from libc.stdint cimport uint64_t

cdef class ListenPolicy:
    cdef readonly bint allow_anonymous  # no key is required
    cdef readonly bint proxy_protocol   # each connection begins with a PROXY header
    cdef readonly bint has_origins      # web pages of ``origins`` may use the listener
    cdef uint64_t max_age_ns            # of a connection; 0 = no limit
    cdef uint64_t age_grace_ns          # how long the requests on it may take after that; 0 = no limit
    cdef bytes redirect                 # b"https", or the address to which requests are sent; None = they are served
    cdef bint checks_host               # on loopback: without keys, Host must be a name that belongs to this machine
    cdef bint any_origin
    cdef frozenset hosts                # lower case, without port and final dot
    cdef frozenset origins              # as browsers write them
    cdef list networks                  # (16 bytes of an address, bits that count), of proxies that are believed
    cdef bint trusts(self, tuple peer)  # the peer's address is one of ``networks``
    cdef bint permits_host(self, bytes host)        # an address, localhost or one of ``hosts``
    cdef bint permits_origin(self, bytes origin)    # one of ``origins``
    cdef bint accepts_proxy(self, tuple peer)       # this peer may send a PROXY header

cdef bint is_loopback_origin(bytes origin)      # a page that this machine serves
cdef bytes origin_host(bytes origin)            # host and port of an origin; b"" = it has none
cdef bint is_address(bytes host) noexcept       # an IPv4 address or a bracketed IPv6 address
