/* The character classes of HTTP/1.1 as tables: one look-up per byte, whatever the class. */
#ifndef EDGE_CHARACTERS_H
#define EDGE_CHARACTERS_H

#include <stddef.h>
#include <sys/types.h>

/* RFC 9110 5.6.2: a character of a token, in lower case; 0 = no token has it. */
static const unsigned char edge_token[256] = {
    ['!'] = '!', ['#'] = '#', ['$'] = '$', ['%'] = '%', ['&'] = '&', ['\''] = '\'', ['*'] = '*', ['+'] = '+',
    ['-'] = '-', ['.'] = '.', ['^'] = '^', ['_'] = '_', ['`'] = '`', ['|'] = '|', ['~'] = '~', ['0'] = '0',
    ['1'] = '1', ['2'] = '2', ['3'] = '3', ['4'] = '4', ['5'] = '5', ['6'] = '6', ['7'] = '7', ['8'] = '8',
    ['9'] = '9', ['a'] = 'a', ['b'] = 'b', ['c'] = 'c', ['d'] = 'd', ['e'] = 'e', ['f'] = 'f', ['g'] = 'g',
    ['h'] = 'h', ['i'] = 'i', ['j'] = 'j', ['k'] = 'k', ['l'] = 'l', ['m'] = 'm', ['n'] = 'n', ['o'] = 'o',
    ['p'] = 'p', ['q'] = 'q', ['r'] = 'r', ['s'] = 's', ['t'] = 't', ['u'] = 'u', ['v'] = 'v', ['w'] = 'w',
    ['x'] = 'x', ['y'] = 'y', ['z'] = 'z', ['A'] = 'a', ['B'] = 'b', ['C'] = 'c', ['D'] = 'd', ['E'] = 'e',
    ['F'] = 'f', ['G'] = 'g', ['H'] = 'h', ['I'] = 'i', ['J'] = 'j', ['K'] = 'k', ['L'] = 'l', ['M'] = 'm',
    ['N'] = 'n', ['O'] = 'o', ['P'] = 'p', ['Q'] = 'q', ['R'] = 'r', ['S'] = 's', ['T'] = 't', ['U'] = 'u',
    ['V'] = 'v', ['W'] = 'w', ['X'] = 'x', ['Y'] = 'y', ['Z'] = 'z',
};

/* What else a character may stand in. */
#define EDGE_IN_VALUE 1     /* RFC 9110 5.5: HTAB, SP, VCHAR, obs-text */
#define EDGE_IN_TARGET 2    /* RFC 9112 3.2: visible ASCII without "#", which begins a fragment */
#define EDGE_IN_QUOTES 4    /* RFC 9110 5.6.4: qdtext, HTAB, SP, VCHAR and obs-text without the quote and backslash */

static const unsigned char edge_class[256] = {
    ['\t'] = EDGE_IN_VALUE | EDGE_IN_QUOTES,
    [' '] = EDGE_IN_VALUE | EDGE_IN_QUOTES,
    ['!'] = EDGE_IN_VALUE | EDGE_IN_TARGET | EDGE_IN_QUOTES,
    ['"'] = EDGE_IN_VALUE | EDGE_IN_TARGET,
    ['#'] = EDGE_IN_VALUE | EDGE_IN_QUOTES,
    ['$' ... '['] = EDGE_IN_VALUE | EDGE_IN_TARGET | EDGE_IN_QUOTES,
    ['\\'] = EDGE_IN_VALUE | EDGE_IN_TARGET,
    [']' ... '~'] = EDGE_IN_VALUE | EDGE_IN_TARGET | EDGE_IN_QUOTES,
    [0x80 ... 0xff] = EDGE_IN_VALUE | EDGE_IN_QUOTES,
};

#if defined(__SSE2__)
#include <emmintrin.h>

