/*
 * From a compact JWS to a verdict: form, algorithm, key, signature, then the
 * judgement of the claims.  One bad token always gets the same reason,
 * whatever else is wrong with it.
 */

#ifndef ENTRA_VERIFY_H
#define ENTRA_VERIFY_H

#include "entra_jwks.h"
#include "entra_policy.h"


typedef struct {
    entra_str_t       kid;              /* unverified before the signature */
    bool              verified;         /* the signature is right */
    entra_claims_t    claims;           /* nobody's word unless verified */
    entra_identity_t  identity;         /* on acceptance only */
    const char       *why;              /* more than the reason says, or NULL */
} entra_verdict_t;


/* what the device is told as well as the log: it asked for the wrong token */
extern const char  entra_why_graph[];


/*
 * Judges one token.  Tokens longer than max_len are ENTRA_TOKEN_MALFORMED.
 * Views in *verdict point into token, memory from mem, and the claims; the
 * caller releases these with entra_verdict_free(), whatever was returned.
 * Every path but ENTRA_OK refuses, an internal failure included.  Never logs,
 * never reads the clock: now is in seconds since 1970.
 */
entra_reason_t entra_verify(entra_str_t token, size_t max_len,
    const entra_jwks_t *jwks, const entra_policy_t *policy, int64_t now,
    const entra_mem_t *mem, entra_verdict_t *verdict);

void entra_verdict_free(entra_verdict_t *verdict);


#endif /* ENTRA_VERIFY_H */
