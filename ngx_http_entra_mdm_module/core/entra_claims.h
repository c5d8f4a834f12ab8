/*
 * The claims of a token, typed.  Reading them judges nothing but the form:
 * that the payload is a JSON object.  Whether a claim is there, of the right
 * type and acceptable is for entra_policy to say.
 */

#ifndef ENTRA_CLAIMS_H
#define ENTRA_CLAIMS_H

#include "entra_guid.h"
#include "entra_mem.h"
#include "entra_reason.h"


typedef enum {
    ENTRA_CLAIM_ABSENT = 0,
    ENTRA_CLAIM_WRONG,                  /* there, but of another type */
    ENTRA_CLAIM_PRESENT
} entra_claim_state_t;


typedef struct {
    entra_claim_state_t  state;
    entra_str_t          value;         /* if present */
} entra_claim_str_t;


/* NumericDate of RFC 7519 2: seconds since 1970 UTC, whole or fractional */

typedef struct {
    entra_claim_state_t  state;
    double               value;         /* if present */
} entra_claim_time_t;


typedef struct {
    entra_claim_str_t    iss;
    entra_claim_str_t    tid;
    entra_claim_str_t    scp;
    entra_claim_str_t    upn;
    entra_claim_str_t    preferred_username;
    entra_claim_str_t    oid;
    entra_claim_str_t    deviceid;
    entra_claim_str_t    ver;

    entra_claim_time_t   exp;
    entra_claim_time_t   nbf;
    entra_claim_time_t   iat;

    /* one string, or an array of them: naud values from aud on */
    entra_claim_state_t  aud_state;
    entra_str_t         *aud;
    size_t               naud;

    entra_str_t          payload;       /* all of it; data NULL: none */
} entra_claims_t;


/*
 * Reads a payload.  On ENTRA_OK *claims is made of views into payload and
 * memory from mem.  Otherwise ENTRA_TOKEN_MALFORMED or ENTRA_INTERNAL (out of
 * memory), and *claims is empty.
 */
entra_reason_t entra_claims_parse(entra_str_t payload, const entra_mem_t *mem,
    entra_claims_t *claims);

/*
 * Claims that stand on their own: a copy in one piece of memory, of so many
 * bytes, aligned as malloc() does.
 */
size_t entra_claims_size(const entra_claims_t *claims);
void entra_claims_copy(const entra_claims_t *claims, void *piece,
    entra_claims_t *copy);

/*
 * Any claim by its name, compared without regard to case: a string as it is,
 * a number as it was written, everything else as compact JSON.  false: none,
 * two that differ only in case, or out of memory.  *value is copied to mem.
 */
bool entra_claims_get(const entra_claims_t *claims, entra_str_t name,
    const entra_mem_t *mem, entra_str_t *value);


#endif /* ENTRA_CLAIMS_H */
