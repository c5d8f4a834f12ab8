/*
 * Claims: their types as read, and any claim by its name.
 */

#include "entra_claims.h"
#include "guard.h"
#include "pool.h"


static pool_t  pool;


/*** the form of a payload ***/


static const struct {
    const char      *name;
    entra_str_t      payload;
    entra_reason_t   reason;
} forms[] = {
    { "an empty object", ENTRA_STR_INIT("{}"), ENTRA_OK },
    { "an object", ENTRA_STR_INIT(" {\"a\":[1,{\"b\":null}]} "), ENTRA_OK },
    { "a number past 64 bits", ENTRA_STR_INIT("{\"a\":99999999999999999999}"),
      ENTRA_OK },
    { "a number past 64 bits below zero",
      ENTRA_STR_INIT("{\"a\":-99999999999999999999}"), ENTRA_OK },
    { "a number past all numbers", ENTRA_STR_INIT("{\"a\":1e400}"),
      ENTRA_TOKEN_MALFORMED },
    { "both", ENTRA_STR_INIT("{\"a\":99999999999999999999,\"b\":-1e400}"),
      ENTRA_TOKEN_MALFORMED },
    { "a number past 64 bits, and a name twice",
      ENTRA_STR_INIT("{\"a\":99999999999999999999,\"b\":1,\"b\":1}"),
      ENTRA_TOKEN_MALFORMED },
    { "a number past 64 bits, and text behind",
      ENTRA_STR_INIT("{\"a\":99999999999999999999}}"),
      ENTRA_TOKEN_MALFORMED },
    { "nothing", ENTRA_STR_INIT(""), ENTRA_TOKEN_MALFORMED },
    { "blanks", ENTRA_STR_INIT("  "), ENTRA_TOKEN_MALFORMED },
    { "an array", ENTRA_STR_INIT("[{}]"), ENTRA_TOKEN_MALFORMED },
    { "a string", ENTRA_STR_INIT("\"{}\""), ENTRA_TOKEN_MALFORMED },
    { "a number", ENTRA_STR_INIT("1"), ENTRA_TOKEN_MALFORMED },
    { "null", ENTRA_STR_INIT("null"), ENTRA_TOKEN_MALFORMED },
    { "a name twice", ENTRA_STR_INIT("{\"aud\":\"a\",\"aud\":\"b\"}"),
      ENTRA_TOKEN_MALFORMED },
    { "audiences twice, more behind than in front",
      ENTRA_STR_INIT("{\"aud\":\"a\",\"aud\":[\"b\",\"c\",\"d\"]}"),
      ENTRA_TOKEN_MALFORMED },
    { "a name twice, with the same value",
      ENTRA_STR_INIT("{\"a\":1,\"a\":1}"), ENTRA_TOKEN_MALFORMED },
    { "a name twice, once in escapes",
      ENTRA_STR_INIT("{\"aud\":\"a\",\"\\u0061ud\":\"b\"}"),
      ENTRA_TOKEN_MALFORMED },
    { "a name twice deep down", ENTRA_STR_INIT("{\"a\":{\"b\":1,\"b\":2}}"),
      ENTRA_TOKEN_MALFORMED },
    { "two names that differ in case are two",
      ENTRA_STR_INIT("{\"aud\":1,\"AUD\":2}"), ENTRA_OK },
    { "a NUL escape", ENTRA_STR_INIT("{\"upn\":\"a\\u0000b\"}"),
      ENTRA_TOKEN_MALFORMED },
    { "a NUL behind a number", ENTRA_STR_INIT("{\"exp\":1\0}"),
      ENTRA_TOKEN_MALFORMED },
    { "no UTF-8", ENTRA_STR_INIT("{\"upn\":\"\xfe\"}"), ENTRA_TOKEN_MALFORMED },
    { "Latin-1", ENTRA_STR_INIT("{\"upn\":\"j\xf6rg\"}"),
      ENTRA_TOKEN_MALFORMED },
    { "two objects", ENTRA_STR_INIT("{}{}"), ENTRA_TOKEN_MALFORMED },
    { "NaN", ENTRA_STR_INIT("{\"exp\":NaN}"), ENTRA_TOKEN_MALFORMED },
    { "Infinity", ENTRA_STR_INIT("{\"exp\":Infinity}"), ENTRA_TOKEN_MALFORMED },
    { "hexadecimal", ENTRA_STR_INIT("{\"exp\":0x10}"), ENTRA_TOKEN_MALFORMED },
    { "a leading zero", ENTRA_STR_INIT("{\"exp\":01}"), ENTRA_TOKEN_MALFORMED },
    { "a plus sign", ENTRA_STR_INIT("{\"exp\":+1}"), ENTRA_TOKEN_MALFORMED },
    { "a fraction without digits", ENTRA_STR_INIT("{\"exp\":1.}"),
      ENTRA_TOKEN_MALFORMED },
};


