"""Reads the header of the PROXY protocol, by which a load balancer tells whose connection it passes on."""

from native.io.preface cimport Preface

cdef enum:
    PROXY_LONGEST = 4112        # 16 bytes and 4 KiB of addresses and extensions; the longest in use has a few hundred

cdef class ProxyHeader(Preface):
    """The header of one connection. Bytes are copied until it is complete."""
    cdef char[PROXY_LONGEST] data
    cdef Py_ssize_t size
    cdef Py_ssize_t total           # of a header of version 2, once its length is known; 0 = not yet
    cdef int _judge_text(self) except -1
    cdef int _judge_binary(self) except -1
    cdef bint _read_extensions(self, Py_ssize_t at) noexcept
