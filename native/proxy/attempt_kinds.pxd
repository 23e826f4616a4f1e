"""Reads the answers of models and of services: the two kinds of attempts."""

from libc.stdint cimport int64_t, uint64_t
from native.balance.balancer cimport Choice
from native.codec.head cimport Head
from native.proxy.attempt cimport Attempt, AttemptEvents
from native.proxy.request cimport Request

cdef class ModelAttempt(Attempt):
    cdef int _act(self, int reading, uint64_t now) except -1
    cdef int _note_issued(self, bytes content) except -1
    cdef int _decline(self, uint64_t now) except -1
    cdef bint _refuses_usage(self)
    cdef int _ask_without_usage(self, uint64_t now) except -1
    cdef bint _first_content(self, uint64_t now, int64_t length)
    cdef int _offer_whole(self, bytes content, uint64_t now) except -1

cdef class ServiceAttempt(Attempt):
    cdef int _judge_head(self, Head head, uint64_t now) except -1
    cdef int _hand_on(self, int64_t length) except -1
    cdef int _judge_call(self, bytes status, list trailers) except -1

cdef Attempt new_attempt(AttemptEvents events, Request request, const Choice* choice, uint64_t now)
