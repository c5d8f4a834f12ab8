/*
 * The live lists of a policy.
 */

#include "ngx_http_entra_mdm_lists.h"


const ngx_str_t  ngx_http_entra_mdm_list_names[ENTRA_LISTS] = {
    ngx_string("client_ids"),
    ngx_string("tenant_ids"),
};


const entra_lists_t *
ngx_http_entra_mdm_lists_live(ngx_http_entra_mdm_policy_t *policy,
    ngx_http_entra_mdm_snapshot_t *snapshot)
{
    ngx_uint_t                  i;
    ngx_http_entra_mdm_zone_t  *zone;

    if (!policy->live) {
        return NULL;
    }

    zone = ngx_http_entra_mdm_zone(policy);

    for (i = 0; i < ENTRA_LISTS; i++) {

        if (!policy->live_redis) {
            /* the zone itself is the list, and empty at first */
            snapshot->lists.list[i].known = true;

        } else if (policy->live_max_stale
                   && ngx_http_entra_mdm_moment_age(&zone->lists_updated)
                      > policy->live_max_stale)
        {
            snapshot->lists.list[i].known = false;
        }
    }

    return &snapshot->lists;
}


ngx_uint_t
ngx_http_entra_mdm_lists_in_force(ngx_http_entra_mdm_policy_t *policy)
{
    ngx_uint_t                      i;
    const entra_lists_t            *lists;
    ngx_http_entra_mdm_snapshot_t   snapshot;

    ngx_http_entra_mdm_snapshot(policy, &snapshot);

    lists = ngx_http_entra_mdm_lists_live(policy, &snapshot);

    for (i = 0; lists != NULL && i < ENTRA_LISTS; i++) {
        if (!lists->list[i].known) {
            return 0;
        }
    }

    return 1;
}


size_t
ngx_http_entra_mdm_lists_first(ngx_http_entra_mdm_policy_t *policy,
    entra_lists_e which, entra_guid_t *ids, size_t n, size_t *total)
{
    size_t                          i, count;
    const entra_set_t              *own, *live;
    ngx_http_entra_mdm_snapshot_t   snapshot;

    own = (which == ENTRA_CLIENT_IDS) ? &policy->rules.client_ids
                                      : &policy->rules.tenant_ids;

    do {
        ngx_http_entra_mdm_snapshot(policy, &snapshot);

        live = &snapshot.lists.list[which].ids;
        *total = own->count + (policy->live ? live->count : 0);

        for (count = 0; count < own->count && count < n; count++) {
            ids[count] = own->ids[count];
        }

        for (i = 0; policy->live && i < live->count && count < n; i++) {
            if (!entra_set_has(own, &live->ids[i])) {
                ids[count++] = live->ids[i];
            }
        }

    } while (!ngx_http_entra_mdm_snapshot_current(policy, &snapshot));

    return count;
}


ngx_int_t
ngx_http_entra_mdm_set_copy(ngx_pool_t *pool, const entra_set_t *from,
    entra_set_t *to)
{
    uint32_t      *upper;
    entra_guid_t  *ids;

    *to = (entra_set_t) { .count = 0 };

    if (from->count == 0) {
        return NGX_OK;
    }

    ids = ngx_palloc(pool, from->count * sizeof(entra_guid_t));
    upper = ngx_palloc(pool, from->count * sizeof(uint32_t));

    if (ids == NULL || upper == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(ids, from->ids, from->count * sizeof(entra_guid_t));
    entra_set_typed(from, upper);

    to->ids = ids;
    to->upper = upper;
    to->count = from->count;

    return NGX_OK;
}


ngx_int_t
ngx_http_entra_mdm_lists_copy(ngx_http_entra_mdm_policy_t *policy,
    ngx_pool_t *pool, size_t max, entra_lists_t *lists,
    ngx_atomic_uint_t *generation)
{
    ngx_uint_t                      i;
    ngx_http_entra_mdm_zone_t      *zone;
    ngx_http_entra_mdm_snapshot_t   snapshot;

    zone = ngx_http_entra_mdm_zone(policy);

    do {
        ngx_http_entra_mdm_zone_lock(policy);

        ngx_http_entra_mdm_snapshot(policy, &snapshot);
        *generation = zone->lists_generation;

        ngx_http_entra_mdm_zone_unlock(policy);

        *lists = snapshot.lists;

        for (i = 0; i < ENTRA_LISTS; i++) {

            if (lists->list[i].ids.count > max) {
                return NGX_DECLINED;
            }

            if (ngx_http_entra_mdm_set_copy(pool, &snapshot.lists.list[i].ids,
                                            &lists->list[i].ids)
                != NGX_OK)
            {
                return NGX_ERROR;
            }
        }

    } while (!ngx_http_entra_mdm_snapshot_current(policy, &snapshot));

    return NGX_OK;
}


ngx_int_t
ngx_http_entra_mdm_lists_publish(ngx_http_entra_mdm_policy_t *policy,
    const ngx_http_entra_mdm_change_t *change, ngx_log_t *log)
{
    size_t                      room;
    ngx_int_t                   rc;
    ngx_uint_t                  i;
    ngx_atomic_uint_t           generation;
    ngx_http_entra_mdm_zone_t  *zone;

    zone = ngx_http_entra_mdm_zone(policy);
    generation = zone->lists_generation;

    rc = ngx_http_entra_mdm_zone_publish(policy, change);

    for (i = 0; i < ENTRA_LISTS; i++) {

        if (!(change->lists & (1u << i))) {
            continue;
        }

        if (rc == NGX_DECLINED) {
            (void) ngx_http_entra_mdm_zone_used(policy, &room);

            ngx_log_error(NGX_LOG_ERR, log, 0,
                          "entra_mdm: list \"%V\" of policy \"%V\" with %uz "
                          "IDs does not fit its zone twice (%uz bytes for "
                          "each copy): raise \"zone\"; the last list stays "
                          "in force", &ngx_http_entra_mdm_list_names[i],
                          &policy->name, change->list[i].count, room);

        } else if (rc == NGX_OK && zone->lists_generation != generation) {
            ngx_log_error(NGX_LOG_NOTICE, log, 0,
                          "entra_mdm: list \"%V\" of policy \"%V\" has %uz "
                          "IDs", &ngx_http_entra_mdm_list_names[i],
                          &policy->name, change->list[i].count);
        }
    }

    return rc;
}
