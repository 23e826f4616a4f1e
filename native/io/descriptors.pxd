"""Tells how many descriptors this process may have open, and how they are divided."""

cdef extern from "<sys/resource.h>" nogil:
    struct rlimit:
        unsigned long rlim_cur
        unsigned long rlim_max
    int RLIMIT_NOFILE
    int getrlimit(int resource, rlimit* bounds)

cdef enum:
    MOST_DESCRIPTORS = 0x7FFFFFFF   # "unlimited", as a number

cdef int descriptor_limit() noexcept nogil      # RLIMIT_NOFILE as it is now
# A connection to a target is closed if its descriptor has this number or a higher one. The kernel assigns the lowest
# free number, so fewer descriptors than the reserve are left then.
cdef int upstream_ceiling() noexcept nogil
cdef int client_limit() noexcept nogil          # clients' connections, where the configuration sets no limit
