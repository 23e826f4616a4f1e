/* Lists of fields, (name, value) pairs of bytes, without a reference count per look and without a move per addition. */
#ifndef EDGE_FIELD_LIST_H
#define EDGE_FIELD_LIST_H

#include <Python.h>

typedef struct {
    const char *name;
    const char *value;
    Py_ssize_t name_size;
    Py_ssize_t value_size;
} edge_field;

/* A new list that is empty and has memory for as many items. NULL: there is no memory. */
static inline PyObject *edge_new_list(Py_ssize_t room)
{
    PyObject *list = PyList_New(room);
    if (list != NULL) {
        Py_SET_SIZE(list, 0);
    }
    return list;
}

/* -1: there is no memory. */
static inline int edge_add_item(PyObject *list, PyObject *item)
{
    Py_ssize_t size = PyList_GET_SIZE(list);
    if (size == ((PyListObject *)list)->allocated) {
        return PyList_Append(list, item);
    }
    Py_INCREF(item);
    Py_SET_SIZE(list, size + 1);
    PyList_SET_ITEM(list, size, item);
    return 0;
}

static inline int edge_add_items(PyObject *list, PyObject *from)
{
    for (Py_ssize_t at = 0; at < PyList_GET_SIZE(from); at++) {
        if (edge_add_item(list, PyList_GET_ITEM(from, at)) < 0) {
            return -1;
        }
    }
    return 0;
}

/* 0: the item is no pair of bytes. What is found is borrowed from the list. */
static inline int edge_field_at(PyObject *list, Py_ssize_t at, edge_field *out)
{
    PyObject *pair = PyList_GET_ITEM(list, at);
    PyObject *name, *value;
    if (!PyTuple_CheckExact(pair) || PyTuple_GET_SIZE(pair) != 2) {
        return 0;
    }
    name = PyTuple_GET_ITEM(pair, 0);
    value = PyTuple_GET_ITEM(pair, 1);
    if (!PyBytes_CheckExact(name) || !PyBytes_CheckExact(value)) {
        return 0;
    }
    out->name = PyBytes_AS_STRING(name);
    out->name_size = PyBytes_GET_SIZE(name);
    out->value = PyBytes_AS_STRING(value);
    out->value_size = PyBytes_GET_SIZE(value);
    return 1;
}

/* Whether there is a field whose name is this very object. */
static inline int edge_has_name(PyObject *list, PyObject *name)
{
    for (Py_ssize_t at = 0; at < PyList_GET_SIZE(list); at++) {
        if (PyTuple_GET_ITEM(PyList_GET_ITEM(list, at), 0) == name) {
            return 1;
        }
    }
    return 0;
}

/* Whether a name is at least as long. */
static inline int edge_has_long_name(PyObject *list, Py_ssize_t least)
{
    for (Py_ssize_t at = 0; at < PyList_GET_SIZE(list); at++) {
        if (PyBytes_GET_SIZE(PyTuple_GET_ITEM(PyList_GET_ITEM(list, at), 0)) >= least) {
            return 1;
        }
    }
    return 0;
}

#endif
