"""Reads the model and other options of a model request from a form, in one pass (RFC 7578, RFC 2046 5.1; sans-I/O).

Borrows the buffer and allocates nothing; offsets point into the buffer. Strict: what two readers could split differently
is refused. A file is skipped by a search for the next delimiter, and never copied."""

from native.codec.media cimport Kind, Media
from native.codec.request_peek cimport Peek

# Whether a body is a multipart one.
cdef bint is_form(bytes content_type)
# Returns the boundary of multipart/form-data; None = another type, no boundary, one that RFC 2046 does not allow, or
# parameters in which readers could find different ones.
cdef bytes boundary_of(bytes content_type)
# Fills ``out`` as peek_request() does, and returns out.error: PEEK_MALFORMED, PEEK_DUPLICATE, PEEK_TYPE or PEEK_LONG_NAME.
# media: receives the files, each as a ``kind``, and the bytes of everything but texts for the model.
cdef int peek_form(const char* data, Py_ssize_t size, bytes boundary, Kind kind, Peek* out, Media* media) noexcept
# Returns a form with a first part that names the model, and sets the offsets of the name.
cdef bytes with_model_part(bytes form, bytes boundary, bytes name, Peek* out)
