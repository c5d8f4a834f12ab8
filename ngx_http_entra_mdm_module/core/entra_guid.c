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


uint32_t
entra_guid_upper(entra_str_t text)
{
    char      c;
    size_t    i;
    uint32_t  bit, upper;

    bit = 1;
    upper = 0;

    for (i = 0; i < ENTRA_GUID_LEN; i++) {

        if (entra_guid_dash(i)) {
            continue;
        }

        c = text.data[i];

        if (c >= 'A' && c <= 'F') {
            upper |= bit;
        }

        bit <<= 1;
    }

    return upper;
}


char *
entra_guid_write(const entra_guid_t *guid, char *out)
{
    return entra_guid_write_typed(guid, 0, out);
}


char *
entra_guid_write_typed(const entra_guid_t *guid, uint32_t upper, char *out)
{
    size_t    i;
    unsigned  digit;

    static const char  lower_hex[] = "0123456789abcdef";
    static const char  upper_hex[] = "0123456789ABCDEF";

    for (i = 0; i < 32; i++) {
        if (i == 8 || i == 12 || i == 16 || i == 20) {
            *out++ = '-';
        }

        digit = guid->bytes[i / 2];
        digit = (i & 1) ? digit & 0xf : digit >> 4;

        *out++ = (char) ((upper >> i & 1) ? upper_hex[digit]
                                          : lower_hex[digit]);
    }

    return out;
}
