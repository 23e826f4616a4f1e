from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.string cimport memchr, memcmp, memset
from native.codec.json_text cimport decode_escape, splice, unescape_json
from native.codec.json_walk cimport (
    Scan, Text, at_end, begin, fail, is_empty, skip_space, text_is, walk_elements, walk_members, walk_string, walk_value,
)
from native.codec.media cimport walk_media
from native.codec.turns cimport LATEST, begin_turns, may_note, note_member, note_turn
from native.codec.usage cimport read_amount

# More answers than this are asked of no provider; a larger number would only overflow sums.
cdef int64_t MOST_CHOICES = 1_000_000

cdef enum:                  # one bit per top-level key that may occur only once in a request
    KEY_NONE = 0
    KEY_MODEL = 1
    KEY_STREAM = 2
    KEY_MAX_TOKENS = 4
    KEY_MAX_COMPLETION_TOKENS = 8
    KEY_MAX_OUTPUT_TOKENS = 16
    KEY_STREAM_OPTIONS = 32
    KEY_N = 64
    KEY_BEST_OF = 128
    KEY_PREVIOUS = 256
    KEY_CONVERSATION = 512


cdef int _request_key(const Text* key) noexcept nogil:
    if text_is(key, b"model", 5):
        return KEY_MODEL
    if text_is(key, b"stream", 6):
        return KEY_STREAM
    if text_is(key, b"max_tokens", 10):
        return KEY_MAX_TOKENS
    if text_is(key, b"max_completion_tokens", 21):
        return KEY_MAX_COMPLETION_TOKENS
    if text_is(key, b"max_output_tokens", 17):
        return KEY_MAX_OUTPUT_TOKENS
    if text_is(key, b"stream_options", 14):
        return KEY_STREAM_OPTIONS
    if text_is(key, b"n", 1):
        return KEY_N
    if text_is(key, b"best_of", 7):
        return KEY_BEST_OF
    if text_is(key, b"previous_response_id", 20):
        return KEY_PREVIOUS
    if text_is(key, b"conversation", 12):
        return KEY_CONVERSATION
    return KEY_NONE


cdef int _folded(const char* p, const char* end, const char** after) noexcept nogil:
    """Return the character at ``p`` as Go's encoding/json compares names: in lower case, and with the two characters
    outside ASCII that fold into it. -1 = another character outside ASCII."""
    cdef const unsigned char* u = <const unsigned char*>p
    cdef int code
    if p[0] == c"\\":
        code = decode_escape(p, end, after)
    elif u[0] == 0xC5 and end - p >= 2 and u[1] == 0xBF:
        code = 0x17F
        after[0] = p + 2
    elif u[0] == 0xE2 and end - p >= 3 and u[1] == 0x84 and u[2] == 0xAA:
        code = 0x212A
        after[0] = p + 3
    else:
        code = u[0]
        after[0] = p + 1
    if code == 0x17F:
        return c"s"
    if code == 0x212A:
        return c"k"
    if c"A" <= code <= c"Z":
        return code | 32
    return code if code < 0x80 else -1


cdef bint _folds_to(const char* p, const char* end, const char* word) noexcept nogil:
    while word[0]:
        if p >= end or p[0] == c'"' or _folded(p, end, &p) != word[0]:
            return False
        word += 1
    return p < end and p[0] == c'"'


cdef bint _resembles_known(const Text* key, const char* end) noexcept nogil:
    """Return whether a name differs from a known one by case alone: an upstream in Go takes it for that one."""
    cdef const char* p = key.quote + 1
    cdef const char* after = p
    cdef int first = _folded(p, end, &after)
    cdef int second
    if first == c"m" and after < end:
        second = _folded(after, end, &after)        # most names that begin so differ here: messages, metadata
        if second == c"o":
            return _folds_to(p, end, b"model")
        return second == c"a" and (
            _folds_to(p, end, b"max_tokens") or _folds_to(p, end, b"max_completion_tokens")
            or _folds_to(p, end, b"max_output_tokens")
        )
    if first == c"s":
        return _folds_to(p, end, b"stream") or _folds_to(p, end, b"stream_options")
    if first == c"p":
        return _folds_to(p, end, b"previous_response_id")
    if first == c"c":
        return _folds_to(p, end, b"conversation")
    return first == c"n" and _folds_to(p, end, b"n")


cdef struct Reading:
    Peek* out
    Media* media
    Turns* turns
    int64_t prompts
    int seen                # bits of the keys that have occurred


