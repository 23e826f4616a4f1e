from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdlib cimport free, realloc
from libc.string cimport memcmp, memcpy
from native.codec.event cimport HAS_TYPE
from native.codec.event_kind cimport SAID_CONTENT, SAID_DONE, SAID_ERROR, SAID_FINISH, SAID_GARBAGE
from native.codec.json_walk cimport Text, text_is

# A longer text is not sent to another target: its prompt would hardly fit, and many streams would hold much memory.
cdef Py_ssize_t MOST_SHOWN = 256 * 1024
cdef Py_ssize_t FIRST_ROOM = 512


cdef Shown new_shown():
    cdef Shown shown = Shown.__new__(Shown)
    shown.limit = MOST_SHOWN
    return shown


cdef inline bint _ends_in(const Text* text, const char* suffix, Py_ssize_t size) noexcept nogil:
    return text.size > size and memcmp(text.at + text.size - size, suffix, size) == 0


cdef class Shown:
    """``limit``: bytes of a text that are kept."""

    def __cinit__(self, Py_ssize_t limit=256 * 1024):
        self.limit = limit

    def __dealloc__(self):
        free(self.at)

    def __repr__(self):
        return f"<Shown {self.size} bytes spoiled={self.spoiled} finished={self.finished}>"

    @property
    def text(self):
        """The text so far, escaped as in a JSON string, without quotes."""
        return self.take()

    cdef bytes take(self):
        return PyBytes_FromStringAndSize(self.at, self.size)

    cdef void spoil(self) noexcept:
        self.spoiled = True
        free(self.at)
        self.at = NULL
        self.size = self.room = 0

    cdef int note(self, const Facts* facts, int bits) except -1:
        if self.spoiled or self.finished or self.halted:
            return 0
        if bits & (<int>SAID_ERROR | <int>SAID_GARBAGE):
            self.halted = True          # the client gets neither this nor what follows it
            return 0
        if facts.has & HAS_TYPE:
            self._note_typed(facts, bits)
        if facts.other:
            self.spoil()
        elif bits & <int>SAID_CONTENT and facts.text != NULL and not facts.repeats and not self.spoiled:
            self._add(facts.text, facts.text_length)
        self.finished = self.finished or bits & (<int>SAID_FINISH | <int>SAID_DONE) != 0
        return 0

    cdef int _note_typed(self, const Facts* facts, int bits) except -1:
        """Note an event of Anthropic's messages or of Responses, which tell the parts of an answer apart."""
        cdef const Text* type = &facts.type
        if text_is(type, b"content_block_delta", 19):
            return 0
        if text_is(type, b"content_block_start", 19) or text_is(type, b"response.output_item.added", 26):
            self.parts += 1
            if self.parts > 1:
                self.spoil()
        elif text_is(type, b"content_block_stop", 18) or text_is(type, b"message_delta", 13):
            self.finished = True
        elif text_is(type, b"response.output_text.done", 25):
            self.finished = True
        elif bits & <int>SAID_CONTENT and not text_is(type, b"response.output_text.delta", 26):
            self.spoil()
        return 0

    cdef int _add(self, const char* text, Py_ssize_t length) except -1:
        cdef Py_ssize_t room = self.room
        cdef char* moved
        if length == 0:
            return 0        # there may be no room yet, and memcpy() takes no NULL
        if self.size + length > self.limit:
            self.spoil()
            return 0
        if self.size + length > room:
            room = max(2 * room, max(FIRST_ROOM, self.size + length))
            moved = <char*>realloc(self.at, room)
            if moved == NULL:
                raise MemoryError
            self.at = moved
            self.room = room
        memcpy(self.at + self.size, text, length)
        self.size += length
        return 0