static void
test_forms(void)
{
    size_t           i;
    entra_claims_t   claims;

    for (i = 0; i < tap_count(forms); i++) {
        memset(&claims, 0x5a, sizeof(claims));

        tap_is_reason(entra_claims_parse(guard(forms[i].payload), &pool.mem,
                                         &claims),
                      forms[i].reason, forms[i].name);
        tap_ok((claims.payload.data != NULL) == (forms[i].reason == ENTRA_OK),
               "%s: claims or none", forms[i].name);

        pool_free(&pool);
    }

    tap_is_reason(entra_claims_parse(ENTRA_STR_NONE, &pool.mem, &claims),
                  ENTRA_TOKEN_MALFORMED, "no text at all");
}


static void
test_depth(void)
{
    char            *text;
    size_t           n;
    entra_claims_t   claims;

    n = 100000;
    text = pool_alloc(&pool, n);
    memset(text, '[', n);
    memcpy(text, "{\"a\":", 5);

    tap_is_reason(entra_claims_parse((entra_str_t) { text, n }, &pool.mem,
                                     &claims),
                  ENTRA_TOKEN_MALFORMED, "a hundred thousand brackets");
    pool_free(&pool);
}


/*** types ***/


static const struct {
    const char            *name;
    const char            *json;
    entra_claim_state_t    state;
    const char            *value;
} strings[] = {
    { "absent", "{\"x\":1}", ENTRA_CLAIM_ABSENT, "" },
    { "a string", "{\"NAME\":\"v\"}", ENTRA_CLAIM_PRESENT, "v" },
    { "an empty string", "{\"NAME\":\"\"}", ENTRA_CLAIM_PRESENT, "" },
    { "an escaped string", "{\"NAME\":\"\\u00f6\\n\"}", ENTRA_CLAIM_PRESENT,
      "\xc3\xb6\n" },
    { "null", "{\"NAME\":null}", ENTRA_CLAIM_WRONG, "" },
    { "a number", "{\"NAME\":1}", ENTRA_CLAIM_WRONG, "" },
    { "true", "{\"NAME\":true}", ENTRA_CLAIM_WRONG, "" },
    { "an array", "{\"NAME\":[\"v\"]}", ENTRA_CLAIM_WRONG, "" },
    { "an object", "{\"NAME\":{}}", ENTRA_CLAIM_WRONG, "" },
};


/* the JSON with NAME filled in */

static void
parse_named(const char *json, const char *name, entra_claims_t *claims)
{
    char        *text;
    const char  *mark;

    mark = strstr(json, "NAME");
    text = mark == NULL ? pool_text(&pool, "%s", json)
                        : pool_text(&pool, "%.*s%s%s", (int) (mark - json),
                                    json, name, mark + 4);

    if (entra_claims_parse(entra_str(text), &pool.mem, claims) != ENTRA_OK) {
        tap_bail("a payload of the test itself is malformed");
    }
}