cdef const char* _visit_stream_option(const char* p, Scan* scan, const Text* key, int depth, void* into) noexcept nogil:
    cdef const char* after = walk_value(p, scan, depth)
    cdef Peek* out = <Peek*>into
    if after != NULL and text_is(key, b"include_usage", 13):
        out.include_usage = p[0] == c"t"
        out.include_start = p - scan.start
        out.include_end = after - scan.start
    return after


cdef const char* _visit_prompt(const char* p, Scan* scan, const Text* key, int depth, void* into) noexcept nogil:
    """Count the prompts of a list: texts, or lists of tokens. A list of numbers is one prompt."""
    (<Reading*>into).prompts += p[0] == c'"' or p[0] == c"["
    return walk_value(p, scan, depth)


cdef const char* _walk_name(const char* p, Scan* scan, bint* escaped) noexcept nogil:
    """Walk a model's name, and give up where it is too long: a name of megabytes costs no more than a refused one."""
    cdef const char* end = scan.end
    cdef const char* after
    if end - p <= MODEL_LONGEST_ESCAPED + 2:
        return walk_string(p, scan, escaped)
    scan.end = p + MODEL_LONGEST_ESCAPED + 2
    after = walk_string(p, scan, escaped)
    if after == NULL and scan.fault_at == scan.end:
        scan.fault = PEEK_LONG_NAME
        scan.fault_at = p
    scan.end = end
    return after


cdef const char* _read_known(const char* p, Scan* scan, int key, int depth, Peek* out) noexcept nogil:
    """Read the value of a known key."""
    cdef const char* after
    cdef bint escaped = False
    cdef int64_t count
    if key == KEY_STREAM_OPTIONS:
        after = walk_members(p, scan, depth, _visit_stream_option, out)
        out.options_start = p - scan.start
        out.options_end = -1 if after == NULL else after - scan.start
        return after
    if key == KEY_MODEL:
        if p[0] != c'"':
            return fail(scan, p, PEEK_TYPE)
        after = _walk_name(p, scan, &escaped)
        out.model_escaped = escaped
        if after != NULL:
            out.model_start = p + 1 - scan.start
            out.model_end = after - 1 - scan.start
        return after
    if key == KEY_STREAM:
        if p[0] != c"t" and p[0] != c"f" and p[0] != c"n":
            return fail(scan, p, PEEK_TYPE)
        out.stream = p[0] == c"t"
        return walk_value(p, scan, depth)
    after = walk_value(p, scan, depth)
    if key == KEY_PREVIOUS or key == KEY_CONVERSATION:
        if after == NULL:
            return NULL
        if key == KEY_CONVERSATION:
            out.conversation_start = p - scan.start
            out.conversation_end = after - scan.start
        elif p[0] == c'"':
            out.previous_start = p + 1 - scan.start
            out.previous_end = after - 1 - scan.start
        return after
    if after != NULL:
        count = read_amount(p, after)
        if key == KEY_N or key == KEY_BEST_OF:
            out.choices = max(out.choices, min(count, MOST_CHOICES))
        elif count > out.max_tokens:
            out.max_tokens = count
    return after


cdef inline int _flag(const char* p) noexcept nogil:
    """Return a boolean as in Peek. If a key occurs twice, the more cautious value counts; this is no error."""
    return 1 if p[0] == c"t" else 0 if p[0] == c"f" or p[0] == c"n" else -1


cdef bint _mentions(const char* p, const char* end, const char* word, Py_ssize_t size) noexcept nogil:
    while end - p >= size:
        p = <const char*>memchr(p, word[0], end - p - size + 1)
        if p == NULL:
            return False
        if memcmp(p, word, size) == 0:
            return True
        p += 1
    return False


cdef bint _shapes_answer(const Text* key, const char* p, const char* after) noexcept nogil:
    """Return whether a member asks for structured output: response_format (chat), text.format (responses),
    output_config and output_format (Anthropic), generationConfig.responseMimeType (Gemini), guided_* (vLLM)."""
    if p[0] == c"{":
        if text_is(key, b"response_format", 15) or text_is(key, b"text", 4) or text_is(key, b"generationConfig", 16) or (
            text_is(key, b"output_config", 13) or text_is(key, b"output_format", 13)
        ):
            return _mentions(p, after, b"json", 4)
        if text_is(key, b"structured_outputs", 18):
            return True
    return key.size > 7 and p[0] != c"n" and memcmp(key.at, b"guided_", 7) == 0


