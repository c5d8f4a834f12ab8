/*
 * JSON in one pass: the same documents as jansson reads, and the same in
 * them, for texts with something to say and for thousands of broken ones.
 */

#include "guard.h"
#include "scan.h"


static pool_t  pool;


static const struct {
    const char   *name;
    entra_str_t   text;
} texts[] = {
    { "nothing", ENTRA_STR_INIT("") },
    { "white space", ENTRA_STR_INIT(" \t\r\n") },
    { "an empty object", ENTRA_STR_INIT("{}") },
    { "white space wherever it may be",
      ENTRA_STR_INIT(" \t{ \"a\" : [ 1 , 2 ] , \"b\"\r\n:{ } } \n") },
    { "a vertical tab", ENTRA_STR_INIT("{\v}") },
    { "an array", ENTRA_STR_INIT("[1]") },
    { "a string", ENTRA_STR_INIT("\"a\"") },
    { "a number", ENTRA_STR_INIT("1") },
    { "two documents", ENTRA_STR_INIT("{}{}") },
    { "a byte more", ENTRA_STR_INIT("{} x") },
    { "a NUL more", ENTRA_STR_INIT("{}\0") },
    { "a NUL between", ENTRA_STR_INIT("{\0}") },
    { "a NUL behind a number", ENTRA_STR_INIT("{\"a\":1\0}") },
    { "a NUL behind a word", ENTRA_STR_INIT("{\"a\":null\0}") },
    { "a NUL in a string", ENTRA_STR_INIT("{\"a\":\"b\0c\"}") },
    { "a byte order mark", ENTRA_STR_INIT("\xef\xbb\xbf{}") },
    { "UTF-16", ENTRA_STR_INIT("{\0}\0") },

    { "one comma too many", ENTRA_STR_INIT("{\"a\":1,}") },
    { "one comma too few", ENTRA_STR_INIT("{\"a\":1 \"b\":2}") },
    { "nothing but a comma", ENTRA_STR_INIT("{,}") },
    { "a comma at the end of an array", ENTRA_STR_INIT("{\"a\":[1,]}") },
    { "no colon", ENTRA_STR_INIT("{\"a\" 1}") },
    { "no value", ENTRA_STR_INIT("{\"a\":}") },
    { "no quotes", ENTRA_STR_INIT("{a:1}") },
    { "the other quotes", ENTRA_STR_INIT("{'a':1}") },
    { "a comment", ENTRA_STR_INIT("{/**/}") },
    { "brackets that cross", ENTRA_STR_INIT("{\"a\":[{]}}") },
    { "not closed", ENTRA_STR_INIT("{\"a\":1") },
    { "a string that is not closed", ENTRA_STR_INIT("{\"a\":\"b") },
    { "a string that ends in a backslash", ENTRA_STR_INIT("{\"a\":\"b\\") },
    { "the words", ENTRA_STR_INIT("{\"a\":true,\"b\":false,\"c\":null}") },
    { "a longer word", ENTRA_STR_INIT("{\"a\":truex}") },
    { "a shorter word", ENTRA_STR_INIT("{\"a\":tru}") },
    { "half a word at the end", ENTRA_STR_INIT("{\"a\":nul") },
    { "an upper-case word", ENTRA_STR_INIT("{\"a\":True}") },
    { "a word and a string", ENTRA_STR_INIT("{\"a\":true\"b\"}") },

    { "a name twice", ENTRA_STR_INIT("{\"a\":1,\"a\":1}") },
    { "a name twice, not side by side",
      ENTRA_STR_INIT("{\"a\":1,\"b\":2,\"a\":3}") },
    { "a name twice, once escaped",
      ENTRA_STR_INIT("{\"aud\":1,\"\\u0061ud\":2}") },
    { "a name twice, both escaped",
      ENTRA_STR_INIT("{\"\\u0061\":1,\"\\u0061\":2}") },
    { "a name in two cases", ENTRA_STR_INIT("{\"a\":1,\"A\":1}") },
    { "the empty name", ENTRA_STR_INIT("{\"\":1}") },
    { "the empty name twice", ENTRA_STR_INIT("{\"\":1,\"\":2}") },
    { "a name twice, deeper", ENTRA_STR_INIT("{\"x\":{\"a\":1,\"a\":1}}") },
    { "a name twice, in an array",
      ENTRA_STR_INIT("{\"x\":[[{\"a\":1,\"a\":1}]]}") },
    { "a name twice, in two objects",
      ENTRA_STR_INIT("{\"a\":{\"a\":1},\"b\":{\"a\":2,\"b\":[{\"a\":3}]}}") },
    { "a name twice, with an object between",
      ENTRA_STR_INIT("{\"a\":1,\"b\":{\"c\":1},\"a\":2}") },

    { "all escapes",
      ENTRA_STR_INIT("{\"a\":\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\"}") },
    { "escapes in names", ENTRA_STR_INIT("{\"\\n\\\"\":\"\\t\",\"b\":\"\\\\\"}") },
    { "no such escape", ENTRA_STR_INIT("{\"a\":\"\\x41\"}") },
    { "an escaped quote of the other kind", ENTRA_STR_INIT("{\"a\":\"\\'\"}") },
    { "an upper-case escape", ENTRA_STR_INIT("{\"a\":\"\\N\"}") },
    { "\\u with three digits", ENTRA_STR_INIT("{\"a\":\"\\u12\"}") },
    { "\\u without digits", ENTRA_STR_INIT("{\"a\":\"\\ug000\"}") },
    { "\\u at the end", ENTRA_STR_INIT("{\"a\":\"\\u00") },
    { "\\u, mixed case", ENTRA_STR_INIT("{\"a\":\"\\uAbCd\"}") },
    { "\\u0000", ENTRA_STR_INIT("{\"a\":\"\\u0000\"}") },
    { "\\u0000, deeper", ENTRA_STR_INIT("{\"a\":[\"\\u0000\"]}") },
    { "\\u0000 in a name", ENTRA_STR_INIT("{\"a\\u0000\":1}") },
    { "\\u007f to \\uffff",
      ENTRA_STR_INIT("{\"a\":\"\\u007f\\u0080\\u07ff\\u0800\\ud7ff\\ue000"
                     "\\uffff\"}") },
    { "a pair", ENTRA_STR_INIT("{\"a\":\"\\ud83d\\ude00\"}") },
    { "the last pair", ENTRA_STR_INIT("{\"a\":\"\\udbff\\udfff\"}") },
    { "half a pair", ENTRA_STR_INIT("{\"a\":\"\\ud83d\"}") },
    { "half a pair and text", ENTRA_STR_INIT("{\"a\":\"\\ud83dx\"}") },
    { "half a pair and another escape",
      ENTRA_STR_INIT("{\"a\":\"\\ud83d\\n\"}") },
    { "a pair of firsts", ENTRA_STR_INIT("{\"a\":\"\\ud83d\\ud83d\"}") },
    { "the other half", ENTRA_STR_INIT("{\"a\":\"\\ude00\"}") },
    { "a pair cut short", ENTRA_STR_INIT("{\"a\":\"\\ud83d\\ude") },

    { "a control", ENTRA_STR_INIT("{\"a\":\"\x1f\"}") },
    { "a line break", ENTRA_STR_INIT("{\"a\":\"\n\"}") },
    { "DEL", ENTRA_STR_INIT("{\"a\":\"\x7f\"}") },
    { "UTF-8 of two bytes", ENTRA_STR_INIT("{\"a\":\"\xc2\x80\xdf\xbf\"}") },
    { "UTF-8 of three bytes",
      ENTRA_STR_INIT("{\"a\":\"\xe0\xa0\x80\xed\x9f\xbf\xee\x80\x80\xef\xbf\xbf\"}") },
    { "UTF-8 of four bytes",
      ENTRA_STR_INIT("{\"a\":\"\xf0\x90\x80\x80\xf4\x8f\xbf\xbf\"}") },
    { "two bytes for one", ENTRA_STR_INIT("{\"a\":\"\xc0\xaf\"}") },
    { "two bytes for one, the last", ENTRA_STR_INIT("{\"a\":\"\xc1\xbf\"}") },
    { "three bytes for two", ENTRA_STR_INIT("{\"a\":\"\xe0\x9f\xbf\"}") },
    { "four bytes for three", ENTRA_STR_INIT("{\"a\":\"\xf0\x8f\xbf\xbf\"}") },
    { "a surrogate", ENTRA_STR_INIT("{\"a\":\"\xed\xa0\x80\"}") },
    { "beyond the last", ENTRA_STR_INIT("{\"a\":\"\xf4\x90\x80\x80\"}") },
    { "five bytes", ENTRA_STR_INIT("{\"a\":\"\xf8\x88\x80\x80\x80\"}") },
    { "a byte of a sequence alone", ENTRA_STR_INIT("{\"a\":\"\x80\"}") },
    { "a sequence cut short", ENTRA_STR_INIT("{\"a\":\"\xe2\x82\"}") },
    { "a sequence cut short by the end", ENTRA_STR_INIT("{\"a\":\"\xe2\x82") },
    { "ISO 8859-1", ENTRA_STR_INIT("{\"a\":\"\xe9t\xe9\"}") },
    { "not UTF-8 in a name", ENTRA_STR_INIT("{\"\xff\":1}") },
    { "not UTF-8, deeper", ENTRA_STR_INIT("{\"a\":[{\"b\":\"\xff\"}]}") },
    { "not UTF-8 between", ENTRA_STR_INIT("{\xff}") },

    { "integers", ENTRA_STR_INIT("{\"a\":0,\"b\":-0,\"c\":-1,\"d\":10}") },
    { "eighteen digits", ENTRA_STR_INIT("{\"a\":999999999999999999}") },
    { "nineteen digits", ENTRA_STR_INIT("{\"a\":9223372036854775807}") },
    { "an integer that overflows", ENTRA_STR_INIT("{\"a\":9223372036854775808}") },
    { "one that overflows beside one that does not",
      ENTRA_STR_INIT("{\"a\":-92233720368547758080,\"b\":3}") },
    { "reals", ENTRA_STR_INIT("{\"a\":1.5,\"b\":-0.25,\"c\":1e3,\"d\":2E-2,"
                              "\"e\":1.5e+300,\"f\":0e5}") },
    { "a real too large", ENTRA_STR_INIT("{\"a\":1e309}") },
    { "a real too large, deeper", ENTRA_STR_INIT("{\"a\":[[-1e309]]}") },
    { "the largest", ENTRA_STR_INIT("{\"a\":1.7976931348623157e308}") },
    { "more than the largest", ENTRA_STR_INIT("{\"a\":1.7976931348623159e308}") },
    { "a large one, written small", ENTRA_STR_INIT("{\"a\":0.01e310}") },
    { "zero, however large", ENTRA_STR_INIT("{\"a\":0e999,\"b\":-0.0E999}") },
    { "seventy digits",
      ENTRA_STR_INIT("{\"a\":12345678901234567890123456789012345678901234567890"
                     "12345678901234567890}") },
    { "seventy digits and an exponent",
      ENTRA_STR_INIT("{\"a\":1.2345678901234567890123456789012345678901234567890"
                     "12345678901234567890e99}") },
    { "seventy digits, too large",
      ENTRA_STR_INIT("{\"a\":1.2345678901234567890123456789012345678901234567890"
                     "12345678901234567890e999}") },
    { "a real too small", ENTRA_STR_INIT("{\"a\":1e-400}") },
    { "a leading zero", ENTRA_STR_INIT("{\"a\":01}") },
    { "a leading zero, negative", ENTRA_STR_INIT("{\"a\":-01}") },
    { "a zero and a fraction", ENTRA_STR_INIT("{\"a\":0.10}") },
    { "a sign alone", ENTRA_STR_INIT("{\"a\":-}") },
    { "two signs", ENTRA_STR_INIT("{\"a\":--1}") },
    { "a plus", ENTRA_STR_INIT("{\"a\":+1}") },
    { "no digit before the point", ENTRA_STR_INIT("{\"a\":.5}") },
    { "no digit behind the point", ENTRA_STR_INIT("{\"a\":5.}") },
    { "an exponent right behind the point", ENTRA_STR_INIT("{\"a\":5.e1}") },
    { "an exponent without digits", ENTRA_STR_INIT("{\"a\":5e}") },
    { "an exponent with a sign alone", ENTRA_STR_INIT("{\"a\":5e+}") },
    { "a real exponent", ENTRA_STR_INIT("{\"a\":5e1.0}") },
    { "hexadecimal", ENTRA_STR_INIT("{\"a\":0x10}") },
    { "letters behind digits", ENTRA_STR_INIT("{\"a\":1a}") },
    { "NaN", ENTRA_STR_INIT("{\"a\":NaN}") },
    { "Infinity", ENTRA_STR_INIT("{\"a\":-Infinity}") },
    { "digits at the end", ENTRA_STR_INIT("{\"a\":12") },

    { "arrays", ENTRA_STR_INIT("{\"a\":[],\"b\":[[]],\"c\":[1,\"2\",{},null]}") },
    { "a claim set",
      ENTRA_STR_INIT("{\"aud\":[\"a\",\"b\\u0020c\"],\"exp\":1800003600,"
                     "\"iat\":1799999900.5,\"upn\":\"j\xc3\xb6rg@example.com\","
                     "\"x\":{\"y\":[true,{\"z\":-1e2}]},\"tid\":\"6d87\"}") },
};


