/* What does the shared block look like?  Fixed cache-line records, one writer-agnostic layout for every process of a
 * node. Everything here is read and written with the GCC atomic builtins; nothing is ever locked, so a process killed
 * in the middle of an update leaves nothing behind that another must wait for. Times are CLOCK_MONOTONIC nanoseconds
 * (one clock for all processes of a host) unless a name says _ms. */
#ifndef EDGE_SHARED_STATE_H
#define EDGE_SHARED_STATE_H
#include <math.h>
#include <stdint.h>
#include "native/io/atomics.h"

#define EDGE_STATE_MAGIC 0x3147444544472031ULL
#define EDGE_STATE_LAYOUT 7u   /* bump with any change below: a worker of another build refuses the block */
#define EDGE_MAX_WORKERS 64
#define EDGE_WINDOW_BUCKETS 10
#define EDGE_HIST_BUCKETS 24   /* upper bounds: HIST_BOUNDS_S in shared_state.pyx, 1 ms to 2 min; the last one is +Inf */
#define EDGE_TARGET_COUNTERS 32
#define EDGE_ROUTE_COUNTERS 48
#define EDGE_WORKER_COUNTERS 32
#define EDGE_ALLOWANCE_COUNTERS 16
#define EDGE_ASSUMED_NODES 3   /* how many share a budget, as long as nobody has said */
#define EDGE_LATENCY_BUCKETS 64 /* four an octave, 4 ms to 262 s: see native/balance/lateness */
#define EDGE_CLASSES 3         /* priority classes: 0 high, 1 normal, 2 low */
#define EDGE_EWMA_TAU_NS 10000000000ULL /* of ewma, measured and penalty (Finagle, linkerd): half of a peak is gone in 7 s */

typedef struct __attribute__((aligned(64))) {
    uint64_t magic;
    uint32_t layout, target_capacity, route_capacity, worker_capacity;
    uint64_t created_ns;
    uint32_t allowance_capacity, spare32;
    uint64_t spare[2];
} edge_state_header;

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
    uint32_t quarantine_reason; /* an Outcome (credential refused, misconfigured, not serving); 0 = not quarantined */
    uint64_t quarantined_until_ns;  /* gets no traffic until then */
    uint64_t rate_limited_until_ns;  /* rate limited until then; merged as "the later deadline wins" */
    uint64_t manual;         /* 0 none, 1 drain, 2 eject: set by hand */

    /* latency cells: [0] streams, [1] whole answers; float32 milliseconds | uint32 stamp_ms, by compare-and-swap */
    uint64_t ewma[2];
    uint64_t baseline[2];    /* an average with a slow time constant, fed by successes only */
    uint64_t keys_epoch;     /* seconds / 10 that the two maps below speak of */
    uint64_t keys_active;    /* one bit per key (slot modulo 64) seen in this epoch */
    uint64_t keys_failing;   /* one bit per key whose attempt failed in this epoch */
    uint64_t keys_before;    /* keys_failing of the epoch before */

    /* exact window, a ring by second: stamp (20) | total (22) | failed (22), and stamp (20) | slow (22) | spare (22).
     * The stamp is the second without its last digit, which is the place in the ring. */
    uint64_t window[EDGE_WINDOW_BUCKETS];
    uint64_t slow[EDGE_WINDOW_BUCKETS];
    uint64_t keys_active_before; /* keys_active of the epoch before */
    uint64_t hint_ns;        /* a hint may not bring a trial before this: a quarter of the wait that was set at the trip */
    /* what is shown of the cells: the average of successes alone, and the last failure that still weighs in ewma */
    uint64_t measured[2];

    uint64_t count[EDGE_TARGET_COUNTERS];   /* enum TargetCounter */
    uint64_t first_hist[EDGE_HIST_BUCKETS]; /* time to first token or byte */
    uint64_t total_hist[EDGE_HIST_BUCKETS];
    uint64_t first_sum_us, total_sum_us;
    uint64_t penalty[2];
    uint64_t spare2[4];

    /* adaptive concurrency (native/balance: capacity, delay, spill): float32 | stamp_ms words, as in a latency cell */
    uint64_t limit;          /* concurrent requests | when it last fell; 0 = no limit, for want of evidence */
    uint64_t limit_floor;    /* ms: what a first token takes when nothing waits | when the window now open began */
    uint64_t limit_sum_us, limit_count; /* first tokens in the window now open */
    uint64_t spill;          /* the ramp: concurrent requests of the low class, if it is not of the best tier | stamp_ms */
    /* what other regions say (control writes, every second while it is fresh): weight in thousandths (16) | failures in
     * a row that open it here, 0 = the policy's (16) | stamp_ms (32). All zero, or a stamp older than 15 s: nothing. */
    uint64_t remote;
    uint64_t limit_seen;     /* ms: the average first token of the last whole window | when it ended */
    uint64_t limit_slow;     /* whole windows in a row that were slow */
    uint64_t refusals;       /* since a first refusal: its stamp_ms (32) | refusals (16) | first tokens (16) */
    uint64_t allowance;      /* concurrent requests in place of a better tier | when it was last used; 0 = not in use */
    uint64_t highest[2];     /* most requests in flight, in an even and an odd epoch: epoch (32) | requests (32) */
    uint64_t spare3[4];
    /* lateness (native/balance/lateness), per latency cell: how long first contents took lately */
    uint32_t latency_count[2][EDGE_LATENCY_BUCKETS];    /* halved when their sum reaches 2,000 */
    uint32_t latency_samples[2];   /* their sum, never less than what was counted since the last halving */
    uint32_t latency_p99_ms[2];    /* reckoned anew with every sixteenth sample; 0 = nothing known */
    uint32_t late_in_a_row;        /* attempts that became late without a byte, since the last that brought one */
    uint32_t spare4[11];
    uint32_t inflight[EDGE_MAX_WORKERS];    /* a column per worker, so that a killed worker's can be cleared */
    uint32_t inflight_class[EDGE_CLASSES][EDGE_MAX_WORKERS]; /* of these, by priority class */
} edge_target_rec;

