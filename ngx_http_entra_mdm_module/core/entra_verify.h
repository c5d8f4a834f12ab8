/*
 * From a compact JWS to claims that can be trusted: form, algorithm, key,
 * signature.  One bad token always gets the same reason, whatever else is
 * wrong with it.  What the claims must say is entra_policy_judge()'s.
 */

#ifndef ENTRA_VERIFY_H
#define ENTRA_VERIFY_H

#include "entra_jwks.h"
#include "entra_policy.h"


typedef struct {
    entra_str_t       kid;              /* unverified before the signature */
    bool              nonce;            /* for Graph: never to be verified */
    bool              verified;         /* the signature is right */
    entra_claims_t    claims;           /* nobody's word unless verified */
    entra_identity_t  identity;         /* on acceptance only */
    const char       *why;              /* more than the reason says, or NULL */
} entra_verdict_t;


/* what the device is told as well as the log: it asked for the wrong token */
extern const char  entra_why_graph[];


/*
 * Verifies one token.  Tokens longer than max_len are ENTRA_TOKEN_MALFORMED.
 * ENTRA_OK means verified, not accepted: the claims are still to be judged.
 * With ENTRA_KEY_UNKNOWN the claims are there as well, unverified.  Without
 * a key set, jwks being NULL, a well-formed token is ENTRA_KEYS_UNAVAILABLE.
 *
 * Views in *verdict point into token and memory from mem.  Never logs, never
 * reads the clock.
 */
entra_reason_t entra_verify(entra_str_t token, size_t max_len,
    const entra_jwks_t *jwks, const entra_mem_t *mem,
    entra_verdict_t *verdict);

/* the same, where the digest is known of what the token's signature is over */
entra_reason_t entra_verify_digest(entra_str_t token, size_t max_len,
    const entra_jwks_t *jwks, const entra_digest_t *digest,
    const entra_mem_t *mem, entra_verdict_t *verdict);


#endif /* ENTRA_VERIFY_H */
