from urllib.parse import quote

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.string cimport memcmp
from native.codec.field_rules cimport field_value

PROTO_FIELDS = ((b"x-forwarded-proto", b"http"), (b"x-forwarded-proto", b"https"))
VIA_FIELDS = ((b"via", b"1.0 edge"), (b"via", b"1.1 edge"), (b"via", b"2 edge"))
# A provider's API version, such as 2025-04-01-preview, is no longer than this.
cdef Py_ssize_t VERSION_LIMIT = 32
# What Azure asks of one deployment; the rest belongs to the resource.
cdef tuple DEPLOYED = (b"/chat/", b"/completions", b"/embeddings", b"/images/", b"/audio/")
# Fields of a client's dialect, which mean nothing in another: names begin so.
cdef tuple VENDOR_FIELDS = (b"anthropic-", b"openai-", b"x-goog-", b"x-stainless-")
cdef tuple ANTHROPIC_VERSION = (b"anthropic-version", b"2023-06-01")
# The last fields are cached: the next request often comes from the same peer, and for the same host.
cdef object LAST_PEER = None
cdef tuple LAST_ADDRESS = (b"x-forwarded-for", b"unknown")
cdef tuple LAST_HOST = (b"x-forwarded-host", b"")


cdef tuple address_field(object peer):
    global LAST_PEER, LAST_ADDRESS
    if peer is not LAST_PEER:
        LAST_ADDRESS = (b"x-forwarded-for", str(peer[0]).encode() if isinstance(peer, tuple) else b"unknown")
        LAST_PEER = peer
    return LAST_ADDRESS


cdef tuple host_field(bytes authority):
    global LAST_HOST
    if LAST_HOST[1] is not authority:
        LAST_HOST = (b"x-forwarded-host", authority)
    return LAST_HOST


cdef bytes kept_query(bytes query):
    """Keep nothing but an API version, because some callers put their key into the query (``?key=``)."""
    cdef bytes value
    for pair in query.split(b"&"):
        if pair.startswith(b"api-version="):
            value = pair[12:]
            if PyBytes_GET_SIZE(value) <= VERSION_LIMIT and value.replace(b"-", b"").replace(b".", b"").isalnum():
                return b"?" + pair
    return b""


cdef bytes versioned_path(bytes path, bytes model, bytes version):
    cdef bytes query
    path, _, query = path.partition(b"?")
    query = b"&".join([pair for pair in query.split(b"&") if pair and not pair.startswith(b"api-version=")])
    if path.startswith(DEPLOYED):
        path = b"/deployments/" + quote(model, safe="").encode() + path
    return path + b"?api-version=" + version + (b"&" + query if query else b"")


cdef int claim_of(bytes name) noexcept:
    cdef const char* p = PyBytes_AS_STRING(name)
    cdef Py_ssize_t size = PyBytes_GET_SIZE(name)
    if p[0] == c"f":
        return Claim.FORWARDED if size == 9 and memcmp(p, b"forwarded", 9) == 0 else Claim.NO_CLAIM
    if size < 8 or p[0] != c"x" or p[1] != c"-":
        return Claim.NO_CLAIM
    if memcmp(p, b"x-edge-", 7) == 0:
        return Claim.NO_CLAIM if size == 14 and memcmp(p, b"x-edge-require", 14) == 0 else Claim.EDGES_OWN
    if size == 9 and memcmp(p, b"x-real-ip", 9) == 0:
        return Claim.EDGES_OWN
    if size < 13 or memcmp(p, b"x-forwarded-", 12) != 0:
        return Claim.NO_CLAIM
    if size == 15 and memcmp(p, b"x-forwarded-for", 15) == 0:
        return Claim.FORWARDED_FOR
    if size == 16 and memcmp(p, b"x-forwarded-host", 16) == 0:
        return Claim.FORWARDED_HOST
    if size == 17 and memcmp(p, b"x-forwarded-proto", 17) == 0:
        return Claim.FORWARDED_PROTO
    return Claim.FORWARDED_MORE


cdef bytes forwarded_element(bytes address, bytes scheme, bytes authority):
    if b":" in address:
        address = b'"[' + address + b']"'
    element = b"for=" + address + b";proto=" + scheme
    return element if authority is None else element + b';host="' + authority + b'"'


cdef list fields_of_dialect(list fields, str dialect, bint translated):
    """Return the fields for a target: if it speaks another dialect than the client, without those of the client's.
    Anthropic requires a version, which its own clients send."""
    if translated:
        fields = [pair for pair in fields if not (<bytes>pair[0]).startswith(VENDOR_FIELDS)]
    if dialect == "anthropic" and field_value(fields, b"anthropic-version") is None:
        fields.append(ANTHROPIC_VERSION)
    return fields


cdef bint is_sse(bytes target):
    """Return whether a query asks for server-sent events (``alt=sse``)."""
    return b"alt=sse" in target[target.find(b"?") + 1:].split(b"&")
