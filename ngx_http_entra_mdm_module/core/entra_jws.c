/*
 * Compact JWS: splitting, decoding, reading the header.
 */

#include "entra_base64.h"
#include "entra_json_scan.h"
#include "entra_jws.h"


/* three parts and no more; an empty signature is for the judge of it */

static bool
entra_jws_split(entra_str_t token, entra_str_t part[3])
{
    size_t       i;
    const char  *dot;

    for (i = 0; i < 2; i++) {
        dot = token.len ? memchr(token.data, '.', token.len) : NULL;

        if (dot == NULL || dot == token.data) {
            return false;
        }

        part[i] = (entra_str_t) { token.data, (size_t) (dot - token.data) };
        token = entra_str_from(token, part[i].len + 1);
    }

    part[2] = token;

    return token.len == 0 || memchr(token.data, '.', token.len) == NULL;
}


static entra_reason_t
entra_jws_decode(entra_str_t part, const entra_mem_t *mem, entra_str_t *bytes)
{
    char    *out;
    size_t   len;

    out = entra_alloc(mem, ENTRA_BASE64_DECODED_MAX(part.len));
    if (out == NULL) {
        return ENTRA_INTERNAL;
    }

    if (!entra_base64url_decode(part, out, &len)) {
        return ENTRA_TOKEN_MALFORMED;
    }

    *bytes = (entra_str_t) { out, len };

    return ENTRA_OK;
}


typedef struct {
    entra_str_t  alg;                   /* data NULL: none, or no string */
    entra_str_t  kid;
    bool         crit;
    bool         nonce;
} entra_jws_header_t;


static bool
entra_jws_header_item(void *data, const entra_json_item_t *item)
{
    entra_jws_header_t  *header = data;

    if (entra_str_eq(item->name, entra_lit("crit"))) {
        header->crit = true;

    } else if (entra_str_eq(item->name, entra_lit("nonce"))) {
        header->nonce = true;

    } else if (item->type != ENTRA_JSON_STRING) {
        return true;

    } else if (entra_str_eq(item->name, entra_lit("alg"))) {
        header->alg = item->value;

    } else if (entra_str_eq(item->name, entra_lit("kid"))) {
        header->kid = item->value;
    }

    return true;
}


static entra_reason_t
entra_jws_header(entra_str_t text, const entra_mem_t *mem, entra_jws_t *jws,
    const char **why)
{
    entra_reason_t      reason;
    entra_jws_header_t  header;

    memset(&header, 0, sizeof(entra_jws_header_t));

    reason = entra_json_scan(text, ENTRA_JSON_OBJECT, mem,
                             entra_jws_header_item, &header);

    if (reason == ENTRA_TOKEN_MALFORMED) {
        *why = "its header is not a JSON object, or has a name twice";
    }

    if (reason != ENTRA_OK) {
        return reason;
    }

    if (header.alg.data == NULL || header.kid.data == NULL) {
        *why = "alg or kid in its header is missing or not a string";
        return ENTRA_TOKEN_MALFORMED;
    }

    jws->kid = header.kid;
    jws->rs256 = entra_str_eq(header.alg, entra_lit("RS256"));
    jws->crit = header.crit;
    jws->nonce = header.nonce;

    return ENTRA_OK;
}


size_t
entra_jws_signing_len(entra_str_t token)
{
    entra_str_t  part[3];

    return entra_jws_split(token, part) ? part[0].len + 1 + part[1].len : 0;
}


entra_reason_t
entra_jws_parse(entra_str_t token, const entra_mem_t *mem, entra_jws_t *jws,
    const char **why)
{
    entra_str_t     part[3], header;
    entra_reason_t  reason;

    if (!entra_jws_split(token, part)) {
        *why = "it does not have three parts";
        return ENTRA_TOKEN_MALFORMED;
    }

    jws->signing_input = (entra_str_t) { token.data,
                                         part[0].len + 1 + part[1].len };

    reason = entra_jws_decode(part[0], mem, &header);

    if (reason == ENTRA_OK) {
        reason = entra_jws_decode(part[1], mem, &jws->payload);
    }

    if (reason == ENTRA_OK) {
        reason = entra_jws_decode(part[2], mem, &jws->signature);
    }

    if (reason == ENTRA_TOKEN_MALFORMED) {
        *why = "a part of it is not base64url without padding";
    }

    if (reason != ENTRA_OK) {
        return reason;
    }

    return entra_jws_header(header, mem, jws, why);
}
