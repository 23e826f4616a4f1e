from cpython.bytes cimport PyBytes_GET_SIZE
from cpython.list cimport PyList_GET_ITEM, PyList_GET_SIZE
from cpython.mem cimport PyMem_Free, PyMem_Realloc
from cpython.object cimport PyObject
from cpython.ref cimport Py_XDECREF, Py_XINCREF
from libc.string cimport memcpy
from native.codec.field_names cimport CONTENT_ENCODING, CONTENT_TYPE, PLAIN
from native.codec.http1_head cimport FieldSlice, KeptLine

cdef enum:
    LINE_COST = 256     # bytes of a KeptLine, a pair and its two objects, without their text

# The lines of the head that is being kept: nothing else runs meanwhile.
cdef KeptLine[KEPT_LINES] STAGED
# What all connections of the worker keep, as estimated, and the bound on it: callers choose how many connections idle.
cdef Py_ssize_t all_kept = 0
cdef Py_ssize_t most_kept = 64 << 20


cdef Py_ssize_t cost_of(Py_ssize_t room, int line_room) noexcept:
    """Return what a head takes: its text twice, for it stands in the objects too, and its lines."""
    return 2 * room + line_room * <Py_ssize_t>LINE_COST


def kept_bytes():
    """Return how many bytes all connections keep, as estimated."""
    return all_kept


def keep_at_most(Py_ssize_t size):
    """Keep no further heads beyond so many bytes; return the former bound."""
    global most_kept
    former, most_kept = most_kept, size
    return former


cdef class KeptHead:
    def __dealloc__(self):
        global all_kept
        cdef int number
        all_kept -= cost_of(self.room, self.line_room)
        for number in range(self.text.count):
            Py_XDECREF(<PyObject*>self.text.lines[number].pair)
        PyMem_Free(self.text.lines)
        PyMem_Free(self.text.start)

    cdef int clear(self) except -1:
        cdef int count = self.text.count
        cdef int number
        self.text.count = 0
        self.text.first = 0
        self.text.size = 0
        self.target = self.path = self.authority = self.host = None
        self.fields = None
        self.memo = None
        for number in range(count):
            Py_XDECREF(<PyObject*>self.text.lines[number].pair)
        return 0

    cdef int keep(self, const char* head, HeadScan* scan, list made, Head accepted) except -1:
        global all_kept
        cdef FieldSlice* field
        cdef FieldMemo memo = accepted.memo     # not None = the list of fields stays
        cdef Py_ssize_t more_cost = 0
        cdef int plain = 0
        cdef int kind
        cdef int count = scan.count
        cdef int next_made = 0
        cdef int number
        cdef void* more
        if scan.at > <int>KEPT_BYTES or count > <int>KEPT_LINES or head[0] == c"\r":
            return self.clear()
        if scan.at > self.room or count > self.line_room:
            more_cost = cost_of(max(scan.at, self.room), max(count, self.line_room)) - cost_of(self.room, self.line_room)
            if all_kept + more_cost > most_kept:
                return self.clear()
        if scan.at > self.room:
            more = PyMem_Realloc(self.text.start, scan.at)
            if more == NULL:
                raise MemoryError
            self.text.start = <char*>more
            all_kept += cost_of(scan.at - self.room, 0)
            self.room = scan.at
        if count > self.line_room:
            more = PyMem_Realloc(self.text.lines, count * sizeof(KeptLine))
            if more == NULL:
                raise MemoryError
            self.text.lines = <KeptLine*>more       # the lines in ``scan.fields`` may be elsewhere now
            all_kept += cost_of(0, count - self.line_room)
            self.line_room = count
        for number in range(count):
            field = &scan.fields[number]
            STAGED[number].at = field.name
            STAGED[number].size = (scan.fields[number + 1].name if number + 1 < count else <unsigned int>scan.at - 2) - field.name
            STAGED[number].name_size = field.name_size
            STAGED[number].value = field.value - field.name
            STAGED[number].value_size = field.value_size
            STAGED[number].known = field.known
            kind = field.known.kind if field.known != NULL else PLAIN
            plain += kind == PLAIN or kind == CONTENT_TYPE or kind == CONTENT_ENCODING
            STAGED[number].kind = kind
            if field.line != NULL:      # lines are compared with those at the same place
                STAGED[number].pair = self.text.lines[number].pair
            else:
                STAGED[number].pair = <void*>PyList_GET_ITEM(made, next_made)
                next_made += 1
            Py_XINCREF(<PyObject*>STAGED[number].pair)
        self.clear()
        memcpy(self.text.start, head, scan.at)
        if count:       # without lines there may be no memory for them, and memcpy() takes no NULL
            memcpy(self.text.lines, STAGED, count * sizeof(KeptLine))
        self.text.count = count
        self.text.first = scan.first
        self.plain = plain
        if PyList_GET_SIZE(accepted.fields) == plain:       # Connection names none of them
            self.text.size = scan.at
            self.fields = accepted.fields
            if accepted.method is not None:
                self.memo = accepted.memo = FieldMemo.__new__(FieldMemo) if memo is None else memo
        if accepted.method is not None:
            self.authority = accepted.authority
            self.host = accepted.host
            if PyBytes_GET_SIZE(accepted.target) == <Py_ssize_t>scan.target_size:      # not in absolute form
                self.target = accepted.target
                self.path = accepted.path
        self.text.method = scan.method
        self.text.target = scan.target
        self.text.target_size = scan.target_size
        self.text.version = scan.version
        self.text.status = scan.status
        return 0
