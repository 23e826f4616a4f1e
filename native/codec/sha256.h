/* Computes SHA-256 (FIPS 180-4) of short inputs without Python objects: once per request, and a key fits in one block.
 * There is a version in plain C, and one with the processor's SHA instructions that takes an eighth of the time.
 * tests/native/test_allowance.py checks both against NIST's vectors and hashlib. */
#ifndef EDGE_SHA256_H
#define EDGE_SHA256_H
#include <stddef.h>
#include <stdint.h>
#include <string.h>

static const uint32_t edge_sha_k[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5, 0xd807aa98, 0x12835b01,
    0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc,
    0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da, 0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147,
    0x06ca6351, 0x14292967, 0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070, 0x19a4c116, 0x1e376c08,
    0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3, 0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208,
    0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

#define EDGE_ROR(x, n) ((x) >> (n) | (x) << (32 - (n)))

/* One round. Instead of rotating the eight words, each round names them in rotated order. */
#define EDGE_SHA_ROUND(a, b, c, d, e, f, g, h, i) do { \
    uint32_t t = (h) + (EDGE_ROR(e, 6) ^ EDGE_ROR(e, 11) ^ EDGE_ROR(e, 25)) + ((g) ^ ((e) & ((f) ^ (g)))) + edge_sha_k[i] + w[i]; \
    (d) += t; \
    (h) = t + (EDGE_ROR(a, 2) ^ EDGE_ROR(a, 13) ^ EDGE_ROR(a, 22)) + (((a) & (b)) | ((c) & ((a) | (b)))); \
} while (0)

static void edge_sha_block(uint32_t state[8], const unsigned char *p) {
    uint32_t w[64];
    uint32_t a = state[0], b = state[1], c = state[2], d = state[3], e = state[4], f = state[5], g = state[6], h = state[7];
    for (int i = 0; i < 16; i++)
        w[i] = (uint32_t)p[4 * i] << 24 | (uint32_t)p[4 * i + 1] << 16 | (uint32_t)p[4 * i + 2] << 8 | p[4 * i + 3];
    for (int i = 16; i < 64; i++) {
        uint32_t x = w[i - 15], y = w[i - 2];
        w[i] = w[i - 16] + (EDGE_ROR(x, 7) ^ EDGE_ROR(x, 18) ^ x >> 3) + w[i - 7] + (EDGE_ROR(y, 17) ^ EDGE_ROR(y, 19) ^ y >> 10);
    }
    for (int i = 0; i < 64; i += 8) {
        EDGE_SHA_ROUND(a, b, c, d, e, f, g, h, i);
        EDGE_SHA_ROUND(h, a, b, c, d, e, f, g, i + 1);
        EDGE_SHA_ROUND(g, h, a, b, c, d, e, f, i + 2);
        EDGE_SHA_ROUND(f, g, h, a, b, c, d, e, i + 3);
        EDGE_SHA_ROUND(e, f, g, h, a, b, c, d, i + 4);
        EDGE_SHA_ROUND(d, e, f, g, h, a, b, c, i + 5);
        EDGE_SHA_ROUND(c, d, e, f, g, h, a, b, i + 6);
        EDGE_SHA_ROUND(b, c, d, e, f, g, h, a, i + 7);
    }
    state[0] += a; state[1] += b; state[2] += c; state[3] += d;
    state[4] += e; state[5] += f; state[6] += g; state[7] += h;
}

typedef void (*edge_sha_blocks)(uint32_t state[8], const unsigned char *p);

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>

/* The same with the SHA extensions: two rounds per instruction, on the words a b e f and c d g h. Source: Intel SDM
 * volume 2, SHA256RNDS2, SHA256MSG1 and SHA256MSG2. */
__attribute__((target("sha,sse4.1"))) static void edge_sha_block_ni(uint32_t state[8], const unsigned char *p) {
    const __m128i order = _mm_set_epi64x(0x0c0d0e0f08090a0bLL, 0x0405060700010203LL);
    __m128i w[4], t = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)state), 0xb1);
    __m128i cdgh = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)(state + 4)), 0x1b);
    __m128i abef = _mm_alignr_epi8(t, cdgh, 8), abef_before = abef, cdgh_before;
    cdgh = cdgh_before = _mm_blend_epi16(cdgh, t, 0xf0);
    for (int i = 0; i < 4; i++) w[i] = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(p + 16 * i)), order);
    #pragma GCC unroll 16
    for (int i = 0; i < 16; i++) {
        __m128i now = w[i & 3], last = w[(i + 3) & 3];
        t = _mm_add_epi32(now, _mm_loadu_si128((const __m128i *)(edge_sha_k + 4 * i)));
        cdgh = _mm_sha256rnds2_epu32(cdgh, abef, t);
        abef = _mm_sha256rnds2_epu32(abef, cdgh, _mm_shuffle_epi32(t, 0x0e));
        if (i < 12) {
            t = _mm_add_epi32(_mm_sha256msg1_epu32(now, w[(i + 1) & 3]), _mm_alignr_epi8(last, w[(i + 2) & 3], 4));
            w[i & 3] = _mm_sha256msg2_epu32(t, last);
        }
    }
    t = _mm_shuffle_epi32(_mm_add_epi32(abef, abef_before), 0x1b);
    cdgh = _mm_shuffle_epi32(_mm_add_epi32(cdgh, cdgh_before), 0xb1);
    _mm_storeu_si128((__m128i *)state, _mm_blend_epi16(t, cdgh, 0xf0));
    _mm_storeu_si128((__m128i *)(state + 4), _mm_alignr_epi8(cdgh, t, 8));
}

static edge_sha_blocks edge_sha_best(void) {
    unsigned a, b, c, d;
    int sse = __get_cpuid(1, &a, &b, &c, &d) && c >> 19 & 1 && c >> 9 & 1;   /* SSE4.1, SSSE3 */
    int sha = __get_cpuid_count(7, 0, &a, &b, &c, &d) && b >> 29 & 1;
    return sse && sha ? edge_sha_block_ni : edge_sha_block;
}
#else
static edge_sha_blocks edge_sha_best(void) { return edge_sha_block; }
#endif

static void edge_sha256_by(edge_sha_blocks block, const void *data, size_t size, unsigned char out[32]) {
    uint32_t state[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    const unsigned char *p = (const unsigned char *)data;
    unsigned char last[128];
    size_t left = size, used;
    for (; left >= 64; left -= 64, p += 64) block(state, p);
    used = left < 56 ? 64 : 128;
    memset(last, 0, sizeof last);
    memcpy(last, p, left);
    last[left] = 0x80;
    for (int i = 0; i < 8; i++) last[used - 1 - i] = (unsigned char)((uint64_t)size * 8 >> 8 * i);
    for (size_t at = 0; at < used; at += 64) block(state, last + at);
    for (int i = 0; i < 32; i++) out[i] = (unsigned char)(state[i / 4] >> (24 - 8 * (i % 4)));
    memset(last, 0, sizeof last);   /* it may hold a part of a key */
}

static void edge_sha256(const void *data, size_t size, unsigned char out[32]) {
    static edge_sha_blocks best;    /* detected once; threads that race find the same result */
    if (!best) best = edge_sha_best();
    edge_sha256_by(best, data, size, out);
}

static void edge_sha256_plain(const void *data, size_t size, unsigned char out[32]) {
    edge_sha256_by(edge_sha_block, data, size, out);
}
#endif
