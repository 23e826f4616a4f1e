"""Reads what a request to a model asks for, and writes it for each target."""

from libc.stdint cimport int64_t, uint64_t
from native.balance.price cimport Price
from native.codec.media cimport Media
from native.codec.request_peek cimport Peek
from native.codec.turns cimport Turns
from native.http.connection_pool cimport ConnectionPool
from native.http.stream cimport ClientStream
from native.proxy.request cimport Refusal, Request

cdef frozenset WITHHELD     # names of fields of a client that no provider gets

cdef class ModelRequest(Request):
    cdef Peek peek
    cdef bytes content          # the whole body
    cdef bytes boundary         # of its parts, if it is a form; None = it is JSON
    cdef bytes wildcard         # the upstream model the client named after "provider/"
    cdef bytes suffix           # the path behind the provider's base path, with the part of the query that is kept
    cdef bint stored            # the provider stores the answer, or makes it in the background: never joined
    cdef Media media            # what of it is no text
    cdef Turns turns            # only if the router is affine, and the operation one that CONVERSES
    cdef Py_ssize_t text_size   # bytes of the rest
    cdef bint usual_known       # output_guess is what answers of the route needed, and no assumption
    cdef bint wants_usage       # the caller is bounded: its streams ask for usage, which it did not ask for
    cdef bint with_usage        # what is sent next asks for it
    cdef bint remembers         # the answer is stored: the id in it is remembered
    cdef bytes kept_as          # ... that id; None = no answer has told it
    cdef Refusal seek(self)                     # let only the issuer of the ids in the body be asked
    cdef Refusal read_call(self)
    cdef Refusal check_prices(self)             # a caller with a budget needs a price for every target
    cdef void estimate(self) noexcept           # set the tokens that are reserved
    cdef uint64_t prompt_by(self, int rule) noexcept    # tokens by a native.codec.media.Rule
    # the most output tokens of all answers that are asked for
    cdef uint64_t output_most(self, Price price) noexcept
    cdef str dialect            # of the client; None = no other dialect has this operation
    cdef object conversation    # native.proxy.hooks.Conversation, once a target of another dialect was drawn
    cdef Py_ssize_t text_held   # bytes of the continuation that are counted as held
    cdef object continuation    # native.proxy.hooks.Continuation: only the rest of an answer is asked for; None = all
    cdef dict written           # (path, body, dropped) by upstream, in its dialect; None = none was needed
    cdef tuple write_for(self, ConnectionPool upstream, int index)  # the same, made now; ValueError
    cdef bint names_in_path(self) noexcept
    cdef Refusal name_only_model(self)
    cdef Refusal name_deployment(self)
    cdef Refusal peek_body(self)
    cdef bytes name_in_path(self)       # the model that Gemini's path names
    cdef tuple written_for(self, ConnectionPool upstream)       # None = it speaks the client's dialect
    cdef bytes model_path(self, bytes model)
    cdef bytes target_model(self, ConnectionPool upstream)
    cdef str asked_name(self)
    cdef bytes body_for(self, ConnectionPool upstream)
    cdef Refusal decode(self)
    cdef bytes model_as_written(self)   # the model's name in the body, with its escapes
    cdef send_to_region(self, ClientStream stream, ConnectionPool upstream, list fields, uint64_t now)

cdef class PeerRequest(ModelRequest):
    pass

# Return whether a body may name files or the like, which one provider keeps, by the names of its members.
cdef bint may_name_objects(bytes content)
