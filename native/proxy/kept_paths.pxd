"""Reads the paths of what providers keep, as OpenAI, Anthropic and Gemini write them."""

from native.codec.head cimport Head
from native.http.connection_pool cimport ConnectionPool

# The API that a request for what is kept belongs to: "openai", "anthropic" or "gemini". The files of all three may have
# the same path, and are told by the fields that each vendor's clients send.
cdef str dialect_of_kept(Head head)
# The API of a client on a path that several have, by the fields that each vendor's clients send.
cdef str dialect_of_client(Head head)
# The path without its other ways of being written; the segment that holds its id, or -1 if it can hold none.
cdef bytes path_of_kept(bytes path)
cdef Py_ssize_t segment_of_id(bytes path)
# The id as answers and bodies name it: Gemini's begin with what they name ("files/"), and a method may follow.
cdef bytes id_of_segment(bytes path, bytes segment, str dialect)
# The path at a provider: behind its base path, and for uploads of Gemini's around it.
cdef bytes path_at(ConnectionPool upstream, bytes path)
cdef bint is_upload(bytes path) noexcept        # bytes of a file of Gemini's, or the beginning of that
# The name of such an upload that has begun, with what names it in a query: ids of other kinds are no secret, and none of
# them may stand for one. None = the query names none.
cdef bytes session_of(bytes query)
