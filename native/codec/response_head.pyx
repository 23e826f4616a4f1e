from native.codec.head cimport NO_BODY, UNKNOWN_LENGTH


cdef Head take_response(HeadReader reader, int status, int version):
    cdef Head head = reader.head
    reader.untouched = False
    if reader.fault is not None:
        return None
    if version != 10 and version != 11:
        reader.refuse(502, "the upstream does not speak HTTP/1.1")
        return None
    if status < 100 or status > 599:
        reader.refuse(502, f"status {status} is not a status")
        return None
    if reader.coding_fields:
        if reader.length_fields:
            reader.refuse(502, "both Content-Length and Transfer-Encoding")
        elif reader.coding_fields > 1 or not reader.chunked or version == 10:
            reader.refuse(502, "a Transfer-Encoding that cannot be trusted")
        if reader.fault is not None:
            return None
        head.length = UNKNOWN_LENGTH
    elif not reader.length_fields:
        head.length = NO_BODY if status < 200 or status == 204 or status == 304 else UNKNOWN_LENGTH
    head.status = status
    head.version = version
    head.keep_alive = reader.keeps_alive(version)
    # without a length the response ends when the connection closes
    if not reader.coding_fields and not reader.length_fields and head.length == UNKNOWN_LENGTH:
        head.keep_alive = False
        head.until_close = True
    reader.drop_nominated()
    reader.begin(0)
    return head


cdef Head take_http2_response(HeadReader reader, int status, bint ended, bint to_head):
    cdef Head head = reader.head
    reader.untouched = False
    if reader.fault is not None:
        return None
    if status < 100 or status > 599 or status == 101:
        reader.refuse(502, f"status {status} is no status of HTTP/2")
    elif reader.has_http1_fields():
        reader.refuse(502, "a field that belongs to HTTP/1.1 connections")
    elif ended and head.length > 0 and not to_head and status != 304:
        reader.refuse(502, "a Content-Length without a body")
    if reader.fault is not None:
        return None
    if to_head or status == 304:
        # such a response has no body; its Content-Length is that of the body that a GET would have received
        head.length = head.length if reader.length_fields else UNKNOWN_LENGTH if to_head else NO_BODY
    elif ended:
        head.length = NO_BODY
    elif not reader.length_fields:
        head.length = UNKNOWN_LENGTH
    head.status = status
    head.version = 20
    head.keep_alive = True
    reader.keep_announced()
    reader.head = None
    return head


def read_response(
    int status, int version, list fields not None, Py_ssize_t size_limit=65536, int count_limit=100
):
    """Read one response head; return the Head, or (status, reason) when it is refused.

    Args:
        status: as on the status line.
        version: 10 or 11; anything else is refused.
        fields: (name, value) pairs as on the wire.
        size_limit, count_limit: bounds on the fields.
    """
    cdef HeadReader reader = HeadReader(size_limit, count_limit)
    for name, value in fields:
        if reader.add(name, value) < 0:
            return 502, reader.fault
    head = take_response(reader, status, version)
    return head if head is not None else (reader.fault_status, reader.fault)