static void
test_strings(void)
{
    bool                ok;
    size_t              i, n;
    entra_claims_t      claims;
    entra_claim_str_t  *claim;

    static const struct {
        const char  *name;
        size_t       offset;
    } names[] = {
        { "iss", offsetof(entra_claims_t, iss) },
        { "tid", offsetof(entra_claims_t, tid) },
        { "scp", offsetof(entra_claims_t, scp) },
        { "upn", offsetof(entra_claims_t, upn) },
        { "preferred_username", offsetof(entra_claims_t, preferred_username) },
        { "oid", offsetof(entra_claims_t, oid) },
        { "deviceid", offsetof(entra_claims_t, deviceid) },
        { "ver", offsetof(entra_claims_t, ver) },
    };

    for (i = 0; i < tap_count(strings); i++) {
        ok = true;

        for (n = 0; n < tap_count(names); n++) {
            parse_named(strings[i].json, names[n].name, &claims);
            claim = (void *) ((char *) &claims + names[n].offset);

            ok = ok && claim->state == strings[i].state
                 && entra_str_eq(claim->value, entra_str(strings[i].value));

            pool_free(&pool);
        }

        tap_ok(ok, "each claim that is a string: %s", strings[i].name);
    }
}


static const struct {
    const char            *name;
    const char            *json;
    entra_claim_state_t    state;
    double                 value;
} times[] = {
    { "absent", "{}", ENTRA_CLAIM_ABSENT, 0 },
    { "whole", "{\"NAME\":1795467459}", ENTRA_CLAIM_PRESENT, 1795467459 },
    { "fractional", "{\"NAME\":1795467459.5}", ENTRA_CLAIM_PRESENT,
      1795467459.5 },
    { "with an exponent", "{\"NAME\":1.795467459E9}", ENTRA_CLAIM_PRESENT,
      1795467459 },
    { "zero", "{\"NAME\":0}", ENTRA_CLAIM_PRESENT, 0 },
    { "minus zero", "{\"NAME\":-0}", ENTRA_CLAIM_PRESENT, 0 },
    { "negative", "{\"NAME\":-1}", ENTRA_CLAIM_PRESENT, -1 },
    { "the largest of 64 bits", "{\"NAME\":9223372036854775807}",
      ENTRA_CLAIM_PRESENT, 9223372036854775808.0 },
    { "past 64 bits", "{\"NAME\":99999999999999999999}", ENTRA_CLAIM_PRESENT,
      1e20 },
    { "past 64 bits below zero", "{\"NAME\":-99999999999999999999}",
      ENTRA_CLAIM_PRESENT, -1e20 },
    { "1e300", "{\"NAME\":1e300}", ENTRA_CLAIM_PRESENT, 1e300 },
    { "1e-400", "{\"NAME\":1e-400}", ENTRA_CLAIM_PRESENT, 0 },
    { "a string", "{\"NAME\":\"1795467459\"}", ENTRA_CLAIM_WRONG, 0 },
    { "true", "{\"NAME\":true}", ENTRA_CLAIM_WRONG, 0 },
    { "null", "{\"NAME\":null}", ENTRA_CLAIM_WRONG, 0 },
    { "an array", "{\"NAME\":[1795467459]}", ENTRA_CLAIM_WRONG, 0 },
};


static void
test_times(void)
{
    bool                 ok;
    size_t               i, n;
    entra_claims_t       claims;
    entra_claim_time_t  *claim;

    static const char *const  names[] = { "exp", "nbf", "iat" };

    for (i = 0; i < tap_count(times); i++) {
        ok = true;

        for (n = 0; n < tap_count(names); n++) {
            parse_named(times[i].json, names[n], &claims);
            claim = n == 0 ? &claims.exp : n == 1 ? &claims.nbf : &claims.iat;

            ok = ok && claim->state == times[i].state
                 && (claim->state != ENTRA_CLAIM_PRESENT
                     || (claim->value >= times[i].value
                         && claim->value <= times[i].value));

            pool_free(&pool);
        }

        tap_ok(ok, "exp, nbf and iat: %s", times[i].name);
    }
}


