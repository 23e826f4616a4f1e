from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.string cimport memchr, memcmp, memset
from native.codec.json_walk cimport begin, skip_space, text_is, walk_elements, walk_members, walk_value

cdef enum:
    MAX_DEPTH = 128
    LOOK = 1 << 20              # bytes of a JPEG that are searched for its size; what stands before it is metadata
    USUAL_EDGE = 1024           # pixels of a picture whose size is not known
    PAGE = 50_000               # bytes of a page of a PDF, roughly
    PAGE_TOKENS = 2_000         # of its text and its picture together (Anthropic: 1,500 to 3,000 of text)
    SOUND_RATE = 16_000         # bytes a second of compressed sound: 128 kbit/s
    VIDEO_RATE = 250_000        # bytes a second of video: 2 Mbit/s
    VIDEO_TOKENS = 300          # a second of video (Gemini)
    SHORTEST = 64               # a shorter string is a name or an id, and counts as text

cdef int[3] SOUND_TOKENS = [10, 10, 32]         # a second, by Rule

cdef struct Found:              # what the members of one object say
    Media* media
    const char* at              # the base64 of its content; NULL = it has none, only a reference
    const char* end
    int kind
    bint low                    # detail: low
    bint wave                   # its format is uncompressed
    bint source                 # it is the source of an Anthropic block

cdef struct Cursor:             # reads base64 byte by byte, and skips the backslashes of an escaped "/"
    const char* p
    const char* end
    int bits                    # how many bits of ``word`` are not read yet
    unsigned int word
    Py_ssize_t at               # bytes that were read


cdef inline int _sextet(char c) noexcept nogil:
    if c"A" <= c <= c"Z":
        return c - c"A"
    if c"a" <= c <= c"z":
        return c - c"a" + 26
    if c"0" <= c <= c"9":
        return c - c"0" + 52
    if c == c"+" or c == c"-":
        return 62
    return 63 if c == c"/" or c == c"_" else -1


cdef void _start(Cursor* cursor, const char* p, const char* end) noexcept nogil:
    cursor.p = p
    cursor.end = end
    cursor.bits = 0
    cursor.word = 0
    cursor.at = 0


cdef int _next(Cursor* cursor) noexcept nogil:
    """Return the next byte; -1 = there is none."""
    cdef int six
    while cursor.bits < 8:
        if cursor.p >= cursor.end:
            return -1
        if cursor.p[0] == c"\\":
            cursor.p += 2 if cursor.p + 1 < cursor.end and cursor.p[1] != c"/" else 1
            continue
        six = _sextet(cursor.p[0])
        cursor.p += 1
        if six < 0:
            return -1
        cursor.word = (cursor.word << 6 | <unsigned int>six) & 0xFFFF
        cursor.bits += 6
    cursor.bits -= 8
    cursor.at += 1
    return cursor.word >> cursor.bits & 0xFF


cdef int64_t _number(Cursor* cursor, int size, bint big) noexcept nogil:
    """Return a number of some bytes, the highest first or last; -1 = the data ends before."""
    cdef int64_t value = 0
    cdef int byte, i
    for i in range(size):
        byte = _next(cursor)
        if byte < 0:
            return -1
        value = value << 8 | byte if big else value | <int64_t>byte << (8 * i)
    return value


cdef bint _skip(Cursor* cursor, Py_ssize_t size) noexcept nogil:
    """Skip some bytes; False = the data ends before, or too much was read already."""
    cdef Py_ssize_t i
    # four characters are three bytes: whole groups are skipped at once where nothing is escaped
    if cursor.at + size > LOOK:
        return False
    if size > 64 and memchr(cursor.p, c"\\", min(cursor.end - cursor.p, size * 2)) == NULL:
        while cursor.bits and size:
            if _next(cursor) < 0:
                return False
            size -= 1
        i = size // 3
        if cursor.end - cursor.p < 4 * i:
            return False
        cursor.p += 4 * i
        cursor.at += 3 * i
        size -= 3 * i
    for i in range(size):
        if _next(cursor) < 0:
            return False
    return True


