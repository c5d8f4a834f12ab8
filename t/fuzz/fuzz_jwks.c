/*
 * Key sets: those that are read hold a usable key, and each key is found by
 * its kid, or is known not to be usable.
 */

#include "entra_jwks.h"
#include "fuzz.h"


#define TID  "6d8769e6-0f8b-418d-b385-1a53968781c9"


/* an issuer can only take keys away, and then that is the reason */

static void
fuzz_issuer(const entra_jwks_t *jwks, const entra_key_t *key,
    const entra_key_t *found)
{
    bool                known;
    size_t              i;
    const char         *why;
    const entra_key_t  *covering;

    static const entra_str_t  issuers[] = {
        ENTRA_STR_INIT("https://sts.windows.net/" TID "/"),
        ENTRA_STR_INIT("https://login.microsoftonline.com/" TID "/v2.0"),
        ENTRA_STR_INIT("x")
    };

    for (i = 0; i < tap_count(issuers); i++) {
        why = NULL;
        covering = entra_jwks_find(jwks, entra_key_kid(key), issuers[i],
                                   entra_lit(TID), &known, &why);

        fuzz_claim(known);
        fuzz_claim(covering != NULL || why != NULL);
        fuzz_claim(covering == NULL || found != NULL);
        fuzz_claim(covering == NULL
                   || (entra_key_unusable(covering) == NULL
                       && entra_str_eq(entra_key_kid(covering),
                                       entra_key_kid(key))));
    }
}


static void
fuzz_key(const entra_jwks_t *jwks, const entra_key_t *key)
{
    bool                known;
    const char         *why;
    const entra_key_t  *found;

    why = NULL;
    found = entra_jwks_find(jwks, entra_key_kid(key), ENTRA_STR_NONE,
                            ENTRA_STR_NONE, &known, &why);

    fuzz_claim(known);
    fuzz_issuer(jwks, key, found);

    if (found != NULL) {
        fuzz_claim(entra_key_unusable(found) == NULL);
        fuzz_claim(entra_str_eq(entra_key_kid(found), entra_key_kid(key)));
        fuzz_claim(entra_key_verify(found, entra_lit("input"),
                                    entra_lit("signature"))
                   == ENTRA_SIGNATURE_BAD);
        return;
    }

    /* then no key of that kid may be used, this one neither */

    fuzz_claim(why != NULL);
    fuzz_claim(entra_key_unusable(key) != NULL);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t         i, usable;
    pool_t         pool;
    const char    *error;
    entra_jwks_t  *jwks;

    pool_init(&pool);
    error = NULL;

    jwks = entra_jwks_parse(fuzz_copy(&pool, data, size), &error);

    if (jwks == NULL) {
        fuzz_claim(error != NULL);
        pool_free(&pool);
        return 0;
    }

    usable = 0;

    for (i = 0; i < entra_jwks_count(jwks); i++) {
        fuzz_key(jwks, entra_jwks_key(jwks, i));
        usable += entra_key_unusable(entra_jwks_key(jwks, i)) == NULL;
    }

    fuzz_claim(usable > 0 && usable == entra_jwks_usable(jwks));

    entra_jwks_free(jwks);
    pool_free(&pool);

    return 0;
}
