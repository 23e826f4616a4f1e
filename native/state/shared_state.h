/* Defines the layout of the shared block: records of whole cache lines, the same for every process of a node. All words
 * are read and written with GCC's atomic builtins and nothing is ever locked, so a process that is killed in the middle
 * of an update blocks no other. Times are CLOCK_MONOTONIC nanoseconds (one clock for all processes of a host), or
 * milliseconds if the name ends in _ms. */
#ifndef EDGE_SHARED_STATE_H
#define EDGE_SHARED_STATE_H
#include <math.h>
#include <stdint.h>
#include "native/io/atomics.h"

#define EDGE_STATE_MAGIC 0x3147444544472031ULL
#define EDGE_STATE_LAYOUT 16u   /* bump with any change below: a worker of another build refuses the block */
#define EDGE_MAX_WORKERS 64
#define EDGE_WINDOW_BUCKETS 10
#define EDGE_HIST_BUCKETS 24   /* upper bounds: HIST_BOUNDS_S in shared_state.pyx, 1 ms to 2 min; the last one is +Inf */
#define EDGE_TARGET_COUNTERS 32
#define EDGE_ROUTE_COUNTERS 56
#define EDGE_WORKER_COUNTERS 32
#define EDGE_ALLOWANCE_COUNTERS 16
#define EDGE_ASSUMED_NODES 3   /* number of nodes that share a budget, until control has set it */
#define EDGE_LATENCY_BUCKETS 64 /* four an octave, 4 ms to 262 s: see native/balance/lateness */
#define EDGE_DECLINED 4        /* kinds of answers that a target is remembered to have declined requests with */
#define EDGE_PRIORITIES 3      /* 0 high, 1 normal, 2 low */
#define EDGE_CAPABILITIES 9    /* enum Capability in native/state/counters.pxd */
#define EDGE_MEMBERS 64        /* most targets of a route: a bit each in native/proxy/selection */
#define EDGE_USES 10           /* by what was asked for: the capabilities, and 9 for a request that needs none */
#define EDGE_USE_COUNTERS 16
#define EDGE_EWMA_TAU_NS 10000000000ULL /* of ewma, measured and penalty (Finagle, linkerd): half-life 7 s */

typedef struct __attribute__((aligned(64))) {
    uint64_t magic;
    uint32_t layout, target_capacity, route_capacity, worker_capacity;
    uint64_t created_ns;
    uint32_t allowance_capacity;  /* all of them */
    uint32_t reserved_allowances; /* the last so many are for the cluster's keys */
    uint64_t pin_buckets;    /* a power of two, or 0; see native/state/pins */
    uint64_t spare[1];
} edge_state_header;

/* A circuit and its evidence: of a target as a whole, and of each of its capabilities. */
typedef struct __attribute__((aligned(64))) {
    /* the circuit: state (2 bits) | generation (22) | until_ms (40), moved only by compare-and-swap.
     * CLOSED: until = when the circuit last recovered (0 = never opened); OPEN: until = earliest trial;
     * HALF_OPEN: until = when the trial's permit expires if its holder never reports. */
    uint64_t circuit;
    uint64_t opened_ns;      /* when the circuit last opened */
    uint64_t trial_ns;       /* when a trial was last admitted */
    uint32_t consecutive;    /* failures in a row while closed */
    uint32_t opens;          /* back-off exponent: opens since it was last healthy for long */
    uint32_t trip_reason;    /* enum TripReason in breaker.pxd */
    uint32_t late_in_a_row;  /* attempts that became late without a byte, since the last one with a byte */
    /* report of other regions, written by control every second: weight in thousandths (16) | failures in a row that open
     * the circuit here, 0 = as in the policy (16) | stamp_ms (32). All zero, or a stamp older than 15 s = no report. */
    uint64_t remote;
    uint64_t hint_ns;        /* no hint allows a trial before this, a quarter of the wait since the circuit opened */

    uint64_t keys_epoch;     /* the epoch (seconds / 10) of the maps below */
    uint64_t keys_active;    /* one bit per key (slot modulo 64) seen in this epoch */
    uint64_t keys_failing;   /* one bit per key whose attempt failed in this epoch */
    uint64_t keys_before;    /* keys_failing of the epoch before */
    uint64_t keys_active_before; /* keys_active of the epoch before */
    uint64_t trips, trials, slowed;     /* how often it opened, how many trials and slow attempts there were */

    /* exact window, a ring by second: stamp (20) | total (22) | failed (22), and stamp (20) | slow (22) | spare (22).
     * The stamp is second / 10; second % 10 is the place in the ring. */
    uint64_t window[EDGE_WINDOW_BUCKETS];
    uint64_t slow[EDGE_WINDOW_BUCKETS];
    /* of a capability alone (native/balance/capability) */
    uint64_t doubted_ns;     /* when the failures that cast doubt on it began; 0 = there is no doubt */
    uint64_t others_ns;      /* when a request that does not need it last succeeded meanwhile */
    uint64_t body;           /* mark of the first body that failed */
    uint64_t failures;       /* blamed on it, all time */
} edge_circuit_rec;

