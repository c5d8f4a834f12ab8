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


static unsigned
entra_guid_nibble(const entra_guid_t *guid, size_t i)
{
    unsigned  byte;

    byte = guid->bytes[i / 2];

    return (i & 1) ? byte & 0xf : byte >> 4;
}


bool
entra_guid_pack(const entra_guid_t *guid, uint32_t upper,
    uint8_t packed[ENTRA_GUID_PACKED])
{
    size_t  i, n;

    memset(packed, 0, ENTRA_GUID_PACKED);

    for (i = 0, n = 0; upper; i++, upper >>= 1) {

        if (entra_guid_nibble(guid, i) < 10) {
            continue;
        }

        if (upper & 1) {
            if (n >= 8 * ENTRA_GUID_PACKED) {
                return false;
            }

            packed[n / 8] |= (uint8_t) (1u << n % 8);
        }

        n++;
    }

    return true;
}


/* of letters, in the sixteen digits of half a GUID */

static unsigned
entra_guid_letters(const uint8_t *half)
{
    uint64_t  digits, letters;

    memcpy(&digits, half, sizeof(digits));

    /* from 10 on: 8 and 2, or 8 and 4 */

    letters = (digits >> 3) & ((digits >> 2) | (digits >> 1))
              & UINT64_C(0x1111111111111111);

    letters = (letters + (letters >> 4)) & UINT64_C(0x0303030303030303);

    return (unsigned) (letters * UINT64_C(0x0101010101010101) >> 56);
}


/* sets may be long: as a rule there is nothing to look for */

bool
entra_guid_packs(const entra_guid_t *guid, uint32_t upper)
{
    uint8_t  packed[ENTRA_GUID_PACKED];

    return upper == 0
           || entra_guid_letters(guid->bytes)
              + entra_guid_letters(guid->bytes + 8) <= 8 * ENTRA_GUID_PACKED
           || entra_guid_pack(guid, upper, packed);
}


uint32_t
entra_guid_unpack(const entra_guid_t *guid,
    const uint8_t packed[ENTRA_GUID_PACKED])
{
    size_t    i;
    uint32_t  letters, upper;

    letters = packed[0] | (uint32_t) packed[1] << 8
              | (uint32_t) packed[2] << 16;
    upper = 0;

    for (i = 0; letters && i < 32; i++) {

        if (entra_guid_nibble(guid, i) < 10) {
            continue;
        }

        upper |= (letters & 1) << i;
        letters >>= 1;
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

        digit = entra_guid_nibble(guid, i);

        *out++ = (char) ((upper >> i & 1) ? upper_hex[digit]
                                          : lower_hex[digit]);
    }

    return out;
}
