"""Declares what is done with lists of fields without a reference count or a move for each. There is no module at run time."""

cdef extern from "native/codec/field_list.h":
    ctypedef struct FieldView "edge_field":     # borrowed from the list
        const char* name
        const char* value
        Py_ssize_t name_size
        Py_ssize_t value_size
    list new_list "edge_new_list" (Py_ssize_t room)                     # empty, with memory for so many items
    int add_item "edge_add_item" (list items, object item) except -1
    int add_items "edge_add_items" (list items, list more) except -1
    bint has_name "edge_has_name" (list fields, object name)            # fields are pairs; compares objects, not bytes
    bint has_long_name "edge_has_long_name" (list fields, Py_ssize_t least)     # a name has so many bytes; fields are pairs
    bint field_at "edge_field_at" (list fields, Py_ssize_t at, FieldView* out)     # False = no pair of bytes
