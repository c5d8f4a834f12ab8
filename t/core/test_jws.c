/*
 * Taking a compact JWS apart.
 */

#include "entra_jws.h"
#include "guard.h"
#include "token.h"


#define PARTS   "it does not have three parts"
#define BASE64  "a part of it is not base64url without padding"
#define HEADER  "its header is not a JSON object, or has a name twice"
#define MEMBER  "alg or kid in its header is missing or not a string"

/* {"alg":"RS256","kid":"k"} and {} */
#define H  "eyJhbGciOiJSUzI1NiIsImtpZCI6ImsifQ"
#define P  "e30"


#define TEXT(text)  ENTRA_STR_INIT(text)


static pool_t  pool;


/*** by the text of the token ***/


static const struct {
    const char   *name;
    entra_str_t   token;
    const char   *why;                  /* NULL: taken apart */
} texts[] = {
    { "three parts", TEXT(H "." P ".c2ln"), NULL },
    { "an empty signature is a signature", TEXT(H "." P "."), NULL },
    { "the payload is not read", TEXT(H ".AAAA.c2ln"), NULL },
    { "nothing", TEXT(""), PARTS },
    { "one dot", TEXT("."), PARTS },
    { "two dots", TEXT(".."), PARTS },
    { "one part", TEXT(H), PARTS },
    { "two parts", TEXT(H "." P), PARTS },
    { "four parts", TEXT(H "." P ".c2ln.c2ln"), PARTS },
    { "five parts, as encrypted tokens have",
      TEXT(H ".a.b.c.d"), PARTS },
    { "a dot behind", TEXT(H "." P ".c2ln."), PARTS },
    { "a dot in front", TEXT("." H "." P), PARTS },
    { "no header", TEXT("." P ".c2ln"), PARTS },
    { "no payload", TEXT(H "..c2ln"), PARTS },
    { "JSON serialization", TEXT("{\"payload\":\"e30\"}"), PARTS },
    { "a padded header", TEXT(H "==." P ".c2ln"), BASE64 },
    { "a padded payload", TEXT(H "." P "=.c2ln"), BASE64 },
    { "a padded signature", TEXT(H "." P ".c2k="), BASE64 },
    { "a blank in front", TEXT(" " H "." P ".c2ln"), BASE64 },
    { "a blank behind", TEXT(H "." P ".c2ln "), BASE64 },
    { "a line feed behind", TEXT(H "." P ".c2ln\n"), BASE64 },
    { "a line feed inside", TEXT(H "." P ".c2\nln"), BASE64 },
    { "a NUL behind", TEXT(H "." P ".c2ln\0"), BASE64 },
    { "stray bits in the header",
      TEXT("eyJhbGciOiJSUzI1NiIsImtpZCI6ImsifR." P ".c2ln"),
      BASE64 },
    { "stray bits in the payload", TEXT(H ".e31.c2ln"), BASE64 },
    { "stray bits in the signature", TEXT(H "." P ".c2l"), BASE64 },
    { "a lone character for a signature", TEXT(H "." P ".c"),
      BASE64 },
    { "standard alphabet in the signature", TEXT(H "." P ".+/+/"),
      BASE64 },
    { "a bearer scheme in front", TEXT("Bearer " H "." P ".c2ln"),
      BASE64 },
    { "its base64 once more, as messages have it",
      TEXT("ZXlKaGJHY2lPaUpTVXpJMU5pSjkuZTMwLmMybG4="), PARTS },
    { "the header is no JSON", TEXT("AAAA." P ".c2ln"), HEADER },
};


static void
test_texts(void)
{
    size_t           i;
    const char      *why;
    entra_jws_t      jws;
    entra_reason_t   reason;

    for (i = 0; i < tap_count(texts); i++) {
        why = NULL;
        reason = entra_jws_parse(guard(texts[i].token), &pool.mem, &jws, &why);

        tap_is_refusal(reason, why,
                       texts[i].why ? ENTRA_TOKEN_MALFORMED : ENTRA_OK,
                       texts[i].why, texts[i].name);
        pool_free(&pool);
    }

    why = NULL;
    reason = entra_jws_parse(ENTRA_STR_NONE, &pool.mem, &jws, &why);
    tap_is_refusal(reason, why, ENTRA_TOKEN_MALFORMED, PARTS,
                   "no text at all");
}


/*** by the JSON of its header ***/


#define TAKEN(rs256, crit, nonce)  NULL, rs256, crit, nonce


