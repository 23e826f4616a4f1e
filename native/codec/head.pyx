cimport cython


cdef class FieldMemo:
    def __repr__(self):
        return f"<FieldMemo place={self.place}>"


@cython.freelist(64)
cdef class Head:
    def __repr__(self):
        if self.status:
            return f"<Head {self.status} length={self.length}>"
        return f"<Head {self.method!r} {self.path!r} length={self.length}>"
