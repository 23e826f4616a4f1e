"""What does the data of one event hold?  See event.pxd for the contract."""

from libc.stdint cimport int64_t
from native.codec.json_walk cimport (Scan, Text, is_empty, next_element, next_member, read_count, take_text, text_is, walk_value)


cdef const char* _walk_usage(const char* p, Scan* scan, int depth, Facts* facts) noexcept nogil:
    cdef Text key
    cdef const char* after
    cdef int64_t count
    cdef bint first = True
    if p[0] != c"{":
        return walk_value(p, scan, depth)
    p += 1
    while True:
        p = next_member(p, scan, first, &key)
        if p == NULL or key.at == NULL:
            return p
        first = False
        after = walk_value(p, scan, depth + 1)
        if after == NULL:
            return NULL
        count = read_count(p, after)
        if count >= 0:
            if text_is(&key, b"prompt_tokens", 13) or text_is(&key, b"input_tokens", 12) or (
                    text_is(&key, b"promptTokenCount", 16)):
                facts.prompt_tokens = count
            elif text_is(&key, b"completion_tokens", 17) or text_is(&key, b"output_tokens", 13) or (
                    text_is(&key, b"candidatesTokenCount", 20)):
                facts.output_tokens = count
        p = after


cdef const char* _walk_carrier(const char* p, Scan* scan, int depth, Facts* facts) noexcept nogil:
    """An object that matters only for the usage in it: Responses' "response", Anthropic's "message"."""
    cdef Text key
    cdef bint first = True
    if p[0] != c"{":
        return walk_value(p, scan, depth)
    p += 1
    while True:
        p = next_member(p, scan, first, &key)
        if p == NULL or key.at == NULL:
            return p
        first = False
        if text_is(&key, b"usage", 5):
            p = _walk_usage(p, scan, depth + 1, facts)
        else:
            p = walk_value(p, scan, depth + 1)
        if p == NULL:
            return NULL


cdef const char* _walk_delta(const char* p, Scan* scan, int depth, int* has) noexcept nogil:
    """A delta (or a content block): does it say anything besides who speaks and in what kind of part?

    Any other string counts, since dialects keep adding names for what a model says (content, reasoning_content,
    reasoning, refusal, partial_json, thinking, signature); so does a non-empty list (tool_calls, content parts).
    """
    cdef Text key
    cdef const char* after
    cdef bint first = True
    if p[0] == c'"':
        after = walk_value(p, scan, depth)
        if after != NULL:
            has[0] |= DELTA_HOLLOW if is_empty(p, after) else DELTA_SPEAKS
        return after
    if p[0] != c"{":
        return walk_value(p, scan, depth)
    p += 1
    while True:
        p = next_member(p, scan, first, &key)
        if p == NULL or key.at == NULL:
            return p
        first = False
        after = walk_value(p, scan, depth + 1)
        if after == NULL:
            return NULL
        if p[0] == c'"':
            if not (text_is(&key, b"role", 4) or text_is(&key, b"type", 4) or text_is(&key, b"id", 2)):
                has[0] |= DELTA_HOLLOW if is_empty(p, after) else DELTA_SPEAKS
        elif p[0] == c"[":
            has[0] |= 0 if is_empty(p, after) else DELTA_SPEAKS
        elif p[0] == c"{" and (text_is(&key, b"function_call", 13) or text_is(&key, b"audio", 5)):
            has[0] |= DELTA_SPEAKS
        p = after


cdef const char* _walk_block(const char* p, Scan* scan, int depth, Facts* facts) noexcept nogil:
    """Anthropic's content_block: a text or thinking block starts empty; a tool_use block is content by its name."""
    cdef Text key
    cdef Text value
    cdef const char* start = p
    cdef bint first = True
    cdef bint prose = False
    cdef int has = 0
    p = _walk_delta(p, scan, depth, &has)
    if p == NULL or start[0] != c"{":
        return p
    start += 1
    while True:             # once more, now that it is known to be well-formed, for its type
        start = next_member(start, scan, first, &key)
        if key.at == NULL:
            break
        first = False
        if text_is(&key, b"type", 4) and start[0] == c'"':
            take_text(start, scan, &value)
            prose = text_is(&value, b"text", 4) or text_is(&value, b"thinking", 8)
        start = walk_value(start, scan, depth + 1)
    facts.has |= BLOCK_SPEAKS if has & DELTA_SPEAKS or not prose else 0
    return p


