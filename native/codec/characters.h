/* The character classes of HTTP/1.1 as tables: one look-up per byte, whatever the class. */
#ifndef EDGE_CHARACTERS_H
#define EDGE_CHARACTERS_H

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
