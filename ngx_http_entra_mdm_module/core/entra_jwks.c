/*
 * Key sets: JSON into OpenSSL keys, and the verification itself.
 */

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <openssl/rsa.h>
#include <stdlib.h>

#include "entra_base64.h"
#include "entra_issuer.h"
#include "entra_json.h"
#include "entra_jwks.h"


struct entra_key_s {
    entra_str_t   kid;                  /* points into the set's JSON */
    entra_str_t   issuer;               /* data NULL: none */
    const char   *unusable;             /* NULL: may be used */
    EVP_PKEY_CTX *prepared;             /* to verify by, again and again */
    size_t        position;             /* in the document */
};


struct entra_jwks_s {
    json_t       *json;
    size_t        count;
    size_t        usable;
    size_t        nameless;
    entra_key_t  *keys;
};


/*** one key ***/


/* not a fault of the key: the whole set is given up */
static const char  entra_key_no_memory[] = "out of memory";


/*
 * A positive integer in base64url (RFC 7518 6.3.1).  Returns why there is
 * none, or NULL.
 */

static const char *
entra_key_integer(json_t *jwk, const char *name, BIGNUM **number)
{
    bool          decoded;
    char         *bytes;
    size_t        len;
    json_t       *value;
    entra_str_t   text;

    static const char  why[] = "its modulus or exponent is missing or"
                               " unreadable";

    value = json_object_get(jwk, name);
    if (!json_is_string(value)) {
        return why;
    }

    text = entra_json_str(value);

    if (text.len == 0 || text.len > ENTRA_RSA_MAX_BITS) {
        return why;
    }

    bytes = malloc(ENTRA_BASE64_DECODED_MAX(text.len));
    if (bytes == NULL) {
        return entra_key_no_memory;
    }

    decoded = entra_base64url_decode(text, bytes, &len);

    if (decoded) {
        *number = BN_bin2bn((unsigned char *) bytes, (int) len, NULL);
    }

    free(bytes);

    if (!decoded) {
        return why;
    }

    return *number == NULL ? entra_key_no_memory : NULL;
}


/* empties OpenSSL's error queue; true: it said that memory ran out */

static bool
entra_key_memory_failed(void)
{
    bool           failed;
    unsigned long  error;

    failed = false;

    while ((error = ERR_get_error()) != 0) {
        failed |= ERR_GET_REASON(error) == ERR_R_MALLOC_FAILURE;
    }

    /* the texts of what was taken out are still there */
    ERR_clear_error();

    return failed;
}


static EVP_PKEY *
entra_key_rsa(BIGNUM *n, BIGNUM *e)
{
    EVP_PKEY        *pkey;
    OSSL_PARAM      *params;
    EVP_PKEY_CTX    *ctx;
    OSSL_PARAM_BLD  *builder;

    pkey = NULL;
    ctx = NULL;
    params = NULL;

    builder = OSSL_PARAM_BLD_new();

    if (builder == NULL
        || !OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_RSA_N, n)
        || !OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_RSA_E, e))
    {
        goto done;
    }

    params = OSSL_PARAM_BLD_to_param(builder);
    ctx = EVP_PKEY_CTX_new_from_name(NULL, "RSA", NULL);

    if (params == NULL || ctx == NULL
        || EVP_PKEY_fromdata_init(ctx) <= 0
        || EVP_PKEY_fromdata(ctx, &pkey, EVP_PKEY_PUBLIC_KEY, params) <= 0)
    {
        pkey = NULL;
    }

done:

    EVP_PKEY_CTX_free(ctx);
    OSSL_PARAM_free(params);
    OSSL_PARAM_BLD_free(builder);

    return pkey;
}


/* setting up costs OpenSSL 3 much, so each key is set up once */

static EVP_PKEY_CTX *
entra_key_prepare(EVP_PKEY *pkey)
{
    EVP_PKEY_CTX  *ctx;

    ctx = EVP_PKEY_CTX_new_from_pkey(NULL, pkey, NULL);

    if (ctx == NULL
        || EVP_PKEY_verify_init(ctx) <= 0
        || EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PADDING) <= 0
        || EVP_PKEY_CTX_set_signature_md(ctx, EVP_sha256()) <= 0)
    {
        EVP_PKEY_CTX_free(ctx);
        return NULL;
    }

    return ctx;
}


/* returns why the key may not be used, or NULL */