static void
compare(entra_str_t text, const char *name)
{
    const char  *wrong;

    wrong = scan_differs(guard(text), &pool);

    if (!tap_ok(wrong == NULL, "%s", name)) {
        tap_diag("%s", wrong);
        tap_show("text", text);
    }

    pool_free(&pool);
}


static void
test_texts(void)
{
    size_t  i;

    for (i = 0; i < tap_count(texts); i++) {
        compare(texts[i].text, texts[i].name);
    }
}


/* a count for each text, since there are very many */

static void
test_broken(void)
{
    char         text[1024];
    size_t       i, at, len, failed;
    unsigned     c;

    for (i = 0; i < tap_count(texts); i++) {
        len = texts[i].text.len;
        failed = 0;

        if (len > sizeof(text)) {
            tap_bail("a text longer than expected");
        }

        for (at = 0; at < len; at++) {

            /* each byte replaced by each other; cut off there; left out */

            for (c = 0; c < 256; c++) {
                memcpy(text, texts[i].text.data, len);
                text[at] = (char) c;

                failed += scan_differs(guard((entra_str_t) { text, len }),
                                       &pool) != NULL;
                pool_free(&pool);
            }

            failed += scan_differs(guard((entra_str_t) { text, at }), &pool)
                      != NULL;

            memcpy(text, texts[i].text.data, at);
            memcpy(text + at, texts[i].text.data + at + 1, len - at - 1);

            failed += scan_differs(guard((entra_str_t) { text, len - 1 }),
                                   &pool) != NULL;
            pool_free(&pool);
        }

        tap_is_size(failed, 0, pool_text(&pool, "%s, broken everywhere",
                                         texts[i].name));
        pool_free(&pool);
    }
}


