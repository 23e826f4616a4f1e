"""Scans the heads of HTTP/1.1 messages: finds their parts, as offsets into the bytes, and refuses malformed heads.

One pass, strict (RFC 9112 2 to 5): lines end in CR LF, a field's name is a token that its colon follows at once, a value
holds no control character, nothing is folded. A scan goes on where the last one stopped, however the bytes are cut, and
costs the same. A line that repeats that of the head before is compared instead of read (``kept_head``). What the parts mean is judged elsewhere: HeadReader, ``request_head``, ``response_head``."""

from native.codec.field_names cimport KnownName

cdef enum Scanned:
    NEED_MORE = 0       # the head is not complete
    COMPLETE = 1
    REFUSED = -1        # ``fault`` says why; nothing that follows can be trusted

cdef enum HeadFault:
    SOUND = 0
    BAD_METHOD
    BAD_TARGET
    LONG_TARGET
    BAD_PROTOCOL        # not HTTP
    BAD_VERSION
    OTHER_VERSION       # an HTTP that is spoken elsewhere
    BAD_STATUS
    BAD_PHRASE
    BAD_LINE_END
    MANY_EMPTY_LINES
    EMPTY_NAME
    BAD_NAME
    SPACE_BEFORE_COLON
    FOLDED_LINE
    BAD_VALUE
    MANY_FIELDS
    LARGE_FIELDS

cdef struct KeptLine:       # a line of a head that was sound, with its CR LF
    unsigned int at, size               # offset from the first byte of the head
    unsigned int name_size              # the name is the beginning of the line
    unsigned int value, value_size      # offset in the line
    const KnownName* known
    int kind                            # of the name, a Field
    void* pair                          # (name, value), see HeadReader

cdef struct FieldSlice:     # offsets from the head's first byte; white space around the value is left out
    unsigned int name, name_size, value, value_size
    const KnownName* known  # set by HeadReader
    const KeptLine* line    # the same line of the head before; NULL = it was read

cdef struct KeptText:       # the head before on the same connection, see KeptHead
    char* start
    Py_ssize_t size                     # of the whole head; 0 = it is compared line by line only
    Py_ssize_t first                    # bytes of the first line; 0 = nothing is kept
    int method, version, status
    unsigned int target, target_size
    KeptLine* lines
    int count

cdef struct HeadScan:
    int method                          # number of a method, see method_name()
    unsigned int target, target_size    # offset and size
    int version                         # 10 or 11
    int status
    int count                           # of fields
    FieldSlice* fields
    bint begun                          # a byte of the first line has come
    HeadFault fault
    Py_ssize_t at                       # bytes of the head that are scanned
    Py_ssize_t mark                     # where the present part began
    Py_ssize_t size                     # of the fields so far: names, values and 4 for each
    int state, step
    Py_ssize_t first                    # bytes of the first line, and of empty lines before it, once it has ended
    bint first_kept                     # it is that of the head before
    bint all_kept                       # so is every line: ``fields`` is not filled, see ``kept``
    const KeptText* kept                # NULL = no head before
    Py_ssize_t head_limit, size_limit   # on all bytes, and on ``size``
    int count_limit

cdef class HeadScanner:
    """Scans one head after another and holds what has come of one until it is complete.

    ``base`` and the slices are valid until the bytes that were fed are gone, ``feed`` is called again or ``release`` is."""
    cdef HeadScan scan
    cdef const char* base           # the head's first byte, once it is complete
    cdef Py_ssize_t used            # how many of the bytes last fed belong to the head; all, until it is complete
    cdef bint is_request
    cdef char* held                 # of a head that came in parts; NULL = nothing is held
    cdef Py_ssize_t held_size, held_room
    cdef FieldSlice* own_fields     # ... and its table; NULL = the table that all scanners share is used
    cdef object kept                # holds what ``scan.kept`` borrows; None = nothing
    cdef int feed(self, const char* data, Py_ssize_t size) except? -2       # Scanned
    cdef int release(self) except -1         # of the complete head; the next one begins
    cdef int hold(self, const char* data, Py_ssize_t size) except -1
    cdef str describe(self)         # why the head was refused
    cdef int refusal_status(self)   # ... and with which status, if it was a request's

cdef bytes method_name(int number)