static const struct {
    const char            *name;
    const char            *json;
    entra_claim_state_t    state;
    size_t                 n;
    const char            *last;
} audiences[] = {
    { "absent", "{}", ENTRA_CLAIM_ABSENT, 0, "" },
    { "a string", "{\"aud\":\"a\"}", ENTRA_CLAIM_PRESENT, 1, "a" },
    { "an empty string", "{\"aud\":\"\"}", ENTRA_CLAIM_PRESENT, 1, "" },
    { "an array of one", "{\"aud\":[\"a\"]}", ENTRA_CLAIM_PRESENT, 1, "a" },
    { "an array", "{\"aud\":[\"a\",\"b\",\"a\"]}", ENTRA_CLAIM_PRESENT, 3,
      "a" },
    { "an empty array", "{\"aud\":[]}", ENTRA_CLAIM_PRESENT, 0, "" },
    { "null", "{\"aud\":null}", ENTRA_CLAIM_WRONG, 0, "" },
    { "a number", "{\"aud\":1}", ENTRA_CLAIM_WRONG, 0, "" },
    { "an object", "{\"aud\":{\"a\":\"b\"}}", ENTRA_CLAIM_WRONG, 0, "" },
    { "an array with a number in front", "{\"aud\":[1,\"a\"]}",
      ENTRA_CLAIM_WRONG, 0, "" },
    { "an array with null behind", "{\"aud\":[\"a\",null]}",
      ENTRA_CLAIM_WRONG, 0, "" },
    { "an array in an array", "{\"aud\":[[\"a\"]]}", ENTRA_CLAIM_WRONG, 0, "" },
};


static void
test_audiences(void)
{
    bool             ok;
    size_t           i;
    entra_claims_t   claims;

    for (i = 0; i < tap_count(audiences); i++) {
        parse_named(audiences[i].json, "", &claims);

        ok = claims.aud_state == audiences[i].state
             && claims.naud == audiences[i].n;

        if (ok && claims.naud) {
            ok = entra_str_eq(claims.aud[claims.naud - 1],
                              entra_str(audiences[i].last));
        }

        tap_ok(ok, "aud: %s", audiences[i].name);

        pool_free(&pool);
    }
}


/*** any claim ***/


#define EVERYTHING                                                            \
    "{\"str\":\"a\\\"b\\n\",\"int\":-5,\"big\":9007199254740993,"             \
    "\"real\":0.1,\"half\":1.5,\"t\":true,\"f\":false,\"nil\":null,"          \
    "\"zero\":1.50,\"e\":1E+2,\"neg\":-0,\"huge\":12345678901234567890,"       \
    "\"long\":123456789.123456789012,\"in\": [ 1.5 , 2 ],"                    \
    "\"arr\":[1,\"x\",{\"a\":null}],\"obj\":{\"b\":1,\"a\":[]},"              \
    "\"empty\":\"\",\"MiXeD\":\"m\",\"uml\xc3\xa4ut\":\"\xc3\xbc\","           \
    "\"kelvin\":\"k\",\"Twice\":1,\"tWICE\":2,\"with.dot\":\"d\"}"