static char *
repeat(const char *what, size_t n)
{
    char    *text;
    size_t   i, len;

    len = strlen(what);
    text = pool_alloc(&pool, n * len + 1);

    for (i = 0; i < n; i++) {
        memcpy(text + i * len, what, len);
    }

    text[n * len] = '\0';

    return text;
}


/* jansson's own limit, to the level */

static void
test_depth(void)
{
    size_t        i, n;
    const char   *inner;

    static const char  *innermost[] = { "", "1", "{}", "\"a\"" };

    for (n = 2044; n <= 2049; n++) {
        for (i = 0; i < tap_count(innermost); i++) {
            inner = innermost[i];

            compare(entra_str(pool_text(&pool, "{\"a\":%s%s%s}",
                                        repeat("[", n), inner,
                                        repeat("]", n))),
                    "about as deep as can be");
        }
    }

    compare(entra_str(repeat("{\"a\":", 5000)), "deeper than can be");
    compare(entra_str(repeat("[", 100000)), "much deeper");
}


/* without an exponent, about as many digits as a double can have */

static void
test_digits(void)
{
    size_t  i;

    static const size_t  counts[] = { 17, 18, 19, 62, 63, 64, 65, 299, 300,
                                      301, 308, 309, 310, 400 };

    for (i = 0; i < tap_count(counts); i++) {
        compare(entra_str(pool_text(&pool, "{\"a\":%s}",
                                    repeat("9", counts[i]))), "nines");
        compare(entra_str(pool_text(&pool, "{\"a\":-1.%s}",
                                    repeat("3", counts[i]))), "a fraction");
    }
}


