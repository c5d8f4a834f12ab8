/*
 * GUID text to bytes and back.
 */

#include "entra_guid.h"


static bool
entra_guid_dash(size_t i)
{
    return i == 8 || i == 13 || i == 18 || i == 23;
}


static int
entra_guid_digit(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }

    c = entra_lower(c);

    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}


bool
entra_guid_parse(entra_str_t text, entra_guid_t *guid)
{
    int       digit;
    size_t    i, n;
    unsigned  byte;

    if (text.len != ENTRA_GUID_LEN) {
        return false;
    }

    n = 0;
    byte = 0;

    for (i = 0; i < ENTRA_GUID_LEN; i++) {

        if (entra_guid_dash(i)) {
            if (text.data[i] != '-') {
                return false;
            }

            continue;
        }

        digit = entra_guid_digit(text.data[i]);
        if (digit < 0) {
            return false;
        }

        byte = byte << 4 | (unsigned) digit;

        if (n++ & 1) {
            guid->bytes[n / 2 - 1] = (uint8_t) byte;
        }
    }

    return true;
}


char *
entra_guid_write(const entra_guid_t *guid, char *out)
{
    size_t  i;

    static const char  hex[] = "0123456789abcdef";

    for (i = 0; i < 16; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10) {
            *out++ = '-';
        }

        *out++ = hex[guid->bytes[i] >> 4];
        *out++ = hex[guid->bytes[i] & 0xf];
    }

    return out;
}
