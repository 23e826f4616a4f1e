"""Turns the answer to one turn on a WebSocket into messages: the events of a stream, or one error."""

from native.codec.event_data cimport EventData
from native.http.stream cimport ServerStream
from native.proxy.runtime cimport Runtime

cdef class SocketTurn

cdef class TurnEvents:
    """Receives what is said in a turn. A subclass overrides every method; test_contract.py checks it."""
    cdef int on_turn_message(self, SocketTurn turn, bytes message) except -1    # a JSON object
    cdef int on_turn_pause(self, SocketTurn turn) except -1     # nothing is said yet, and the client must not give up
    cdef int on_turn_failed(self, SocketTurn turn) except -1    # the answer cannot be passed on: its exchange has to end
    cdef int on_turn_over(self, SocketTurn turn) except -1      # nothing follows

cdef class SocketTurn(ServerStream):
    """The answer to one turn. The exchange writes it as it writes a response over HTTP."""
    cdef TurnEvents owner
    cdef ServerStream inner         # the tunnel of the connection
    cdef Runtime runtime
    cdef object lane                # native.proxy.responses_socket.Lane
    cdef EventData reader           # None = the answer is no event stream
    cdef int status
    cdef list fields                # of the answer
    cdef list content               # of an answer that is no event stream
    cdef Py_ssize_t size            # bytes of that, and of an incomplete event, which are counted as held
    cdef Py_ssize_t counted
    cdef bint said_end              # the event that ends a response has been passed on, or an error
    cdef bint over                  # nothing may be passed on
    cdef bint ambiguous             # a target may have carried it out, and no answer came: the error says so
    cdef bytes conversation         # the items up to this turn; None = they are not kept
    cdef Py_ssize_t kept            # bytes of them that are counted as held
    cdef bytes response             # the last event, if it ends a response that another turn can go on from; else None
    cdef int _count(self, Py_ssize_t size) except -1
    cdef int _take_event(self, bytes data) except -1
    cdef int _say_error(self, bytes message) except -1
    cdef int _say_broken(self) except -1
    cdef bytes _ambiguous_error(self)
    cdef int _fail(self) except -1
    cdef int _end(self) except -1

cdef SocketTurn new_turn(TurnEvents owner, ServerStream inner, Runtime runtime, object lane)