/* What was counted of the requests whose most special need is one capability (edge_use_of), or of those without one. A
 * target or route keeps no sum of these counters: views add them up. */
typedef struct __attribute__((aligned(64))) {
    uint64_t count[EDGE_USE_COUNTERS];      /* of a target by enum Outcome; of a route R_2XX to R_BROKEN */
    uint64_t first_hist[EDGE_HIST_BUCKETS]; /* time to first token or byte */
    uint64_t total_hist[EDGE_HIST_BUCKETS];
    uint64_t prompt_tokens, output_tokens, cost_nano;
    uint64_t spare[5];
} edge_use_rec;

typedef struct __attribute__((aligned(64))) {
    edge_circuit_rec own;    /* of the target as a whole */
    uint64_t quarantined_until_ns;  /* the target gets no traffic until then */
    uint64_t rate_limited_until_ns;  /* the target rate-limits until then; the later of two deadlines wins */
    uint64_t manual;         /* manual override: 0 none, 1 drain, 2 eject */
    uint32_t quarantine_reason; /* an Outcome (credential refused, misconfigured, not serving); 0 = not quarantined */
    uint32_t spare32;
    uint64_t doubted;        /* a bit per capability in doubt: only these are looked at when a target is chosen */

    /* latency cells: [0] streams, [1] complete answers; float32 milliseconds | uint32 stamp_ms, by compare-and-swap */
    uint64_t ewma[2];
    uint64_t baseline[2];    /* an average with a slow time constant, fed by successes only */
    /* for display: the average of successes only; ``penalty`` below is the part of ewma that failures added */
    uint64_t measured[2];

    uint64_t count[EDGE_TARGET_COUNTERS];   /* enum TargetCounter; outcomes and money: see uses */
    uint64_t first_sum_us, total_sum_us;
    uint64_t penalty[2];
    /* native/balance/declined: answers of the last minute that may be about one request, or about all. One kind of
     * answer each: stamp_ms (32) | mark of the answer (32). All zero = none. */
    uint64_t declined_at[EDGE_DECLINED];

    /* adaptive concurrency (native/balance: capacity, delay, spill): float32 | stamp_ms words, as in a latency cell */
    uint64_t limit;          /* concurrent requests | when the limit last fell; 0 = no limit (no evidence for one) */
    uint64_t limit_floor;    /* ms: time to first token without queueing | when the current window began */
    uint64_t limit_sum_us, limit_count; /* first tokens in the current window */
    uint64_t spill;          /* ramp: concurrent requests of the low class, if the target is in a later tier | stamp_ms */
    uint64_t limit_seen;     /* ms: average time to first token in the last complete window | when it ended */
    uint64_t limit_slow;     /* consecutive complete windows that were slow */
    uint64_t refusals;       /* stamp_ms of a first refusal (32) | refusals since (16) | first tokens since (16) */
    uint64_t allowance;      /* concurrent requests in place of a better tier | when last used; 0 = not in use */
    uint64_t highest[2];     /* most requests in flight, in an even and an odd epoch: epoch (32) | requests (32) */
    /* of each kind of answer: mark of the request's body (32) | good answers until then, modulo (16) | key + 1 (8) |
     * status - 400 (8) */
    uint64_t declined_as[EDGE_DECLINED];
    /* native/balance/lateness, per latency cell: histogram of recent times to first content */
    uint32_t latency_count[2][EDGE_LATENCY_BUCKETS];    /* halved when their sum reaches 2,000 */
    uint32_t latency_samples[2];   /* their sum, at least the samples since the last halving */
    uint32_t latency_p99_ms[2];    /* recomputed with every sixteenth sample; 0 = unknown */
    /* adaptive concurrency, continued: what limits a target that no other target can stand in for */
    uint64_t limit_binding;  /* concurrent requests that it is never sent more than | when this last fell; 0 = no limit */
    uint64_t limit_best;     /* first tokens per second in the best recent window | requests in flight in it (32) */
    uint64_t limit_firsts;   /* since the window began: sum of requests in flight at first tokens (40) | first tokens (24) */
    uint64_t limit_fallen;   /* consecutive slow windows with more in flight and fewer first tokens than the best one */
    uint32_t spare4[2];
    uint64_t upstream_load;        /* see edge_load; 0 = the target says nothing of itself */
    edge_circuit_rec capability[EDGE_CAPABILITIES];
    edge_use_rec uses[EDGE_USES];
    uint32_t inflight[EDGE_MAX_WORKERS];    /* a column per worker, so that a killed worker's can be cleared */
    uint32_t inflight_by_priority[EDGE_PRIORITIES][EDGE_MAX_WORKERS]; /* of these, by priority */
} edge_target_rec;

