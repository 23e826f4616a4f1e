from cpython.bytes cimport PyBytes_GET_SIZE
from native.codec.field_rules cimport field_value
from native.proxy.router cimport written_out

cdef bytes BATCHES = b"/v1/messages/batches"
cdef bytes GEMINI = b"/v1beta/"
cdef bytes UPLOAD = b"/upload/"
cdef bytes CACHES = b"/v1/cachedContents"
# Paths that the APIs share. Google's clients ask under its stable version, too.
cdef tuple SHARED = (b"/v1/files", b"/files", b"/v1/batches", b"/batches")
cdef bytes MODELS = b"/v1/models/"      # a batch of Gemini's begins behind it
cdef bytes BETA_MODELS = b"/v1beta/models/"


cdef str dialect_of_kept(Head head):
    cdef bytes path = head.path
    if path.startswith((GEMINI, UPLOAD, CACHES, MODELS)):
        return "gemini"
    if path.startswith((BATCHES, BATCHES[3:])):
        return "anthropic"
    return dialect_of_client(head) if path.startswith(SHARED) else "openai"


cdef str dialect_of_client(Head head):
    if field_value(head.fields, b"anthropic-version") is not None:
        return "anthropic"
    if head.path.startswith(GEMINI) or field_value(head.fields, b"x-goog-api-key") is not None or (
        field_value(head.fields, b"x-goog-api-client") is not None
    ):
        return "gemini"
    return "openai"


cdef bytes path_of_kept(bytes path):
    if not path.startswith((GEMINI, UPLOAD)):
        return written_out(path)
    return path[:-1] if path.endswith(b"/") else path


cdef Py_ssize_t segment_of_id(bytes path):
    if path.startswith((UPLOAD, MODELS, BETA_MODELS)):
        return -1
    return 3 if path.startswith((BATCHES, b"/v1/fine_tuning")) else 2


cdef bytes id_of_segment(bytes path, bytes segment, str dialect):
    if dialect != "gemini":
        return segment
    for kind in (b"cachedContents/", b"batches/"):
        if path.startswith((GEMINI + kind, b"/v1/" + kind)):
            return kind + segment.partition(b":")[0]
    return b"files/" + segment.partition(b":")[0]


cdef bytes path_at(ConnectionPool upstream, bytes path):
    if path.startswith(UPLOAD):
        return b"/upload" + upstream.base_path + path[path.find(b"/", len(UPLOAD)):]
    return upstream.base_path + path[path.find(b"/", 1):]


cdef bint is_upload(bytes path) noexcept:
    return path.startswith(UPLOAD)


cdef bytes session_of(bytes query):
    for pair in query.split(b"&"):
        if pair.startswith(b"upload_id=") and PyBytes_GET_SIZE(pair) > 10:
            return pair
    return None
