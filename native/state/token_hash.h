/* Computes a keyed hash of a token: NH (Black et al., UMAC, CRYPTO 1999) over words of 64 bits, as VMAC uses it, twice with
 * a shifted key (Toeplitz), and the length. Who does not know the key finds two tokens with one hash with a probability
 * of 2^-128 for each pair. It takes a tenth of the instructions of SHA-256 in plain C; the key must stay secret, and so
 * must the hashes. tests/native/test_token_hash.py compares it with the definition. */
#ifndef EDGE_TOKEN_HASH_H
#define EDGE_TOKEN_HASH_H
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define EDGE_TOKEN_HASH_SIZE 40

/* ``key``: as many words as ``size`` bytes fill, rounded up to pairs, and two more. */
static void edge_token_hash(const void *data, size_t size, const uint64_t *key, unsigned char *out) {
    const unsigned char *p = data;
    unsigned __int128 first = 0, second = 0;
    uint64_t length = size, m[2];
    while (size) {
        if (size >= 16) {
            memcpy(m, p, 16);
            p += 16;
            size -= 16;
        } else {
            m[0] = m[1] = 0;
            memcpy(m, p, size);
            size = 0;
        }
        first += (unsigned __int128)(m[0] + key[0]) * (m[1] + key[1]);
        second += (unsigned __int128)(m[0] + key[2]) * (m[1] + key[3]);
        key += 2;
    }
    memcpy(out, &first, 16);
    memcpy(out + 16, &second, 16);
    memcpy(out + 32, &length, 8);
}

/* Whether two hashes are the same; it takes as long in either case. */
static int edge_token_hash_same(const unsigned char *one, const unsigned char *other) {
    uint64_t a, b, differ = 0;
    for (int i = 0; i < EDGE_TOKEN_HASH_SIZE; i += 8) {
        memcpy(&a, one + i, 8);
        memcpy(&b, other + i, 8);
        differ |= a ^ b;
    }
    return differ == 0;
}
#endif
