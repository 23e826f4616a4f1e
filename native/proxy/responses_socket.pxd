"""Serves one WebSocket of Responses: each message of the client is a turn, and each turn an exchange of its own."""

from libc.stdint cimport uint64_t
from native.codec.head cimport Head
from native.codec.turn_message cimport TurnMessage
from native.codec.websocket cimport FrameReader
from native.http.stream cimport ServerEvents, ServerStream, Share
from native.io.timer_wheel cimport Timer
from native.proxy.exchange cimport Exchange
from native.proxy.request cimport Refusal
from native.proxy.runtime cimport Runtime
from native.proxy.socket_turn cimport SocketTurn, TurnEvents

cdef class ResponsesSocket

cdef class Lane:
    """What runs in order: one turn after another."""
    cdef bytes front            # what its messages begin with: a brace, and its name if it has one
    cdef SocketTurn turn        # that runs; None = none does
    cdef list waiting           # TurnMessages
    cdef bytes latest           # the id of its last response that is kept; None = there is none

cdef class SocketAlarm(Timer):
    cdef ResponsesSocket socket

cdef class SocketTurns(TurnEvents):
    """Passes what is said in turns to the connection, which is the tunnel's events object itself."""
    cdef ResponsesSocket socket

cdef class ResponsesSocket(ServerEvents):
    cdef Runtime runtime
    cdef ServerStream stream        # the tunnel; None = the connection is over
    cdef Share share                # of what it has this node hold
    cdef Exchange upgrade           # of the request that opens it, until it is accepted
    cdef Head head                  # ... whose fields are those of each turn
    cdef list fields
    cdef FrameReader frames
    cdef SocketTurns turns
    cdef SocketAlarm alarm
    cdef dict lanes                 # name, or None for the implicit one -> Lane
    cdef dict conversations         # id of a response -> the items up to it and of it
    cdef dict dropped               # ids of responses that were kept and are not any more, the oldest first
    cdef int running, waiting       # turns
    cdef bint beginning             # turns are being begun, further up the stack
    cdef Py_ssize_t held            # bytes of conversations and messages that are counted
    cdef Py_ssize_t conversation_bytes, frame_bytes
    cdef uint64_t opened_ns, heard_ns, pinged_ns
    cdef uint64_t longest_ns        # how long it may last; see limits.websocket_age
    cdef uint64_t closing_ns        # when the connection ends, whether the client has answered the Close or not; 0 = none
    cdef list behind                # (opcode, payload) that wait until the client reads; None = none do
    cdef Py_ssize_t behind_bytes    # ... that are counted as held
    cdef bytes pong                 # the payload of the last Ping, which waits until the client reads; None = none does
    cdef bint leaving               # no further turn begins
    cdef accept(self)
    cdef int retire(self) except -1             # close once no turn runs
    cdef int check(self, uint64_t now) except -1
    cdef int _arm(self, uint64_t now) except -1
    cdef bint _hold(self, Py_ssize_t more) noexcept
    cdef int _take_all(self, list found) except -1
    cdef int _take_behind(self) except -1
    cdef int _take(self, int opcode, bytes payload) except -1
    cdef int _take_turn(self, bytes content) except -1
    cdef int _refuse(self, Lane lane, str kind, str detail) except -1
    cdef int _begin_waiting(self) except -1
    cdef int _begin(self, Lane lane, TurnMessage message) except -1
    cdef Refusal _judge_warm_up(self, bytes model)
    cdef int _warm_up(self, Lane lane, TurnMessage message, bytes before) except -1
    cdef int _keep(self, Lane lane, bytes name, bytes items) except -1
    cdef int _drop(self, bytes name) except -1
    cdef Head _turn_head(self, Py_ssize_t length)
    cdef int _say(self, Lane lane, bytes message) except -1
    cdef int _ping(self, uint64_t now) except -1
    cdef int _rest(self) except -1              # what follows once no turn runs
    cdef int _leave(self) except -1
    cdef int _stop_turns(self) except -1
    cdef int _turn_over(self, Lane lane, SocketTurn turn) except -1
    cdef int _note_dropped(self, bytes name) except -1
    cdef bint _is_aged(self, uint64_t now) noexcept
    cdef int _close(self, int code, str reason) except -1
    cdef int _end(self) except -1
    cdef int _forget(self) except -1

cdef ResponsesSocket open_socket(Exchange upgrade)
