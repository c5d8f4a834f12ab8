/*
 * Strict base64, both alphabets.
 */

#include "entra_base64.h"
#include "guard.h"


typedef bool (*decode_pt)(entra_str_t in, char *out, size_t *out_len);


typedef struct {
    const char   *name;
    entra_str_t   in;
    const char   *out;                  /* NULL: refused */
} row_t;


#define IN(text)  ENTRA_STR_INIT(text)


static const row_t  url_rows[] = {
    { "nothing is nothing", IN(""), "" },
    { "one byte", IN("Zg"), "f" },
    { "two bytes", IN("Zm8"), "fo" },
    { "three bytes", IN("Zm9v"), "foo" },
    { "four bytes", IN("Zm9vYg"), "foob" },
    { "five bytes", IN("Zm9vYmE"), "fooba" },
    { "six bytes", IN("Zm9vYmFy"), "foobar" },
    { "values 62 and 63", IN("--__"), "\xfb\xef\xff" },
    { "a lone character", IN("Z"), NULL },
    { "a lone character after a group", IN("Zm9vZ"), NULL },
    { "padding of one", IN("Zm8="), NULL },
    { "padding of two", IN("Zg=="), NULL },
    { "nothing but padding", IN("===="), NULL },
    { "stray bits after one byte", IN("Zh"), NULL },
    { "all stray bits after one byte", IN("Zv"), NULL },
    { "stray bits after two bytes", IN("Zm9"), NULL },
    { "all stray bits after two bytes", IN("Zm_"), NULL },
    { "the standard alphabet's plus", IN("Zm+v"), NULL },
    { "the standard alphabet's slash", IN("Zm/v"), NULL },
    { "a blank in front", IN(" Zm9v"), NULL },
    { "a blank behind", IN("Zm9v "), NULL },
    { "a line feed inside", IN("Zm\n9v"), NULL },
    { "a line feed behind", IN("Zm9v\n"), NULL },
    { "a carriage return behind", IN("Zm9v\r"), NULL },
    { "a tab", IN("Zm9v\t"), NULL },
    { "a NUL inside", IN("Zm\0" "9v"), NULL },
    { "a NUL behind", IN("Zm9v\0"), NULL },
    { "a dot", IN("Zm9v."), NULL },
    { "a percent escape", IN("Zm%39v"), NULL },
    { "a byte over 127", IN("Zm\xc3\xbc"), NULL },
    { "a fullwidth letter", IN("\xef\xbc\xba" "m9v"), NULL },
};


static const row_t  standard_rows[] = {
    { "nothing is nothing", IN(""), "" },
    { "one byte", IN("Zg=="), "f" },
    { "two bytes", IN("Zm8="), "fo" },
    { "three bytes", IN("Zm9v"), "foo" },
    { "six bytes", IN("Zm9vYmFy"), "foobar" },
    { "values 62 and 63", IN("++//"), "\xfb\xef\xff" },
    { "a line feed inside", IN("Zm\n9v"), "foo" },
    { "a carriage return inside", IN("Zm\r9v"), "foo" },
    { "CR LF in front, inside and behind", IN("\r\nZm\r\n9v\r\n"), "foo" },
    { "CR LF between padding", IN("Zg=\r\n=\r\n"), "f" },
    { "only CR and LF", IN("\r\n\r\n"), "" },
    { "one byte without padding", IN("Zg"), NULL },
    { "two bytes without padding", IN("Zm8"), NULL },
    { "one byte, half its padding", IN("Zg="), NULL },
    { "one byte, too much padding", IN("Zg==="), NULL },
    { "two bytes, too much padding", IN("Zm8=="), NULL },
    { "three bytes and padding", IN("Zm9v="), NULL },
    { "three bytes and a group of padding", IN("Zm9v===="), NULL },
    { "nothing but padding", IN("===="), NULL },
    { "padding in the middle", IN("Zg==Zg=="), NULL },
    { "padding in front", IN("=Zm9v"), NULL },
    { "a lone character, padded", IN("Z==="), NULL },
    { "stray bits after one byte", IN("Zh=="), NULL },
    { "stray bits after two bytes", IN("Zm9="), NULL },
    { "the URL alphabet's minus", IN("Zm-v"), NULL },
    { "the URL alphabet's underscore", IN("Zm_v"), NULL },
    { "a blank in front", IN(" Zm9v"), NULL },
    { "a blank behind", IN("Zm9v "), NULL },
    { "a tab inside", IN("Zm\t9v"), NULL },
    { "a vertical tab inside", IN("Zm\v9v"), NULL },
    { "a NUL inside", IN("Zm\0" "9v"), NULL },
    { "a NUL behind", IN("Zm9v\0"), NULL },
    { "next line (U+0085) inside", IN("Zm\xc2\x85" "9v"), NULL },
    { "a byte over 127", IN("Zm\xc3\xbc"), NULL },
};


