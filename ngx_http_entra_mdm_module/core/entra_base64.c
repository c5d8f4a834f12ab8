/*
 * Strict base64: one loop for both alphabets.
 */

#include "entra_base64.h"


#define BAD       0xff

/* the alphabets a character belongs to, above its value */
#define URL       0x40
#define STANDARD  0x80

/* false alarm (macro-parentheses): a designator takes none */
#define BOTH(c, value)  [c] = URL|STANDARD|(value)


static const uint8_t  entra_base64_table[256] = {
    BOTH('A', 0), BOTH('B', 1), BOTH('C', 2), BOTH('D', 3),
    BOTH('E', 4), BOTH('F', 5), BOTH('G', 6), BOTH('H', 7),
    BOTH('I', 8), BOTH('J', 9), BOTH('K', 10), BOTH('L', 11),
    BOTH('M', 12), BOTH('N', 13), BOTH('O', 14), BOTH('P', 15),
    BOTH('Q', 16), BOTH('R', 17), BOTH('S', 18), BOTH('T', 19),
    BOTH('U', 20), BOTH('V', 21), BOTH('W', 22), BOTH('X', 23),
    BOTH('Y', 24), BOTH('Z', 25), BOTH('a', 26), BOTH('b', 27),
    BOTH('c', 28), BOTH('d', 29), BOTH('e', 30), BOTH('f', 31),
    BOTH('g', 32), BOTH('h', 33), BOTH('i', 34), BOTH('j', 35),
    BOTH('k', 36), BOTH('l', 37), BOTH('m', 38), BOTH('n', 39),
    BOTH('o', 40), BOTH('p', 41), BOTH('q', 42), BOTH('r', 43),
    BOTH('s', 44), BOTH('t', 45), BOTH('u', 46), BOTH('v', 47),
    BOTH('w', 48), BOTH('x', 49), BOTH('y', 50), BOTH('z', 51),
    BOTH('0', 52), BOTH('1', 53), BOTH('2', 54), BOTH('3', 55),
    BOTH('4', 56), BOTH('5', 57), BOTH('6', 58), BOTH('7', 59),
    BOTH('8', 60), BOTH('9', 61),
    ['-'] = URL|62,
    ['_'] = URL|63,
    ['+'] = STANDARD|62,
    ['/'] = STANDARD|63,
};


static uint8_t
entra_base64_entry(char c)
{
    return entra_base64_table[(unsigned char) c];
}


static uint8_t
entra_base64_value(char c, uint8_t alphabet)
{
    uint8_t  entry;

    entry = entra_base64_entry(c);

    return entry & alphabet ? entry & 0x3f : BAD;
}


/*
 * Groups of four characters of the alphabet, as many as there are: nearly all
 * of a token.  Returns how many characters they were.
 */

static size_t
entra_base64_groups(entra_str_t in, uint8_t alphabet, char *out, size_t *len)
{
    size_t    i;
    uint8_t   a, b, c, d;
    uint32_t  bits;

    for (i = 0; in.len - i >= 4; i += 4) {
        a = entra_base64_entry(in.data[i]);
        b = entra_base64_entry(in.data[i + 1]);
        c = entra_base64_entry(in.data[i + 2]);
        d = entra_base64_entry(in.data[i + 3]);

        if (!(a & b & c & d & alphabet)) {
            break;
        }

        bits = (a & 0x3fu) << 18 | (b & 0x3fu) << 12 | (c & 0x3fu) << 6
               | (d & 0x3fu);

        out[(*len)++] = (char) (bits >> 16);
        out[(*len)++] = (char) (bits >> 8);
        out[(*len)++] = (char) bits;
    }

    return i;
}


/*
 * Writes the whole bytes of the characters seen; true if what is left over
 * of the last character is zero and no lone character remains.
 */

static bool
entra_base64_tail(uint32_t bits, unsigned n, char *out, size_t *len)
{
    switch (n) {

    case 0:
        return true;

    case 2:
        out[(*len)++] = (char) (bits >> 4);
        return (bits & 0xf) == 0;

    case 3:
        out[(*len)++] = (char) (bits >> 10);
        out[(*len)++] = (char) (bits >> 2);
        return (bits & 0x3) == 0;

    default:
        return false;
    }
}


/* the standard form has padding, and may have line breaks anywhere */

static bool
entra_base64_run(entra_str_t in, bool url, char *out, size_t *out_len)
{
    char      c;
    size_t    i, len;
    uint8_t   v, alphabet;
    unsigned  n, padding;
    uint32_t  bits;

    len = 0;
    n = 0;
    padding = 0;
    bits = 0;
    alphabet = url ? URL : STANDARD;

    for (i = 0; i < in.len; i++) {

        if (n == 0 && !padding) {
            i += entra_base64_groups(entra_str_from(in, i), alphabet, out,
                                     &len);

            if (i == in.len) {
                break;
            }
        }

        c = in.data[i];

        if (!url && (c == '\r' || c == '\n')) {
            continue;
        }

        if (!url && c == '=') {
            padding++;
            continue;
        }

        v = entra_base64_value(c, alphabet);

        if (v == BAD || padding) {
            return false;
        }

        bits = bits << 6 | v;

        if (++n == 4) {
            out[len++] = (char) (bits >> 16);
            out[len++] = (char) (bits >> 8);
            out[len++] = (char) bits;
            bits = 0;
            n = 0;
        }
    }

    /* the last group is filled up to four, and to no more */

    if ((!url && padding != (4 - n) % 4)
        || !entra_base64_tail(bits, n, out, &len))
    {
        return false;
    }

    *out_len = len;

    return true;
}


bool
entra_base64url_decode(entra_str_t in, char *out, size_t *out_len)
{
    return entra_base64_run(in, true, out, out_len);
}


bool
entra_base64_decode(entra_str_t in, char *out, size_t *out_len)
{
    return entra_base64_run(in, false, out, out_len);
}
