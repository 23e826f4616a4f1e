"""Decides whether another target may go on with an answer that broke off, and prepares that."""

from libc.stdint cimport uint64_t
from native.proxy.attempt cimport Attempt, AttemptResult
from native.proxy.answer_reader cimport AnswerReader
from native.proxy.model_request cimport ModelRequest
from native.proxy.request cimport Request
from native.proxy.response cimport Response
from native.proxy.selection cimport Selection

# The answer has begun: keep the request if another target may go on and there is room, which new requests need more.
cdef keep_or_release(Request request, AnswerReader reader)
# Return whether another target may go on. Leaves only such targets in ``selection``. begun: attempts so far.
cdef bint may_resume(Response response, Selection selection, Attempt attempt, int outcome, int begun, uint64_t now)
# Prepare that; False: the answer is not one that can be continued.
cdef bint prepare(ModelRequest request, Response response, Attempt attempt, AttemptResult result)
# Count the text that is kept for yet another target. False = there is no room, and it is kept no longer.
cdef bint count_text(ModelRequest request)
# The attempt is about to ask for the rest: expect its stream, and tell the client.
cdef expect(ModelRequest request, Response response, Attempt attempt, Attempt broken, uint64_t now)
