/*
 * Claims and the policy: what is accepted keeps each rule, looked at once
 * more in another way than the policy looks at it.
 */

#include <strings.h>

#include "entra_claims.h"
#include "entra_policy.h"
#include "fuzz.h"


#define NOW     1800000000
#define LEEWAY  60
#define TENANT  "6d8769e6-0f8b-418d-b385-1a53968781c9"
#define CLIENT  "11111111-2222-3333-4444-555555555555"
#define HOST    "fleet.example.com"
#define V1      "https://sts.windows.net/"
#define V2      "https://login.microsoftonline.com/"


static const entra_policy_t *
fuzz_policy(void)
{
    static entra_policy_t     policy;
    static entra_guid_t       client, tenant;
    static const entra_str_t  hosts[] = { ENTRA_STR_INIT(HOST) };
    static const entra_str_t  issuers[] = {
        ENTRA_STR_INIT(V1 "{tid}/"), ENTRA_STR_INIT(V2 "{tid}/v2.0")
    };

    if (policy.nhosts == 0) {
        fuzz_claim(entra_guid_parse(entra_lit(CLIENT), &client));
        fuzz_claim(entra_guid_parse(entra_lit(TENANT), &tenant));

        policy.hosts = hosts;
        policy.nhosts = 1;
        policy.issuers = issuers;
        policy.nissuers = 2;
        policy.client_ids = (entra_set_t) { .ids = &client, .count = 1 };
        policy.tenant_ids = (entra_set_t) { .ids = &tenant, .count = 1 };
        policy.scope = entra_lit("mdm_delegation");
        policy.leeway = LEEWAY;
    }

    return &policy;
}


static bool
fuzz_names_client(entra_str_t aud)
{
    size_t  i;

    for (i = 0; i + strlen(CLIENT) <= aud.len; i++) {
        if (strncasecmp(aud.data + i, CLIENT, strlen(CLIENT)) == 0) {
            return true;
        }
    }

    return false;
}


/* "://" and the host, or "@" and the host, and then no more of a host */

static bool
fuzz_names_host(entra_str_t aud)
{
    size_t  i, end;

    for (i = 1; i + strlen(HOST) <= aud.len; i++) {
        end = i + strlen(HOST);

        if ((aud.data[i - 1] == '/' || aud.data[i - 1] == '@')
            && strncasecmp(aud.data + i, HOST, strlen(HOST)) == 0
            && (end == aud.len || strchr("/?#", aud.data[end]) != NULL))
        {
            return true;
        }
    }

    return false;
}


static void
fuzz_accepted(const entra_claims_t *claims, const entra_identity_t *identity)
{
    size_t       i;
    entra_str_t  iss, tid;

    iss = claims->iss.value;
    tid = claims->tid.value;

    fuzz_claim(claims->exp.value > NOW - LEEWAY);
    fuzz_claim(claims->nbf.state == ENTRA_CLAIM_ABSENT
               || claims->nbf.value <= NOW + LEEWAY);
    fuzz_claim(claims->iat.state == ENTRA_CLAIM_ABSENT
               || claims->iat.value <= NOW + LEEWAY);

    fuzz_claim(tid.len == strlen(TENANT)
               && strncasecmp(tid.data, TENANT, tid.len) == 0);
    fuzz_claim(entra_str_starts(iss, entra_lit(V1))
               || entra_str_starts(iss, entra_lit(V2)));
    fuzz_claim(entra_str_eq(claims->scp.value, entra_lit("mdm_delegation")));

    fuzz_claim(fuzz_names_client(identity->audience)
               || fuzz_names_host(identity->audience));

    for (i = 0; i < identity->user.len; i++) {
        fuzz_claim((unsigned char) identity->user.data[i] >= 0x20);
    }
}


static void
fuzz_variables(const entra_claims_t *claims, pool_t *pool)
{
    size_t       i;
    entra_str_t  value;

    static const char  *names[] = { "aud", "exp", "Groups", "x", "" };

    for (i = 0; i < tap_count(names); i++) {
        (void) entra_claims_get(claims, entra_str(names[i]), &pool->mem,
                                &value);
    }
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    pool_t             pool;
    const char        *why;
    entra_claims_t     claims;
    entra_reason_t     reason;
    entra_identity_t   identity;

    pool_init(&pool);

    reason = entra_claims_parse(fuzz_copy(&pool, data, size), &pool.mem,
                                &claims);

    if (reason != ENTRA_OK) {
        fuzz_claim(reason == ENTRA_TOKEN_MALFORMED);
        pool_free(&pool);
        return 0;
    }

    reason = entra_policy_judge(fuzz_policy(), NULL, &claims, NOW, &identity,
                                &why);

    if (reason == ENTRA_OK) {
        fuzz_accepted(&claims, &identity);
    }

    fuzz_claim(reason != ENTRA_INTERNAL && reason != ENTRA_LISTS_UNAVAILABLE);
    fuzz_variables(&claims, &pool);

    pool_free(&pool);

    return 0;
}
