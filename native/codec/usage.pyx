from native.codec.json_walk cimport read_count, text_is, walk_members, walk_value


cdef const char* _visit_count(const char* p, Scan* scan, const Text* key, int depth, void* into) noexcept nogil:
    cdef Usage* usage = <Usage*>into
    cdef const char* after = walk_value(p, scan, depth)
    cdef int64_t count
    if after == NULL:
        return NULL
    count = read_count(p, after)
    if count >= 0:
        if (text_is(key, b"prompt_tokens", 13) or text_is(key, b"input_tokens", 12)
                or text_is(key, b"promptTokenCount", 16)):
            usage.prompt_tokens = count
        elif (text_is(key, b"completion_tokens", 17) or text_is(key, b"output_tokens", 13)
                or text_is(key, b"candidatesTokenCount", 20)):
            usage.output_tokens = count
    return after


cdef const char* walk_usage(const char* p, Scan* scan, int depth, Usage* usage) noexcept nogil:
    return walk_members(p, scan, depth, _visit_count, usage)
