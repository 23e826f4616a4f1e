/* Records which branches an execution takes: GCC calls __sanitizer_cov_trace_pc at each (-fsanitize-coverage=trace-pc).
 *
 * It is loaded before the sanitizer's library, which has a function of this name that does nothing. */
#include <stdint.h>

#define SLOTS 65536

int edge_recording;

static uint8_t hits[SLOTS];         /* how often one block was run behind another, by a hash of both */
static uint32_t touched[SLOTS];     /* the slots with hits */
static uint32_t touched_count;
static uintptr_t before;
static uint8_t seen[SLOTS];         /* the classes of counts that executions have reached */

void __sanitizer_cov_trace_pc(void)
{
    if (!edge_recording)
        return;
    uintptr_t mixed = (uintptr_t)__builtin_return_address(0) * 0x9E3779B97F4A7C15u >> 40;
    uint32_t slot = (uint32_t)(mixed ^ before) & (SLOTS - 1);
    before = mixed >> 1;
    if (hits[slot] == 0)
        touched[touched_count++] = slot;
    if (hits[slot] < 255)
        hits[slot]++;
}

/* 1, 2, 3, 4-7, 8-15, 16-31, 32-127, more: the classes of AFL. */
static uint8_t count_class(uint8_t count)
{
    if (count < 4)
        return (uint8_t)(1 << (count - 1));
    if (count < 16)
        return count < 8 ? 8 : 16;
    return count < 32 ? 32 : count < 128 ? 64 : 128;
}

/* How many slots have a class that none of the executions before had; the next execution begins. */
int edge_news(void)
{
    int found = 0;
    for (uint32_t i = 0; i < touched_count; i++) {
        uint8_t class = count_class(hits[touched[i]]);
        if (!(seen[touched[i]] & class)) {
            seen[touched[i]] |= class;
            found++;
        }
        hits[touched[i]] = 0;
    }
    touched_count = 0;
    before = 0;
    return found;
}

int edge_reached(void)
{
    int reached = 0;
    for (uint32_t slot = 0; slot < SLOTS; slot++)
        reached += seen[slot] != 0;
    return reached;
}