cdef const char* _walk_parts(const char* p, Scan* scan, int depth, Facts* facts) noexcept nogil:
    """Gemini's candidates[].content."""
    cdef Text key
    cdef const char* after
    cdef bint first = True
    if p[0] != c"{":
        return walk_value(p, scan, depth)
    p += 1
    while True:
        p = next_member(p, scan, first, &key)
        if p == NULL or key.at == NULL:
            return p
        first = False
        after = walk_value(p, scan, depth + 1)
        if after == NULL:
            return NULL
        if p[0] == c"[" and text_is(&key, b"parts", 5) and not is_empty(p, after):
            facts.has |= HAS_CONTENT
        p = after


cdef const char* _walk_choice(const char* p, Scan* scan, int depth, Facts* facts) noexcept nogil:
    """One of "choices" (chat, completions) or of "candidates" (Gemini)."""
    cdef Text key
    cdef Text reason
    cdef const char* after
    cdef bint first = True
    cdef int has
    if p[0] != c"{":
        return walk_value(p, scan, depth)
    p += 1
    while True:
        p = next_member(p, scan, first, &key)
        if p == NULL or key.at == NULL:
            return p
        first = False
        if text_is(&key, b"delta", 5) or text_is(&key, b"message", 7):
            has = 0
            after = _walk_delta(p, scan, depth + 1, &has)
            facts.has |= HAS_CONTENT if has & DELTA_SPEAKS else 0
        elif text_is(&key, b"content", 7):
            after = _walk_parts(p, scan, depth + 1, facts)
        else:
            after = walk_value(p, scan, depth + 1)
            if after != NULL and p[0] == c'"' and not is_empty(p, after):
                if text_is(&key, b"text", 4):
                    facts.has |= HAS_CONTENT
                elif text_is(&key, b"finish_reason", 13) or text_is(&key, b"finishReason", 12):
                    take_text(p, scan, &reason)
                    facts.has |= HAS_ERROR if text_is(&reason, b"error", 5) else HAS_FINISH
        if after == NULL:
            return NULL
        p = after


cdef const char* _walk_choices(const char* p, Scan* scan, int depth, Facts* facts) noexcept nogil:
    cdef bint ended = False
    cdef bint first = True
    if p[0] != c"[":
        return walk_value(p, scan, depth)
    p += 1
    while True:
        p = next_element(p, scan, first, &ended)
        if p == NULL or ended:
            return p
        first = False
        p = _walk_choice(p, scan, depth + 1, facts)
        if p == NULL:
            return NULL


cdef const char* _walk_plain(const char* p, Scan* scan, const Text* key, Facts* facts) noexcept nogil:
    """A top-level member that is not looked into."""
    cdef Text word
    cdef const char* after = walk_value(p, scan, 1)
    if after == NULL:
        return NULL
    if text_is(key, b"error", 5):
        facts.has |= 0 if is_empty(p, after) else HAS_ERROR
    elif p[0] == c'"':
        if text_is(key, b"type", 4):
            take_text(p, scan, &facts.type)
            facts.has |= HAS_TYPE
        elif text_is(key, b"object", 6):
            take_text(p, scan, &word)
            facts.has |= HAS_ERROR if text_is(&word, b"error", 5) else 0
        elif (text_is(key, b"text", 4) or text_is(key, b"arguments", 9) or text_is(key, b"refusal", 7)
                or text_is(key, b"transcript", 10)):
            facts.has |= 0 if is_empty(p, after) else DONE_SPEAKS
    return after


cdef const char* walk_event(const char* p, Scan* scan, Facts* facts) noexcept nogil:
    cdef Text key
    cdef bint first = True
    cdef int before
    while True:
        p = next_member(p, scan, first, &key)
        if p == NULL or key.at == NULL:
            return p
        first = False
        before = facts.has
        if text_is(&key, b"choices", 7) or text_is(&key, b"candidates", 10):
            p = _walk_choices(p, scan, 1, facts)
        elif text_is(&key, b"delta", 5):
            p = _walk_delta(p, scan, 1, &facts.has)
        elif text_is(&key, b"usage", 5) or text_is(&key, b"usageMetadata", 13):
            p = _walk_usage(p, scan, 1, facts)
        elif text_is(&key, b"response", 8) or text_is(&key, b"message", 7):
            p = _walk_carrier(p, scan, 1, facts)
        elif text_is(&key, b"content_block", 13):
            p = _walk_block(p, scan, 1, facts)
        else:
            p = _walk_plain(p, scan, &key, facts)
        if p == NULL:
            facts.has = before
            return NULL