cdef bint _jpeg_size(Cursor* cursor, int64_t* width, int64_t* height) noexcept nogil:
    """Walk the segments of a JPEG, of which two bytes were read, to the one that holds the size (ITU T.81, B.1.1)."""
    cdef int marker
    cdef int64_t size
    while True:
        if _next(cursor) != 0xFF:
            return False
        marker = 0xFF
        while marker == 0xFF:
            marker = _next(cursor)
        if marker < 0 or marker == 0xD9 or marker == 0xDA:
            return False
        if marker == 0x01 or 0xD0 <= marker <= 0xD8:
            continue
        size = _number(cursor, 2, True)
        if size < 2:
            return False
        if 0xC0 <= marker <= 0xCF and marker != 0xC4 and marker != 0xC8 and marker != 0xCC:
            _next(cursor)       # bits of a sample
            height[0] = _number(cursor, 2, True)
            width[0] = _number(cursor, 2, True)
            return True
        if not _skip(cursor, size - 2):
            return False


cdef bint _webp_size(Cursor* cursor, int64_t* width, int64_t* height) noexcept nogil:
    """Read the size of a WebP, of which twelve bytes were read (RFC 9649)."""
    cdef int64_t kind = _number(cursor, 4, True)
    cdef int64_t bits
    if not _skip(cursor, 4):
        return False
    if kind == 0x56503858:          # VP8X: flags, then both sizes less one
        if not _skip(cursor, 4):
            return False
        width[0] = _number(cursor, 3, False) + 1
        height[0] = _number(cursor, 3, False) + 1
    elif kind == 0x5650384C:        # VP8L: a signature, then fourteen bits each
        if not _skip(cursor, 1):
            return False
        bits = _number(cursor, 4, False)
        width[0] = (bits & 0x3FFF) + 1
        height[0] = (bits >> 14 & 0x3FFF) + 1
    elif kind == 0x56503820:        # VP8: a frame tag and a start code, then sixteen bits each
        if not _skip(cursor, 6):
            return False
        width[0] = _number(cursor, 2, False) & 0x3FFF
        height[0] = _number(cursor, 2, False) & 0x3FFF
    else:
        return False
    return True


cdef bint picture_size(const char* p, const char* end, int64_t* width, int64_t* height) noexcept nogil:
    cdef Cursor cursor
    cdef int64_t first
    _start(&cursor, p, end)
    width[0] = height[0] = 0
    first = _number(&cursor, 2, True)
    if first == 0x8950:             # PNG: signature, length and name of IHDR
        if not _skip(&cursor, 14):
            return False
        width[0] = _number(&cursor, 4, True)
        height[0] = _number(&cursor, 4, True)
    elif first == 0xFFD8:
        if not _jpeg_size(&cursor, width, height):
            return False
    elif first == 0x4749:           # GIF
        if not _skip(&cursor, 4):
            return False
        width[0] = _number(&cursor, 2, False)
        height[0] = _number(&cursor, 2, False)
    elif first == 0x5249:           # RIFF
        if not _skip(&cursor, 10) or not _webp_size(&cursor, width, height):
            return False
    else:
        return False
    return 0 < width[0] < 1 << 20 and 0 < height[0] < 1 << 20