/* more names than are compared each with each, or kept without memory */

static void
test_names(void)
{
    char    *text, *p;
    size_t   i, k, n, twice;

    static const size_t  counts[] = { 23, 24, 25, 63, 64, 65, 1000 };

    for (k = 0; k < tap_count(counts); k++) {
        n = counts[k];

        for (twice = 0; twice <= n; twice += n / 3) {

            text = pool_alloc(&pool, n * 32 + 64);
            p = text + sprintf(text, "{\"x\":{\"n%zu\":1},\"y\":{", n + 1);

            for (i = 0; i < n; i++) {
                p += sprintf(p, "%s\"n%zu\":%zu", i ? "," : "",
                             i + 1 == n && twice ? twice - 1 : i, i);
            }

            sprintf(p, "},\"z\":2}");

            compare(entra_str(text), twice && twice < n
                                     ? "one of many names twice"
                                     : "many names");
        }
    }
}


static bool
ignore(void *data, const entra_json_item_t *item)
{
    (void) item;

    return data == NULL;
}


static void
test_no_memory(void)
{
    entra_str_t  text;

    text = entra_lit("{\"a\\n\":1}");

    pool.fail_at = 1;
    tap_is_reason(entra_json_scan(text, ENTRA_JSON_OBJECT, &pool.mem, ignore,
                                  NULL),
                  ENTRA_INTERNAL, "no memory for what is decoded");
    pool_free(&pool);

    tap_is_reason(entra_json_scan(text, ENTRA_JSON_OBJECT, &pool.mem, ignore,
                                  &text),
                  ENTRA_INTERNAL, "the handler has no memory");
    pool_free(&pool);

    text = entra_lit("{\"a\":1}");
    tap_is_reason(entra_json_scan(text, ENTRA_JSON_OBJECT, &pool.mem, ignore,
                                  NULL),
                  ENTRA_OK, "enough of it");
    tap_is_size(pool.calls, 0, "none is taken without need");

    tap_is_reason(entra_json_scan(text, ENTRA_JSON_ARRAY, &pool.mem, ignore,
                                  NULL),
                  ENTRA_TOKEN_MALFORMED, "an object is not an array");

    pool_free(&pool);
}


int
main(void)
{
    pool_init(&pool);

    test_texts();
    test_broken();
    test_depth();
    test_digits();
    test_names();
    test_no_memory();

    return tap_done();
}
