from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.string cimport memchr
from native.codec.field_rules cimport host_of, sound_host, sound_target
from native.codec.head cimport UNKNOWN_LENGTH
from native.codec.http1_head cimport method_name
from native.codec.kept_head cimport KeptHead


cdef bint judge_coding(HeadReader reader, int version):
    """Check the transfer coding; refuse the request if the end of its body is ambiguous (RFC 9112 6.1, 6.3)."""
    if version == 10:
        reader.refuse(400, "Transfer-Encoding in an HTTP/1.0 message")
    elif reader.length_fields:
        reader.refuse(400, "both Content-Length and Transfer-Encoding")
    elif reader.coding_fields > 1:
        reader.refuse(400, "more than one Transfer-Encoding")
    elif not reader.chunked:
        # 501 for an unknown coding below chunked; 400 if chunked is not the last coding, as the body's end is unknown
        reader.refuse(501 if reader.chunked_last else 400, "a transfer coding other than chunked")
    return reader.fault is None


cdef bytes origin_form(HeadReader reader, bytes method, bytes target):
    """Return the path and query of an absolute-form target, whose authority replaces Host (RFC 9112 3.2.2).

    None = refused. asterisk-form is valid for OPTIONS only."""
    cdef bytes rest
    cdef Py_ssize_t slash
    cdef Py_ssize_t mark
    if target == b"*" and method == b"OPTIONS":
        return b"*"
    lowered = target[:8].lower()
    if lowered.startswith(b"http://"):
        rest = target[7:]
    elif lowered.startswith(b"https://"):
        rest = target[8:]
    else:
        reader.refuse(400, "the request target is neither a path nor an http URL")
        return None
    slash = rest.find(b"/")
    mark = rest.find(b"?")
    if 0 <= mark and (slash < 0 or mark < slash):
        reader.refuse(400, "the request target has no path")
        return None
    if slash < 0:
        reader.head.authority = rest
        return b"/"
    reader.head.authority = rest[:slash]
    return rest[slash:]


cdef bint take_target(HeadReader reader, bytes method, bytes target):
    """Note the target and its path; False = refused."""
    cdef Head head = reader.head
    cdef const char* mark
    cdef const char* start
    if method == b"CONNECT":
        reader.refuse(405, "CONNECT is not offered")
        return False
    if PyBytes_AS_STRING(target)[0] != c"/":    # an empty target ends in NUL
        target = origin_form(reader, method, target)
        if target is None:
            return False
    start = PyBytes_AS_STRING(target)
    if memchr(start, c"#", PyBytes_GET_SIZE(target)) != NULL:
        reader.refuse(400, "a fragment in the request target")
        return False
    mark = <const char*>memchr(start, c"?", PyBytes_GET_SIZE(target))
    head.path = target if mark == NULL else PyBytes_FromStringAndSize(start, mark - start)
    head.target = target
    return True


cdef Head take_request(HeadReader reader, bytes method, bytes target, int version):
    cdef Head head = reader.head
    cdef KeptHead kept = reader.kept
    reader.untouched = False
    if reader.fault is not None:
        return None
    if version != 10 and version != 11:
        reader.refuse(505, "only HTTP/1.1 and HTTP/1.0 are spoken here")
        return None
    if reader.coding_fields:
        if not judge_coding(reader, version):
            return None
        head.length = UNKNOWN_LENGTH
    if reader.host_fields > 1:
        reader.refuse(400, "more than one Host")
        return None
    if version == 11 and reader.host_fields == 0:
        reader.refuse(400, "Host is missing")
        return None
    # The method is compared too: Python has one object for each target of one byte, whichever line it comes from.
    if kept is not None and kept.target is not None and target is kept.target and (
        method is method_name(kept.text.method)
    ):
        head.target = target
        head.path = kept.path
    elif not take_target(reader, method, target):
        return None
    if kept is not None and head.authority is not None and head.authority is kept.authority:
        head.host = kept.host
    elif head.authority is not None and not sound_host(head.authority):
        reader.refuse(400, "Host is not a host name with an optional port")
        return None
    else:
        head.host = b"" if head.authority is None else host_of(head.authority)
    head.method = method
    head.version = version
    if not reader.option_upgrade:
        head.upgrade = None
    head.keep_alive = reader.keeps_alive(version)
    reader.drop_nominated()
    reader.begin(0)
    return head


