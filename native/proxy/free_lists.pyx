"""Keeps the memory of freed objects of exchanges for the next ones.

Cython's own free lists (``cython.freelist``) leave out classes that inherit from another. Here such a class gets functions
that allocate and free its objects, where only objects of this very class are kept: subclasses inherit the functions, and are
passed on to Python's. Sanitizers see each object freed."""

from native.http.http1_server import Http1Stream
from native.proxy.attempt_kinds import ModelAttempt
from native.proxy.exchange import Alarm, Exchange
from native.proxy.model_request import ModelRequest

cdef extern from *:
    """
    #include <string.h>
    enum { EDGE_KINDS = 8, EDGE_MOST_FREE = 64 };
    static struct {
        PyTypeObject *kind;
        PyObject *free[EDGE_MOST_FREE];
        int count;
    } edge_lists[EDGE_KINDS];
    static int edge_kinds;

    static PyObject *edge_allocate(PyTypeObject *kind, Py_ssize_t items) {
        for (int at = 0; at < edge_kinds; at++) {
            if (edge_lists[at].kind == kind) {
                PyObject *made;
                if (edge_lists[at].count == 0)
                    break;
                made = edge_lists[at].free[--edge_lists[at].count];
                memset((char *)made + sizeof(PyObject), 0, (size_t)kind->tp_basicsize - sizeof(PyObject));
                (void)PyObject_Init(made, kind);
                PyObject_GC_Track(made);
                return made;
            }
        }
        return PyType_GenericAlloc(kind, items);
    }
    static void edge_release(void *object) {
        for (int at = 0; at < edge_kinds; at++) {
            if (edge_lists[at].kind == Py_TYPE((PyObject *)object) && edge_lists[at].count < EDGE_MOST_FREE) {
                edge_lists[at].free[edge_lists[at].count++] = (PyObject *)object;
                return;
            }
        }
        PyObject_GC_Del(object);
    }
    /* 0: the class is none whose memory could be kept. */
    static int edge_keep(PyObject *class) {
        PyTypeObject *kind = (PyTypeObject *)class;
    #if defined(__SANITIZE_ADDRESS__)
        return 1;
    #endif
        if (edge_kinds == EDGE_KINDS || !PyType_IS_GC(kind) || kind->tp_flags & Py_TPFLAGS_HEAPTYPE
            || kind->tp_itemsize || kind->tp_free != PyObject_GC_Del)
            return 0;
        edge_lists[edge_kinds++].kind = kind;
        kind->tp_alloc = edge_allocate;
        kind->tp_free = edge_release;
        return 1;
    }
    """
    bint keep_freed "edge_keep" (object kind)


def keep_freed_objects():
    """Begin to; called once, by the data plane's module."""
    for each in (Exchange, Alarm, ModelRequest, ModelAttempt, Http1Stream):
        if not keep_freed(each):
            raise AssertionError(f"the memory of freed {each.__name__} cannot be kept")
