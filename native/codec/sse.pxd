"""Splits a stream of server-sent events, classifies each event and passes on complete events only (sans-I/O).

The results of ``feed``, followed by ``rest``, are the stream, byte for byte. The classification does not depend on how
the stream was cut into chunks. Source: WHATWG HTML 9.2; comments between events as DeepSeek sends them."""

from libc.stdint cimport int64_t, uint64_t
from native.codec.event cimport Facts
from native.codec.repeated_event cimport RepeatedEvent
from native.codec.shown cimport Shown
from native.codec.usage cimport Usage

cdef enum Cut:              # why an event is not for a client
    CUT_HOLLOW = 1          # its data is empty
    CUT_BROKEN = 2          # its data is malformed (SAID_GARBAGE)
    CUT_CALL = 4            # ... and it comes behind the beginning of a tool call, or mentions one
    CUT_ERROR = 8           # ... and it is called an error

cdef class Scanner:
    cdef readonly int said          # all bits so far
    cdef readonly int fresh         # bits of the last feed
    cdef readonly bytes error       # data of the first error event, or None
    cdef Usage usage                # all counts so far, each from the last object that has it
    cdef readonly int64_t said_size # bytes of text in the content so far, or that cost as much
    cdef readonly int events        # content events so far
    cdef readonly Py_ssize_t limit  # maximum bytes of an incomplete event that are held back
    cdef readonly Py_ssize_t error_end   # end of the first error event in the last result of feed; -1 = not in it
    cdef list cuts                  # (start, end, Cut bits) of such events in the last result of feed; None = none
    cdef uint64_t[2] choices        # one bit per index of the choices so far, and of those that have ended
    cdef uint64_t[2] ended
    cdef readonly Py_ssize_t error_start # where it begins there; 0 = before it
    cdef public Shown shown       # the text so far, for another target to go on with; None = it is not kept
    cdef RepeatedEvent former       # the last event that was nothing but text
    cdef bytes carry                # the incomplete event at the end
    cdef bint begun                 # past the place of a byte order mark
    cdef int mark                   # bytes of a byte order mark seen at the start; 3 = settled
    cdef bint within                # inside a line
    cdef bint remark                # the current line is a comment
    cdef bint fields                # the open event has a line that is not a comment
    cdef bint after_cr              # the last byte was a CR: a line feed now belongs to the same line end
    cdef bint raw                   # inside an event over the limit, of which a part has been passed on
    cdef bint raw_text              # ... and that is text, not a picture
    # Returns the complete events of carry + chunk (the chunk itself, not a copy, if nothing was cut), b"" if there is
    # none. An incomplete event over ``limit`` bytes is passed on raw (without SAID_GARBAGE), so that memory is bounded.
    # Such an event is content. It is an error or the end if its first ``limit`` bytes or its event name say so.
    cdef bytes feed(self, bytes chunk)
    cdef bint all_ended(self) noexcept      # every choice so far has its finish reason
    cdef bytes rest(self)           # returns the incomplete event at the end, and drops it
    cdef int _scan(self, const char* start, Py_ssize_t held, Py_ssize_t size, Py_ssize_t* border) except -1
    # Returns the bits of the event; HOLLOW_DATA = it has data, which is empty
    cdef int _judge(self, const char* p, const char* end, const char* line) except -1
    cdef int _add_text(self, const Facts* facts, int bits) except -1
    cdef int _cut(self, const char* p, const char* end, Py_ssize_t start, int bits) except -1
