/*
 * What an administrator trusts, and the judgement of verified claims by it.
 */

#ifndef ENTRA_POLICY_H
#define ENTRA_POLICY_H

#include "entra_claims.h"
#include "entra_set.h"


/* a list that changes while requests are judged */

typedef struct {
    entra_set_t  ids;
    bool         known;                 /* false: nobody can say who is on it */
} entra_list_t;

typedef enum {
    ENTRA_CLIENT_IDS = 0,
    ENTRA_TENANT_IDS,
    ENTRA_LISTS
} entra_lists_e;

typedef struct {
    entra_list_t  list[ENTRA_LISTS];
} entra_lists_t;


typedef struct {
    const entra_str_t  *hosts;          /* host[:port] of each server URL */
    size_t              nhosts;
    const entra_str_t  *issuers;        /* templates, see entra_issuer.h */
    size_t              nissuers;
    entra_set_t         client_ids;
    entra_set_t         tenant_ids;
    entra_str_t         scope;          /* empty: not looked at */
    int64_t             leeway;         /* seconds of clock skew */
    bool                require_upn;
} entra_policy_t;


typedef struct {
    entra_str_t  user;                  /* empty: the token names none */
    entra_str_t  audience;              /* the one that matched */
} entra_identity_t;


/*
 * Judges claims whose signature has been verified, in one fixed order: time,
 * types of the claims, issuer, scope, audience, tenant, user.  now is in
 * seconds since 1970.  Accepted is what the policy's own lists hold, or the
 * live ones; live may be NULL.  Where a live list that is not known could make
 * the difference, the reason is ENTRA_LISTS_UNAVAILABLE.
 *
 * On ENTRA_OK fills *identity with views into *claims; otherwise returns the
 * first reason to refuse, with *why a static text where the reason alone does
 * not say it all, else NULL.  Never ENTRA_INTERNAL.
 */
entra_reason_t entra_policy_judge(const entra_policy_t *policy,
    const entra_lists_t *live, const entra_claims_t *claims, int64_t now,
    entra_identity_t *identity, const char **why);

/*
 * Whether a token signed by a key nobody knows is worth a look for new keys:
 * its issuer has a trusted form and its tenant is listed.  Nobody's word, but
 * random tokens cause no fetch.
 */
bool entra_policy_may_ask(const entra_policy_t *policy,
    const entra_lists_t *live, const entra_claims_t *claims);


/*
 * Whom a token names: upn or, where that is missing, empty or not a string,
 * preferred_username.  Empty if it names nobody.
 */
entra_str_t entra_policy_user_of(const entra_claims_t *claims);


#endif /* ENTRA_POLICY_H */
