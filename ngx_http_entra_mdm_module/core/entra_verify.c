/*
 * The order of verification.
 */

#include "entra_jws.h"
#include "entra_verify.h"


const char  entra_why_graph[] =
    "it is a token for Microsoft Graph, which nobody else can verify";


static entra_reason_t
entra_verify_form(entra_str_t token, size_t max_len, const entra_mem_t *mem,
    entra_jws_t *jws, entra_verdict_t *verdict)
{
    entra_reason_t  reason;

    if (token.len > max_len) {
        verdict->why = "it is longer than max_token";
        return ENTRA_TOKEN_MALFORMED;
    }

    reason = entra_jws_parse(token, mem, jws, &verdict->why);
    if (reason != ENTRA_OK) {
        return reason;
    }

    verdict->kid = jws->kid;
    verdict->nonce = jws->nonce;

    reason = entra_claims_parse(jws->payload, mem, &verdict->claims);

    if (reason == ENTRA_TOKEN_MALFORMED) {
        verdict->why = "its payload is not a JSON object, or has a name twice";
    }

    return reason;
}


static entra_reason_t
entra_verify_algorithm(const entra_jws_t *jws, entra_verdict_t *verdict)
{
    if (!jws->rs256) {
        return ENTRA_ALGORITHM_NOT_ALLOWED;
    }

    if (jws->crit) {
        verdict->why = "its header has crit";
        return ENTRA_ALGORITHM_NOT_ALLOWED;
    }

    return ENTRA_OK;
}


/*
 * The issuer and the tenant are nobody's word yet; that is enough to choose a
 * key by, since the signature must hold under it.  Where they have no form to
 * compare, the types are refused once the signature is right.
 */

static entra_reason_t
entra_verify_key(const entra_jws_t *jws, const entra_jwks_t *jwks,
    const entra_key_t **key, entra_verdict_t *verdict)
{
    bool                   known;
    entra_str_t            iss, tid;
    entra_guid_t           guid;
    const entra_claims_t  *claims;

    if (jwks == NULL) {
        return ENTRA_KEYS_UNAVAILABLE;
    }

    claims = &verdict->claims;
    iss = ENTRA_STR_NONE;
    tid = ENTRA_STR_NONE;

    if (claims->iss.state == ENTRA_CLAIM_PRESENT
        && claims->tid.state == ENTRA_CLAIM_PRESENT
        && entra_guid_parse(claims->tid.value, &guid))
    {
        iss = claims->iss.value;
        tid = claims->tid.value;
    }

    *key = entra_jwks_find(jwks, jws->kid, iss, tid, &known, &verdict->why);

    if (*key != NULL) {
        return ENTRA_OK;
    }

    return known ? ENTRA_KEY_NOT_ALLOWED : ENTRA_KEY_UNKNOWN;
}


static entra_reason_t
entra_verify_signature(const entra_jws_t *jws, const entra_key_t *key,
    const entra_digest_t *digest, entra_verdict_t *verdict)
{
    entra_signature_t  signature;

    if (jws->nonce) {
        verdict->why = entra_why_graph;
        return ENTRA_SIGNATURE_INVALID;
    }

    signature = digest != NULL
                ? entra_key_verify_digest(key, digest, jws->signature)
                : entra_key_verify(key, jws->signing_input, jws->signature);

    switch (signature) {

    case ENTRA_SIGNATURE_OK:
        return ENTRA_OK;

    case ENTRA_SIGNATURE_ERROR:
        return ENTRA_INTERNAL;

    default:
        return ENTRA_SIGNATURE_INVALID;
    }
}


entra_reason_t
entra_verify_digest(entra_str_t token, size_t max_len,
    const entra_jwks_t *jwks, const entra_digest_t *digest,
    const entra_mem_t *mem, entra_verdict_t *verdict)
{
    entra_jws_t         jws;
    entra_reason_t      reason;
    const entra_key_t  *key;

    memset(verdict, 0, sizeof(entra_verdict_t));

    reason = entra_verify_form(token, max_len, mem, &jws, verdict);
    if (reason != ENTRA_OK) {
        return reason;
    }

    reason = entra_verify_algorithm(&jws, verdict);
    if (reason != ENTRA_OK) {
        return reason;
    }

    reason = entra_verify_key(&jws, jwks, &key, verdict);
    if (reason != ENTRA_OK) {
        return reason;
    }

    verdict->why = NULL;

    reason = entra_verify_signature(&jws, key, digest, verdict);
    if (reason != ENTRA_OK) {
        return reason;
    }

    verdict->verified = true;

    return ENTRA_OK;
}


entra_reason_t
entra_verify(entra_str_t token, size_t max_len, const entra_jwks_t *jwks,
    const entra_mem_t *mem, entra_verdict_t *verdict)
{
    return entra_verify_digest(token, max_len, jwks, NULL, mem, verdict);
}