/* the output is as long as the header promises, and no longer */

static bool
decode(decode_pt how, entra_str_t in, char **out, size_t *len)
{
    *out = malloc(ENTRA_BASE64_DECODED_MAX(in.len));
    if (*out == NULL) {
        tap_bail("out of memory");
    }

    *len = 12345;

    return how(guard(in), *out, len);
}


static void
table(const char *title, decode_pt how, const row_t *rows, size_t n)
{
    bool     ok, decoded;
    char    *out;
    size_t   i, len;

    for (i = 0; i < n; i++) {
        decoded = decode(how, rows[i].in, &out, &len);

        if (rows[i].out == NULL) {
            ok = !decoded;

        } else {
            ok = decoded && len == strlen(rows[i].out)
                 && memcmp(out, rows[i].out, len) == 0;
        }

        tap_ok(ok, "%s: %s: %s", title, rows[i].name,
               rows[i].out ? "decoded" : "refused");

        free(out);
    }
}


/* two texts never mean the same byte */

static void
test_each_text_decodes_to_its_own(void)
{
    bool      seen[256], ok;
    char      text[2], *out;
    size_t    len, found;
    unsigned  a, b;

    memset(seen, 0, sizeof(seen));
    ok = true;
    found = 0;

    for (a = 0; a < 256; a++) {
        for (b = 0; b < 256; b++) {
            text[0] = (char) a;
            text[1] = (char) b;

            if (decode(entra_base64url_decode, (entra_str_t) { text, 2 }, &out,
                       &len))
            {
                ok = ok && len == 1 && !seen[(unsigned char) out[0]];
                seen[(unsigned char) out[0]] = true;
                found++;
            }

            free(out);
        }
    }

    tap_ok(ok && found == 256, "two characters: 256 texts for 256 bytes");
}


static void
test_alphabets(void)
{
    char      text[4], *out;
    size_t    len, url, standard, both;
    unsigned  c;
    bool      u, s;

    url = standard = both = 0;

    for (c = 0; c < 256; c++) {
        memset(text, 'A', 4);
        text[1] = (char) c;

        u = decode(entra_base64url_decode, (entra_str_t) { text, 4 }, &out,
                   &len);
        free(out);

        s = decode(entra_base64_decode, (entra_str_t) { text, 4 }, &out, &len);
        free(out);

        url += u;
        standard += s;
        both += u && s;
    }

    tap_is_size(url, 64, "URL alphabet: 64 bytes and no other");
    tap_is_size(standard, 64, "standard alphabet: 64 bytes and no other");
    tap_is_size(both, 62, "the alphabets share 62 characters");
}


/* white space of any length costs no room */

static void
test_room(void)
{
    char     in[64], *out;
    size_t   n, len;
    bool     ok;

    ok = true;

    for (n = 0; n < sizeof(in); n++) {
        ok = ok && decode(entra_base64url_decode,
                          (entra_str_t) { memset(in, 'A', n), n }, &out, &len)
                   == (n % 4 != 1);
        free(out);

        memset(in, '\n', n);
        ok = ok && decode(entra_base64_decode, (entra_str_t) { in, n }, &out,
                          &len)
             && len == 0;
        free(out);
    }

    tap_ok(ok, "every length up to 63 fits the room promised for it");

    tap_ok(ENTRA_BASE64_ENCODED(0) == 0 && ENTRA_BASE64_ENCODED(1) == 4
           && ENTRA_BASE64_ENCODED(3) == 4 && ENTRA_BASE64_ENCODED(4) == 8,
           "room for encoding, padding included");

    tap_ok(entra_base64url_decode(ENTRA_STR_NONE, in, &len) && len == 0,
           "no text at all, URL alphabet");

    tap_ok(entra_base64_decode(ENTRA_STR_NONE, in, &len) && len == 0,
           "no text at all, standard alphabet");
}


int
main(void)
{
    table("url", entra_base64url_decode, url_rows, tap_count(url_rows));
    table("standard", entra_base64_decode, standard_rows,
          tap_count(standard_rows));

    test_each_text_decodes_to_its_own();
    test_alphabets();
    test_room();

    return tap_done();
}
