from libc.string cimport memset


cdef class StreamTable:
    def __cinit__(self):
        self.places = [None] * PLACES
        self.elsewhere = {}

    cdef add_stream(self, int32_t number, object stream):
        cdef int place = number >> 1 & (PLACES - 1)
        self.count += 1
        if self.numbers[place]:
            self.elsewhere[number] = stream
        else:
            self.numbers[place] = number
            self.places[place] = stream

    cdef object remove_stream(self, int32_t number):
        cdef int place = number >> 1 & (PLACES - 1)
        if self.numbers[place] == number:
            stream = self.places[place]
            self.numbers[place] = 0
            self.places[place] = None
        elif number in self.elsewhere:
            stream = self.elsewhere.pop(number)
        else:
            return None
        self.count -= 1
        return stream

    cdef list streams(self):
        cdef dict found = self.elsewhere.copy()
        cdef int place
        for place in range(PLACES):
            if self.numbers[place]:
                found[self.numbers[place]] = self.places[place]
        return [found[number] for number in sorted(found)]

    cdef int clear(self) except -1:
        memset(self.numbers, 0, sizeof(self.numbers))
        self.places = [None] * PLACES
        self.elsewhere = {}
        self.count = 0
