cdef class Preface:
    cdef Py_ssize_t feed(self, const char* data, Py_ssize_t size):
        return 0