static const struct {
    const char   *name;
    entra_str_t   claim;
    const char   *value;                /* NULL: none */
} values[] = {
    { "a string as it is", ENTRA_STR_INIT("str"), "a\"b\n" },
    { "an empty string", ENTRA_STR_INIT("empty"), "" },
    { "a number", ENTRA_STR_INIT("int"), "-5" },
    { "a number of 54 bits", ENTRA_STR_INIT("big"), "9007199254740993" },
    { "a fraction as it was written", ENTRA_STR_INIT("real"), "0.1" },
    { "a fraction of two", ENTRA_STR_INIT("half"), "1.5" },
    { "a fraction that ends in 0", ENTRA_STR_INIT("zero"), "1.50" },
    { "a number with an exponent", ENTRA_STR_INIT("e"), "1E+2" },
    { "less than nothing", ENTRA_STR_INIT("neg"), "-0" },
    { "a number of 64 bits", ENTRA_STR_INIT("huge"), "12345678901234567890" },
    { "a fraction of 21 digits", ENTRA_STR_INIT("long"),
      "123456789.123456789012" },
    { "an array with blanks", ENTRA_STR_INIT("in"), "[1.5,2]" },
    { "true", ENTRA_STR_INIT("t"), "true" },
    { "false", ENTRA_STR_INIT("f"), "false" },
    { "null", ENTRA_STR_INIT("nil"), "null" },
    { "an array", ENTRA_STR_INIT("arr"), "[1,\"x\",{\"a\":null}]" },
    { "an object", ENTRA_STR_INIT("obj"), "{\"b\":1,\"a\":[]}" },
    { "in upper case", ENTRA_STR_INIT("STR"), "a\"b\n" },
    { "in lower case", ENTRA_STR_INIT("mixed"), "m" },
    { "with a dot", ENTRA_STR_INIT("with.dot"), "d" },
    { "beyond ASCII", ENTRA_STR_INIT("UML\xc3\xa4UT"), "\xc3\xbc" },
    { "beyond ASCII, where case counts", ENTRA_STR_INIT("uml\xc3\x84ut"),
      NULL },
    { "a Kelvin sign is no k", ENTRA_STR_INIT("\xe2\x84\xaa" "elvin"), NULL },
    { "two that differ in case", ENTRA_STR_INIT("twice"), NULL },
    { "two that differ in case, one of them exactly", ENTRA_STR_INIT("Twice"),
      NULL },
    { "absent", ENTRA_STR_INIT("absent"), NULL },
    { "the beginning of a name", ENTRA_STR_INIT("st"), NULL },
    { "a name and more", ENTRA_STR_INIT("strx"), NULL },
    { "no name", ENTRA_STR_INIT(""), NULL },
};


static void
test_get(void)
{
    bool             got;
    size_t           i;
    entra_str_t      value;
    entra_claims_t   claims;

    for (i = 0; i < tap_count(values); i++) {

        if (entra_claims_parse(entra_lit(EVERYTHING), &pool.mem, &claims)
            != ENTRA_OK)
        {
            tap_bail("a payload of the test itself is malformed");
        }

        value = ENTRA_STR_NONE;
        got = entra_claims_get(&claims, guard(values[i].claim), &pool.mem,
                               &value);

        if (values[i].value == NULL) {
            tap_ok(!got && value.data == NULL, "get: %s: none",
                   values[i].name);

        } else if (tap_ok(got, "get: %s: found", values[i].name)) {
            tap_is_str(value, entra_str(values[i].value), values[i].name);
        }

        pool_free(&pool);
    }

    memset(&claims, 0, sizeof(claims));
    tap_ok(!entra_claims_get(&claims, entra_lit("str"), &pool.mem, &value),
           "get: of no claims at all: none");
}


static void
test_get_without_memory(void)
{
    entra_str_t      value;
    entra_claims_t   claims;

    if (entra_claims_parse(entra_lit("{\"a\":\"b\",\"n\":1}"), &pool.mem,
                           &claims) != ENTRA_OK)
    {
        tap_bail("a payload of the test itself is malformed");
    }

    value = ENTRA_STR_NONE;

    pool.fail_at = pool.calls + 1;
    pool.fail_on = true;
    tap_ok(!entra_claims_get(&claims, entra_lit("a"), &pool.mem, &value)
           && value.data == NULL, "get: a string, out of memory: none");
    tap_ok(!entra_claims_get(&claims, entra_lit("n"), &pool.mem, &value)
           && value.data == NULL, "get: a number, out of memory: none");

    pool_free(&pool);
}


int
main(void)
{
    pool_init(&pool);

    test_forms();
    test_depth();
    test_strings();
    test_times();
    test_audiences();
    test_get();
    test_get_without_memory();

    return tap_done();
}