cdef bint _asks_reasoning(const Text* key, const char* p, const char* after) noexcept nogil:
    """Return whether a member asks for reasoning: reasoning_effort (chat), reasoning (responses, OpenRouter), thinking
    (Anthropic), generationConfig.thinkingConfig (Gemini)."""
    if p[0] == c'"':
        return text_is(key, b"reasoning_effort", 16) and not _mentions(p, after, b'"none"', 6)
    if p[0] != c"{":
        return False
    if text_is(key, b"reasoning", 9):
        return not _mentions(p, after, b'"none"', 6)
    if text_is(key, b"thinking", 8):
        return not _mentions(p, after, b'"disabled"', 10)
    return text_is(key, b"generationConfig", 16) and _mentions(p, after, b"thinkingConfig", 14)


cdef const char* _visit_turn(const char* p, Scan* scan, const Text* key, int depth, void* into) noexcept nogil:
    cdef Reading* reading = <Reading*>into
    cdef const char* after = (
        walk_value(p, scan, depth) if reading.media == NULL else walk_media(p, scan, depth, reading.media)
    )
    if after != NULL:
        note_turn(reading.turns, p, after)
    return after


cdef const char* _walk_turns(const char* p, Scan* scan, int depth, Reading* reading) noexcept nogil:
    cdef const char* after
    if reading.turns == NULL:
        return walk_media(p, scan, depth, reading.media)
    after = walk_elements(p, scan, depth, _visit_turn, reading)
    if after != NULL:
        reading.turns.start = p - scan.start
        reading.turns.end = after - scan.start
    return after


cdef const char* _visit_member(const char* p, Scan* scan, const Text* key, int depth, void* into) noexcept nogil:
    cdef Reading* reading = <Reading*>into
    cdef int known = _request_key(key)
    cdef const char* after
    if known == KEY_NONE:
        if text_is(key, b"store", 5):
            if p[0] != c"n":        # null is OpenAI's default, as an absent field is
                reading.out.store = max(reading.out.store, _flag(p))
        elif text_is(key, b"background", 10):
            reading.out.background = max(reading.out.background, _flag(p))
        elif _resembles_known(key, scan.end):
            return fail(scan, key.quote, PEEK_DUPLICATE)
        elif p[0] == c"[":
            if text_is(key, b"prompt", 6):
                return walk_elements(p, scan, depth, _visit_prompt, reading)
            if (reading.media != NULL or reading.turns != NULL) and (
                text_is(key, b"messages", 8) or text_is(key, b"input", 5) or text_is(key, b"contents", 8)
            ):
                return _walk_turns(p, scan, depth, reading)
        after = walk_value(p, scan, depth)
        if after == NULL:
            return NULL
        if _shapes_answer(key, p, after):
            reading.out.structured = True
        if _asks_reasoning(key, p, after):
            reading.out.reasons = True
        elif p[0] == c"[" and (text_is(key, b"tools", 5) or text_is(key, b"functions", 9)):
            reading.out.tools = reading.out.tools or not is_empty(p, after)
        if reading.turns != NULL and may_note(key):
            note_member(reading.turns, key, scan.start, p, after)
        return after
    if reading.seen & known:
        return fail(scan, key.quote, PEEK_DUPLICATE)
    reading.seen |= known
    after = _read_known(p, scan, known, depth, reading.out)
    if after != NULL and reading.turns != NULL and may_note(key):
        note_member(reading.turns, key, scan.start, p, after)
    return after


cdef void begin_peek(Peek* out) noexcept nogil:
    out.model_start = out.model_end = out.max_tokens = out.error_at = -1
    out.model_escaped = out.structured = out.tools = out.reasons = False
    out.store = out.background = -1
    out.stream = out.include_usage = 0
    out.choices = 1
    out.object_at = 0
    out.options_start = out.options_end = out.include_start = out.include_end = -1
    out.previous_start = out.previous_end = out.conversation_start = out.conversation_end = -1
    out.error = PEEK_OK


cdef int peek_request(
    const char* data, Py_ssize_t size, Peek* out, Media* media, Turns* turns=NULL
) noexcept nogil:
    cdef Scan scan
    cdef Reading reading
    cdef const char* p
    begin_peek(out)
    reading.out = out
    reading.media = media
    reading.turns = turns
    reading.prompts = 0
    reading.seen = 0
    if media != NULL:
        memset(media, 0, sizeof(Media))
    if turns != NULL:
        begin_turns(turns)
    begin(&scan, data, size)
    p = skip_space(data, scan.end)
    if p < scan.end and p[0] == c"{":
        out.object_at = p + 1 - data
        at_end(walk_members(p, &scan, 0, _visit_member, &reading), &scan)
    elif at_end(walk_value(p, &scan, 0), &scan):
        fail(&scan, p, PEEK_NOT_OBJECT)
    if reading.prompts > 1:
        out.choices *= reading.prompts
    if scan.fault != PEEK_OK:
        out.error = scan.fault
        out.error_at = scan.fault_at - data
    return out.error


