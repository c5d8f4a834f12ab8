/*
 * GUIDs as text.
 */

#include "entra_guid.h"
#include "guard.h"


#define TEXT(text)  ENTRA_STR_INIT(text)


static const struct {
    const char   *name;
    entra_str_t   text;
    const char   *same_as;              /* NULL: not a GUID */
} rows[] = {
    { "lower case", TEXT("0123abcd-4567-89ef-0123-456789abcdef"),
      "0123abcd-4567-89ef-0123-456789abcdef" },
    { "upper case", TEXT("0123ABCD-4567-89EF-0123-456789ABCDEF"),
      "0123abcd-4567-89ef-0123-456789abcdef" },
    { "mixed case", TEXT("0123aBcD-4567-89Ef-0123-456789AbCdEf"),
      "0123abcd-4567-89ef-0123-456789abcdef" },
    { "all zero", TEXT("00000000-0000-0000-0000-000000000000"),
      "00000000-0000-0000-0000-000000000000" },
    { "all ones", TEXT("ffffffff-ffff-ffff-ffff-ffffffffffff"),
      "ffffffff-ffff-ffff-ffff-ffffffffffff" },
    { "empty", TEXT(""), NULL },
    { "one short", TEXT("0123abcd-4567-89ef-0123-456789abcde"), NULL },
    { "one long", TEXT("0123abcd-4567-89ef-0123-456789abcdef0"),
      NULL },
    { "a NUL behind", TEXT("0123abcd-4567-89ef-0123-456789abcdef\0"),
      NULL },
    { "a NUL inside", TEXT("0123abcd-4567-89ef-0123-456789abcd\0f"),
      NULL },
    { "a blank in front", TEXT(" 0123abcd-4567-89ef-0123-456789abcdef"),
      NULL },
    { "a blank for its last digit",
      TEXT("0123abcd-4567-89ef-0123-456789abcde "), NULL },
    { "a line feed behind",
      TEXT("0123abcd-4567-89ef-0123-456789abcdef\n"), NULL },
    { "braces", TEXT("{0123abcd-4567-89ef-0123-456789abcdef}"), NULL },
    { "urn:uuid:",
      TEXT("urn:uuid:0123abcd-4567-89ef-0123-456789abcdef"), NULL },
    { "no dashes", TEXT("0123abcd456789ef0123456789abcdef"), NULL },
    { "digits for dashes",
      TEXT("0123abcd04567089ef001230456789abcdef"), NULL },
    { "dashes for digits",
      TEXT("0123abcd-4567-89ef-0123-456789abc-ef"), NULL },
    { "dashes elsewhere",
      TEXT("0123abc-d4567-89ef-0123-456789abcdef"), NULL },
    { "underscores for dashes",
      TEXT("0123abcd_4567_89ef_0123_456789abcdef"), NULL },
    { "a letter past f", TEXT("g123abcd-4567-89ef-0123-456789abcdef"),
      NULL },
    { "a sign", TEXT("+123abcd-4567-89ef-0123-456789abcdef"), NULL },
    { "0x", TEXT("0x23abcd-4567-89ef-0123-456789abcdef"), NULL },
    { "a fullwidth digit",
      TEXT("\xef\xbc\x90" "23abcd-456-89ef-0123-456789abcdef"), NULL },
    { "bytes over 127",
      TEXT("\xc3\xa1" "23abcd-4567-89ef-0123-456789abcdef"), NULL },
};


static void
test_parse(void)
{
    bool          parsed, ok;
    char          text[ENTRA_GUID_LEN + 1];
    size_t        i;
    entra_guid_t  guid;

    for (i = 0; i < tap_count(rows); i++) {
        parsed = entra_guid_parse(guard(rows[i].text), &guid);

        if (rows[i].same_as == NULL) {
            tap_ok(!parsed, "%s: refused", rows[i].name);
            continue;
        }

        text[ENTRA_GUID_LEN] = 'x';
        ok = parsed && entra_guid_write(&guid, text) == text + ENTRA_GUID_LEN
             && text[ENTRA_GUID_LEN] == 'x'
             && memcmp(text, rows[i].same_as, ENTRA_GUID_LEN) == 0;

        tap_ok(ok, "%s: read, and written in lower case", rows[i].name);
    }
}


/* what is read comes out as it was typed, if its mask is asked for */

static void
test_typed(void)
{
    char          text[ENTRA_GUID_LEN];
    size_t        i, n, same;
    entra_guid_t  guid;

    n = 0;
    same = 0;

    for (i = 0; i < tap_count(rows); i++) {

        if (rows[i].same_as == NULL
            || !entra_guid_parse(rows[i].text, &guid))
        {
            continue;
        }

        (void) entra_guid_write_typed(&guid, entra_guid_upper(rows[i].text),
                                      text);
        n++;
        same += memcmp(text, rows[i].text.data, ENTRA_GUID_LEN) == 0;
    }

    tap_ok(n > 3, "GUIDs are typed");
    tap_is_size(same, n, "each is written as it was typed");

    tap_is_size(entra_guid_upper(entra_lit("A000000B-0000-0000-0000-"
                                           "00000000000F")),
                0x80000081, "bits are hex digits from the left");
}


