"""Tells what an attempt used: by the counts of its target, or else by what was seen of its answer."""

from libc.stdint cimport int64_t, uint64_t
from native.balance.price cimport Used
from native.proxy.answer_reader cimport AnswerReader
from native.state.shared_state cimport RouteRec

cdef struct Basis:          # what is known of the attempt besides its answer
    bint complete           # the answer is
    bint shown              # the client got part of it
    bint left               # the client left after the request was sent
    bint silent             # an answer of this operation has no output tokens
    uint64_t prompt         # estimated tokens of the prompt, and of what it contains
    uint64_t picture_prompt, sound_prompt
    uint64_t prompt_most    # no prompt of this size has more
    uint64_t output_most    # no answer to this request has more
    uint64_t output_least   # what an answer without a count has at least, because it says less than it costs
    RouteRec* route         # whose usual output an answer has of which nothing is known

# Set what the attempt used. A count that cannot be right is replaced by the nearest one that can. Without a count, the
# prompt is what was estimated, and the output one token for four bytes of text, or for each event, whichever is more.
# What was neither counted nor seen by the client is zero.
cdef int measure(AnswerReader reader, const Basis* basis, Used* used) except -1
