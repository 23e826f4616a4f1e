"""Fuzzes the HTTP/1.1 parsers, guided by coverage: whole and cut, the same bytes must give the same events.

tests/native/test_http1_fuzz.py copies this module beside the parsers, compiles all of them under sanitizers and runs it.
Each piece is fed from a buffer of its exact size that is freed behind the call, so that every byte read outside it, or too
late, is found."""

import time

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcmp, memcpy, memmove
from native.codec.head cimport Head
from native.http.http1_request_parser cimport RequestEvents, RequestParser
from native.http.http1_response_parser cimport ResponseEvents, ResponseParser

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
    TRANSCRIPT = 65536          # ... and of what a parser may say to it

cdef Py_ssize_t HEADER_BYTES = 200
cdef int HEADER_COUNT = 6

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


cdef class Transcript:
    """Records what a parser said, but not in which pieces."""

    cdef char[TRANSCRIPT] text
    cdef Py_ssize_t size

    cdef void raw(self, const char* p, Py_ssize_t size):
        if self.size + size > TRANSCRIPT:
            raise AssertionError("a parser said more than it was given")
        memcpy(self.text + self.size, p, size)
        self.size += size

    cdef void number(self, int64_t n):
        self.raw(<const char*>&n, sizeof(n))

    cdef void bytes(self, bytes data):
        if data is not None:
            self.raw(PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))

    cdef void head(self, Head head):
        cdef tuple pair
        for item in (head.method, head.target, head.path, head.authority, head.host, head.upgrade, head.content_type):
            self.number(-1 if item is None else PyBytes_GET_SIZE(<bytes>item))
            self.bytes(<bytes>item)
        for item in head.fields:
            pair = <tuple>item
            self.number(PyBytes_GET_SIZE(<bytes>pair[0]))
            self.bytes(<bytes>pair[0])
            self.number(PyBytes_GET_SIZE(<bytes>pair[1]))
            self.bytes(<bytes>pair[1])
        self.number(head.status)
        self.number(head.length)
        self.number(head.version + 100 * head.keep_alive + 1000 * head.until_close + 10000 * head.expects)


cdef class Requests(RequestEvents):
    cdef Transcript said

    cdef int on_head_begin(self) except -1:
        self.said.number(1)

    cdef bint on_head(self, Head head):
        self.said.head(head)
        return True

    cdef bint on_body(self, bytes data):
        self.said.bytes(data)
        return True

    cdef int on_complete(self) except -1:
        self.said.number(2)

    cdef bint on_upgrade(self, bytes rest):
        self.said.number(3)
        return False


cdef class Responses(ResponseEvents):
    cdef Transcript said
    cdef bint complete

    cdef bint awaits_response(self):
        return not self.complete

    cdef int on_interim_head(self, int status) except -1:
        self.said.number(status)

    cdef int on_response_head(self, Head head) except -1:
        self.said.head(head)

    cdef int on_body_data(self, bytes data) except -1:
        self.said.bytes(data)

    cdef int on_complete(self) except -1:
        self.said.number(4)
        self.complete = True


cdef object feed(object parser, bint is_request, const char* data, Py_ssize_t size):
    """Feed a copy in a buffer of its exact size."""
    cdef char* copy = <char*>malloc(size if size else 1)
    cdef str refusal = None
    memcpy(copy, data, size)
    try:
        if is_request:
            (<RequestParser>parser).feed(copy, size)
        else:
            refusal = (<ResponseParser>parser).feed(copy, size)
    finally:
        free(copy)
    return refusal


cdef Transcript play(bint is_request, bint to_head, const char* data, Py_ssize_t size, int cuts, Transcript said):
    """Record everything a parser says to these bytes. cuts: number of cuts, or -1 = every byte alone."""
    cdef Requests requests
    cdef Responses responses
    cdef object parser
    cdef str refusal = None
    cdef Py_ssize_t at = 0
    cdef Py_ssize_t piece
    said.size = 0
    if is_request:
        requests = Requests.__new__(Requests)
        requests.said = said
        parser = RequestParser(requests, HEADER_BYTES, HEADER_COUNT)
    else:
        responses = Responses.__new__(Responses)
        responses.said = said
        parser = ResponseParser(responses, HEADER_BYTES, HEADER_COUNT)
        (<ResponseParser>parser).begin()
        (<ResponseParser>parser).to_head = to_head
        (<ResponseParser>parser).upgrade_requested = True
    while at < size and refusal is None:
        piece = size - at
        if cuts < 0:
            piece = 1
        elif cuts and piece > 1:
            piece = 1 + below(piece)
            cuts -= 1
        refusal = feed(parser, is_request, data + at, piece)
        at += piece
    if is_request and (<RequestParser>parser).fault is not None:
        refusal = (<RequestParser>parser).fault
        said.number((<RequestParser>parser).fault_status)
    said.bytes(None if refusal is None else refusal.encode())
    return said


