/*
 * The rules for claims, one function a rule, in the order of judgement.
 */

#include "entra_issuer.h"
#include "entra_policy.h"
#include "entra_url.h"


/*
 * An expiry beyond the year 9999 is no date anybody issues; it is refused
 * rather than trusted for ever.
 */
#define ENTRA_TIME_MAX  253402300799.0


/* RFC 7519 4.1.4 to 4.1.6; a claim of another type is judged with the types */

static entra_reason_t
entra_policy_time(const entra_policy_t *policy, const entra_claims_t *claims,
    int64_t now, const char **why)
{
    double  early, late;

    late = (double) (now - policy->leeway);
    early = (double) (now + policy->leeway);

    if (claims->exp.state == ENTRA_CLAIM_PRESENT && claims->exp.value <= late) {
        return ENTRA_TOKEN_EXPIRED;
    }

    if (claims->nbf.state == ENTRA_CLAIM_PRESENT && claims->nbf.value > early) {
        *why = "its nbf lies in the future";
        return ENTRA_TOKEN_NOT_YET_VALID;
    }

    if (claims->iat.state == ENTRA_CLAIM_PRESENT && claims->iat.value > early) {
        *why = "its iat lies in the future";
        return ENTRA_TOKEN_NOT_YET_VALID;
    }

    return ENTRA_OK;
}


static entra_reason_t
entra_policy_types(const entra_policy_t *policy, const entra_claims_t *claims,
    entra_guid_t *tenant, const char **why)
{
    if (claims->exp.state != ENTRA_CLAIM_PRESENT
        || claims->exp.value > ENTRA_TIME_MAX)
    {
        *why = "exp is missing or not a date";

    } else if (claims->nbf.state == ENTRA_CLAIM_WRONG) {
        *why = "nbf is not a number";

    } else if (claims->iat.state == ENTRA_CLAIM_WRONG) {
        *why = "iat is not a number";

    } else if (claims->iss.state != ENTRA_CLAIM_PRESENT) {
        *why = "iss is missing or not a string";

    } else if (claims->aud_state != ENTRA_CLAIM_PRESENT) {
        *why = "aud is missing or neither a string nor an array of strings";

    } else if (claims->tid.state != ENTRA_CLAIM_PRESENT
               || !entra_guid_parse(claims->tid.value, tenant))
    {
        *why = "tid is missing or not a GUID";

    } else if (policy->scope.len && claims->scp.state != ENTRA_CLAIM_PRESENT) {
        *why = "scp is missing or not a string";

    } else {
        return ENTRA_OK;
    }

    return ENTRA_CLAIM_INVALID;
}


static bool
entra_policy_issuer(const entra_policy_t *policy, const entra_claims_t *claims)
{
    size_t  i;

    for (i = 0; i < policy->nissuers; i++) {
        if (entra_issuer_matches(policy->issuers[i], claims->iss.value,
                                 claims->tid.value))
        {
            return true;
        }
    }

    return false;
}


static bool
entra_policy_scope(const entra_policy_t *policy, const entra_claims_t *claims)
{
    return policy->scope.len == 0
           || entra_str_eq(policy->scope, claims->scp.value);
}


/* on the policy's own list, or on the live one, if there is any */

static entra_reason_t
entra_policy_listed(const entra_set_t *own, const entra_lists_t *live,
    entra_lists_e which, const entra_guid_t *id, entra_reason_t otherwise)
{
    const entra_list_t  *list;

    if (entra_set_has(own, id)) {
        return ENTRA_OK;
    }

    if (live == NULL) {
        return otherwise;
    }

    list = &live->list[which];

    if (!list->known) {
        return ENTRA_LISTS_UNAVAILABLE;
    }

    return entra_set_has(&list->ids, id) ? ENTRA_OK : otherwise;
}


/*
 * v2: a client ID, blanks around it aside.  v1: a URL of one of our hosts.
 * Neither is tied to ver, as in the backend.
 */

static entra_reason_t
entra_policy_audience_matches(const entra_policy_t *policy,
    const entra_lists_t *live, entra_str_t aud)
{
    size_t        i;
    entra_url_t   url;
    entra_guid_t  id;

    if (entra_guid_parse(entra_str_trim(aud), &id)) {
        return entra_policy_listed(&policy->client_ids, live, ENTRA_CLIENT_IDS,
                                   &id, ENTRA_AUDIENCE_NOT_ALLOWED);
    }

    if (!entra_url_parse(aud, &url) || url.host.len == 0) {
        return ENTRA_AUDIENCE_NOT_ALLOWED;
    }

    for (i = 0; i < policy->nhosts; i++) {
        if (entra_str_ieq(url.host, policy->hosts[i])) {
            return ENTRA_OK;
        }
    }

    return ENTRA_AUDIENCE_NOT_ALLOWED;
}