/* of 256 bytes in each of 36 places, hex digits and dashes pass */

/* what is packed is what comes out, or it is not packed at all */

static void
test_packed(void)
{
    size_t        i, bit, good, tries;
    uint32_t      upper;
    uint8_t       packed[ENTRA_GUID_PACKED];
    entra_guid_t  guid;

    static const struct {
        entra_str_t  text;
        bool         packs;
        const char  *name;
    } typed[] = {
        { ENTRA_STR_INIT("00000000-0000-0000-0000-000000000000"), true,
          "no letters" },
        { ENTRA_STR_INIT("abcdefab-cdef-abcd-efab-cdefabcdefab"), true,
          "letters only, all lower" },
        { ENTRA_STR_INIT("1B1B1111-2222-3333-4444-5555555555C1"), true,
          "all upper" },
        { ENTRA_STR_INIT("A000000B-0000-0000-0000-00000000000F"), true,
          "the first digit and the last" },
        { ENTRA_STR_INIT("ABCDEFAB-CDEF-ABCD-EFAB-CDEFabcdefab"), true,
          "upper up to the 24th letter" },
        { ENTRA_STR_INIT("abcdefab-cdef-abcd-efab-cdeFabcdefab"), true,
          "the 24th alone" },
        { ENTRA_STR_INIT("abcdefab-cdef-abcd-efab-cdefAbcdefab"), false,
          "the 25th" },
        { ENTRA_STR_INIT("ABCDEFAB-CDEF-ABCD-EFAB-CDEFABCDEFAB"), false,
          "upper, letters only" },
        { ENTRA_STR_INIT("abcdefab-cdef-4bcd-8fab-cdefAbcdefab"), true,
          "digits do not count" },
    };

    for (i = 0; i < tap_count(typed); i++) {
        (void) entra_guid_parse(typed[i].text, &guid);
        upper = entra_guid_upper(typed[i].text);

        tap_ok(entra_guid_pack(&guid, upper, packed) == typed[i].packs
               && entra_guid_packs(&guid, upper) == typed[i].packs
               && (!typed[i].packs
                   || entra_guid_unpack(&guid, packed) == upper),
               "packed: %s", typed[i].name);
    }

    good = 0;
    tries = 0;

    for (i = 0; i < tap_count(rows); i++) {

        if (rows[i].same_as == NULL
            || !entra_guid_parse(rows[i].text, &guid))
        {
            continue;
        }

        for (bit = 0; bit < 32; bit++) {
            upper = entra_guid_upper(rows[i].text) & ~(1u << bit);
            tries++;
            good += entra_guid_pack(&guid, upper, packed)
                    && entra_guid_unpack(&guid, packed) == upper;
        }
    }

    tap_is_size(good, tries, "packed: every spelling of the others");

    memset(&guid, 0xff, sizeof(guid));
    memset(packed, 0xff, sizeof(packed));
    tap_ok(entra_guid_unpack(&guid, packed) == 0x00ffffff,
           "unpacked: 24 bits of letters");

    memset(&guid, 0, sizeof(guid));
    tap_ok(entra_guid_unpack(&guid, packed) == 0,
           "unpacked: no letter, whatever the bits");
}


static void
test_every_byte_in_every_place(void)
{
    char          text[] = "0123abcd-4567-89ef-0123-456789abcdef";
    char          kept;
    size_t        i, passed;
    unsigned      c;
    entra_guid_t  guid;

    passed = 0;

    for (i = 0; i < ENTRA_GUID_LEN; i++) {
        kept = text[i];

        for (c = 0; c < 256; c++) {
            text[i] = (char) c;
            passed += entra_guid_parse((entra_str_t) { text, ENTRA_GUID_LEN },
                                       &guid);
        }

        text[i] = kept;
    }

    tap_is_size(passed, 32 * 22 + 4,
                "22 characters for digits, one for dashes");
}


static void
test_bytes(void)
{
    size_t        i;
    entra_guid_t  guid;

    static const uint8_t  bytes[16] = {
        0x01, 0x23, 0xab, 0xcd, 0x45, 0x67, 0x89, 0xef,
        0x02, 0x13, 0x46, 0x57, 0x8a, 0x9b, 0xce, 0xdf
    };

    memset(&guid, 0, sizeof(guid));

    (void) entra_guid_parse(entra_lit("0123abcd-4567-89ef-0213-46578a9bcedf"),
                            &guid);

    for (i = 0; i < 16 && guid.bytes[i] == bytes[i]; i++) { /* void */ }

    tap_is_size(i, 16, "bytes in the order of the text");
    tap_ok(!entra_guid_parse(ENTRA_STR_NONE, &guid), "no text at all: refused");
}


int
main(void)
{
    test_parse();
    test_typed();
    test_packed();
    test_every_byte_in_every_place();
    test_bytes();

    return tap_done();
}
