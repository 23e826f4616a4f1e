from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memcmp
from native.codec.json_walk cimport (
    Scan, Text, is_empty, read_count, take_text, text_is, walk_elements, walk_members, walk_value,
)
from native.codec.spoken cimport said_by, text_size, walk_spoken
from native.codec.usage cimport walk_usage

cdef struct Delta:          # or a block
    int has                 # the facts in its members
    int64_t said
    bint prose              # the block's type is text or thinking
    const char* text        # the content of its one text, as JSON has it; NULL = there is none
    Py_ssize_t text_length
    bint other              # it holds content besides that text


cdef const char* _visit_carried(const char* p, Scan* scan, const Text* key, int depth, void* into) noexcept nogil:
    """Read a member of an object of which only the usage counts.

    That is Responses' "response", Anthropic's "message", Groq's "x_groq"."""
    if text_is(key, b"usage", 5):
        return walk_usage(p, scan, depth, &(<Facts*>into).usage)
    return walk_value(p, scan, depth)


cdef const char* _visit_delta(const char* p, Scan* scan, const Text* key, int depth, void* into) noexcept nogil:
    """Read a member of a delta, and note whether it holds content besides the role, the type and the id.

    Any other string counts, because dialects keep adding names for a model's output (content, reasoning_content,
    reasoning, refusal, partial_json, thinking, signature). So does a non-empty list (tool_calls, content parts).
    """
    cdef Delta* delta = <Delta*>into
    cdef const char* after
    if p[0] == c"[":
        after = walk_spoken(p, scan, depth, &delta.said)
        if after != NULL and not is_empty(p, after):
            delta.has |= DELTA_SPEAKS | HAS_CALL if text_is(key, b"tool_calls", 10) else DELTA_SPEAKS
            delta.other = True
        return after
    if p[0] == c"{" and (text_is(key, b"function_call", 13) or text_is(key, b"audio", 5)):
        delta.has |= DELTA_SPEAKS | HAS_CALL if text_is(key, b"function_call", 13) else DELTA_SPEAKS
        delta.other = True
        return walk_spoken(p, scan, depth, &delta.said)
    after = walk_value(p, scan, depth)
    if after != NULL and p[0] == c"{":
        delta.other = True
    elif after != NULL and p[0] == c'"':
        if not (text_is(key, b"role", 4) or text_is(key, b"type", 4) or text_is(key, b"id", 2)):
            delta.has |= DELTA_HOLLOW if is_empty(p, after) else DELTA_SPEAKS
            if text_is(key, b"partial_json", 12):
                delta.has |= HAS_CALL
            if text_is(key, b"content", 7) or text_is(key, b"text", 4):
                delta.other = delta.other or delta.text != NULL
                delta.text = p + 1
                delta.text_length = after - p - 2
            elif not is_empty(p, after):
                delta.other = True
            if not text_is(key, b"signature", 9):
                delta.said += said_by(p, after, key)
    return after


cdef const char* _walk_delta(const char* p, Scan* scan, int depth, Delta* delta) noexcept nogil:
    """Read a delta, which is a string or an object."""
    cdef const char* after
    delta.has = 0
    delta.said = 0
    delta.text = NULL
    delta.other = False
    after = walk_members(p, scan, depth, _visit_delta, delta)
    if after != NULL and p[0] == c'"':
        delta.text = p + 1
        delta.text_length = after - p - 2
        delta.has |= DELTA_HOLLOW if is_empty(p, after) else DELTA_SPEAKS
        delta.said += text_size(p, after)
    return after


cdef const char* _visit_block(const char* p, Scan* scan, const Text* key, int depth, void* into) noexcept nogil:
    cdef Delta* block = <Delta*>into
    cdef Text value
    cdef const char* after = _visit_delta(p, scan, key, depth, block)
    if after != NULL and text_is(key, b"type", 4) and p[0] == c'"':
        take_text(p, scan, &value)
        block.prose = text_is(&value, b"text", 4) or text_is(&value, b"thinking", 8)
        if value.size >= 8 and memcmp(value.at + value.size - 8, b"tool_use", 8) == 0:
            block.has |= HAS_CALL       # of the client's tools, the provider's or those of MCP
    return after


cdef void _note_text(Facts* facts, const char* text, Py_ssize_t length, bint other) noexcept nogil:
    """Note a text and whether other content stands beside it. A second text in one event counts as other content."""
    facts.other = facts.other or other or (text != NULL and facts.text != NULL)
    if text != NULL:
        facts.text = text
        facts.text_length = length


cdef const char* _visit_part_member(const char* p, Scan* scan, const Text* key, int depth, void* into) noexcept nogil:
    cdef Facts* facts = <Facts*>into
    cdef const char* after = walk_value(p, scan, depth)
    if after != NULL and p[0] == c'"' and text_is(key, b"text", 4):
        _note_text(facts, p + 1, after - p - 2, False)
    elif after != NULL and not is_empty(p, after) and not text_is(key, b"thoughtSignature", 16):
        facts.other = True          # a call, a picture or a thought
    return after


cdef const char* _visit_part(const char* p, Scan* scan, const Text* key, int depth, void* into) noexcept nogil:
    return walk_members(p, scan, depth, _visit_part_member, into)


cdef const char* _walk_block(const char* p, Scan* scan, int depth, Facts* facts) noexcept nogil:
    """Read Anthropic's content_block: a text or thinking block starts empty; a tool_use block counts for its name."""
    cdef Delta block
    cdef const char* after
    block.has = 0
    block.said = 0
    block.prose = False
    block.text = NULL
    after = walk_members(p, scan, depth, _visit_block, &block)
    if after != NULL and p[0] == c"{":
        facts.has |= (BLOCK_SPEAKS if block.has & DELTA_SPEAKS or not block.prose else 0) | block.has & HAS_CALL
        facts.other = facts.other or facts.has & BLOCK_SPEAKS != 0
        facts.said += block.said
    return after


