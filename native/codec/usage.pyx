from libc.math cimport ceil
from libc.stdint cimport INT64_MAX, uint32_t
from libc.stdlib cimport strtod
from native.codec.json_walk cimport read_count, take_text, text_is, walk_elements, walk_members, walk_value

cdef struct Modality:           # one of a list of Gemini's, and the counts that stand for sound and pictures there
    Usage* usage
    int sound, picture
    int what                    # the Count of this one; -1 = none
    int64_t count


cdef int64_t read_amount(const char* p, const char* end) noexcept nogil:
    cdef int64_t count = read_count(p, end)
    cdef double value
    if count >= 0 or p >= end or not c"0" <= p[0] <= c"9":
        return count
    # a fraction or an exponent: the grammar was checked, so strtod() stops at ``end`` or at a byte that is no number's
    value = ceil(strtod(p, NULL))
    return <int64_t>value if value < 9.2e18 else INT64_MAX


cdef int _count_of(const Text* key) noexcept nogil:
    """Return the Count of a member of a usage object; -1 = none."""
    if text_is(key, b"prompt_tokens", 13) or text_is(key, b"input_tokens", 12) or text_is(key, b"promptTokenCount", 16):
        return PROMPT
    if (text_is(key, b"completion_tokens", 17) or text_is(key, b"output_tokens", 13)
            or text_is(key, b"candidatesTokenCount", 20)):
        return OUTPUT
    if text_is(key, b"total_tokens", 12) or text_is(key, b"totalTokenCount", 15):
        return TOTAL
    if text_is(key, b"reasoning_tokens", 16):
        return REASONING
    if text_is(key, b"thoughtsTokenCount", 18):
        return THOUGHTS
    # Moonshot, DeepSeek and Gemini count the cache beside the other counts
    if (text_is(key, b"cached_tokens", 13) or text_is(key, b"prompt_cache_hit_tokens", 23)
            or text_is(key, b"cachedContentTokenCount", 23)):
        return CACHED
    if text_is(key, b"cache_read_input_tokens", 23):
        return CACHE_READ
    if text_is(key, b"cache_creation_input_tokens", 27):
        return CACHE_WRITTEN
    if text_is(key, b"toolUsePromptTokenCount", 23):
        return TOOL_PROMPT
    return -1


cdef void _note(Usage* usage, int what, const char* p, const char* after) noexcept nogil:
    cdef int64_t count = -1 if what < 0 else read_amount(p, after)
    if count >= 0:
        usage.count[what] = count
        usage.seen |= <uint32_t>1 << what


cdef const char* _visit_prompt_detail(const char* p, Scan* scan, const Text* key, int depth, void* into) noexcept nogil:
    cdef const char* after = walk_value(p, scan, depth)
    if after != NULL:
        _note(
            <Usage*>into,
            CACHED if text_is(key, b"cached_tokens", 13) else AUDIO_PROMPT if text_is(key, b"audio_tokens", 12)
            else IMAGE_PROMPT if text_is(key, b"image_tokens", 12) else -1, p, after,
        )
    return after


cdef const char* _visit_output_detail(const char* p, Scan* scan, const Text* key, int depth, void* into) noexcept nogil:
    cdef const char* after = walk_value(p, scan, depth)
    if after != NULL:
        _note(
            <Usage*>into,
            REASONING if text_is(key, b"reasoning_tokens", 16) else AUDIO_OUTPUT if text_is(key, b"audio_tokens", 12)
            else -1, p, after,
        )
    return after


cdef const char* _visit_modality(const char* p, Scan* scan, const Text* key, int depth, void* into) noexcept nogil:
    cdef Modality* each = <Modality*>into
    cdef const char* after
    cdef Text word
    if text_is(key, b"modality", 8):
        each.what = -1
        if p[0] != c'"':
            return walk_value(p, scan, depth)
        after = take_text(p, scan, &word)
        if after != NULL:
            each.what = each.sound if text_is(&word, b"AUDIO", 5) else each.picture if text_is(&word, b"IMAGE", 5) else -1
        return after
    after = walk_value(p, scan, depth)
    if after != NULL and text_is(key, b"tokenCount", 10):
        each.count = read_amount(p, after)
    return after


cdef const char* _visit_modalities(const char* p, Scan* scan, const Text* key, int depth, void* into) noexcept nogil:
    cdef Modality* each = <Modality*>into
    each.what = -1
    each.count = -1
    p = walk_members(p, scan, depth, _visit_modality, into)
    if p != NULL and each.what >= 0 and each.count >= 0:
        each.usage.count[each.what] = each.count
        each.usage.seen |= <uint32_t>1 << each.what
    return p