typedef struct __attribute__((aligned(64))) {
    uint64_t budget;         /* retry budget: stamp_ms (32) | thousandths of a retry (32) */
    uint64_t hedges;         /* millionths of a hedge that are missing to a full budget; see native/state/hedge_budget */
    uint64_t spare[6];
    uint64_t count[EDGE_ROUTE_COUNTERS];    /* enum RouteCounter; ends and money: see uses */
    uint64_t first_sum_us, total_sum_us;
    uint64_t queue_hist[EDGE_HIST_BUCKETS];    /* how long exchanges waited for a place */
    uint64_t queue_sum_us;
    uint64_t overhead_sum_ns, overhead_count;  /* time that edge itself added before the first byte went upstream */
    uint64_t output_hist[EDGE_HIST_BUCKETS];   /* output tokens of complete answers by powers of two; halved by control */
    uint64_t spare2[3];
    uint64_t answered[EDGE_MEMBERS];           /* which target answered, by its place in the route */
    edge_use_rec uses[EDGE_USES];
    uint32_t inflight[EDGE_MAX_WORKERS];
    uint32_t waiting[EDGE_MAX_WORKERS];        /* exchanges that wait for a place, by worker */
} edge_route_rec;

/* The use of a caller's key, or of a provider's credential. */
typedef struct __attribute__((aligned(64))) {
    uint64_t requests_tat;   /* GCRA: theoretical arrival time, ns; moved by compare-and-swap */
    uint64_t tokens_tat;
    uint64_t requests_share; /* thousandths of a request per minute that this node may grant; 0 = all of the Snapshot's */
    uint64_t tokens_share;   /* thousandths of a token per minute; written by control for scope: global */
    uint64_t spent_month;    /* the month of the next word, counted from year 0 */
    uint64_t spent_nano;     /* US dollars * 1e9 */
    uint64_t share_until_ns; /* all shares hold until then; afterwards this node grants 1 / share_nodes of all */
    uint64_t share_nodes;
    uint64_t concurrent_share; /* concurrent requests that this node may grant, plus one; 0 = all of the Snapshot's */
    uint64_t ceiling_month;  /* the month of the next word; 0 = the whole budget is this node's */
    uint64_t ceiling_nano;   /* the amount that this node may spend in that month of a shared budget */
    uint64_t spare[5];
    uint64_t count[EDGE_ALLOWANCE_COUNTERS];   /* enum AllowanceCounter */
    uint32_t inflight[EDGE_MAX_WORKERS];
    uint64_t held_tokens[EDGE_MAX_WORKERS];    /* of the bucket, by requests in flight that have not settled */
    uint64_t held_nano[EDGE_MAX_WORKERS];      /* of the budget, in US dollars * 1e9 */
} edge_allowance_rec;

typedef struct __attribute__((aligned(64))) {
    uint64_t pid, started_ns, heartbeat_ns;
    uint64_t count[EDGE_WORKER_COUNTERS];   /* enum WorkerCounter */
    uint64_t spare[5];
} edge_worker_rec;


/* Functions that pack and unpack the words above. The kernel that owns a word says how it may change. */
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
} edge_window_counts;

/* Sum the buckets of the last `seconds` seconds, the current one included. A bucket counts only if it carries the stamp
 * of its second, so no stale count is included (stamps wrap around after 121 days). */
