"""Estimates the tokens of what a model says where no target counts them: four bytes of text are one (sans-I/O).

Pictures and sound in base64 are no text: a picture counts as Gemini's and OpenAI's usual one, sound by its length at the
rate of their formats. Sizes are bytes of text that cost as much, so that all of it can be added."""

from libc.stdint cimport int64_t
from native.codec.json_walk cimport Scan, Text

cdef enum:
    PICTURE_SAID = 4 * 1290         # Gemini and OpenAI count about 1,290 tokens for a picture of 1024 x 1024
    PARTIAL_PICTURE_SAID = 4 * 100  # OpenAI counts 100 for each partial picture of a stream
    SOUND_DIVISOR = 640             # 24 kHz of 16 bits is 64,000 characters of base64 a second, and 25 tokens

# Returns the bytes of the string from p to after, where an escape counts as what it stands for.
cdef Py_ssize_t text_size(const char* p, const char* after) noexcept nogil
# Returns what the string value of a member counts as, by its name and its beginning.
cdef int64_t said_by(const char* p, const char* after, const Text* key) noexcept nogil
# Walks the value at p and adds what it says: strings at every depth, without names, ids and types.
cdef const char* walk_spoken(const char* p, Scan* scan, int depth, int64_t* said) noexcept nogil
# Returns what a whole answer says, in any dialect; of an answer that was cut off, what has come.
cdef int64_t spoken_in(const char* data, Py_ssize_t size) noexcept nogil