static const char *
entra_key_load(json_t *jwk, entra_key_t *key)
{
    int          bits;
    BIGNUM      *n, *e;
    EVP_PKEY    *pkey;
    const char  *why;

    n = NULL;
    e = NULL;
    pkey = NULL;

    ERR_clear_error();

    why = entra_key_integer(jwk, "n", &n);

    if (why == NULL) {
        why = entra_key_integer(jwk, "e", &e);
    }

    if (why != NULL) {
        goto done;
    }

    bits = BN_num_bits(n);

    if (bits < ENTRA_RSA_MIN_BITS) {
        why = "it is shorter than 2048 bits";
        goto done;
    }

    if (bits > ENTRA_RSA_MAX_BITS) {
        why = "it is longer than 16384 bits";
        goto done;
    }

    /* an exponent of 1 makes every signature its own proof */

    if (!BN_is_odd(n) || !BN_is_odd(e) || BN_is_one(e)
        || BN_num_bits(e) > ENTRA_RSA_MAX_EXPONENT_BITS)
    {
        why = "its modulus or exponent is not one of RSA";
        goto done;
    }

    pkey = entra_key_rsa(n, e);
    if (pkey != NULL) {
        key->prepared = entra_key_prepare(pkey);
    }

    if (key->prepared == NULL) {
        /* without memory OpenSSL often says nothing at all */

        why = ERR_peek_error() == 0 || entra_key_memory_failed()
              ? entra_key_no_memory : "OpenSSL does not accept it";
    }

done:

    EVP_PKEY_free(pkey);
    BN_free(n);
    BN_free(e);
    ERR_clear_error();

    return why;
}


static bool
entra_key_member_is(json_t *jwk, const char *name, const char *wanted)
{
    json_t  *value;

    value = json_object_get(jwk, name);

    return value == NULL
           || (json_is_string(value)
               && entra_str_eq(entra_json_str(value), entra_str(wanted)));
}


static const char *
entra_key_read(json_t *jwk, entra_key_t *key)
{
    json_t  *issuer;

    if (json_object_get(jwk, "kty") == NULL
        || !entra_key_member_is(jwk, "kty", "RSA"))
    {
        return "its kty is not RSA";
    }

    if (!entra_key_member_is(jwk, "use", "sig")) {
        return "its use is not sig";
    }

    if (!entra_key_member_is(jwk, "alg", "RS256")) {
        return "its alg is not RS256";
    }

    issuer = json_object_get(jwk, "issuer");

    if (issuer != NULL) {
        if (!json_is_string(issuer)) {
            return "its issuer is not a string";
        }

        key->issuer = entra_json_str(issuer);
    }

    return entra_key_load(jwk, key);
}


entra_str_t
entra_key_kid(const entra_key_t *key)
{
    return key->kid;
}


const char *
entra_key_unusable(const entra_key_t *key)
{
    return key->unusable;
}


entra_signature_t
entra_key_verify_digest(const entra_key_t *key, const entra_digest_t *digest,
    entra_str_t signature)
{
    ERR_clear_error();

    if (EVP_PKEY_verify(key->prepared, (const unsigned char *) signature.data,
                        signature.len, digest->bytes, sizeof(digest->bytes))
        == 1)
    {
        return ENTRA_SIGNATURE_OK;
    }

    /* what OpenSSL queued would also show up in an unrelated log line */

    return entra_key_memory_failed() ? ENTRA_SIGNATURE_ERROR
                                     : ENTRA_SIGNATURE_BAD;
}


entra_signature_t
entra_key_verify(const entra_key_t *key, entra_str_t input,
    entra_str_t signature)
{
    entra_digest_t  digest;

    if (!entra_digest(input, &digest)) {
        return ENTRA_SIGNATURE_ERROR;
    }

    return entra_key_verify_digest(key, &digest, signature);
}


/*** the set ***/


static int
entra_jwks_compare_kid(entra_str_t a, entra_str_t b)
{
    if (a.len != b.len) {
        return a.len < b.len ? -1 : 1;
    }

    return a.len ? memcmp(a.data, b.data, a.len) : 0;
}


/* keys of one kid keep the document's order */

static int
entra_jwks_compare(const void *one, const void *two)
{
    int                 order;
    const entra_key_t  *a, *b;

    a = one;
    b = two;

    order = entra_jwks_compare_kid(a->kid, b->kid);

    if (order != 0) {
        return order;
    }

    return a->position < b->position ? -1 : a->position > b->position;
}