typedef struct __attribute__((aligned(64))) {
    uint64_t budget;         /* retry budget: stamp_ms (32) | thousandths of a retry (32) */
    uint64_t spare[7];
    uint64_t count[EDGE_ROUTE_COUNTERS];    /* enum RouteCounter */
    uint64_t first_hist[EDGE_HIST_BUCKETS];
    uint64_t total_hist[EDGE_HIST_BUCKETS];
    uint64_t first_sum_us, total_sum_us;
    uint64_t queue_hist[EDGE_HIST_BUCKETS];    /* how long exchanges waited for a place */
    uint64_t queue_sum_us;
    uint64_t own_sum_ns, own_count;            /* what edge itself added before the first byte went upstream */
    uint64_t output_hist[EDGE_HIST_BUCKETS];   /* output tokens of complete answers by powers of two; halved by control */
    uint64_t spare2[3];
    uint32_t inflight[EDGE_MAX_WORKERS];
    uint32_t waiting[EDGE_MAX_WORKERS];        /* exchanges that wait for a place, by worker */
} edge_route_rec;

/* What a caller's key, or a provider's credential, may still use. */
typedef struct __attribute__((aligned(64))) {
    uint64_t requests_tat;   /* GCRA: theoretical arrival time, ns; moved by compare-and-swap */
    uint64_t tokens_tat;
    uint64_t requests_share; /* thousandths of a request per minute that this node may grant; 0 = all of the Snapshot's */
    uint64_t tokens_share;   /* thousandths of a token per minute; written by control for scope: global */
    uint64_t spent_month;    /* months since year 0 that the next word speaks of */
    uint64_t spent_nano;     /* US dollars * 1e9 */
    uint64_t share_until_ns; /* all shares hold until then; afterwards this node grants 1 / share_nodes of all */
    uint64_t share_nodes;
    uint64_t concurrent_share; /* requests at once that this node may grant, plus one; 0 = all of the Snapshot's */
    uint64_t ceiling_month;  /* the month of the next word; 0 = nobody shares the budget, and all of it is this node's */
    uint64_t ceiling_nano;   /* what this node may have spent in that month: its part of a budget that others share */
    uint64_t spare[5];
    uint64_t count[EDGE_ALLOWANCE_COUNTERS];   /* enum AllowanceCounter */
    uint32_t inflight[EDGE_MAX_WORKERS];
} edge_allowance_rec;

typedef struct __attribute__((aligned(64))) {
    uint64_t pid, started_ns, heartbeat_ns;
    uint64_t count[EDGE_WORKER_COUNTERS];   /* enum WorkerCounter */
    uint64_t spare[5];
} edge_worker_rec;