cdef const char* _visit_content(const char* p, Scan* scan, const Text* key, int depth, void* into) noexcept nogil:
    """Read a member of Gemini's candidates[].content."""
    cdef Facts* facts = <Facts*>into
    cdef const char* after
    if p[0] != c"[" or not text_is(key, b"parts", 5):
        return walk_value(p, scan, depth)
    after = walk_spoken(p, scan, depth, &facts.said)
    if after != NULL and not is_empty(p, after):
        facts.has |= HAS_CONTENT
        if facts.keeps:
            walk_elements(p, scan, depth, _visit_part, facts)
    return after


cdef struct Choice:
    Facts* facts
    int64_t index           # 0 = it has none
    bint ended


cdef const char* _visit_choice_member(const char* p, Scan* scan, const Text* key, int depth, void* into) noexcept nogil:
    cdef Choice* choice = <Choice*>into
    cdef Facts* facts = choice.facts
    cdef Text reason
    cdef const char* after
    cdef Delta delta
    if text_is(key, b"delta", 5) or text_is(key, b"message", 7):
        after = _walk_delta(p, scan, depth, &delta)
        facts.has |= (HAS_CONTENT if delta.has & DELTA_SPEAKS else 0) | delta.has & HAS_CALL
        facts.said += delta.said
        _note_text(facts, delta.text, delta.text_length, delta.other)
        return after
    if text_is(key, b"content", 7):
        return walk_members(p, scan, depth, _visit_content, facts)
    if text_is(key, b"usage", 5):       # Moonshot's place for it
        return walk_usage(p, scan, depth, &facts.usage)
    after = walk_value(p, scan, depth)
    if after == NULL:
        return NULL
    if text_is(key, b"index", 5):
        choice.index = max(<int64_t>0, read_count(p, after))
    elif p[0] == c'"' and not is_empty(p, after):
        if text_is(key, b"text", 4):
            facts.has |= HAS_CONTENT
            _note_text(facts, p + 1, after - p - 2, False)
            facts.said += text_size(p, after)
        elif text_is(key, b"finish_reason", 13) or text_is(key, b"finishReason", 12):
            take_text(p, scan, &reason)
            facts.has |= HAS_ERROR if text_is(&reason, b"error", 5) else HAS_FINISH
            choice.ended = True
    return after


cdef const char* _visit_choice(const char* p, Scan* scan, const Text* key, int depth, void* into) noexcept nogil:
    """Read one element of "choices" (chat, completions) or of "candidates" (Gemini)."""
    cdef Facts* facts = <Facts*>into
    cdef Choice choice
    cdef const char* after
    cdef uint64_t bit
    cdef int word
    choice.facts = facts
    choice.index = 0
    choice.ended = False
    after = walk_members(p, scan, depth, _visit_choice_member, &choice)
    if after != NULL and p[0] == c"{":
        word = choice.index > 63
        bit = (<uint64_t>1) << (min(choice.index, <int64_t>127) & 63)
        facts.choices[word] |= bit
        if choice.ended:
            facts.ended[word] |= bit
    return after


cdef const char* _visit_feedback(const char* p, Scan* scan, const Text* key, int depth, void* into) noexcept nogil:
    """Read a member of Gemini's promptFeedback: a prompt that was blocked is answered by that alone."""
    cdef const char* after = walk_value(p, scan, depth)
    if after != NULL and p[0] == c'"' and text_is(key, b"blockReason", 11) and not is_empty(p, after):
        (<Facts*>into).has |= HAS_FINISH
    return after


cdef const char* _read_plain(const char* p, Scan* scan, const Text* key, int depth, Facts* facts) noexcept nogil:
    """Read a top-level member whose own members do not count."""
    cdef Text word
    cdef const char* after = walk_value(p, scan, depth)
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
            facts.said += text_size(p, after)
    return after


cdef const char* _visit_member(const char* p, Scan* scan, const Text* key, int depth, void* into) noexcept nogil:
    cdef Facts* facts = <Facts*>into
    cdef int before = facts.has
    cdef Delta delta
    if text_is(key, b"choices", 7):
        p = walk_elements(p, scan, depth, _visit_choice, facts)
        facts.has |= HAS_CHOICES
    elif text_is(key, b"candidates", 10):
        p = walk_elements(p, scan, depth, _visit_choice, facts)
    elif text_is(key, b"delta", 5):
        p = _walk_delta(p, scan, depth, &delta)
        facts.has |= delta.has
        facts.said += delta.said
        _note_text(facts, delta.text, delta.text_length, delta.other)
    elif text_is(key, b"usage", 5) or text_is(key, b"usageMetadata", 13):
        p = walk_usage(p, scan, depth, &facts.usage)
    elif text_is(key, b"response", 8) or text_is(key, b"message", 7) or text_is(key, b"x_groq", 6):
        p = walk_members(p, scan, depth, _visit_carried, facts)
    elif text_is(key, b"promptFeedback", 14):
        p = walk_members(p, scan, depth, _visit_feedback, facts)
    elif text_is(key, b"content_block", 13):
        p = _walk_block(p, scan, depth, facts)
    else:
        p = _read_plain(p, scan, key, depth, facts)
    if p == NULL:
        facts.has = before
    return p


cdef const char* walk_event(const char* p, Scan* scan, Facts* facts) noexcept nogil:
    return walk_members(p, scan, 0, _visit_member, facts)
