from cpython.list cimport PyList_GET_ITEM
from cpython.mem cimport PyMem_Free, PyMem_Realloc
from cpython.object cimport PyObject
from cpython.ref cimport Py_XDECREF, Py_XINCREF
from libc.string cimport memcpy
from native.codec.field_names cimport PLAIN
from native.codec.http1_head cimport FieldSlice, KeptLine

# The lines of the head that is being kept: nothing else runs meanwhile.
cdef KeptLine[KEPT_LINES] STAGED


cdef class KeptHead:
    def __dealloc__(self):
        cdef int number
        for number in range(self.text.count):
            Py_XDECREF(<PyObject*>self.text.lines[number].pair)
        PyMem_Free(self.text.lines)
        PyMem_Free(self.text.start)

    cdef int clear(self) except -1:
        cdef int count = self.text.count
        cdef int number
        self.text.count = 0
        self.text.first = 0
        self.target = self.path = self.authority = self.host = None
        self.fields = None
        for number in range(count):
            Py_XDECREF(<PyObject*>self.text.lines[number].pair)
        return 0

    cdef int keep(self, const char* head, HeadScan* scan, list made) except -1:
        cdef FieldSlice* field
        cdef int count = scan.count
        cdef int next_made = 0
        cdef int number
        cdef void* more
        if scan.at > <int>KEPT_BYTES or count > <int>KEPT_LINES or head[0] == c"\r":
            return self.clear()
        if scan.at > self.room:
            more = PyMem_Realloc(self.text.start, scan.at)
            if more == NULL:
                raise MemoryError
            self.text.start = <char*>more
            self.room = scan.at
        if count > self.line_room:
            more = PyMem_Realloc(self.text.lines, count * sizeof(KeptLine))
            if more == NULL:
                raise MemoryError
            self.text.lines = <KeptLine*>more       # the lines in ``scan.fields`` may be elsewhere now
            self.line_room = count
        for number in range(count):
            field = &scan.fields[number]
            STAGED[number].at = field.name
            STAGED[number].size = (scan.fields[number + 1].name if number + 1 < count else <unsigned int>scan.at - 2) - field.name
            STAGED[number].name_size = field.name_size
            STAGED[number].value = field.value - field.name
            STAGED[number].value_size = field.value_size
            STAGED[number].known = field.known
            STAGED[number].kind = field.known.kind if field.known != NULL else PLAIN
            if field.line != NULL:      # lines are compared with those at the same place
                STAGED[number].pair = self.text.lines[number].pair
            else:
                STAGED[number].pair = <void*>PyList_GET_ITEM(made, next_made)
                next_made += 1
            Py_XINCREF(<PyObject*>STAGED[number].pair)
        self.clear()
        memcpy(self.text.start, head, scan.at)
        memcpy(self.text.lines, STAGED, count * sizeof(KeptLine))
        self.text.count = count
        self.text.first = scan.first
        self.text.size = scan.at
        self.text.method = scan.method
        self.text.target = scan.target
        self.text.target_size = scan.target_size
        self.text.version = scan.version
        self.text.status = scan.status
        return 0