/* The words above, taken apart. Reading only: who may change a word, and how, stands in the kernel that owns it. */
#define EDGE_CIRCUIT_UNTIL_MASK ((1ULL << 40) - 1)
#define EDGE_CIRCUIT_GENERATION_MASK ((1u << 22) - 1)
#define EDGE_BUCKET_STAMP_MASK ((1u << 20) - 1)
#define EDGE_BUCKET_COUNT_MASK ((1u << 22) - 1)

static inline int edge_circuit_state(uint64_t word) { return (int)(word >> 62); }
static inline uint32_t edge_circuit_generation(uint64_t word) {
    return (uint32_t)(word >> 40) & EDGE_CIRCUIT_GENERATION_MASK;
}
static inline uint64_t edge_circuit_until_ms(uint64_t word) { return word & EDGE_CIRCUIT_UNTIL_MASK; }
static inline uint64_t edge_circuit(int state, uint32_t generation, uint64_t until_ms) {
    return (uint64_t)state << 62 | (uint64_t)(generation & EDGE_CIRCUIT_GENERATION_MASK) << 40 |
           (until_ms & EDGE_CIRCUIT_UNTIL_MASK);
}

static inline uint32_t edge_stamp_of(uint64_t second) {
    return (uint32_t)(second / EDGE_WINDOW_BUCKETS) & EDGE_BUCKET_STAMP_MASK;
}
static inline uint32_t edge_bucket_stamp(uint64_t word) { return (uint32_t)(word >> 44); }
static inline uint32_t edge_bucket_first(uint64_t word) { return (uint32_t)(word >> 22) & EDGE_BUCKET_COUNT_MASK; }
static inline uint32_t edge_bucket_second(uint64_t word) { return (uint32_t)word & EDGE_BUCKET_COUNT_MASK; }
static inline uint64_t edge_bucket(uint64_t second, uint32_t first_count, uint32_t second_count) {
    return (uint64_t)edge_stamp_of(second) << 44 | (uint64_t)first_count << 22 | second_count;
}

typedef struct {
    uint64_t total, failed, slow;
} edge_tally;

/* Sum the buckets of the last `seconds` seconds, this one included. A bucket counts only when it carries the stamp of
 * the very second asked for, so nothing stale can be counted (a stamp comes round after 121 days). */
static inline edge_tally edge_window_sum(edge_target_rec *rec, uint64_t now_s, int seconds) {
    edge_tally sum = {0, 0, 0};
    if (seconds > EDGE_WINDOW_BUCKETS) seconds = EDGE_WINDOW_BUCKETS;
    for (int age = 0; age < seconds && (uint64_t)age <= now_s; age++) {
        uint64_t second = now_s - (uint64_t)age;
        unsigned place = (unsigned)(second % EDGE_WINDOW_BUCKETS);
        uint32_t stamp = edge_stamp_of(second);
        uint64_t ended = edge_load(&rec->window[place]), slow = edge_load(&rec->slow[place]);
        if (edge_bucket_stamp(ended) == stamp) {
            sum.total += edge_bucket_first(ended);
            sum.failed += edge_bucket_second(ended);
        }
        if (edge_bucket_stamp(slow) == stamp) sum.slow += edge_bucket_first(slow);
    }
    return sum;
}

/* What other regions say of a target. It holds for 15 s after control wrote it, so that a control that died neither keeps
 * a target from its traffic nor leaves its failure threshold low for good. */
#define EDGE_REMOTE_HOLDS_MS 15000u
static inline uint64_t edge_remote(uint32_t thousandths, uint32_t failure_threshold, uint64_t now_ms) {
    return (uint64_t)(thousandths & 0xFFFFu) << 48 | (uint64_t)(failure_threshold & 0xFFFFu) << 32 | (uint32_t)now_ms;
}
static inline int edge_remote_holds(uint64_t word, uint64_t now_ms) {
    uint32_t age = (uint32_t)now_ms - (uint32_t)word;
    return word >> 32 && (age <= EDGE_REMOTE_HOLDS_MS || age > UINT32_MAX - 60000u);
}
static inline double edge_remote_weight(uint64_t word, uint64_t now_ms) {
    return edge_remote_holds(word, now_ms) ? (double)(word >> 48) / 1000.0 : 1.0;
}
static inline uint32_t edge_remote_failure_threshold(uint64_t word, uint64_t now_ms) {
    return edge_remote_holds(word, now_ms) ? (uint32_t)(word >> 32) & 0xFFFFu : 0;
}

/* What this node may grant of `whole` (thousandths per minute) by one of an allowance's share words. A grant whose time is
 * over counts no more: others may have it, and a control that died cannot say so. */