static entra_reason_t
entra_policy_audience(const entra_policy_t *policy, const entra_lists_t *live,
    const entra_claims_t *claims, entra_str_t *audience)
{
    size_t          i;
    entra_reason_t  reason, found;

    reason = ENTRA_AUDIENCE_NOT_ALLOWED;

    for (i = 0; i < claims->naud; i++) {

        found = entra_policy_audience_matches(policy, live, claims->aud[i]);

        if (found == ENTRA_OK) {
            *audience = claims->aud[i];
            return ENTRA_OK;
        }

        if (found == ENTRA_LISTS_UNAVAILABLE) {
            reason = found;
        }
    }

    return reason;
}


/* C0 and C1 controls and DEL, the latter as UTF-8 */

static bool
entra_policy_controls(entra_str_t text)
{
    size_t         i;
    unsigned char  c, next;

    for (i = 0; i < text.len; i++) {
        c = (unsigned char) text.data[i];

        if (c < 0x20 || c == 0x7f) {
            return true;
        }

        if (c == 0xc2 && i + 1 < text.len) {
            next = (unsigned char) text.data[i + 1];

            if (next >= 0x80 && next <= 0x9f) {
                return true;
            }
        }
    }

    return false;
}


entra_str_t
entra_policy_user_of(const entra_claims_t *claims)
{
    if (claims->upn.state == ENTRA_CLAIM_PRESENT && claims->upn.value.len) {
        return claims->upn.value;
    }

    /* without a value where it is absent or of another type */
    return claims->preferred_username.value;
}


static entra_reason_t
entra_policy_user(const entra_policy_t *policy, const entra_claims_t *claims,
    entra_str_t *user)
{
    *user = entra_policy_user_of(claims);

    if (entra_policy_controls(*user)) {
        return ENTRA_UPN_INVALID;
    }

    if (policy->require_upn && user->len == 0) {
        return ENTRA_UPN_MISSING;
    }

    return ENTRA_OK;
}


entra_reason_t
entra_policy_judge(const entra_policy_t *policy, const entra_lists_t *live,
    const entra_claims_t *claims, int64_t now, entra_identity_t *identity,
    const char **why)
{
    entra_guid_t      tenant;
    entra_reason_t    reason;
    entra_identity_t  found;

    *why = NULL;

    reason = entra_policy_time(policy, claims, now, why);
    if (reason != ENTRA_OK) {
        return reason;
    }

    reason = entra_policy_types(policy, claims, &tenant, why);
    if (reason != ENTRA_OK) {
        return reason;
    }

    if (!entra_policy_issuer(policy, claims)) {
        return ENTRA_ISSUER_NOT_ALLOWED;
    }

    if (!entra_policy_scope(policy, claims)) {
        return ENTRA_SCOPE_NOT_ALLOWED;
    }

    reason = entra_policy_audience(policy, live, claims, &found.audience);
    if (reason != ENTRA_OK) {
        return reason;
    }

    reason = entra_policy_listed(&policy->tenant_ids, live, ENTRA_TENANT_IDS,
                                 &tenant, ENTRA_TENANT_NOT_ALLOWED);
    if (reason != ENTRA_OK) {
        return reason;
    }

    reason = entra_policy_user(policy, claims, &found.user);
    if (reason != ENTRA_OK) {
        return reason;
    }

    *identity = found;

    return ENTRA_OK;
}


bool
entra_policy_may_ask(const entra_policy_t *policy, const entra_lists_t *live,
    const entra_claims_t *claims)
{
    entra_guid_t  tenant;

    return claims->iss.state == ENTRA_CLAIM_PRESENT
           && claims->tid.state == ENTRA_CLAIM_PRESENT
           && entra_guid_parse(claims->tid.value, &tenant)
           && entra_policy_issuer(policy, claims)
           && entra_policy_listed(&policy->tenant_ids, live, ENTRA_TENANT_IDS,
                                  &tenant, ENTRA_TENANT_NOT_ALLOWED)
              == ENTRA_OK;
}