cdef Head take_http2_request(
    HeadReader reader, bytes method, bytes scheme, bytes path, bytes authority, bint ended
):
    cdef Head head = reader.head
    cdef const char* mark
    reader.untouched = False
    if reader.fault is not None:
        return None
    if method is None or scheme is None or path is None:
        reader.refuse(405 if method == b"CONNECT" else 400, "a pseudo-header field is missing")
    elif method == b"CONNECT":
        reader.refuse(405, "CONNECT is not offered")
    elif scheme != b"http" and scheme != b"https":
        reader.refuse(400, "the scheme is neither http nor https")
    elif reader.has_http1_fields():
        reader.refuse(400, "a field that belongs to HTTP/1.1 connections")
    elif reader.host_fields > 1:
        reader.refuse(400, "more than one Host")
    elif authority is not None and reader.host_fields and head.authority.lower() != authority.lower():
        reader.refuse(400, "Host differs from :authority")
    elif not sound_target(path) or not is_origin_form(method, path):
        reader.refuse(400, "the request target is not a path")
    elif ended and head.length > 0:
        reader.refuse(400, "a Content-Length without a body")
    if reader.fault is not None:
        return None
    if authority is not None:
        head.authority = authority
    if head.authority is None or not sound_host(head.authority):
        reader.refuse(400, ":authority is not a host name with an optional port")
        return None
    if not ended and not reader.length_fields:
        head.length = UNKNOWN_LENGTH
    mark = <const char*>memchr(PyBytes_AS_STRING(path), c"?", PyBytes_GET_SIZE(path))
    head.method = method
    head.target = path
    head.path = path if mark == NULL else PyBytes_FromStringAndSize(
        PyBytes_AS_STRING(path), mark - PyBytes_AS_STRING(path)
    )
    head.host = host_of(head.authority)
    head.version = 20
    head.keep_alive = True
    reader.keep_announced()
    reader.head = None
    return head


cdef bint is_origin_form(bytes method, bytes path):
    cdef char first = PyBytes_AS_STRING(path)[0]        # an empty path ends in NUL
    if first == c"*" and method == b"OPTIONS":
        return path == b"*"
    return first == c"/"


cdef object add_all(HeadReader reader, list fields):
    """Add fields, for Python; return (status, reason) if a field is refused, else None."""
    for name, value in fields:
        if reader.add(name, value) < 0:
            return reader.fault_status, reader.fault
    return None


def read_request(
    bytes method not None, bytes target not None, int version, list fields not None, Py_ssize_t size_limit=65536,
    int count_limit=100,
):
    """Read one request head; return the Head, or (status, reason) when it is refused.

    Args:
        method, target: as on the request line.
        version: 10 or 11; anything else is refused.
        fields: (name, value) pairs as on the wire.
        size_limit, count_limit: bounds on the fields.
    """
    cdef HeadReader reader = HeadReader(size_limit, count_limit)
    refusal = add_all(reader, fields)
    if refusal is not None:
        return refusal
    head = take_request(reader, method, target, version)
    return head if head is not None else (reader.fault_status, reader.fault)


def read_http2_request(
    bytes method, bytes scheme, bytes path, bytes authority, list fields not None, bint ended,
    Py_ssize_t size_limit=65536, int count_limit=100,
):
    """Read one request head of HTTP/2; return the Head, or (status, reason). ``ended``: no body follows."""
    cdef HeadReader reader = HeadReader(size_limit, count_limit)
    refusal = add_all(reader, fields)
    if refusal is not None:
        return refusal
    head = take_http2_request(reader, method, scheme, path, authority, ended)
    return head if head is not None else (reader.fault_status, reader.fault)
