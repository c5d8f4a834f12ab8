/*
 * The ring of refusals.
 */

#include "ngx_http_entra_mdm_refusals.h"


/* one more than are read: the next one's place is free */
#define PLACES  (NGX_HTTP_ENTRA_MDM_REFUSALS + 1)


struct ngx_http_entra_mdm_refusals_s {
    ngx_uint_t                    count;        /* ever */
    ngx_http_entra_mdm_refusal_t  entry[PLACES];
};


ngx_http_entra_mdm_refusals_t *
ngx_http_entra_mdm_refusals_create(ngx_slab_pool_t *shpool)
{
    return ngx_slab_calloc(shpool, sizeof(ngx_http_entra_mdm_refusals_t));
}


/* as much of text as there is room for, whole characters of UTF-8 */

static size_t
ngx_http_entra_mdm_refusal_text(char *to, size_t room, entra_str_t text)
{
    size_t  len;

    len = text.len;

    if (len > room) {
        for (len = room; len && (text.data[len] & 0xc0) == 0x80; len--) {
            /* a byte within */
        }
    }

    if (len) {
        ngx_memcpy(to, text.data, len);
    }

    return len;
}


static void
ngx_http_entra_mdm_refusal_audiences(ngx_http_entra_mdm_refusal_t *refusal,
    const entra_claims_t *claims)
{
    size_t  i, len, used;

    used = 0;

    for (i = 0; i < claims->naud; i++) {
        len = claims->aud[i].len;

        if (i && used + len + 1 > sizeof(refusal->audiences)) {
            break;
        }

        used += ngx_http_entra_mdm_refusal_text(refusal->audiences + used,
                                       sizeof(refusal->audiences) - used - 1,
                                       claims->aud[i]);
        refusal->audiences[used++] = '\0';
    }

    refusal->audiences_len = (uint16_t) used;
    refusal->more = (uint16_t) ngx_min(claims->naud - i, 65535);
}


void
ngx_http_entra_mdm_refusals_add(ngx_http_request_t *r,
    ngx_http_entra_mdm_ctx_t *ctx)
{
    const entra_claims_t           *claims;
    ngx_http_entra_mdm_refusal_t    refusal;
    ngx_http_entra_mdm_refusals_t  *refusals;

    if (!ctx->verdict.verified) {
        return;
    }

    claims = &ctx->verdict.claims;

    ngx_memzero(&refusal, sizeof(ngx_http_entra_mdm_refusal_t));

    refusal.time = ngx_time();
    refusal.action = (uint8_t) (ctx->state - NGX_HTTP_ENTRA_MDM_ACCEPTED);
    refusal.reason = (uint8_t) ctx->reason;
    refusal.id_len = (uint8_t) ngx_http_entra_mdm_refusal_text(refusal.id,
                                           sizeof(refusal.id),
                                           ngx_http_entra_mdm_request_id(r));

    if (claims->tid.state == ENTRA_CLAIM_PRESENT) {
        refusal.tenant_len = (uint8_t) ngx_http_entra_mdm_refusal_text(
                                           refusal.tenant,
                                           sizeof(refusal.tenant),
                                           claims->tid.value);
    }

    if (claims->aud_state == ENTRA_CLAIM_PRESENT) {
        ngx_http_entra_mdm_refusal_audiences(&refusal, claims);
    }

    refusals = ngx_http_entra_mdm_zone(ctx->policy)->refusals;

    ngx_http_entra_mdm_zone_lock(ctx->policy);

    refusals->entry[refusals->count % PLACES] = refusal;

    /* a worker that is killed leaves no half of one behind */

    ngx_memory_barrier();
    refusals->count++;

    ngx_http_entra_mdm_zone_unlock(ctx->policy);
}


ngx_uint_t
ngx_http_entra_mdm_refusals_read(ngx_http_entra_mdm_policy_t *policy,
    ngx_http_entra_mdm_refusal_t to[NGX_HTTP_ENTRA_MDM_REFUSALS])
{
    ngx_uint_t                      i, n;
    ngx_http_entra_mdm_refusals_t  *refusals;

    refusals = ngx_http_entra_mdm_zone(policy)->refusals;

    ngx_http_entra_mdm_zone_lock(policy);

    n = ngx_min(refusals->count, NGX_HTTP_ENTRA_MDM_REFUSALS);

    for (i = 0; i < n; i++) {
        to[i] = refusals->entry[(refusals->count - 1 - i) % PLACES];
    }

    ngx_http_entra_mdm_zone_unlock(policy);

    return n;
}
