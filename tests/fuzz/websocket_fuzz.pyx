"""Fuzzes the reader of WebSocket frames and of turns, guided by coverage: whole and cut, the same bytes must give the same.

tests/native/test_websocket_fuzz.py copies this module beside the readers, compiles all of them under sanitizers and runs
it. Each piece is fed from a buffer of its exact size that is freed behind the call."""

import time

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy
from native.codec.event_data cimport EventData
from native.codec.turn_message cimport TurnMessage, read_turn
from native.codec.websocket cimport FrameReader

cdef extern from *:
    """
    extern int edge_recording;
    extern int edge_news(void);
    extern int edge_reached(void);
    """
    int edge_recording
    int edge_news()
    int edge_reached()

cdef enum:
    LONGEST = 700               # bytes of an input
    LIMIT = 300                 # ... and of a message in it

cdef uint64_t STATE             # of the generator


cdef inline uint64_t draw() noexcept:
    """Return the next number of xorshift64* (Vigna 2016)."""
    global STATE
    STATE ^= STATE >> 12
    STATE ^= STATE << 25
    STATE ^= STATE >> 27
    return STATE * <uint64_t>0x2545F4914F6CDD1D


cdef inline Py_ssize_t below(Py_ssize_t limit) noexcept:
    return <Py_ssize_t>((draw() >> 16) % <uint64_t>limit)


cdef list feed(FrameReader reader, const char* data, Py_ssize_t size):
    """Feed a copy in a buffer of its exact size."""
    cdef char* copy = <char*>malloc(size if size else 1)
    memcpy(copy, data, size)
    try:
        return reader.feed(copy, size)
    finally:
        free(copy)


cdef tuple play(bytes data, int cuts):
    """Return all that the readers make of these bytes. cuts: number of cuts, or -1 = every byte alone."""
    cdef FrameReader reader = FrameReader(LIMIT)
    cdef EventData events = EventData()
    cdef list found = []
    cdef list told = []
    cdef Py_ssize_t at = 0
    cdef Py_ssize_t size = PyBytes_GET_SIZE(data)
    cdef Py_ssize_t piece
    while at < size:
        piece = size - at
        if cuts < 0:
            piece = 1
        elif cuts and piece > 1:
            piece = 1 + below(piece)
            cuts -= 1
        found.extend(feed(reader, PyBytes_AS_STRING(data) + at, piece))
        told.extend(events.feed(data[at:at + piece]))
        at += piece
    return found, reader.fault, reader.closed, told


cdef int read_turns(list found) except -1:
    """Read what was found as turns, and write them: nothing may be read outside of them."""
    cdef TurnMessage message
    for _, payload in found:
        message = read_turn(<bytes>payload)
        if message.fault == 0:
            message.body(None)
            message.body(b"{}")
            message.model_text()


cdef bytes mutated(bytes data, list corpus, list tokens):
    cdef Py_ssize_t at
    cdef Py_ssize_t run
    cdef int kind
    for _ in range(1 + below(6)):
        kind = <int>below(6)
        at = below(PyBytes_GET_SIZE(data) + 1)
        run = 1 + below(8)
        if kind == 0:
            data = data[:at] + bytes([below(256)]) + data[at + 1:]
        elif kind == 1 and at < PyBytes_GET_SIZE(data):
            data = data[:at] + bytes([data[at] & 0xFF ^ 1 << below(8)]) + data[at + 1:]
        elif kind == 2:
            data = data[:at] + data[at + run:]
        elif kind == 3 or kind == 4:
            data = data[:at] + <bytes>tokens[below(len(tokens))] + data[at + (run if kind == 4 else 0):]
        else:
            other = <bytes>corpus[below(len(corpus))]
            data = data[:at] + other[below(len(other) + 1):]
    return data[:LONGEST]


def run(list seeds not None, list tokens not None, uint64_t executions, double seconds, uint64_t seed, compare):
    """Execute mutated inputs.

    Args:
        seeds: the first inputs, each at most 700 bytes.
        tokens: what mutations insert.
        executions, seconds: when to stop.
        seed: of the generator.
        compare: called as ``compare(data, limit, found, fault, closed)`` for each input that reaches something new, and
            for one of 64 others.

    Returns:
        (executions, inputs in the corpus, slots reached, inputs of which the readers make something else when cut).
    """
    global STATE, edge_recording
    cdef list corpus = list(seeds)
    cdef list failed = []
    cdef bytes data
    cdef uint64_t done = 0
    cdef tuple whole
    cdef int found
    cdef int way
    STATE = seed * 2 + 1
    until = time.monotonic() + seconds
    while done < executions:
        if not done & 1023 and time.monotonic() > until:
            break
        if done < <uint64_t>len(seeds):
            data = <bytes>corpus[done]
        else:
            data = mutated(<bytes>corpus[below(len(corpus))], corpus, tokens)
        done += 1
        edge_recording = 1
        whole = play(data, 0)
        read_turns(whole[0])
        edge_recording = 0
        found = edge_news()
        if found and done > <uint64_t>len(seeds):
            corpus.append(data)
        way = <int>below(8)
        if play(data, -1 if way == 0 else way) != whole:
            failed.append(data)
        if found or draw() >> 58 == 0:
            compare(data, LIMIT, *whole[:3])
    return done, len(corpus), edge_reached(), failed[:10]