/* false: out of memory */

static bool
entra_jwks_read(entra_jwks_t *jwks, json_t *keys)
{
    size_t        i;
    json_t       *jwk, *kid;
    entra_key_t  *key;

    json_array_foreach(keys, i, jwk) {

        kid = json_object_get(jwk, "kid");
        if (!json_is_string(kid)) {
            jwks->nameless++;
            continue;
        }

        key = &jwks->keys[jwks->count++];

        key->kid = entra_json_str(kid);
        key->position = i;
        key->unusable = entra_key_read(jwk, key);

        if (key->unusable == entra_key_no_memory) {
            return false;
        }

        if (key->unusable == NULL) {
            jwks->usable++;
        }
    }

    qsort(jwks->keys, jwks->count, sizeof(entra_key_t), entra_jwks_compare);

    return true;
}


entra_jwks_t *
entra_jwks_parse(entra_str_t text, const char **error)
{
    size_t           n;
    json_t          *keys;
    entra_jwks_t    *jwks;
    entra_reason_t   reason;

    *error = "out of memory";

    jwks = calloc(1, sizeof(entra_jwks_t));
    if (jwks == NULL) {
        return NULL;
    }

    reason = entra_json_object(text, &jwks->json);

    if (reason == ENTRA_TOKEN_MALFORMED) {
        *error = "not a JSON object, or one with a name twice";
    }

    if (reason != ENTRA_OK) {
        goto failed;
    }

    keys = json_object_get(jwks->json, "keys");

    if (!json_is_array(keys)) {
        *error = "no \"keys\" array in it";
        goto failed;
    }

    n = json_array_size(keys);

    jwks->keys = calloc(n ? n : 1, sizeof(entra_key_t));
    if (jwks->keys == NULL) {
        goto failed;
    }

    if (!entra_jwks_read(jwks, keys)) {
        goto failed;
    }

    if (jwks->usable == 0) {
        *error = "no usable RSA key in it";
        goto failed;
    }

    return jwks;

failed:

    entra_jwks_free(jwks);

    return NULL;
}


void
entra_jwks_free(entra_jwks_t *jwks)
{
    size_t  i;

    if (jwks == NULL) {
        return;
    }

    /* false alarm (NullDereference): without keys, count is 0 */
    for (i = 0; i < jwks->count; i++) {
        EVP_PKEY_CTX_free(jwks->keys[i].prepared);
    }

    free(jwks->keys);
    json_decref(jwks->json);
    free(jwks);
}


size_t
entra_jwks_count(const entra_jwks_t *jwks)
{
    return jwks->count;
}


size_t
entra_jwks_usable(const entra_jwks_t *jwks)
{
    return jwks->usable;
}


size_t
entra_jwks_nameless(const entra_jwks_t *jwks)
{
    return jwks->nameless;
}


const entra_key_t *
entra_jwks_key(const entra_jwks_t *jwks, size_t i)
{
    return &jwks->keys[i];
}


/* the first key of that kid, or where it would stand */

static size_t
entra_jwks_lower_bound(const entra_jwks_t *jwks, entra_str_t kid)
{
    size_t  low, high, middle;

    low = 0;
    high = jwks->count;

    while (low < high) {
        middle = low + (high - low) / 2;

        if (entra_jwks_compare_kid(jwks->keys[middle].kid, kid) < 0) {
            low = middle + 1;

        } else {
            high = middle;
        }
    }

    return low;
}


const entra_key_t *
entra_jwks_find(const entra_jwks_t *jwks, entra_str_t kid, entra_str_t iss,
    entra_str_t tid, bool *known, const char **why)
{
    size_t              i;
    const entra_key_t  *key;

    *known = false;
    *why = NULL;

    for (i = entra_jwks_lower_bound(jwks, kid); i < jwks->count; i++) {
        key = &jwks->keys[i];

        if (!entra_str_eq(key->kid, kid)) {
            break;
        }

        *known = true;

        if (key->unusable != NULL) {
            *why = key->unusable;
            continue;
        }

        if (key->issuer.data != NULL && iss.data != NULL
            && !entra_issuer_key_covers(key->issuer, iss, tid))
        {
            *why = "its issuer does not cover the token's";
            continue;
        }

        return key;
    }

    return NULL;
}
