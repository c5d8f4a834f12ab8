/*
 * The shared zone of a policy: what all workers of a node have in common.
 */

#include "ngx_http_entra_mdm_module.h"


static ngx_int_t ngx_http_entra_mdm_zone_init(ngx_shm_zone_t *shm_zone,
    void *data);


ngx_int_t
ngx_http_entra_mdm_zone_add(ngx_conf_t *cf,
    ngx_http_entra_mdm_policy_t *policy, size_t size)
{
    ngx_str_t  name;

    name.len = sizeof("entra_mdm:") - 1 + policy->name.len;

    name.data = ngx_pnalloc(cf->pool, name.len);
    if (name.data == NULL) {
        return NGX_ERROR;
    }

    ngx_sprintf(name.data, "entra_mdm:%V", &policy->name);

    policy->zone = ngx_shared_memory_add(cf, &name, size,
                                         &ngx_http_entra_mdm_module);
    if (policy->zone == NULL) {
        return NGX_ERROR;
    }

    policy->zone->init = ngx_http_entra_mdm_zone_init;

    return NGX_OK;
}


static ngx_int_t
ngx_http_entra_mdm_zone_init(ngx_shm_zone_t *shm_zone, void *data)
{
    ngx_slab_pool_t            *shpool;
    ngx_http_entra_mdm_zone_t  *zone;

    if (data) {
        /* a reload: the old cycle's zone, counters and all */
        shm_zone->data = data;
        return NGX_OK;
    }

    shpool = (ngx_slab_pool_t *) shm_zone->shm.addr;

    if (shm_zone->shm.exists) {
        shm_zone->data = shpool->data;
        return NGX_OK;
    }

    zone = ngx_slab_calloc(shpool, sizeof(ngx_http_entra_mdm_zone_t));
    if (zone == NULL) {
        return NGX_ERROR;
    }

    shpool->data = zone;
    shm_zone->data = zone;

    return NGX_OK;
}


void
ngx_http_entra_mdm_zone_count(ngx_http_entra_mdm_ctx_t *ctx)
{
    ngx_uint_t                  action;
    ngx_http_entra_mdm_zone_t  *zone;

    zone = ctx->policy->zone->data;
    action = ctx->state - NGX_HTTP_ENTRA_MDM_ACCEPTED;

    (void) ngx_atomic_fetch_add(&zone->decisions[action][ctx->reason], 1);
}
