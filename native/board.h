/* What does the shared block look like?  Fixed cache-line records, one writer-agnostic layout for every process of a
 * node. Everything here is read and written with the GCC atomic builtins; nothing is ever locked, so a process killed
 * in the middle of an update leaves nothing behind that another must wait for. Times are CLOCK_MONOTONIC nanoseconds
 * (one clock for all processes of a host) unless a name says _ms. */
#ifndef EDGE_BOARD_H
#define EDGE_BOARD_H
#include <stdint.h>

#define EDGE_BOARD_MAGIC 0x3147444544472031ULL
#define EDGE_BOARD_LAYOUT 1u   /* bump with any change below: a worker of another build refuses the block */
#define EDGE_MAX_WORKERS 64
#define EDGE_WINDOW_BUCKETS 10
#define EDGE_HIST_BUCKETS 24   /* upper bounds: 1 ms * 2^(i/2) rounded, see board.pyx; the last one is +Inf */
#define EDGE_TARGET_COUNTERS 32
#define EDGE_ROUTE_COUNTERS 48
#define EDGE_WORKER_COUNTERS 32

typedef struct __attribute__((aligned(64))) {
    uint64_t magic;
    uint32_t layout, target_capacity, route_capacity, worker_capacity;
    uint64_t created_ns;
    uint64_t spare[3];
} edge_board_header;

typedef struct __attribute__((aligned(64))) {
    /* the circuit: state (2 bits) | generation (22) | until_ms (40), moved only by compare-and-swap.
     * CLOSED: until = when it last recovered (0 = never ill); OPEN: until = earliest trial;
     * HALF_OPEN: until = when the one permit lapses if its holder never reports back. */
    uint64_t circuit;
    uint64_t opened_ns;      /* when it last tripped */
    uint64_t trial_ns;       /* when a trial was last admitted */
    uint32_t consecutive;    /* failures in a row while closed */
    uint32_t opens;          /* back-off exponent: trips since it was last healthy for long */
    uint32_t trip_reason;    /* enum TripReason in breaker.pxd */
    uint32_t out_reason;     /* an Outcome: why it is out (credential refused, misconfigured), 0 = not out */
    uint64_t out_until_ns;   /* out of rotation until then */
    uint64_t rest_until_ns;  /* rate limited until then; merged as "the later deadline wins" */
    uint64_t manual;         /* 0 none, 1 drain, 2 eject: set by hand */

    /* latency cells: [0] streams, [1] whole answers; float32 milliseconds | uint32 stamp_ms, by compare-and-swap */
    uint64_t ewma[2];
    uint64_t baseline[2];    /* the same with a slow time constant, fed by successes only */
    uint64_t keys_epoch;     /* seconds / 10 that the two maps below speak of */
    uint64_t keys_active;    /* one bit per key (slot modulo 64) seen in this epoch */
    uint64_t keys_failing;   /* one bit per key whose attempt failed in this epoch */
    uint64_t keys_before;    /* keys_failing of the epoch before */

    /* exact window, a ring by second: stamp_s (20) | total (22) | failed (22); stamp_s (20) | slow (22) | spare */
    uint64_t window[EDGE_WINDOW_BUCKETS];
    uint64_t slow[EDGE_WINDOW_BUCKETS];
    uint64_t spare[4];

    uint64_t count[EDGE_TARGET_COUNTERS];   /* enum TargetCounter */
    uint64_t first_hist[EDGE_HIST_BUCKETS]; /* time to first token or byte */
    uint64_t total_hist[EDGE_HIST_BUCKETS];
    uint64_t first_sum_us, total_sum_us;
    uint64_t spare2[6];
    uint32_t inflight[EDGE_MAX_WORKERS];    /* a column per worker, so that a killed worker's can be cleared */
} edge_target_rec;

typedef struct __attribute__((aligned(64))) {
    uint64_t budget;         /* retry budget: stamp_ms (32) | thousandths of a retry (32) */
    uint64_t spare[7];
    uint64_t count[EDGE_ROUTE_COUNTERS];    /* enum RouteCounter */
    uint64_t first_hist[EDGE_HIST_BUCKETS];
    uint64_t total_hist[EDGE_HIST_BUCKETS];
    uint64_t first_sum_us, total_sum_us;
    uint64_t spare2[6];
    uint32_t inflight[EDGE_MAX_WORKERS];
} edge_route_rec;

typedef struct __attribute__((aligned(64))) {
    uint64_t pid, started_ns, heartbeat_ns;
    uint64_t count[EDGE_WORKER_COUNTERS];   /* enum WorkerCounter */
    uint64_t spare[5];
} edge_worker_rec;

#define edge_load(p) __atomic_load_n((p), __ATOMIC_ACQUIRE)
#define edge_store(p, v) __atomic_store_n((p), (v), __ATOMIC_RELEASE)
#define edge_add(p, v) __atomic_add_fetch((p), (v), __ATOMIC_RELAXED)
#define edge_or(p, v) __atomic_or_fetch((p), (v), __ATOMIC_ACQ_REL)
static inline int edge_cas(uint64_t *p, uint64_t old_value, uint64_t new_value) {
    return __atomic_compare_exchange_n(p, &old_value, new_value, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
}
#endif
