/*
 * Keys and tokens, made as they are needed: nothing in the tests is signed by
 * a key that exists anywhere else.
 */

#ifndef TOKEN_H
#define TOKEN_H

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>

#include "entra_verify.h"
#include "pool.h"


#define TOKEN_NOW       1800000000
#define TOKEN_TID       "6d8769e6-0f8b-418d-b385-1a53968781c9"
#define TOKEN_TID_2     "0b1c2d3e-4f50-4a6b-8c7d-9e0f1a2b3c4d"
#define TOKEN_CONSUMER  "9188040d-6c67-4c5b-b112-36a304b66dad"
#define TOKEN_CLIENT    "11111111-2222-3333-4444-555555555555"
#define TOKEN_V1        "https://sts.windows.net/"
#define TOKEN_V2        "https://login.microsoftonline.com/"
#define TOKEN_TEMPLATE  TOKEN_V2 "{tenantid}/v2.0"


/*** base64 ***/


static inline entra_str_t
token_base64(pool_t *pool, entra_str_t bytes)
{
    char  *out;
    int    len;

    out = pool_alloc(pool, bytes.len / 3 * 4 + 5);
    len = EVP_EncodeBlock((unsigned char *) out,
                          (const unsigned char *) bytes.data, (int) bytes.len);

    return (entra_str_t) { out, (size_t) len };
}


static inline entra_str_t
token_base64url(pool_t *pool, entra_str_t bytes)
{
    char         *c;
    entra_str_t   text;

    text = token_base64(pool, bytes);

    while (text.len && text.data[text.len - 1] == '=') {
        text.len--;
    }

    for (c = (char *) text.data; c < text.data + text.len; c++) {
        *c = *c == '+' ? '-' : *c == '/' ? '_' : *c;
    }

    /* an end of its own, for formats */
    return entra_str(pool_text(pool, "%.*s", (int) text.len, text.data));
}


/*** keys ***/


static inline EVP_PKEY *
token_key(unsigned bits)
{
    EVP_PKEY  *key;

    key = EVP_RSA_gen(bits);
    if (key == NULL) {
        tap_bail("no RSA key");
    }

    return key;
}


/* "n" or "e" of a key in base64url */

static inline char *
token_number(pool_t *pool, EVP_PKEY *key, const char *name)
{
    int             len;
    BIGNUM         *number;
    unsigned char   bytes[2048 + 1];

    number = NULL;

    if (!EVP_PKEY_get_bn_param(key, name, &number)) {
        tap_bail("no number in the key");
    }

    len = BN_bn2bin(number, bytes);
    BN_free(number);

    return (char *) token_base64url(pool,
        (entra_str_t) { (char *) bytes, (size_t) len }).data;
}


/* a member of "keys"; more is JSON text such as ,"use":"sig" */

static inline char *
token_jwk(pool_t *pool, EVP_PKEY *key, const char *kid, const char *more)
{
    return pool_text(pool,
        "{\"kty\":\"RSA\",\"kid\":\"%s\",\"n\":\"%s\",\"e\":\"%s\"%s}",
        kid, token_number(pool, key, OSSL_PKEY_PARAM_RSA_N),
        token_number(pool, key, OSSL_PKEY_PARAM_RSA_E), more);
}


/*** JSON by its text, so that it can be wrong ***/


#define TOKEN_MEMBERS  32

typedef struct {
    char    *name[TOKEN_MEMBERS];
    char    *value[TOKEN_MEMBERS];
    size_t   count;
} token_json_t;


/*
 * Edits parted by "|": "name=JSON" replaces a member or adds it, "+name=JSON"
 * adds it in any case, "-name" takes it out, "!TEXT" is the whole of it.
 */

static inline void
token_edit(pool_t *pool, token_json_t *json, const char *edits)
{
    char    *edit, *value, *next;
    size_t   i;

    for (edit = pool_text(pool, "%s", edits); *edit; edit = next) {

        next = strchr(edit, '|');

        if (next != NULL) {
            *next++ = '\0';

        } else {
            next = edit + strlen(edit);
        }

        value = strchr(edit, '=');

        if (value != NULL) {
            *value++ = '\0';
        }

        i = json->count;

        if (*edit != '+') {
            for (i = 0; i < json->count; i++) {
                if (strcmp(json->name[i], edit + (*edit == '-')) == 0) {
                    break;
                }
            }
        }

        if (*edit == '-') {
            if (i < json->count) {
                json->value[i] = NULL;
            }

            continue;
        }

        if (i == json->count) {
            if (i == TOKEN_MEMBERS) {
                tap_bail("more than TOKEN_MEMBERS members");
            }

            json->count++;
        }

        json->name[i] = edit + (*edit == '+');
        json->value[i] = value;
    }
}


