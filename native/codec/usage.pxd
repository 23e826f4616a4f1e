"""Reads the token counts of a usage object, with the names of every dialect (sans-I/O).

Names: OpenAI chat and completions (prompt_tokens, completion_tokens), OpenAI responses and Anthropic (input_tokens,
output_tokens), Gemini (promptTokenCount, candidatesTokenCount), with the details that each of them gives: objects of
counts, and of Gemini lists of {"modality": "AUDIO", "tokenCount": 9} (https://ai.google.dev/api/generate-content)."""

from libc.stdint cimport int64_t, uint32_t
from native.codec.json_walk cimport Scan, Text

cdef enum Count:            # what a provider counts; the places of Usage.count
    PROMPT = 0
    OUTPUT = 1
    TOTAL = 2
    REASONING = 3           # in the details of the output: of most providers a part of it, of xAI beside it
    THOUGHTS = 4            # Gemini: beside the output
    CACHED = 5              # a part of the prompt
    CACHE_READ = 6          # Anthropic: beside input_tokens; elsewhere a part of the prompt
    CACHE_WRITTEN = 7       # likewise
    TOOL_PROMPT = 8         # Gemini: results of its own tools, beside the prompt
    AUDIO_PROMPT = 9        # parts of prompt and output
    IMAGE_PROMPT = 10
    AUDIO_OUTPUT = 11
    CACHED_AUDIO = 12       # Gemini: what of such a part stands in the cached part too
    CACHED_IMAGE = 13
    COUNTS = 14

cdef enum:
    NAMED_INPUT = 1 << COUNTS       # the prompt was counted under the name input_tokens

cdef struct Usage:          # as it was reported; clear() is all that a new one needs
    uint32_t seen           # one bit per Count, and NAMED_INPUT
    int64_t[14] count

cdef struct Tokens:         # what was used; parts are contained in their wholes
    int64_t prompt          # -1 = not counted
    int64_t cached          # of the prompt
    int64_t written         # of the prompt: written to a cache
    int64_t audio_prompt, image_prompt      # without what of them was cached, where that is told
    int64_t output          # -1 = not counted
    int64_t said            # the output as it was counted, without what a total adds
    int64_t reasoning       # of the output
    int64_t audio_output

cdef inline void clear(Usage* usage) noexcept nogil:
    usage.seen = 0

# Reads the usage object at p; a count that is not a number, or negative, is ignored, and a fraction is rounded up.
cdef const char* walk_usage(const char* p, Scan* scan, int depth, Usage* usage) noexcept nogil
# Adds later counts: each replaces an earlier one.
cdef void merge_usage(Usage* known, const Usage* later) noexcept nogil
# Tells what was used from what was reported.
cdef void resolve_usage(const Usage* usage, Tokens* tokens) noexcept nogil
# Reads a number that is at least 0, rounded up, saturated at INT64_MAX; -1 = anything else.
cdef int64_t read_amount(const char* p, const char* end) noexcept nogil
cdef dict usage_view(const Usage* usage)        # the Tokens as a dict, for tests