/* One bit per byte of the next sixteen that stands in no value: a control character but HTAB. */
static inline unsigned edge_no_value16(const unsigned char *p) {
    __m128i bytes = _mm_loadu_si128((const __m128i *)p);
    __m128i control = _mm_cmpeq_epi8(_mm_min_epu8(bytes, _mm_set1_epi8(0x1f)), bytes);
    control = _mm_andnot_si128(_mm_cmpeq_epi8(bytes, _mm_set1_epi8('\t')), control);
    return (unsigned)_mm_movemask_epi8(_mm_or_si128(control, _mm_cmpeq_epi8(bytes, _mm_set1_epi8(0x7f))));
}

/* One bit per byte of the next sixteen that is no letter, digit or hyphen. */
static inline unsigned edge_no_name16(const unsigned char *p) {
    __m128i bytes = _mm_loadu_si128((const __m128i *)p);
    __m128i letter = _mm_sub_epi8(_mm_or_si128(bytes, _mm_set1_epi8(0x20)), _mm_set1_epi8('a'));
    __m128i digit = _mm_sub_epi8(bytes, _mm_set1_epi8('0'));
    __m128i known = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('-'));
    known = _mm_or_si128(known, _mm_cmpeq_epi8(_mm_min_epu8(letter, _mm_set1_epi8(25)), letter));
    known = _mm_or_si128(known, _mm_cmpeq_epi8(_mm_min_epu8(digit, _mm_set1_epi8(9)), digit));
    return (unsigned)_mm_movemask_epi8(known) ^ 0xffff;
}
#endif

/* Return where the first byte stands at or after ``at`` that no value has, or the end. p is where the bytes begin that may
   be read: the last block overlaps what was seen before. */
static inline ssize_t edge_value_end(const unsigned char *p, ssize_t at, ssize_t end) {
#if defined(__SSE2__)
    unsigned found;
    while (end - at >= 16) {
        if ((found = edge_no_value16(p + at)))
            return at + __builtin_ctz(found);
        at += 16;
    }
    if (end >= 16 && at < end) {
        found = edge_no_value16(p + end - 16) >> (16 - (end - at));
        return found ? at + __builtin_ctz(found) : end;
    }
#endif
    while (at < end && edge_class[p[at]] & EDGE_IN_VALUE)
        at++;
    return at;
}

/* Return where the first byte stands at or after ``at`` that no token has, or the end. */
static inline ssize_t edge_name_end(const unsigned char *p, ssize_t at, ssize_t end) {
#if defined(__SSE2__)
    if (end - at >= 16) {
        unsigned found = edge_no_name16(p + at);
        at += found ? __builtin_ctz(found) : 16;
    }
#endif
    while (at < end && edge_token[p[at]])
        at++;
    return at;
}

/* Characters of a path that say nothing about its segments, and those of a host's name (RFC 3986 3.2.2, and "_"). */
#define EDGE_IN_PATH 1
#define EDGE_IN_HOST 2

static const unsigned char edge_place[256] = {
    ['!' ... '"'] = EDGE_IN_PATH,
    ['$'] = EDGE_IN_PATH,
    ['&' ... ','] = EDGE_IN_PATH,
    ['-' ... '.'] = EDGE_IN_PATH | EDGE_IN_HOST,
    ['0' ... '9'] = EDGE_IN_PATH | EDGE_IN_HOST,
    [':'] = EDGE_IN_PATH,
    ['<' ... '@'] = EDGE_IN_PATH,
    ['A' ... 'Z'] = EDGE_IN_PATH | EDGE_IN_HOST,
    ['['] = EDGE_IN_PATH,
    [']' ... '^'] = EDGE_IN_PATH,
    ['_'] = EDGE_IN_PATH | EDGE_IN_HOST,
    ['`'] = EDGE_IN_PATH,
    ['a' ... 'z'] = EDGE_IN_PATH | EDGE_IN_HOST,
    ['{' ... '}'] = EDGE_IN_PATH,
    ['~'] = EDGE_IN_PATH | EDGE_IN_HOST,
    [0x80 ... 0xff] = EDGE_IN_PATH,
};

#endif