static const struct {
    const char   *name;
    entra_str_t   header;
    const char   *why;                  /* NULL: taken apart */
    bool          rs256;
    bool          crit;
    bool          nonce;
} headers[] = {
    { "alg and kid", TEXT("{\"alg\":\"RS256\",\"kid\":\"k\"}"),
      TAKEN(true, false, false) },
    { "white space", TEXT(" {\n\"alg\" : \"RS256\",\t\"kid\":\"k\"}\r "),
      TAKEN(true, false, false) },
    { "escapes", TEXT("{\"\\u0061lg\":\"RS25\\u0036\",\"kid\":\"k\"}"),
      TAKEN(true, false, false) },
    { "another algorithm", TEXT("{\"alg\":\"HS256\",\"kid\":\"k\"}"),
      TAKEN(false, false, false) },
    { "none", TEXT("{\"alg\":\"none\",\"kid\":\"k\"}"),
      TAKEN(false, false, false) },
    { "the algorithm in lower case",
      TEXT("{\"alg\":\"rs256\",\"kid\":\"k\"}"),
      TAKEN(false, false, false) },
    { "the algorithm and a blank",
      TEXT("{\"alg\":\"RS256 \",\"kid\":\"k\"}"),
      TAKEN(false, false, false) },
    { "an empty algorithm", TEXT("{\"alg\":\"\",\"kid\":\"k\"}"),
      TAKEN(false, false, false) },
    { "crit", TEXT("{\"alg\":\"RS256\",\"kid\":\"k\",\"crit\":[]}"),
      TAKEN(true, true, false) },
    { "crit that is null",
      TEXT("{\"alg\":\"RS256\",\"kid\":\"k\",\"crit\":null}"),
      TAKEN(true, true, false) },
    { "nonce", TEXT("{\"alg\":\"RS256\",\"kid\":\"k\",\"nonce\":\"x\"}"),
      TAKEN(true, false, true) },
    { "nonce that is null",
      TEXT("{\"alg\":\"RS256\",\"kid\":\"k\",\"nonce\":null}"),
      TAKEN(true, false, true) },
    { "embedded keys and links to keys, of any type",
      TEXT("{\"alg\":\"RS256\",\"kid\":\"k\",\"jwk\":{\"kty\":\"RSA\"},"
                     "\"jku\":\"https://evil.example.com\",\"x5u\":5,"
                     "\"x5c\":[\"AAAA\"],\"x5t\":\"x\",\"typ\":null}"),
      TAKEN(true, false, false) },
    { "no alg", TEXT("{\"kid\":\"k\"}"), MEMBER, 0, 0, 0 },
    { "no kid", TEXT("{\"alg\":\"RS256\"}"), MEMBER, 0, 0, 0 },
    { "alg is null", TEXT("{\"alg\":null,\"kid\":\"k\"}"), MEMBER,
      0, 0, 0 },
    { "alg is an array", TEXT("{\"alg\":[\"RS256\"],\"kid\":\"k\"}"),
      MEMBER, 0, 0, 0 },
    { "kid is a number", TEXT("{\"alg\":\"RS256\",\"kid\":1}"), MEMBER,
      0, 0, 0 },
    { "kid is null", TEXT("{\"alg\":\"RS256\",\"kid\":null}"), MEMBER,
      0, 0, 0 },
    { "names are case-sensitive",
      TEXT("{\"ALG\":\"RS256\",\"Kid\":\"k\"}"), MEMBER, 0, 0, 0 },
    { "alg twice",
      TEXT("{\"alg\":\"none\",\"alg\":\"RS256\",\"kid\":\"k\"}"),
      HEADER, 0, 0, 0 },
    { "alg twice, once in escapes",
      TEXT("{\"alg\":\"none\",\"\\u0061lg\":\"RS256\",\"kid\":\"k\"}"),
      HEADER, 0, 0, 0 },
    { "any name twice",
      TEXT("{\"alg\":\"RS256\",\"kid\":\"k\",\"x\":1,\"x\":1}"),
      HEADER, 0, 0, 0 },
    { "a name twice deep down",
      TEXT("{\"alg\":\"RS256\",\"kid\":\"k\",\"x\":[{\"y\":1,\"y\":2}]}"),
      HEADER, 0, 0, 0 },
    { "an array", TEXT("[\"RS256\"]"), HEADER, 0, 0, 0 },
    { "a string", TEXT("\"RS256\""), HEADER, 0, 0, 0 },
    { "null", TEXT("null"), HEADER, 0, 0, 0 },
    { "cut", TEXT("{\"alg\":\"RS256\",\"kid\":\"k\""), HEADER, 0, 0, 0 },
    { "text behind",
      TEXT("{\"alg\":\"RS256\",\"kid\":\"k\"} x"), HEADER, 0, 0, 0 },
    { "a second object behind",
      TEXT("{\"alg\":\"RS256\",\"kid\":\"k\"}{}"), HEADER, 0, 0, 0 },
    { "a NUL behind",
      TEXT("{\"alg\":\"RS256\",\"kid\":\"k\"}\0"), HEADER, 0, 0, 0 },
    { "a NUL behind a number",
      TEXT("{\"alg\":\"RS256\",\"kid\":\"k\",\"x\":1\0}"), HEADER,
      0, 0, 0 },
    { "a NUL behind a word",
      TEXT("{\"alg\":\"RS256\",\"kid\":\"k\",\"x\":true\0}"), HEADER,
      0, 0, 0 },
    { "a NUL in a string",
      TEXT("{\"alg\":\"RS256\",\"kid\":\"k\0\"}"), HEADER, 0, 0, 0 },
    { "a NUL escape in kid",
      TEXT("{\"alg\":\"RS256\",\"kid\":\"k\\u0000x\"}"), HEADER,
      0, 0, 0 },
    { "a NUL escape in a name",
      TEXT("{\"alg\":\"RS256\",\"kid\":\"k\",\"crit\\u0000\":1}"),
      HEADER, 0, 0, 0 },
    { "bytes that are no UTF-8",
      TEXT("{\"alg\":\"RS256\",\"kid\":\"\xff\"}"), HEADER, 0, 0, 0 },
    { "overlong UTF-8",
      TEXT("{\"alg\":\"RS256\",\"kid\":\"\xc1\xab\"}"), HEADER,
      0, 0, 0 },
    { "a surrogate in UTF-8",
      TEXT("{\"alg\":\"RS256\",\"kid\":\"\xed\xa0\x80\"}"), HEADER,
      0, 0, 0 },
    { "UTF-8 cut at the end",
      TEXT("{\"alg\":\"RS256\",\"kid\":\"k\"}\xc3"), HEADER, 0, 0, 0 },
    { "half a surrogate pair",
      TEXT("{\"alg\":\"RS256\",\"kid\":\"\\ud800\"}"), HEADER,
      0, 0, 0 },
    { "a byte order mark",
      TEXT("\xef\xbb\xbf{\"alg\":\"RS256\",\"kid\":\"k\"}"), HEADER,
      0, 0, 0 },
    { "a control character in a string",
      TEXT("{\"alg\":\"RS256\",\"kid\":\"k\n\"}"), HEADER, 0, 0, 0 },
    { "a comment",
      TEXT("{\"alg\":\"RS256\",/**/\"kid\":\"k\"}"), HEADER, 0, 0, 0 },
    { "a number that overflows",
      TEXT("{\"alg\":\"RS256\",\"kid\":\"k\",\"x\":1e400}"), HEADER,
      0, 0, 0 },
};


