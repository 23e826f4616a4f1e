"""Decides which web pages and names may use a listener, and which proxies in front of it are believed.

A web page reaches a listener on loopback through the browser of a user of the machine, as a page of another origin or
under a name that its owner lets resolve to 127.0.0.1 (DNS rebinding). The browser reveals both in fields that a page
cannot change: Origin (RFC 6454 7.3) and Host."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.string cimport memcmp, memcpy, memset
from native.io.posix cimport AF_INET, AF_INET6, inet_pton

from ipaddress import ip_network

cdef enum:
    ADDRESS = 16            # bytes of an IPv6 address; IPv4 addresses are mapped into them (RFC 4291 2.5.5.2)
    LONGEST_ADDRESS = 63


cdef bint read_address(const char* text, Py_ssize_t size, unsigned char* out) noexcept:
    """Read an IPv4 or IPv6 address without brackets; return whether it is one."""
    cdef char[LONGEST_ADDRESS + 1] copy
    if size == 0 or size > LONGEST_ADDRESS:
        return False
    memcpy(copy, text, size)
    copy[size] = 0
    if inet_pton(AF_INET6, copy, out) == 1:
        return True
    memset(out, 0, 10)
    out[10] = out[11] = 0xFF
    return inet_pton(AF_INET, copy, out + 12) == 1


cdef bint is_address(bytes host) noexcept:
    cdef unsigned char[ADDRESS] out
    cdef const char* p = PyBytes_AS_STRING(host)
    cdef Py_ssize_t size = PyBytes_GET_SIZE(host)
    if size > 2 and p[0] == c"[" and p[size - 1] == c"]":
        return read_address(p + 1, size - 2, out)
    return read_address(p, size, out)


cdef bytes origin_host(bytes origin):
    cdef Py_ssize_t at = origin.find(b"://")
    return b"" if at <= 0 else origin[at + 3:]


cdef bint is_loopback_origin(bytes origin):
    cdef unsigned char[ADDRESS] out
    cdef bytes host = origin_host(origin).lower()
    cdef Py_ssize_t colon
    if not host.endswith(b"]"):
        colon = host.rfind(b":")
        if colon > 0:
            host = host[:colon]
    if host == b"localhost" or host == b"localhost.":
        return True
    if host.startswith(b"[") and host.endswith(b"]"):
        host = host[1:-1]
    if not read_address(PyBytes_AS_STRING(host), PyBytes_GET_SIZE(host), out):
        return False
    if memcmp(out, <const char*>b"\0\0\0\0\0\0\0\0\0\0\xff\xff\x7f", 13) == 0:
        return True         # 127.0.0.0/8
    return memcmp(out, <const char*>b"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01", 16) == 0


cdef class ListenPolicy:
    """What one listener demands; ``plan`` is an edge.terms.snapshot.Listener."""

    def __init__(self, plan not None):
        self.allow_anonymous = plan.allow_anonymous
        self.checks_host = plan.checks_host
        self.proxy_protocol = plan.proxy_protocol
        self.redirect = plan.redirect.encode() or None
        self.max_age_ns = plan.max_connection_age_ns
        self.age_grace_ns = plan.max_connection_age_grace_ns
        self.hosts = frozenset([host.encode() for host in plan.hosts])
        self.origins = frozenset([origin.encode() for origin in plan.cors])
        self.any_origin = b"*" in self.origins
        self.has_origins = len(self.origins) > 0
        self.networks = []
        for text in plan.trusted_proxies:
            network = ip_network(text)
            if network.version == 4:
                address = bytes(10) + b"\xff\xff" + network.network_address.packed
                self.networks.append((address, 96 + network.prefixlen))
            else:
                self.networks.append((network.network_address.packed, network.prefixlen))

    def __repr__(self):
        return f"<ListenPolicy anonymous={self.allow_anonymous} hosts={len(self.hosts)} origins={len(self.origins)}>"

    cdef bint trusts(self, tuple peer):
        cdef unsigned char[ADDRESS] told
        cdef bytes text
        cdef const unsigned char* network
        cdef Py_ssize_t bits
        if not self.networks or peer is None:
            return False
        text = (<str>peer[0]).encode()
        if not read_address(PyBytes_AS_STRING(text), PyBytes_GET_SIZE(text), told):
            return False
        for item in self.networks:
            network = <const unsigned char*>PyBytes_AS_STRING(<bytes>(<tuple>item)[0])
            bits = (<tuple>item)[1]
            if memcmp(told, network, bits >> 3) == 0 and (
                not bits & 7 or (told[bits >> 3] ^ network[bits >> 3]) >> (8 - (bits & 7)) == 0
            ):
                return True
        return False

    cdef bint accepts_proxy(self, tuple peer):
        return not self.networks or self.trusts(peer)

    cdef bint permits_host(self, bytes host):
        return host == b"localhost" or host in self.hosts or is_address(host)

    cdef bint permits_origin(self, bytes origin):
        return self.any_origin or origin in self.origins

    def trusts_address(self, str address not None):
        """Return whether a proxy at this address is believed."""
        return self.trusts((address, 0))

    def permits(self, bytes host not None):
        """Return whether a Host, in lower case and without port, belongs to this machine as far as the listener knows."""
        return self.permits_host(host)


def is_page_of_this_machine(bytes origin not None):
    """Return whether an Origin is that of a page which this machine serves on loopback."""
    return is_loopback_origin(origin)
