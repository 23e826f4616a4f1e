"""Collects the pieces in which a body comes, so that small ones take no more memory than their bytes (sans-I/O)."""

from cpython.bytes cimport PyBytes_GET_SIZE
from cpython.list cimport PyList_GET_SIZE

cdef enum:
    # Smaller pieces are joined. An object of bytes takes 33 more than they do, and its place in a list 8.
    SMALL_PIECE = 4096

cdef inline int add_piece(list pieces, bytes data) except -1:
    """Append ``data``, or join it with the last piece if both are small: then a list holds two per SMALL_PIECE bytes."""
    cdef Py_ssize_t last = PyList_GET_SIZE(pieces) - 1
    if last >= 0 and PyBytes_GET_SIZE(data) < SMALL_PIECE and PyBytes_GET_SIZE(<bytes>pieces[last]) < SMALL_PIECE:
        pieces[last] = <bytes>pieces[last] + data
    else:
        pieces.append(data)
    return 0