static inline edge_window_counts edge_window_sum(edge_circuit_rec *rec, uint64_t now_s, int seconds) {
    edge_window_counts sum = {0, 0, 0};
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

/* The report of other regions about a target. It holds for 15 s after control wrote it: if control dies, the target gets
 * its traffic and its normal failure threshold back. */
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

/* What a self-hosted target says of itself, written by control: requests that wait there (16) | thousandths of its cache
 * in use (16) | stamp_ms (32). It holds for 10 s. */
#define EDGE_LOAD_HOLDS_MS 10000u
static inline uint64_t edge_upstream_load(uint32_t waiting, uint32_t cache, uint64_t now_ms) {
    return (uint64_t)(waiting < 0xFFFFu ? waiting : 0xFFFFu) << 48 | (uint64_t)(cache & 0xFFFFu) << 32 | (uint32_t)now_ms;
}
static inline int edge_load_holds(uint64_t word, uint64_t now_ms) {
    uint32_t age = (uint32_t)now_ms - (uint32_t)word;
    return word && (age <= EDGE_LOAD_HOLDS_MS || age > UINT32_MAX - 60000u);
}
static inline int edge_load_waiting(uint64_t word, uint64_t now_ms) {
    return edge_load_holds(word, now_ms) ? (int)(word >> 48) : 0;
}
static inline int edge_load_cache(uint64_t word, uint64_t now_ms) {
    return edge_load_holds(word, now_ms) ? (int)(word >> 32 & 0xFFFFu) : 0;
}

/* What this node may grant of `whole` (thousandths per minute) by one of an allowance's share words. After share_until_ns
 * the share is void, because other nodes may have it and control may have died. */
static inline uint64_t edge_share(edge_allowance_rec *rec, uint64_t *word, uint64_t whole, uint64_t now_ns) {
    uint64_t share = edge_load(word), nodes;
    if (share == 0 || now_ns <= edge_load(&rec->share_until_ns)) return share;
    nodes = edge_load(&rec->share_nodes);
    return nodes > 1 ? whole / nodes + (whole < nodes) : whole;
}

/* The same for concurrent requests: a whole number, which may be 0. */
static inline uint64_t edge_concurrent(edge_allowance_rec *rec, uint64_t whole, uint64_t now_ns) {
    uint64_t share = edge_load(&rec->concurrent_share), nodes;
    if (share == 0) return whole;
    if (now_ns <= edge_load(&rec->share_until_ns)) return share - 1;
    nodes = edge_load(&rec->share_nodes);
    return nodes > 1 ? whole / nodes + (whole < nodes) : whole;
}

/* The amount that this node may spend in a month. Until control has written it for the month: the budget divided by
 * EDGE_ASSUMED_NODES. */
static inline uint64_t edge_ceiling(edge_allowance_rec *rec, uint64_t budget, uint64_t month) {
    uint64_t spoken = edge_load(&rec->ceiling_month), ceiling;
    if (spoken == 0) return budget;
    if (spoken != month) return budget / EDGE_ASSUMED_NODES;
    ceiling = edge_load(&rec->ceiling_nano);
    return ceiling < budget ? ceiling : budget;
}

/* The place in `uses` of requests with these needs: the most special capability, which has the lowest number. */
static inline int edge_use_of(uint64_t needs) { return __builtin_ctzll(needs | 1ULL << EDGE_CAPABILITIES); }
/* Good answers of a target, all time. */
static inline uint64_t edge_answered(edge_target_rec *rec) {
    uint64_t sum = 0;
    for (int use = 0; use < EDGE_USES; use++) sum += edge_load(&rec->uses[use].count[0]);
    return sum;
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
/* Age of a cell. Stamps wrap around after 49 days. A stamp up to a minute in the future has age 0: another process read
 * the clock later. */
static inline uint32_t edge_cell_age_ms(uint64_t word, uint64_t now_ms) {
    uint32_t age = (uint32_t)now_ms - (uint32_t)word;
    return age > UINT32_MAX - 60000u ? 0 : age;
}

/* The learned limit of concurrent requests; 0 = no limit. A limit that has not fallen for a minute is old. An old limit
 * is void if less than half of it is in use; otherwise it grows (native/balance/capacity). */
#define EDGE_LIMIT_HOLDS_MS 60000u
static inline int edge_limit_is_old(uint64_t word, uint64_t now_ms) {
    return edge_cell_age_ms(word, now_ms) >= EDGE_LIMIT_HOLDS_MS;
}
static inline double edge_limit(uint64_t word, uint64_t now_ms, uint32_t inflight) {
    double limit = edge_cell_ms(word);
    return word == 0 || (edge_limit_is_old(word, now_ms) && 2.0 * inflight < limit) ? 0.0 : limit;
}
/* The weight of an old value, which decays with `tau` and is 0 after two time constants. Otherwise the tail of one 5 s
 * failure would keep traffic from a target that answers in 7 ms for a minute, next to siblings that are as fast. */
static inline double edge_cell_weight(uint64_t word, uint64_t now_ms, uint64_t tau_ns) {
    double age = (double)edge_cell_age_ms(word, now_ms) * 1000000 / (double)tau_ns;
    return age <= 2.0 ? exp(-age) : 0.0;
}
/* The part of a penalty that is left. It is not cut off after two time constants, because new samples keep it in ewma. */
static inline double edge_penalty_left(uint64_t word, uint64_t now_ms) {
    if (word == 0) return 0.0;
    return edge_cell_ms(word) * exp(-(double)edge_cell_age_ms(word, now_ms) * 1000000 / (double)EDGE_EWMA_TAU_NS);
}
/* The part of an ewma cell's current value that is penalty and not measurement. */
static inline double edge_penalty_in(uint64_t ewma, uint64_t penalty, uint64_t now_ms) {
    double cost = ewma ? edge_cell_ms(ewma) * edge_cell_weight(ewma, now_ms, EDGE_EWMA_TAU_NS) : 0.0;
    double left = edge_penalty_left(penalty, now_ms);
    return left < cost ? left : cost;
}
#endif