static void
test_headers(void)
{
    size_t           i;
    const char      *why;
    entra_jws_t      jws;
    entra_str_t      token;
    entra_reason_t   reason;

    for (i = 0; i < tap_count(headers); i++) {
        why = NULL;
        token = token_sign_bytes(&pool, NULL, headers[i].header,
                                 entra_lit("{}"));
        reason = entra_jws_parse(guard(token), &pool.mem, &jws, &why);

        if (!tap_is_refusal(reason, why,
                            headers[i].why ? ENTRA_TOKEN_MALFORMED : ENTRA_OK,
                            headers[i].why, headers[i].name)
            || reason != ENTRA_OK)
        {
            pool_free(&pool);
            continue;
        }

        tap_ok(jws.rs256 == headers[i].rs256 && jws.crit == headers[i].crit
               && jws.nonce == headers[i].nonce
               && entra_str_eq(jws.kid, entra_lit("k")),
               "%s: as it was read", headers[i].name);
        pool_free(&pool);
    }
}


static void
test_parts(void)
{
    const char      *why;
    entra_jws_t      jws;
    entra_str_t      token;
    entra_reason_t   reason;

    token = guard(entra_lit("eyJhbGciOiJSUzI1NiIsImtpZCI6Imtcbm8ifQ"
                            ".AP8.c2ln"));
    reason = entra_jws_parse(token, &pool.mem, &jws, &why);

    tap_is_reason(reason, ENTRA_OK, "a token");
    tap_ok(jws.signing_input.data == token.data
           && jws.signing_input.len == token.len - 5,
           "what is signed is header, dot and payload as sent");
    tap_is_str(jws.payload, (entra_str_t) { "\0\xff", 2 }, "payload, decoded");
    tap_is_str(jws.signature, entra_lit("sig"), "signature, decoded");
    tap_is_str(jws.kid, entra_lit("k\no"), "kid, unescaped");

    pool_free(&pool);
}


/* the n-th allocation fails */

static void
test_memory(void)
{
    size_t           n, i;
    const char      *why;
    entra_jws_t      jws;
    entra_reason_t   reason;

    for (n = 1; /* void */ ; n++) {
        pool.fail_at = n;
        why = NULL;
        reason = entra_jws_parse(entra_lit(H "." P ".c2ln"), &pool.mem, &jws,
                                 &why);
        i = pool.calls;
        pool_free(&pool);

        if (i < n) {
            break;
        }

        tap_is_refusal(reason, why, ENTRA_INTERNAL, NULL,
                       "out of memory, which says nothing of the token");
    }

    tap_is_reason(reason, ENTRA_OK, "with memory enough");
}


int
main(void)
{
    pool_init(&pool);

    test_texts();
    test_headers();
    test_parts();
    test_memory();

    return tap_done();
}
