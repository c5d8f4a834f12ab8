/*
 * From a JSON payload to typed claims.
 */

#include "entra_claims.h"
#include "entra_json.h"


static void
entra_claims_str(json_t *json, const char *name, entra_claim_str_t *claim)
{
    json_t  *value;

    value = json_object_get(json, name);

    if (value == NULL) {
        claim->state = ENTRA_CLAIM_ABSENT;
        return;
    }

    if (!json_is_string(value)) {
        claim->state = ENTRA_CLAIM_WRONG;
        return;
    }

    claim->state = ENTRA_CLAIM_PRESENT;
    claim->value = entra_json_str(value);
}


static void
entra_claims_time(json_t *json, const char *name, entra_claim_time_t *claim)
{
    json_t  *value;

    value = json_object_get(json, name);

    if (value == NULL) {
        claim->state = ENTRA_CLAIM_ABSENT;
        return;
    }

    if (!json_is_number(value)) {
        claim->state = ENTRA_CLAIM_WRONG;
        return;
    }

    claim->state = ENTRA_CLAIM_PRESENT;
    claim->value = json_number_value(value);
}


/* RFC 7519 4.1.3: one string or an array of strings; false: out of memory */

static bool
entra_claims_aud(json_t *json, const entra_mem_t *mem, entra_claims_t *claims)
{
    json_t  *aud, *item;
    size_t   i, n;

    aud = json_object_get(json, "aud");

    if (aud == NULL) {
        claims->aud_state = ENTRA_CLAIM_ABSENT;
        return true;
    }

    claims->aud_state = ENTRA_CLAIM_WRONG;

    if (!json_is_string(aud) && !json_is_array(aud)) {
        return true;
    }

    n = json_is_string(aud) ? 1 : json_array_size(aud);

    claims->aud = entra_alloc(mem, n * sizeof(entra_str_t));
    if (claims->aud == NULL) {
        return false;
    }

    for (i = 0; i < n; i++) {
        item = json_is_string(aud) ? aud : json_array_get(aud, i);

        if (!json_is_string(item)) {
            return true;
        }

        claims->aud[i] = entra_json_str(item);
    }

    claims->naud = n;
    claims->aud_state = ENTRA_CLAIM_PRESENT;

    return true;
}


entra_reason_t
entra_claims_parse(entra_str_t payload, const entra_mem_t *mem,
    entra_claims_t *claims)
{
    json_t          *json;
    entra_reason_t   reason;

    memset(claims, 0, sizeof(entra_claims_t));

    reason = entra_json_object(payload, &json);
    if (reason != ENTRA_OK) {
        return reason;
    }

    if (!entra_claims_aud(json, mem, claims)) {
        json_decref(json);
        memset(claims, 0, sizeof(entra_claims_t));
        return ENTRA_INTERNAL;
    }

    claims->json = json;

    entra_claims_str(json, "iss", &claims->iss);
    entra_claims_str(json, "tid", &claims->tid);
    entra_claims_str(json, "scp", &claims->scp);
    entra_claims_str(json, "upn", &claims->upn);
    entra_claims_str(json, "preferred_username", &claims->preferred_username);
    entra_claims_str(json, "oid", &claims->oid);
    entra_claims_str(json, "deviceid", &claims->deviceid);
    entra_claims_str(json, "ver", &claims->ver);

    entra_claims_time(json, "exp", &claims->exp);
    entra_claims_time(json, "nbf", &claims->nbf);
    entra_claims_time(json, "iat", &claims->iat);

    return ENTRA_OK;
}


void
entra_claims_free(entra_claims_t *claims)
{
    json_decref(claims->json);
    claims->json = NULL;
}


bool
entra_claims_get(const entra_claims_t *claims, entra_str_t name,
    const entra_mem_t *mem, entra_str_t *value)
{
    bool         copied;
    char        *text;
    json_t      *found, *member;
    const char  *key;

    found = NULL;

    json_object_foreach(claims->json, key, member) {

        if (!entra_str_ieq(entra_str(key), name)) {
            continue;
        }

        if (found != NULL) {
            return false;
        }

        found = member;
    }

    if (found == NULL) {
        return false;
    }

    if (json_is_string(found)) {
        return entra_str_copy(mem, entra_json_str(found), value);
    }

    /* 15 digits always come back as they were written, 17 make 0.1 longer */

    text = json_dumps(found,
                      JSON_COMPACT|JSON_ENCODE_ANY|JSON_REAL_PRECISION(15));
    if (text == NULL) {
        return false;
    }

    copied = entra_str_copy(mem, entra_str(text), value);
    free(text);

    return copied;
}
