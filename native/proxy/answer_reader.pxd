"""Reads a target's answer: holds it, checks it, and decides what may be relayed and whose fault an error is. No I/O."""

from libc.stdint cimport int64_t, uint64_t
from native.codec.content_coding cimport Decoder
from native.codec.head cimport Head
from native.codec.sse cimport Scanner
from native.codec.usage cimport Usage
from native.http.connection_pool cimport ConnectionPool
from native.http.stream cimport Acceptor, Share

cdef enum Mode:             # what is done with an answer's body
    HOLD = 0                # collected, checked, then relayed whole
    EVENTS = 1              # server-sent events: held until the first content, then relayed event by event
    RAW = 2                 # relayed as it comes
    FAULT = 3               # an error's body: held (bounded) until it is known whose fault it is
    CALL = 4                # gRPC: relayed as it comes, judged by its status in the end
    BARE = 5                # gRPC trailers-only: judged before anything is shown
    PIPE = 6                # an upgrade was accepted: bytes both ways

cdef enum Reading:          # what the bytes read so far call for
    READ_ON = 0             # nothing yet
    READ_CONTENT = 1        # the first content has come: offer the answer, then relay ``ready``
    READ_DATA = 2           # relay ``ready``
    READ_DATA_FAILED = 3    # relay ``ready``; after it the attempt has failed
    READ_WHOLE = 4          # ``ready`` is a whole answer, checked
    READ_DONE = 5           # the answer is complete; ``ready`` is the last of it, or None
    READ_FAILED = 6         # the attempt has failed: outcome, detail
    READ_REFUSED = 7        # the caller's own fault: ``ready`` is the target's error body, None = it is too large
    READ_ABSENT = 8         # another region has nothing for this model
    READ_DECLINED = 9       # not by this target: ``ready`` as for READ_REFUSED, and ``declined`` says why

cdef enum Action:           # what a status means; names and numbers of edge/terms/actions.py
    ACTION_RELAY = 0
    ACTION_CLIENT = 1
    ACTION_FAIL = 2
    ACTION_RATE_LIMITED = 3
    ACTION_QUARANTINE = 4
    ACTION_MISCONFIGURED = 5
    ACTION_ELSEWHERE = 6
    ACTION_DECLINED = 7
    ACTION_UNCLEAR = 8
    ACTION_TOO_LONG = 9

cdef class AnswerReader:
    cdef ConnectionPool upstream    # its table of statuses, its hints and its secrets
    cdef Head head
    cdef int mode
    cdef Py_ssize_t limit           # bytes of a whole answer or an error body that are held
    cdef bint stream_begun          # the client has the head of an event stream already
    cdef bint translated            # the client speaks another dialect than the target
    cdef bint structured            # the answer has to fit a schema, so that no part of it may be missing
    cdef bint begun                 # content was relayed
    cdef int cut                    # events that were not relayed: malformed, or without any data
    cdef int dropped                # ... of them malformed
    cdef bint rescues               # another target may go on if the stream breaks off: an error event is held back
    cdef bint keeps                 # ... and the text is kept for it
    cdef bytes opening              # ... and the first events
    cdef Py_ssize_t kept_room       # bytes of the text that are counted; see count_kept()
    cdef bytes last_event           # the error event that was held back; None = there is none
    cdef Decoder decoder            # of a compressed answer; None = it is not compressed
    cdef bint may_be_events         # a stream was asked for, and the type does not tell whether one comes
    cdef bint unread                # its body may be no JSON: sound, or text
    cdef bytes text                 # the error's body, for what it says of waiting
    cdef bytes ready
    cdef int declined               # of READ_DECLINED: the Action
    cdef int outcome                # of READ_FAILED, READ_DATA_FAILED
    cdef str detail
    cdef bint asks_to_wait          # the head may say how long to stay away
    cdef list held
    cdef Py_ssize_t held_size
    cdef Acceptor acceptor          # limits what is held
    cdef Share share                # for whom it is held; None = nobody
    cdef Py_ssize_t counted         # bytes that are counted as held
    cdef Scanner scanner            # of EVENTS
    cdef bint client_error          # an error body over FAULT_LIMIT that may be relayed
    cdef int grpc_status            # of CALL and BARE, once it has ended; -1 = none
    cdef int64_t pushback           # ms that a gRPC server asks to wait; -1 never retry, -2 it does not say
    cdef uint64_t retry_after_ns    # the same, capped
    cdef Usage usage                # as a whole answer reports it
    cdef int begin(self, Head head, bint stream_asked)      # of a model's answer; returns a Reading
    cdef int action(self) noexcept                          # of the status alone
    cdef bytes decode(self, bytes data)     # of a compressed answer; None = it cannot be decoded, see ``detail``
    cdef bint is_cut(self)                  # a compressed answer has not ended
    cdef int feed(self, bytes data)
    cdef int feed_end(self)         # before finish(): complete the last event, if its blank line is missing
    cdef int finish(self)
    cdef int judge_part(self)       # of an error whose body has broken off; READ_ON = too little has come
    # Set grpc_status, outcome and pushback at the end of a gRPC call. left_ns: until the deadline of the exchange.
    cdef int read_call_end(self, bytes status, list trailers, uint64_t left_ns) except -1
    cdef bint said_done(self) noexcept                      # [DONE] has come: only framing is missing
    cdef bint hold(self) noexcept           # count what is held; False = there is no room for it
    cdef void release(self) noexcept        # nothing is held any more
    cdef int count_kept(self) except -1     # the answer has begun: count what is kept for another target, and nothing else
    cdef int _failed(self, int outcome, str detail) noexcept
    cdef int _tell_events(self, bytes data)
    cdef int _relay_unchecked(self)
    cdef int _feed_events(self, bytes data)
    cdef bytes _without_cuts(self, bytes whole, Py_ssize_t* removed)
    cdef int _finish_events(self)
    cdef int _error_event(self, bytes whole, Py_ssize_t start, Py_ssize_t end)
    cdef _scan_events(self)
    cdef bint _may_be_rescued(self) noexcept
    cdef int _judge_whole(self)
    cdef int _judge_fault(self, bint complete)
    cdef int _action_of(self, bytes content)
    cdef int _action_by_words(self, bytes content) except? -1
    cdef bint _needs_body(self)
    cdef bint _asks_for_less(self, bytes words)
    cdef bytes _redact(self, bytes content)

# limit: of Limits.max_response. share: see ServerStream.
cdef AnswerReader new_reader(
    ConnectionPool upstream, Acceptor acceptor, Share share, Py_ssize_t limit, bint translated, bint structured
)