static inline char *
token_json(pool_t *pool, const char *defaults, const char *edits)
{
    char          *text;
    size_t         i;
    token_json_t   json;

    if (*edits == '!') {
        return pool_text(pool, "%s", edits + 1);
    }

    json.count = 0;
    token_edit(pool, &json, defaults);
    token_edit(pool, &json, edits);

    text = pool_text(pool, "{");

    for (i = 0; i < json.count; i++) {
        if (json.value[i] != NULL) {
            text = pool_text(pool, "%s%s\"%s\":%s", text,
                             text[1] ? "," : "", json.name[i], json.value[i]);
        }
    }

    return pool_text(pool, "%s}", text);
}


#define TOKEN_CLAIMS_V2                                                       \
    "aud=\"" TOKEN_CLIENT "\"|iss=\"" TOKEN_V2 TOKEN_TID "/v2.0\""            \
    "|iat=1799999900|nbf=1799999900|exp=1800003600"                           \
    "|azp=\"29d9ed98-a469-4536-ade2-f981bc1d605e\"|name=\"Bob Roe\""          \
    "|oid=\"0f1e2d3c-4b5a-4978-8695-a4b3c2d1e0f9\""                           \
    "|preferred_username=\"bob@example.com\"|scp=\"mdm_delegation\""          \
    "|tid=\"" TOKEN_TID "\"|ver=\"2.0\""

#define TOKEN_CLAIMS_V1                                                       \
    "aud=\"https://fleet.example.com\"|iss=\"" TOKEN_V1 TOKEN_TID "/\""       \
    "|iat=1799999900|nbf=1799999900|exp=1800003600"                           \
    "|appid=\"29d9ed98-a469-4536-ade2-f981bc1d605e\""                         \
    "|deviceid=\"11ea4b2e-0c39-4a7a-9a09-1a2b3c4d5e6f\""                      \
    "|scp=\"mdm_delegation\"|tid=\"" TOKEN_TID "\""                           \
    "|unique_name=\"ann@example.com\"|upn=\"ann@example.com\"|ver=\"1.0\""

#define TOKEN_HEADER  "typ=\"JWT\"|alg=\"RS256\"|kid=\"%s\""


/*** tokens ***/


/* RS256 by that key; NULL: no signature at all */

static inline entra_str_t
token_signature(pool_t *pool, EVP_PKEY *key, const char *input)
{
    char        *out;
    size_t       len;
    EVP_MD_CTX  *ctx;

    if (key == NULL) {
        return entra_lit("");
    }

    ctx = EVP_MD_CTX_new();
    len = (size_t) EVP_PKEY_get_size(key);
    out = pool_alloc(pool, len);

    if (ctx == NULL
        || EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, key) != 1
        || EVP_DigestSign(ctx, (unsigned char *) out, &len,
                          (const unsigned char *) input, strlen(input)) != 1)
    {
        tap_bail("no signature");
    }

    EVP_MD_CTX_free(ctx);

    return (entra_str_t) { out, len };
}


/* header and payload are bytes, which may hold anything */

static inline entra_str_t
token_sign_bytes(pool_t *pool, EVP_PKEY *key, entra_str_t header,
    entra_str_t payload)
{
    char         *input;
    entra_str_t   signature;

    input = pool_text(pool, "%s.%s", token_base64url(pool, header).data,
                      token_base64url(pool, payload).data);

    signature = token_signature(pool, key, input);

    return entra_str(pool_text(pool, "%s.%s", input,
                               token_base64url(pool, signature).data));
}


static inline entra_str_t
token_sign(pool_t *pool, EVP_PKEY *key, const char *header,
    const char *payload)
{
    return token_sign_bytes(pool, key, entra_str(header), entra_str(payload));
}


/*** what the gate asks of a token ***/


static inline entra_reason_t
token_judge(entra_str_t token, size_t max_len, const entra_jwks_t *jwks,
    const entra_policy_t *policy, pool_t *pool, entra_verdict_t *verdict)
{
    entra_reason_t  reason;

    reason = entra_verify(token, max_len, jwks, &pool->mem, verdict);
    if (reason != ENTRA_OK) {
        return reason;
    }

    return entra_policy_judge(policy, NULL, &verdict->claims, TOKEN_NOW,
                              &verdict->identity, &verdict->why);
}


#endif /* TOKEN_H */
