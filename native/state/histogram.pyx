from libc.stdint cimport UINT32_MAX, uint32_t

# Upper bounds in seconds of the first 23 buckets; the 24th has none. The bounds are dense between 50 ms and 3 s, where
# most first tokens arrive, and reach 2 min, the longest total that is common.
HIST_BOUNDS_S = (
    0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3,
    0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 20.0, 60.0, 120.0,
)

cdef uint32_t[32] bounds_us     # HIST_BOUNDS_S, padded to a power of two so that the search needs no end test
cdef int place
for place in range(32):
    bounds_us[place] = round(HIST_BOUNDS_S[place] * 1e6) if place < len(HIST_BOUNDS_S) else UINT32_MAX


cdef int hist_bucket(uint64_t us) noexcept nogil:
    # Binary search for the first bound that is not below the value: five steps, without mispredicted branches.
    cdef uint32_t value = <uint32_t>us if us < UINT32_MAX else UINT32_MAX
    cdef int place = 0
    place += 16 * (bounds_us[place + 15] < value)
    place += 8 * (bounds_us[place + 7] < value)
    place += 4 * (bounds_us[place + 3] < value)
    place += 2 * (bounds_us[place + 1] < value)
    place += bounds_us[place] < value
    return place


def bucket_of(us):
    """Return the index of the histogram bucket that holds ``us`` microseconds (0..23)."""
    return hist_bucket(us)
