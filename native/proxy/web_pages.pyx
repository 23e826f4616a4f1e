"""Decides whether a web page may use a listener.

Where a key is required, a page needs one, so only a listener that requires none has to tell pages apart. A browser names
the page's origin in Origin, with every request but plain GETs, and the name under which it found the listener in Host. A
page that this machine serves under one of its names is no foreign page (the same origin)."""

from cpython.bytes cimport PyBytes_GET_SIZE
from native.codec.field_list cimport has_name
from native.codec.field_names cimport kept_name
from native.codec.field_rules cimport field_value
from native.http.listen_policy cimport is_loopback_origin, origin_host
from native.proxy.request cimport refusal

cdef tuple METHODS = (b"access-control-allow-methods", b"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS")
cdef tuple MAX_AGE = (b"access-control-max-age", b"7200")       # browsers keep an answer no longer
# Clients of gRPC-Web read the first two by name; browsers take the asterisk where a page sends no cookies.
cdef tuple EXPOSED = (b"access-control-expose-headers", b"grpc-status, grpc-message, *")
cdef tuple VARY = (b"vary", b"origin")
cdef tuple PRIVATE = (b"access-control-allow-private-network", b"true")
# Names of fields that a page asks to send. No page has that many.
cdef Py_ssize_t LONGEST_NAMES = 4096


cdef bytes ORIGIN = kept_name(b"origin")       # parsed heads hold this object
# What is concluded of nearly every request.
cdef PageVerdict NO_PAGE = PageVerdict.__new__(PageVerdict)


cdef class PageVerdict:
    def __repr__(self):
        return f"<PageVerdict refused={self.refused} preflight={self.is_preflight}>"


cdef bint is_own_page(ListenPolicy policy, Head head, bytes origin, dict hosts):
    """Return whether the page came from the host that it asks, and the name of that host is trusted."""
    if head.authority is None or origin_host(origin).lower() != head.authority.lower():
        return False
    return head.host in hosts or policy.permits_host(head.host)


cdef list allowed_fields(ListenPolicy policy, bytes origin):
    return [(b"access-control-allow-origin", b"*" if policy.any_origin else origin), EXPOSED, VARY]


cdef add_preflight_fields(Head head, list fields):
    cdef list names = [pair[1] for pair in head.fields if pair[0] == b"access-control-request-headers"]
    cdef bytes joined = b", ".join(names)
    fields.append(METHODS)
    fields.append(MAX_AGE)
    if joined and PyBytes_GET_SIZE(joined) <= LONGEST_NAMES:
        fields.append((b"access-control-allow-headers", joined))
    if field_value(head.fields, b"access-control-request-private-network") == b"true":
        fields.append(PRIVATE)


cdef PageVerdict judge_page(ListenPolicy policy, Head head, bint keyless, dict hosts):
    cdef PageVerdict verdict = None
    cdef bytes origin
    cdef tuple pair
    cdef bint allowed
    if keyless and policy.checks_host and head.authority is not None and not (
        head.host in hosts or policy.permits_host(head.host)
    ):
        verdict = PageVerdict.__new__(PageVerdict)
        verdict.refused = refusal("foreign_host", head.host.decode("latin-1"))
        return verdict
    if not has_name(head.fields, ORIGIN):
        return NO_PAGE
    verdict = PageVerdict.__new__(PageVerdict)
    for item in head.fields:
        pair = <tuple>item
        if <bytes>pair[0] is not ORIGIN:
            continue
        origin = <bytes>pair[1]
        allowed = policy.has_origins and policy.permits_origin(origin)
        if keyless and not allowed and not is_loopback_origin(origin) and not is_own_page(policy, head, origin, hosts):
            verdict.refused = refusal("foreign_page", origin.decode("latin-1"))
            return verdict
        if allowed and verdict.fields is None:
            verdict.fields = allowed_fields(policy, origin)
    if verdict.fields is not None and head.method == b"OPTIONS" and (
        field_value(head.fields, b"access-control-request-method") is not None
    ):
        verdict.is_preflight = True
        add_preflight_fields(head, verdict.fields)
    return verdict