cdef bytes with_model(bytes body, bytes name, Peek* out):
    cdef Py_ssize_t at = out.object_at
    out.model_start = at + 9
    out.model_end = at + 9 + PyBytes_GET_SIZE(name)
    out.model_escaped = b"\\" in name
    return splice(body, at, at, b'"model":"' + name + (b'"' if body[at:].lstrip().startswith(b"}") else b'",'))


cdef bytes with_usage(bytes body, const Peek* peek):
    cdef Py_ssize_t inside
    if peek.include_start >= 0:
        return splice(body, peek.include_start, peek.include_end, b"true")
    if peek.options_start < 0:
        return splice(body, peek.object_at, peek.object_at, b'"stream_options":{"include_usage":true},')
    if body[peek.options_start] != c"{":
        return splice(body, peek.options_start, peek.options_end, b'{"include_usage":true}')
    inside = peek.options_start + 1
    if body[inside:peek.options_end - 1].strip():
        return splice(body, inside, inside, b'"include_usage":true,')
    return splice(body, inside, inside, b'"include_usage":true')


cdef class Peeked:
    """The result of :func:`read_request`; see Peek in request_peek.pxd. ``model`` is decoded, None if absent."""
    cdef readonly int error
    cdef readonly Py_ssize_t error_at, model_start, model_end
    cdef readonly str model
    cdef readonly bint stream, include_usage
    cdef readonly object max_tokens
    cdef readonly int64_t choices

    def __repr__(self):
        if self.error:
            return f"Peeked({PeekError(self.error).name} at {self.error_at})"
        return (f"Peeked(model={self.model!r} at {self.model_start}..{self.model_end}, stream={self.stream}, "
                f"max_tokens={self.max_tokens}, include_usage={self.include_usage})")


cdef str _name(bytes raw):
    """Return a name as text; None = not valid Unicode (a lone surrogate, or bytes that are not UTF-8)."""
    cdef bytes utf8 = unescape_json(raw)
    try:
        return None if utf8 is None else utf8.decode()
    except UnicodeDecodeError:
        return None


def read_request(bytes data not None):
    """Peek into a request body. A model name that is not valid Unicode gives PEEK_TYPE."""
    cdef Peek found
    cdef const char* start = PyBytes_AS_STRING(data)
    cdef Py_ssize_t size = PyBytes_GET_SIZE(data)
    cdef Peeked out = Peeked.__new__(Peeked)
    with nogil:
        peek_request(start, size, &found, NULL)
    if found.error == PEEK_OK and found.model_start >= 0:
        out.model = _name(data[found.model_start:found.model_end])
        if out.model is None:
            found.error = PEEK_TYPE
            found.error_at = found.model_start
    out.error = found.error
    out.error_at = found.error_at
    out.model_start = found.model_start
    out.model_end = found.model_end
    out.stream = found.stream
    out.include_usage = found.include_usage
    out.max_tokens = None if found.max_tokens < 0 else found.max_tokens
    out.choices = found.choices
    return out


def ask_usage(bytes body not None):
    """Return a valid body with stream_options.include_usage set to true."""
    cdef Peek found
    peek_request(PyBytes_AS_STRING(body), PyBytes_GET_SIZE(body), &found, NULL)
    return with_usage(body, &found)


def read_turns(bytes body not None):
    """Return (fixed, named, chain, chains of the latest turns, answered, keep_s, turns, system prompt) of a request.

    The last two are ranges in the body, (0, 0) = absent; ``native.codec.turns.Turns`` says what each is."""
    cdef Peek found
    cdef Turns turns
    peek_request(PyBytes_AS_STRING(body), PyBytes_GET_SIZE(body), &found, NULL, &turns)
    latest = [
        turns.latest[<int>turn % LATEST] for turn in range(max(turns.count - <int>LATEST, 0), turns.count)
    ]
    return (
        turns.fixed, turns.named, turns.chain, latest, turns.answered, turns.keep_s, (turns.start, turns.end),
        (turns.fixed_start, turns.fixed_end),
    )
