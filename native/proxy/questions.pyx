from os import urandom

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport uint64_t
from libc.string cimport memcpy

cdef extern from "native/state/token_hash.h" nogil:
    enum: EDGE_TOKEN_HASH_SIZE
    void edge_token_hash(const void* data, size_t size, const uint64_t* key, unsigned char* out)

# A longer question is parsed each time. The key of the hash is as long as what is hashed.
cdef Py_ssize_t LONGEST = 32 * 1024
cdef object ABSENT = object()


cdef class Questions:
    def __init__(self, cache not None, Py_ssize_t most=4096):
        self.cache = cache
        self.most = most
        self.secret = urandom(LONGEST + 32)
        self.names = {}

    def __len__(self):
        return len(self.names)

    def name_of(self, bytes scope not None, bytes path not None, bytes content not None):
        """Return the name of a question; None: its answer is never kept."""
        return self.name(scope, path, content)

    cdef bytes name(self, bytes scope, bytes path, bytes content):
        cdef unsigned char[EDGE_TOKEN_HASH_SIZE] out
        cdef Py_ssize_t[2] sizes
        cdef Py_ssize_t size
        cdef bytes asked, digest
        cdef char* p
        sizes[0] = PyBytes_GET_SIZE(scope)
        sizes[1] = PyBytes_GET_SIZE(path)
        size = sizeof(sizes) + sizes[0] + sizes[1] + PyBytes_GET_SIZE(content)
        if size > LONGEST:
            return self.cache.question(scope.decode("latin-1"), path, content)
        asked = PyBytes_FromStringAndSize(NULL, size)       # with the sizes, so that nothing can pass from one to the next
        p = PyBytes_AS_STRING(asked)
        memcpy(p, sizes, sizeof(sizes))
        p += sizeof(sizes)
        memcpy(p, PyBytes_AS_STRING(scope), sizes[0])
        memcpy(p + sizes[0], PyBytes_AS_STRING(path), sizes[1])
        memcpy(p + sizes[0] + sizes[1], PyBytes_AS_STRING(content), PyBytes_GET_SIZE(content))
        edge_token_hash(PyBytes_AS_STRING(asked), size, <const uint64_t*>PyBytes_AS_STRING(self.secret), out)
        digest = PyBytes_FromStringAndSize(<char*>out, EDGE_TOKEN_HASH_SIZE)
        found = self.names.get(digest, ABSENT)
        if found is ABSENT:
            found = self.cache.question(scope.decode("latin-1"), path, content)
            if len(self.names) >= self.most:
                del self.names[next(iter(self.names))]      # the one that was asked first
            self.names[digest] = found
        return <bytes>found
