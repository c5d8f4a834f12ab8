/*
 * What an administrator trusts, and the judgement of verified claims by it.
 */

#ifndef ENTRA_POLICY_H
#define ENTRA_POLICY_H

#include "entra_claims.h"
#include "entra_set.h"


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
 * seconds since 1970.  On ENTRA_OK fills *identity with views into *claims;
 * otherwise returns the first reason to refuse, with *why a static text where
 * the reason alone does not say it all, else NULL.  Never ENTRA_INTERNAL.
 */
entra_reason_t entra_policy_judge(const entra_policy_t *policy,
    const entra_claims_t *claims, int64_t now, entra_identity_t *identity,
    const char **why);


/*
 * Whom a token names: upn or, where that is missing, empty or not a string,
 * preferred_username.  Empty if it names nobody.
 */
entra_str_t entra_policy_user_of(const entra_claims_t *claims);


#endif /* ENTRA_POLICY_H */