cdef int64_t _openai(double width, double height, bint low) noexcept nogil:
    cdef double scale
    if low:
        return 85
    scale = min(1.0, 2048 / max(width, height))
    scale = min(scale, 768 / min(width, height))
    return 85 + 170 * (<int64_t>(width * scale + 511.5) // 512) * (<int64_t>(height * scale + 511.5) // 512)


cdef int64_t _anthropic(double width, double height) noexcept nogil:
    cdef double scale = min(1.0, 1568 / max(width, height))
    return min(<int64_t>(width * height * scale * scale / 750) + 1, <int64_t>1600)


cdef int64_t _gemini(int64_t width, int64_t height) noexcept nogil:
    cdef int64_t unit       # three times the edge of a tile, which is two thirds of the shorter side
    if width <= 384 and height <= 384:
        return 258
    unit = max(min(width, height) * 2, <int64_t>(3 * 256))
    # a panorama is scaled down: no picture has more tiles than this
    return 258 * min(((width * 3 + unit - 1) // unit) * ((height * 3 + unit - 1) // unit), <int64_t>16)


cdef int64_t picture_tokens(int64_t width, int64_t height, bint low, int rule) noexcept nogil:
    if width <= 0 or height <= 0:
        width = height = USUAL_EDGE
    if rule == RULE_ANTHROPIC:
        return _anthropic(<double>width, <double>height)
    return _gemini(width, height) if rule == RULE_GEMINI else _openai(<double>width, <double>height, low)


cdef int64_t media_tokens(const Media* media, int rule) noexcept nogil:
    return media.pictures[rule] + media.sound[rule] + media.files[rule]


cdef void _add(Found* found) noexcept nogil:
    """Add what one object holds."""
    cdef int64_t bytes_ = 0
    if found.at != NULL:
        found.media.size += found.end - found.at
        bytes_ = (found.end - found.at) // 4 * 3
    _count(found, bytes_)


cdef void _count(Found* found, int64_t bytes_) noexcept nogil:
    """Add the tokens of an object of this many bytes, before base64."""
    cdef Media* media = found.media
    cdef int64_t width = 0, height = 0, seconds
    cdef int rule
    media.kinds |= 1 << found.kind
    if found.at != NULL:
        if found.kind == PICTURE and not picture_size(found.at, found.end, &width, &height):
            width = height = 0
    for rule in range(<int>RULES):
        if found.kind == PICTURE:
            media.pictures[rule] += picture_tokens(width, height, found.low, rule)
        elif found.kind == SOUND:
            seconds = bytes_ // (48_000 if found.wave else <int>SOUND_RATE) + 1
            media.sound[rule] += seconds * SOUND_TOKENS[rule]
        elif found.kind == VIDEO:
            media.pictures[rule] += (bytes_ // <int>VIDEO_RATE + 1) * <int>VIDEO_TOKENS
        else:
            media.files[rule] += (bytes_ // <int>PAGE + 1) * (258 if rule == RULE_GEMINI else <int>PAGE_TOKENS)


cdef void add_file(Media* media, Kind kind, Py_ssize_t size, bint wave) noexcept nogil:
    cdef Found found
    found.media = media
    found.at = NULL
    found.kind = kind
    found.low = False
    found.wave = wave
    _count(&found, size)
    media.size += size


cdef inline bint _begins(const char* p, const char* end, const char* word, Py_ssize_t size) noexcept nogil:
    return end - p >= size and memcmp(p, word, size) == 0


cdef bint _is_webp(const char* p, const char* end) noexcept nogil:
    """Return whether a RIFF file is a WebP, and not a WAVE."""
    cdef Cursor cursor
    _start(&cursor, p, end)
    return _skip(&cursor, 8) and _number(&cursor, 4, True) == 0x57454250


cdef bint _take_base64(Found* found, const char* p, const char* end) noexcept nogil:
    """Take bare base64, of which the first bytes tell what it is; False = it is none."""
    if end - p < SHORTEST or memchr(p, c" ", SHORTEST) != NULL:
        return False
    found.at = p
    found.end = end
    if found.kind == NOTHING:
        found.kind = FILE
        if (_begins(p, end, b"iVBORw0", 7) or _begins(p, end, b"/9j/", 4) or _begins(p, end, b"\\/9j", 4)
                or _begins(p, end, b"R0lGOD", 6)):
            found.kind = PICTURE
        elif _begins(p, end, b"UklGR", 5):
            found.kind = PICTURE if _is_webp(p, end) else SOUND
            found.wave = found.kind == SOUND
        elif _begins(p, end, b"SUQz", 4) or _begins(p, end, b"//", 2) or _begins(p, end, b"T2dn", 4) or (
            _begins(p, end, b"ZkxhQ", 5)
        ):
            found.kind = SOUND
    return True


cdef void _take_data_url(Found* found, const char* p, const char* end) noexcept nogil:
    """Take ``data:TYPE;base64,CONTENT`` (RFC 2397)."""
    cdef const char* comma = <const char*>memchr(p, c",", min(end - p, 200))
    if comma == NULL:
        return
    if _begins(p + 5, end, b"image", 5):
        found.kind = PICTURE
    elif _begins(p + 5, end, b"audio", 5):
        found.kind = SOUND
        found.wave = memchr(p, c"w", comma - p) != NULL         # audio/wav, audio/x-wav, audio/wave
    elif _begins(p + 5, end, b"video", 5):
        found.kind = VIDEO
    elif _begins(p + 5, end, b"text", 4):
        return                                                  # text is counted by its bytes
    else:
        found.kind = FILE
    found.at = comma + 1
    found.end = end


cdef void _take_string(Found* found, const Text* key, const char* p, const char* after) noexcept nogil:
    """Take a member that is a string."""
    cdef const char* text = p + 1
    cdef const char* end = after - 1
    if text_is(key, b"detail", 6):
        found.low = _begins(text, end, b"low", 3)
    elif text_is(key, b"format", 6):
        found.wave = _begins(text, end, b"wav", 3) or _begins(text, end, b"pcm", 3)
    elif text_is(key, b"media_type", 10) or text_is(key, b"mime_type", 9) or text_is(key, b"mimeType", 8):
        if _begins(text, end, b"image", 5):
            found.kind = PICTURE
        elif _begins(text, end, b"audio", 5):
            found.kind = SOUND
            found.wave = _begins(text + 6, end, b"wav", 3)
        elif _begins(text, end, b"video", 5):
            found.kind = VIDEO
    elif _begins(text, end, b"data:", 5) and (
        text_is(key, b"url", 3) or text_is(key, b"image_url", 9) or text_is(key, b"file_data", 9)
        or text_is(key, b"data", 4) or text_is(key, b"image", 5)
    ):
        _take_data_url(found, text, end)
    elif text_is(key, b"image_url", 9) or (found.source and text_is(key, b"url", 3)):
        found.kind = PICTURE
    elif text_is(key, b"file_id", 7) or text_is(key, b"file_url", 8):
        if found.kind == NOTHING:
            found.kind = FILE
    elif text_is(key, b"data", 4) or text_is(key, b"file_data", 9) or text_is(key, b"b64_json", 8):
        _take_base64(found, text, end)
    elif text_is(key, b"type", 4) and _begins(text, end, b"input_image", 11):
        found.kind = PICTURE


cdef const char* _visit_member(const char* p, Scan* scan, const Text* key, int depth, void* into) noexcept nogil:
    cdef Found* found = <Found*>into
    cdef const char* after
    if p[0] == c"{":
        return _walk_object(p, scan, depth, found.media, key)
    if p[0] == c"[":
        return walk_media(p, scan, depth, found.media)
    after = walk_value(p, scan, depth)
    if after != NULL and p[0] == c'"':
        _take_string(found, key, p, after)
    return after


cdef const char* _walk_object(const char* p, Scan* scan, int depth, Media* media, const Text* name) noexcept nogil:
    """Walk an object; ``name`` is the member that it is the value of, NULL = it stands in a list."""
    cdef Found found
    cdef const char* after
    if depth >= MAX_DEPTH:
        return walk_value(p, scan, depth)       # which refuses it
    found.media = media
    found.at = found.end = NULL
    found.kind = NOTHING
    found.low = found.wave = found.source = False
    if name != NULL:
        if text_is(name, b"image_url", 9):
            found.kind = PICTURE
        elif text_is(name, b"input_audio", 11) or text_is(name, b"audio_url", 9):
            found.kind = SOUND
        elif text_is(name, b"video_url", 9):
            found.kind = VIDEO
        elif text_is(name, b"file", 4) or text_is(name, b"fileData", 8):
            found.kind = FILE
        found.source = text_is(name, b"source", 6)
    after = walk_members(p, scan, depth, _visit_member, &found)
    if after != NULL and found.kind != NOTHING:
        _add(&found)
    return after


cdef const char* _visit_element(const char* p, Scan* scan, const Text* key, int depth, void* into) noexcept nogil:
    return walk_media(p, scan, depth, <Media*>into)


cdef const char* walk_media(const char* p, Scan* scan, int depth, Media* media) noexcept nogil:
    if p < scan.end and p[0] == c"{":
        return _walk_object(p, scan, depth, media, NULL)
    if p < scan.end and p[0] == c"[" and depth < MAX_DEPTH:
        return walk_elements(p, scan, depth, _visit_element, media)
    return walk_value(p, scan, depth)


def read_media(bytes value not None):
    """Return (bytes that are no text, tokens by each Rule) of the media in a JSON value. Borrows ``value``."""
    cdef Scan scan
    cdef Media media
    cdef const char* data = PyBytes_AS_STRING(value)
    memset(&media, 0, sizeof(media))
    begin(&scan, data, PyBytes_GET_SIZE(value))
    walk_media(skip_space(data, scan.end), &scan, 0, &media)
    return media.size, tuple([media_tokens(&media, rule) for rule in range(<int>RULES)])


def size_in(bytes base64 not None):
    """Return (width, height) of a picture in base64; None = unknown. Borrows ``base64`` for the call."""
    cdef int64_t width = 0
    cdef int64_t height = 0
    cdef const char* p = PyBytes_AS_STRING(base64)
    return (width, height) if picture_size(p, p + PyBytes_GET_SIZE(base64), &width, &height) else None
