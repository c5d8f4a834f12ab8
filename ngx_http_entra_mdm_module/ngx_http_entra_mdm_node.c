/*
 * What worker 0 does for its node.
 */

#include "ngx_http_entra_mdm_activities.h"
#include "ngx_http_entra_mdm_fetch.h"
#include "ngx_http_entra_mdm_key_file.h"
#include "ngx_http_entra_mdm_node.h"
#include "ngx_http_entra_mdm_redis.h"
#include "ngx_http_entra_mdm_state.h"


/* the cache manager and loader are numbered 0 as well, but are no workers */

static ngx_uint_t
ngx_http_entra_mdm_node_worker(void)
{
    return (ngx_process == NGX_PROCESS_WORKER
            || ngx_process == NGX_PROCESS_SINGLE)
           && ngx_worker == 0;
}


/*
 * After a reload the old worker 0 may still be at work: whoever took the
 * number last may publish for Redis, no other.
 */

static void
ngx_http_entra_mdm_node_epoch(ngx_http_entra_mdm_policy_t *policy)
{
    ngx_http_entra_mdm_zone_t  *zone;

    zone = ngx_http_entra_mdm_zone(policy);

    policy->epoch = ngx_atomic_fetch_add(&zone->feed_epoch, 1) + 1;
}


ngx_int_t
ngx_http_entra_mdm_node_start(ngx_cycle_t *cycle)
{
    ngx_uint_t                       i;
    ngx_http_entra_mdm_policy_t    **policy;
    ngx_http_entra_mdm_main_conf_t  *emmcf;

    emmcf = ngx_http_cycle_get_module_main_conf(cycle,
                                                ngx_http_entra_mdm_module);

    if (emmcf == NULL || !ngx_http_entra_mdm_node_worker()) {
        return NGX_OK;
    }

    policy = emmcf->policies.elts;

    for (i = 0; i < emmcf->policies.nelts; i++) {
        ngx_http_entra_mdm_node_epoch(policy[i]);

        if (policy[i]->keys->from == NGX_HTTP_ENTRA_MDM_JWKS_FILE) {
            ngx_http_entra_mdm_key_file_start(cycle, policy[i]);
        }

        if (policy[i]->keys->from == NGX_HTTP_ENTRA_MDM_JWKS_REQUEST) {
            ngx_http_entra_mdm_fetch_start(policy[i]);
        }

        if (policy[i]->state) {
            ngx_http_entra_mdm_state_start(cycle, policy[i]);
        }

        ngx_http_entra_mdm_redis_start(policy[i], cycle);
    }

    return NGX_OK;
}


void
ngx_http_entra_mdm_node_stop(ngx_cycle_t *cycle)
{
    ngx_uint_t                       i;
    ngx_http_entra_mdm_policy_t    **policy;
    ngx_http_entra_mdm_main_conf_t  *emmcf;

    ngx_http_entra_mdm_activities_flush();

    emmcf = ngx_http_cycle_get_module_main_conf(cycle,
                                                ngx_http_entra_mdm_module);

    if (emmcf == NULL) {
        return;
    }

    policy = emmcf->policies.elts;

    for (i = 0; i < emmcf->policies.nelts; i++) {
        /* whichever worker this is: any may have a fetch under way */
        ngx_http_entra_mdm_fetch_stop(policy[i]->keys);

        if (!ngx_http_entra_mdm_node_worker()) {
            continue;
        }

        ngx_http_entra_mdm_redis_stop(policy[i]);
        ngx_http_entra_mdm_key_file_stop(policy[i]);

        if (policy[i]->state) {
            ngx_http_entra_mdm_state_stop(policy[i]);
        }
    }
}


/*
 * Without a master, a reload makes no new process: nginx goes on with the new
 * cycle, and frees the old one's zones and, some time later, memory.
 */

ngx_int_t
ngx_http_entra_mdm_node_reload(ngx_cycle_t *cycle)
{
    ngx_cycle_t  *old;

    old = (ngx_cycle_t *) ngx_cycle;

    if (ngx_process != NGX_PROCESS_SINGLE || ngx_is_init_cycle(old)) {
        return NGX_OK;
    }

    ngx_http_entra_mdm_node_stop(old);

    return ngx_http_entra_mdm_node_start(cycle);
}