cdef const char* _walk_modalities(const char* p, Scan* scan, const Text* key, int depth, Usage* usage) noexcept nogil:
    cdef Modality each
    each.usage = usage
    if text_is(key, b"promptTokensDetails", 19):
        each.sound = AUDIO_PROMPT
        each.picture = IMAGE_PROMPT
    elif text_is(key, b"cacheTokensDetails", 18):
        each.sound = CACHED_AUDIO
        each.picture = CACHED_IMAGE
    elif text_is(key, b"candidatesTokensDetails", 23):
        each.sound = AUDIO_OUTPUT
        each.picture = -1
    else:
        return walk_value(p, scan, depth)
    return walk_elements(p, scan, depth, _visit_modalities, &each)


cdef const char* _visit_count(const char* p, Scan* scan, const Text* key, int depth, void* into) noexcept nogil:
    cdef Usage* usage = <Usage*>into
    cdef const char* after
    cdef int what
    if p[0] == c"{":
        if (text_is(key, b"prompt_tokens_details", 21) or text_is(key, b"input_tokens_details", 20)
                or text_is(key, b"input_token_details", 19)):
            return walk_members(p, scan, depth, _visit_prompt_detail, usage)
        if (text_is(key, b"completion_tokens_details", 25) or text_is(key, b"output_tokens_details", 21)
                or text_is(key, b"output_token_details", 20)):
            return walk_members(p, scan, depth, _visit_output_detail, usage)
    elif p[0] == c"[":
        return _walk_modalities(p, scan, key, depth, usage)
    after = walk_value(p, scan, depth)
    if after == NULL or not c"0" <= p[0] <= c"9":
        return after
    what = _count_of(key)
    if what == PROMPT:
        usage.seen = usage.seen | NAMED_INPUT if key.size == 12 else usage.seen & ~<uint32_t>NAMED_INPUT
    _note(usage, what, p, after)
    return after


cdef const char* walk_usage(const char* p, Scan* scan, int depth, Usage* usage) noexcept nogil:
    return walk_members(p, scan, depth, _visit_count, usage)


cdef void merge_usage(Usage* known, const Usage* later) noexcept nogil:
    cdef int what
    for what in range(<int>COUNTS):
        if later.seen >> what & 1:
            known.count[what] = later.count[what]
    if later.seen >> <int>PROMPT & 1:
        known.seen &= ~<uint32_t>NAMED_INPUT
    known.seen |= later.seen


cdef inline int64_t _of(const Usage* usage, int what) noexcept nogil:
    return usage.count[what] if usage.seen >> what & 1 else 0


cdef inline int64_t _sum(int64_t a, int64_t b) noexcept nogil:
    return INT64_MAX if a > INT64_MAX - b else a + b


cdef void resolve_usage(const Usage* usage, Tokens* tokens) noexcept nogil:
    cdef int64_t read = _of(usage, CACHE_READ)
    cdef int64_t thoughts = _of(usage, THOUGHTS)
    tokens.prompt = _of(usage, PROMPT) if usage.seen >> <int>PROMPT & 1 else -1
    tokens.output = _of(usage, OUTPUT) if usage.seen >> <int>OUTPUT & 1 else -1
    tokens.written = _of(usage, CACHE_WRITTEN)
    tokens.cached = max(_of(usage, CACHED), read)
    tokens.audio_prompt = max(_of(usage, AUDIO_PROMPT) - _of(usage, CACHED_AUDIO), 0)
    tokens.image_prompt = max(_of(usage, IMAGE_PROMPT) - _of(usage, CACHED_IMAGE), 0)
    tokens.audio_output = _of(usage, AUDIO_OUTPUT)
    if tokens.prompt >= 0:
        if usage.seen & NAMED_INPUT:
            tokens.prompt = _sum(tokens.prompt, _sum(read, tokens.written))
        tokens.prompt = _sum(tokens.prompt, _of(usage, TOOL_PROMPT))
    tokens.reasoning = max(_of(usage, REASONING), thoughts)
    tokens.said = tokens.output
    if tokens.output >= 0 and _of(usage, REASONING) > tokens.output:
        thoughts = _of(usage, REASONING)        # more than the whole: it stands beside it
    if tokens.output >= 0 or thoughts:
        tokens.output = _sum(max(tokens.output, 0), thoughts)
        tokens.said = tokens.output
    if usage.seen >> <int>TOTAL & 1 and tokens.prompt >= 0 and (
        usage.count[<int>TOTAL] - tokens.prompt > max(tokens.output, -1)
    ):
        tokens.output = usage.count[<int>TOTAL] - tokens.prompt


cdef dict usage_view(const Usage* usage):
    cdef Tokens tokens
    resolve_usage(usage, &tokens)
    return tokens