static inline uint64_t edge_share(edge_allowance_rec *rec, uint64_t *word, uint64_t whole, uint64_t now_ns) {
    uint64_t share = edge_load(word), nodes;
    if (share == 0 || now_ns <= edge_load(&rec->share_until_ns)) return share;
    nodes = edge_load(&rec->share_nodes);
    return nodes > 1 ? whole / nodes + (whole < nodes) : whole;
}

/* The same of requests at once, which are whole and may be none. */
static inline uint64_t edge_concurrent(edge_allowance_rec *rec, uint64_t whole, uint64_t now_ns) {
    uint64_t share = edge_load(&rec->concurrent_share), nodes;
    if (share == 0) return whole;
    if (now_ns <= edge_load(&rec->share_until_ns)) return share - 1;
    nodes = edge_load(&rec->share_nodes);
    return nodes > 1 ? whole / nodes + (whole < nodes) : whole;
}

/* What this node may have spent in a month. In a month that control has not spoken of yet, it is one of three. */
static inline uint64_t edge_ceiling(edge_allowance_rec *rec, uint64_t budget, uint64_t month) {
    uint64_t spoken = edge_load(&rec->ceiling_month), ceiling;
    if (spoken == 0) return budget;
    if (spoken != month) return budget / EDGE_ASSUMED_NODES;
    ceiling = edge_load(&rec->ceiling_nano);
    return ceiling < budget ? ceiling : budget;
}

/* A latency cell: float32 milliseconds in the upper half, stamp in the lower. An all-zero cell has no data. */
static inline float edge_cell_ms(uint64_t word) {
    union { uint32_t bits; float value; } as = {.bits = (uint32_t)(word >> 32)};
    return as.value;
}
static inline uint64_t edge_cell(float ms, uint64_t now_ms) {
    union { float value; uint32_t bits; } as = {.value = ms};
    return (uint64_t)as.bits << 32 | (uint32_t)now_ms;
}
/* Age of a cell. Stamps wrap after 49 days; up to a minute "in the future" is another process's later clock: age 0. */
static inline uint32_t edge_cell_age_ms(uint64_t word, uint64_t now_ms) {
    uint32_t age = (uint32_t)now_ms - (uint32_t)word;
    return age > UINT32_MAX - 60000u ? 0 : age;
}

/* A learned limit of concurrent requests; 0 = no limit. The evidence for it is old when it has not fallen for a minute.
 * Then it is void if less than half of it is in use; while more is in use it grows (native/balance/capacity). */
#define EDGE_LIMIT_HOLDS_MS 60000u
static inline int edge_limit_is_old(uint64_t word, uint64_t now_ms) {
    return edge_cell_age_ms(word, now_ms) >= EDGE_LIMIT_HOLDS_MS;
}
static inline double edge_limit(uint64_t word, uint64_t now_ms, uint32_t inflight) {
    double limit = edge_cell_ms(word);
    return word == 0 || (edge_limit_is_old(word, now_ms) && 2.0 * inflight < limit) ? 0.0 : limit;
}
/* What is left of an old value after `tau`. After two time constants it is forgotten whole: the tail of one 5 s failure
 * would otherwise keep a target that answers in 7 ms from its traffic for a minute, beside siblings that answer as fast. */
static inline double edge_cell_weight(uint64_t word, uint64_t now_ms, uint64_t tau_ns) {
    double age = (double)edge_cell_age_ms(word, now_ms) * 1000000 / (double)tau_ns;
    return age <= 2.0 ? exp(-age) : 0.0;
}
/* The part of a penalty that is left. It is not forgotten whole: traffic carries it on in the ewma cell. */
static inline double edge_penalty_left(uint64_t word, uint64_t now_ms) {
    if (word == 0) return 0.0;
    return edge_cell_ms(word) * exp(-(double)edge_cell_age_ms(word, now_ms) * 1000000 / (double)EDGE_EWMA_TAU_NS);
}
/* The part of an ewma cell, as it is read now, that is penalty and not measurement. */
static inline double edge_penalty_in(uint64_t ewma, uint64_t penalty, uint64_t now_ms) {
    double cost = ewma ? edge_cell_ms(ewma) * edge_cell_weight(ewma, now_ms, EDGE_EWMA_TAU_NS) : 0.0;
    double left = edge_penalty_left(penalty, now_ms);
    return left < cost ? left : cost;
}
#endif
