/*
 * Compact JWS: what is accepted is what was written, part by part, and
 * nothing verifies that nobody signed.
 */

#include "entra_jws.h"
#include "entra_verify.h"
#include "fuzz.h"
#include "token.h"


static pool_t        keep;
static entra_jwks_t *jwks;


static void
fuzz_keys(void)
{
    EVP_PKEY    *key;
    const char  *error;

    pool_init(&keep);

    key = token_key(2048);
    jwks = entra_jwks_parse(entra_str(pool_text(&keep, "{\"keys\":[%s]}",
                                token_jwk(&keep, key, "k", ""))), &error);
    EVP_PKEY_free(key);

    fuzz_claim(jwks != NULL);
}


/* strict base64url has one spelling: what was decoded encodes to it */

static bool
fuzz_spelled(pool_t *pool, entra_str_t bytes, entra_str_t text)
{
    return entra_str_eq(token_base64url(pool, bytes), text);
}


static void
fuzz_parts(pool_t *pool, entra_str_t token, const entra_jws_t *jws)
{
    entra_str_t  rest;
    const char  *dot;

    fuzz_claim(fuzz_within(jws->signing_input, token));
    fuzz_claim(jws->signing_input.data == token.data);
    fuzz_claim(token.data[jws->signing_input.len] == '.');

    dot = memchr(token.data, '.', token.len);
    rest = entra_str_from(jws->signing_input, (size_t) (dot - token.data) + 1);
    fuzz_claim(memchr(rest.data, '.', rest.len) == NULL);
    fuzz_claim(fuzz_spelled(pool, jws->payload, rest));

    rest = entra_str_from(token, jws->signing_input.len + 1);
    fuzz_claim(fuzz_spelled(pool, jws->signature, rest));
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    pool_t           pool;
    const char      *why;
    entra_jws_t      jws;
    entra_str_t      token;
    entra_reason_t   reason;
    entra_verdict_t  verdict;

    if (jwks == NULL) {
        fuzz_keys();
    }

    pool_init(&pool);
    token = fuzz_copy(&pool, data, size);
    why = NULL;

    reason = entra_jws_parse(token, &pool.mem, &jws, &why);

    if (reason == ENTRA_OK) {
        fuzz_parts(&pool, token, &jws);

    } else {
        fuzz_claim(reason == ENTRA_TOKEN_MALFORMED);
        fuzz_claim(why != NULL);
    }

    /* no input was ever signed by a key made a moment ago */

    reason = entra_verify(token, 4096, jwks, &pool.mem, &verdict);
    fuzz_claim(reason != ENTRA_OK && !verdict.verified);
    fuzz_claim(token.len <= 4096 || reason == ENTRA_TOKEN_MALFORMED);

    pool_free(&pool);

    return 0;
}