cdef Py_ssize_t put(char* data, Py_ssize_t size, Py_ssize_t at, Py_ssize_t gone, const char* new, Py_ssize_t more) noexcept:
    """Replace ``gone`` bytes with others, if the result is not too long; return the size."""
    if size - gone + more > LONGEST:
        return size
    memmove(data + at + more, data + at + gone, size - at - gone)
    memcpy(data + at, new, more)
    return size - gone + more


cdef Py_ssize_t mutate(char* data, Py_ssize_t size, list corpus, list tokens) except -1:
    """Change a few bytes; return the new size."""
    cdef char[64] held
    cdef bytes other
    cdef Py_ssize_t at
    cdef Py_ssize_t run
    cdef int kind
    for _ in range(1 + below(6)):
        kind = <int>below(8)
        at = below(size + 1)
        run = min(size - at, 1 + below(8))
        if kind == 0 and at < size:
            data[at] = <char>below(256)
        elif kind == 1 and at < size:
            data[at] ^= <char>(1 << below(8))
        elif kind == 2:
            size = put(data, size, at, run, held, 0)
        elif kind == 3 or kind == 4:
            other = <bytes>tokens[below(len(tokens))]
            size = put(data, size, at, run if kind == 4 else 0, PyBytes_AS_STRING(other), PyBytes_GET_SIZE(other))
        elif kind == 5:
            run = min(size - at, <Py_ssize_t>(1 + below(40)))
            memcpy(held, data + at, run)
            size = put(data, size, below(size + 1), 0, held, run)
        elif kind == 6:
            other = <bytes>corpus[below(len(corpus))]
            run = below(PyBytes_GET_SIZE(other) + 1)
            size = put(data, size, at, size - at, PyBytes_AS_STRING(other) + run, PyBytes_GET_SIZE(other) - run)
        elif at < size:
            held[0] = <char>(c"0" + below(10))
            size = put(data, size, at, 1, held, 1)
    return size


def run(list seeds not None, list tokens not None, bint is_request, uint64_t executions, double seconds, uint64_t seed, compare):
    """Execute mutated inputs.

    Args:
        seeds: the first inputs, each at most 700 bytes.
        tokens: what mutations insert.
        is_request: of the request parser; otherwise of the response parser.
        executions, seconds: when to stop.
        seed: of the generator.
        compare: called as ``compare(data, to_head)`` for each input that reaches something new, and for one of 64 others.

    Returns:
        (executions, inputs in the corpus, slots reached, inputs whose events depend on how they are cut).
    """
    global STATE, edge_recording
    cdef list corpus = list(seeds)
    cdef list failed = []
    cdef char[LONGEST + 64] data
    cdef bytes chosen
    cdef Py_ssize_t size
    cdef uint64_t done = 0
    cdef Transcript whole = Transcript.__new__(Transcript)
    cdef Transcript in_pieces = Transcript.__new__(Transcript)
    cdef bint to_head
    cdef int found
    cdef int way
    STATE = seed * 2 + 1
    until = time.monotonic() + seconds
    while done < executions:
        if not done & 1023 and time.monotonic() > until:
            break
        chosen = <bytes>corpus[done] if done < <uint64_t>len(seeds) else <bytes>corpus[below(len(corpus))]
        size = min(PyBytes_GET_SIZE(chosen), LONGEST)
        memcpy(data, PyBytes_AS_STRING(chosen), size)
        if done >= <uint64_t>len(seeds):
            size = mutate(data, size, corpus, tokens)
        done += 1
        to_head = not is_request and draw() >> 60 == 0
        edge_recording = 1
        play(is_request, to_head, data, size, 0, whole)
        edge_recording = 0
        found = edge_news()
        if found and done > <uint64_t>len(seeds):
            corpus.append(PyBytes_FromStringAndSize(data, size))
        way = <int>below(8)
        play(is_request, to_head, data, size, -1 if way == 0 else way, in_pieces)
        if in_pieces.size != whole.size or memcmp(in_pieces.text, whole.text, whole.size):
            failed.append(PyBytes_FromStringAndSize(data, size))
        if found or draw() >> 58 == 0:
            compare(PyBytes_FromStringAndSize(data, size), to_head)
    return done, len(corpus), edge_reached(), failed[:10]
