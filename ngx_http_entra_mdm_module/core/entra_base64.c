/*
 * Strict base64: one loop for both alphabets.
 */

#include "entra_base64.h"


#define BAD  0xff


static uint8_t
entra_base64_value(char c, char c62, char c63)
{
    if (c >= 'A' && c <= 'Z') {
        return (uint8_t) (c - 'A');
    }

    if (c >= 'a' && c <= 'z') {
        return (uint8_t) (c - 'a' + 26);
    }

    if (c >= '0' && c <= '9') {
        return (uint8_t) (c - '0' + 52);
    }

    return c == c62 ? 62 : c == c63 ? 63 : BAD;
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
    uint8_t   v;
    unsigned  n, padding;
    uint32_t  bits;

    len = 0;
    n = 0;
    padding = 0;
    bits = 0;

    for (i = 0; i < in.len; i++) {
        c = in.data[i];

        if (!url && (c == '\r' || c == '\n')) {
            continue;
        }

        if (!url && c == '=') {
            padding++;
            continue;
        }

        v = url ? entra_base64_value(c, '-', '_')
                : entra_base64_value(c, '+', '/');

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
