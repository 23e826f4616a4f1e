"""Reads what a client says on a WebSocket of Responses, and writes the request that a turn stands for (sans-I/O).

A turn is the body of a request, with members that belong to the connection among its own."""

cpdef enum TurnFault:
    TURN_OK = 0
    TURN_MALFORMED = 1      # not one JSON object
    TURN_TWICE = 2          # one of the members below stands in it twice
    TURN_TYPE = 3           # one of them has a value of a wrong type

cdef enum Member:           # in what is read; the others are passed on
    M_OTHER = 0
    M_TYPE = 1              # of the message
    M_STREAM = 2            # implied
    M_STREAM_ID = 3
    M_BACKGROUND = 4
    M_GENERATE = 5
    M_PREVIOUS = 6          # previous_response_id
    M_INPUT = 7
    M_MODEL = 8
    MEMBERS = 9

cdef struct Place:          # of one member; offsets into the message
    int member              # Member
    Py_ssize_t start        # the quote that opens its name
    Py_ssize_t value, end   # of its value

cdef struct Places:         # of those that stand in a message, in its order
    Place[MEMBERS] at
    int count

cdef class TurnMessage:
    cdef bytes content
    cdef readonly int fault             # TurnFault
    cdef readonly Py_ssize_t fault_at
    cdef Places places
    cdef Py_ssize_t open, close         # behind the brace that opens the object, and at the one that closes it
    cdef readonly bytes kind            # the type; None = it has none
    cdef readonly bytes lane            # stream_id; None = the implicit lane
    cdef readonly bytes previous        # previous_response_id; None = it names none
    cdef readonly bint background       # it is to run in the background
    cdef readonly bint warms_up         # generate is false: nothing is to be generated
    cdef bytes model_text(self)         # the value of model as it is written; b"null" = it names none
    # The body of the request; ``before``: items of the conversation before this turn, None = as the turn says itself.
    cdef bytes body(self, bytes before)
    # The items of the conversation up to this turn: JSON, with commas between them and without brackets.
    cdef bytes items(self, bytes before)
    cdef const Place* _find(self, int member) noexcept
    cdef int _judge(self) except -1

cdef TurnMessage read_turn(bytes content)
cdef bytes join_items(bytes before, bytes more)         # the items of both
