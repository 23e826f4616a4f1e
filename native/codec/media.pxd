"""Estimates the tokens of pictures, sound and files in a request, by the rules of the providers (sans-I/O).

A picture's cost depends on its size in pixels, which stands in the first bytes of a PNG, JPEG, GIF or WebP; a picture by
URL, or of another format, counts as the usual one. Borrows the buffer and allocates nothing.

Rules: OpenAI (https://platform.openai.com/docs/guides/images-vision: 85 tokens and 170 for each tile of 512 pixels, 85
with detail low; 10 tokens a second of sound), Anthropic (https://docs.claude.com/en/docs/build-with-claude/vision: pixels
/ 750, at most about 1,600), Gemini (https://ai.google.dev/gemini-api/docs/tokens: 258 for each tile, 32 tokens a second
of sound, 258 a page)."""

from libc.stdint cimport int64_t
from native.codec.json_walk cimport Scan, Text

cdef enum Rule:             # the order of edge.terms.places.MediaRule
    RULE_OPENAI = 0
    RULE_ANTHROPIC = 1
    RULE_GEMINI = 2
    RULES = 3

cdef enum Kind:
    NOTHING = 0
    PICTURE = 1
    SOUND = 2
    FILE = 3
    VIDEO = 4

cdef struct Media:          # of one request
    int64_t size            # bytes of the body that are not text
    int kinds               # a bit for each Kind that occurs
    int64_t[3] pictures     # tokens by Rule
    int64_t[3] sound
    int64_t[3] files

# Walks the value at p, at any depth of messages or input, and adds the media in it.
cdef const char* walk_media(const char* p, Scan* scan, int depth, Media* media) noexcept nogil
# Adds a file of this many bytes, whose content is not read. wave: it is uncompressed sound.
cdef void add_file(Media* media, Kind kind, Py_ssize_t size, bint wave) noexcept nogil
# Returns the tokens of all media by a Rule.
cdef int64_t media_tokens(const Media* media, int rule) noexcept nogil
# Returns the tokens of a picture by a Rule. A width of 0 = its size is not known. low: the caller asked for low detail.
cdef int64_t picture_tokens(int64_t width, int64_t height, bint low, int rule) noexcept nogil
# Reads the size of a picture from base64 inside a JSON string; returns whether it was found.
cdef bint picture_size(const char* p, const char* end, int64_t* width, int64_t* height) noexcept nogil
