"""Declares the records of the shared block and their words; shared_state.h describes them."""

from libc.stdint cimport uint32_t, uint64_t

cdef extern from "native/state/shared_state.h" nogil:
    const uint64_t EDGE_STATE_MAGIC
    const uint32_t EDGE_STATE_LAYOUT
    const int EDGE_MAX_WORKERS
    const int EDGE_WINDOW_BUCKETS
    const int EDGE_HIST_BUCKETS
    const int EDGE_TARGET_COUNTERS
    const int EDGE_ROUTE_COUNTERS
    const int EDGE_WORKER_COUNTERS
    const int EDGE_ALLOWANCE_COUNTERS
    const int EDGE_LATENCY_BUCKETS
    const int EDGE_PRIORITIES
    const int EDGE_DECLINED
    const int EDGE_CAPABILITIES
    const int EDGE_USES
    const int EDGE_MEMBERS
    const int EDGE_USE_COUNTERS
    const uint64_t EDGE_EWMA_TAU_NS
    ctypedef struct SharedStateHeader "edge_state_header":
        uint64_t magic
        uint32_t layout, target_capacity, route_capacity, worker_capacity
        uint64_t created_ns
        uint32_t allowance_capacity, reserved_allowances
        uint64_t pin_buckets
    ctypedef struct CircuitRec "edge_circuit_rec":
        uint64_t circuit, opened_ns, trial_ns
        uint32_t consecutive, opens, trip_reason, late_in_a_row
        uint64_t remote, hint_ns
        uint64_t keys_epoch, keys_active, keys_failing, keys_before, keys_active_before
        uint64_t trips, trials, slowed
        uint64_t[10] window
        uint64_t[10] slow
        uint64_t doubted_ns, others_ns, body, failures
    ctypedef struct UseRec "edge_use_rec":
        uint64_t[16] count
        uint64_t[24] first_hist
        uint64_t[24] total_hist
        uint64_t prompt_tokens, output_tokens, cost_nano
    ctypedef struct TargetRec "edge_target_rec":
        CircuitRec own
        uint64_t quarantined_until_ns, rate_limited_until_ns, manual
        uint32_t quarantine_reason
        uint64_t doubted
        uint64_t[2] ewma
        uint64_t[2] baseline
        uint64_t[2] measured
        uint64_t[32] count
        uint64_t first_sum_us, total_sum_us
        uint64_t[2] penalty
        uint64_t[4] declined_at
        uint64_t[4] declined_as
        uint64_t limit, limit_floor, limit_sum_us, limit_count, spill, limit_seen, limit_slow, refusals
        uint64_t limit_binding, limit_best, limit_firsts, limit_fallen
        uint64_t allowance
        uint64_t[2] highest
        uint32_t[2][64] latency_count
        uint32_t[2] latency_samples
        uint32_t[2] latency_p99_ms
        CircuitRec[9] capability
        UseRec[10] uses
        uint64_t upstream_load
        uint32_t[64] inflight
        uint32_t[3][64] inflight_by_priority
    ctypedef struct RouteRec "edge_route_rec":
        uint64_t budget, hedges
        uint64_t[48] count
        uint64_t first_sum_us, total_sum_us
        uint64_t[24] queue_hist
        uint64_t queue_sum_us, overhead_sum_ns, overhead_count
        uint64_t[24] output_hist
        uint64_t[64] answered
        UseRec[10] uses
        uint32_t[64] inflight
        uint32_t[64] waiting
    ctypedef struct AllowanceRec "edge_allowance_rec":
        uint64_t requests_tat, tokens_tat, requests_share, tokens_share, spent_month, spent_nano
        uint64_t share_until_ns, share_nodes, concurrent_share, ceiling_month, ceiling_nano
        uint64_t[16] count
        uint32_t[64] inflight
        uint64_t[64] held_tokens
        uint64_t[64] held_nano
    ctypedef struct WorkerRec "edge_worker_rec":
        uint64_t pid, started_ns, heartbeat_ns
        uint64_t[32] count
    # functions that pack and unpack words
    ctypedef struct WindowSum "edge_window_counts":
        uint64_t total, failed, slow
    const uint32_t EDGE_CIRCUIT_GENERATION_MASK
    const uint32_t EDGE_BUCKET_STAMP_MASK
    const uint32_t EDGE_BUCKET_COUNT_MASK
    int edge_circuit_state(uint64_t word)
    uint32_t edge_circuit_generation(uint64_t word)
    uint64_t edge_circuit_until_ms(uint64_t word)
    uint64_t edge_circuit(int state, uint32_t generation, uint64_t until_ms)
    uint32_t edge_stamp_of(uint64_t second)
    uint32_t edge_bucket_stamp(uint64_t word)
    uint32_t edge_bucket_first(uint64_t word)
    uint32_t edge_bucket_second(uint64_t word)
    uint64_t edge_bucket(uint64_t second, uint32_t first_count, uint32_t second_count)
    WindowSum edge_window_sum(CircuitRec* rec, uint64_t now_s, int seconds)
    uint64_t edge_remote(uint32_t thousandths, uint32_t failure_threshold, uint64_t now_ms)
    double edge_remote_weight(uint64_t word, uint64_t now_ms)   # 0..1; 1.0 = no report, or a stale one
    uint32_t edge_remote_failure_threshold(uint64_t word, uint64_t now_ms)   # to open; 0 = as in the policy
    uint64_t edge_upstream_load(uint32_t waiting, uint32_t cache, uint64_t now_ms)
    int edge_load_waiting(uint64_t word, uint64_t now_ms)   # 0 = unknown
    int edge_load_cache(uint64_t word, uint64_t now_ms)
    uint64_t edge_share(AllowanceRec* rec, uint64_t* word, uint64_t whole, uint64_t now_ns)
    uint64_t edge_concurrent(AllowanceRec* rec, uint64_t whole, uint64_t now_ns)
    uint64_t edge_ceiling(AllowanceRec* rec, uint64_t budget, uint64_t month)
    int edge_use_of(uint64_t needs)
    uint64_t edge_answered(TargetRec* rec)
    float edge_cell_ms(uint64_t word)
    uint64_t edge_cell(float ms, uint64_t now_ms)
    uint32_t edge_cell_age_ms(uint64_t word, uint64_t now_ms)
    double edge_cell_weight(uint64_t word, uint64_t now_ms, uint64_t tau_ns)
    bint edge_limit_is_old(uint64_t word, uint64_t now_ms)
    double edge_limit(uint64_t word, uint64_t now_ms, uint32_t inflight)
    double edge_penalty_left(uint64_t word, uint64_t now_ms)
    double edge_penalty_in(uint64_t ewma, uint64_t penalty, uint64_t now_ms)
