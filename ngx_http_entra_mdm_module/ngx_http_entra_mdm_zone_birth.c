/*
 * The birth of a policy's shared zone: out of nothing, out of the state file,
 * or out of the zone of another size that it replaces.
 */

#include "ngx_http_entra_mdm_activities.h"
#include "ngx_http_entra_mdm_refusals.h"
#include "ngx_http_entra_mdm_state.h"


static ngx_int_t ngx_http_entra_mdm_zone_init(ngx_shm_zone_t *shm_zone,
    void *data);


/* what a zone must have for two snapshots with so many bytes of IDs and keys */

static size_t
ngx_http_entra_mdm_zone_needed(size_t ids, size_t text)
{
    size_t  data, size;

    data = 2 * (ids + ngx_max(text, NGX_HTTP_ENTRA_MDM_ZONE_KEYS));

    /* what nginx itself takes for its pages is less than one in 128 */

    size = NGX_HTTP_ENTRA_MDM_ZONE_PAGES * ngx_pagesize + data + data / 128;

    /* a large one keeps more activities */

    if (size + NGX_HTTP_ENTRA_MDM_ACTIVITIES_SIZE
        >= NGX_HTTP_ENTRA_MDM_ZONE_LARGE)
    {
        size += NGX_HTTP_ENTRA_MDM_ACTIVITIES_SIZE;
    }

    return size;
}


ngx_int_t
ngx_http_entra_mdm_zone_fits(ngx_http_entra_mdm_policy_t *policy, size_t size,
    const entra_set_t live[ENTRA_LISTS], size_t text, ngx_log_t *log)
{
    size_t       ids, needed;
    entra_set_t  configured;

    configured = (entra_set_t) {
        .count = policy->rules.client_ids.count
                 + policy->rules.tenant_ids.count
    };

    ids = ngx_http_entra_mdm_set_size(&configured)
          + ngx_http_entra_mdm_set_size(&live[ENTRA_CLIENT_IDS])
          + ngx_http_entra_mdm_set_size(&live[ENTRA_TENANT_IDS]);

    needed = ngx_http_entra_mdm_zone_needed(ids, text);

    if (size >= needed) {
        return NGX_OK;
    }

    ngx_log_error(NGX_LOG_EMERG, log, 0,
                  "zone of policy \"%V\" has %uz bytes and needs %uz: "
                  "raise \"zone\" to %uzk or more in %V:%ui",
                  &policy->name, size, needed, (needed + 1023) / 1024,
                  &policy->file, policy->line);

    return NGX_ERROR;
}


/*
 * The configuration goes.  If that is before it has come into force, the old
 * one stays, and its workers may change its lists again.
 */

static void
ngx_http_entra_mdm_zone_cleanup(void *data)
{
    ngx_http_entra_mdm_policy_t *policy = data;

    ngx_http_entra_mdm_policy_t  old;

    if (policy->replaces == NULL) {
        return;
    }

    ngx_memzero(&old, sizeof(ngx_http_entra_mdm_policy_t));

    old.zone = policy->replaces;

    ngx_http_entra_mdm_zone_lock(&old);
    ngx_http_entra_mdm_zone(&old)->moved = 0;
    ngx_http_entra_mdm_zone_unlock(&old);
}


void
ngx_http_entra_mdm_zone_done(ngx_http_entra_mdm_policy_t *policy)
{
    policy->replaces = NULL;
}


ngx_int_t
ngx_http_entra_mdm_zone_add(ngx_conf_t *cf,
    ngx_http_entra_mdm_policy_t *policy, size_t size)
{
    ngx_str_t            name;
    ngx_pool_cleanup_t  *cln;

    name.len = sizeof("entra_mdm:") - 1 + policy->name.len;

    name.data = ngx_pnalloc(cf->pool, name.len);
    cln = ngx_pool_cleanup_add(cf->pool, 0);

    if (name.data == NULL || cln == NULL) {
        return NGX_ERROR;
    }

    cln->handler = ngx_http_entra_mdm_zone_cleanup;
    cln->data = policy;

    ngx_sprintf(name.data, "entra_mdm:%V", &policy->name);

    policy->zone = ngx_shared_memory_add(cf, &name, size,
                                         &ngx_http_entra_mdm_module);
    if (policy->zone == NULL) {
        return NGX_ERROR;
    }

    /* until there is a zone, which may be the old cycle's */

    policy->zone->init = ngx_http_entra_mdm_zone_init;
    policy->zone->data = policy;

    return NGX_OK;
}


/* the pages that are left, but for a few, are the two halves */

static ngx_int_t
ngx_http_entra_mdm_zone_halves(ngx_slab_pool_t *shpool,
    ngx_http_entra_mdm_zone_t *zone)
{
    size_t      spare;
    ngx_uint_t  i;

    spare = NGX_HTTP_ENTRA_MDM_ZONE_PAGES / 4;

    if (shpool->pfree < spare + 2) {
        return NGX_ERROR;
    }

    zone->room = (shpool->pfree - spare) / 2 * ngx_pagesize;

    for (i = 0; i < 2; i++) {
        zone->half[i] = ngx_slab_alloc(shpool, zone->room);
        if (zone->half[i] == NULL) {
            return NGX_ERROR;
        }
    }

    /* zeros are a snapshot without lists and keys */

    ngx_memzero(zone->half[0], ngx_pagesize);

    return NGX_OK;
}


/* the zone of that name in the cycle that is still in force, or NULL */

static ngx_shm_zone_t *
ngx_http_entra_mdm_zone_old(ngx_shm_zone_t *shm_zone)
{
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_shm_zone_t   *old;

    if (ngx_is_init_cycle((ngx_cycle_t *) ngx_cycle)) {
        return NULL;
    }

    part = (ngx_list_part_t *) &ngx_cycle->shared_memory.part;

    for ( /* void */ ; part; part = part->next) {
        old = part->elts;

        for (i = 0; i < part->nelts; i++) {

            if (old[i].tag == shm_zone->tag
                && old[i].shm.name.len == shm_zone->shm.name.len
                && ngx_strncmp(old[i].shm.name.data, shm_zone->shm.name.data,
                               shm_zone->shm.name.len) == 0)
            {
                return &old[i];
            }
        }
    }

    return NULL;
}


/*
 * A zone of another size takes over what the old one has in force: the state
 * may be some moments behind, and a removal must not come undone.
 */

static ngx_int_t
ngx_http_entra_mdm_zone_take_over(ngx_http_entra_mdm_policy_t *policy,
    ngx_shm_zone_t *shm_zone, ngx_log_t *log)
{
    ngx_uint_t                      i;
    ngx_http_entra_mdm_mark_t       mark;
    ngx_http_entra_mdm_zone_t      *zone, *from;
    ngx_http_entra_mdm_policy_t     old;
    ngx_http_entra_mdm_change_t     change;
    ngx_http_entra_mdm_snapshot_t   snapshot;

    ngx_memzero(&old, sizeof(ngx_http_entra_mdm_policy_t));
    ngx_memzero(&change, sizeof(ngx_http_entra_mdm_change_t));

    old.zone = shm_zone;
    change.keys = 1;

    zone = ngx_http_entra_mdm_zone(policy);
    from = ngx_http_entra_mdm_zone(&old);

    /* what its workers were told to change from here on would be lost */

    policy->replaces = shm_zone;

    ngx_http_entra_mdm_zone_lock(&old);
    from->moved = ngx_time();
    ngx_http_entra_mdm_zone_unlock(&old);

    do {
        ngx_http_entra_mdm_zone_mark(&old, &snapshot, &mark);

        for (i = 0; i < ENTRA_LISTS; i++) {
            change.list[i] = snapshot.lists.list[i].ids;
        }

        change.lists = mark.lists_known;
        change.source = mark.source;
        change.text = snapshot.keys;
        change.keys_fetched = mark.keys_fetched;

        if (ngx_http_entra_mdm_zone_fits(policy, policy->zone->shm.size,
                                         change.list, change.text.len, log)
            != NGX_OK
            || ngx_http_entra_mdm_zone_publish(policy, &change) != NGX_OK)
        {
            return NGX_ERROR;
        }

    } while (!ngx_http_entra_mdm_snapshot_current(&old, &snapshot));

    zone->feed.generation = mark.generation;
    zone->keys_fetched = from->keys_fetched;
    zone->keys_source = from->keys_source;
    zone->lists_updated = from->lists_updated;
    zone->state.stamp = from->state.stamp;
    zone->fetch = from->fetch;

    if (zone->fetch.pid) {
        /* what that one fetches is not for this zone */
        zone->fetch.pid = 0;
        zone->fetch.attempts = 0;
    }

    return ngx_http_entra_mdm_activities_take_over(policy, &old);
}


/* what is known before anybody has answered */

static ngx_int_t
ngx_http_entra_mdm_zone_fill(ngx_http_entra_mdm_policy_t *policy,
    ngx_log_t *log)
{
    ngx_shm_zone_t  *old;

    old = ngx_http_entra_mdm_zone_old(policy->zone);

    if (old) {
        return ngx_http_entra_mdm_zone_take_over(policy, old, log);
    }

    if (policy->state) {
        return ngx_http_entra_mdm_state_load(policy, log);
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_entra_mdm_zone_init(ngx_shm_zone_t *shm_zone, void *data)
{
    ngx_slab_pool_t              *shpool;
    ngx_http_entra_mdm_zone_t    *zone;
    ngx_http_entra_mdm_policy_t  *policy;

    if (data) {
        /* a reload: the old cycle's zone, counters and all */
        shm_zone->data = data;
        return NGX_OK;
    }

    policy = shm_zone->data;
    shpool = (ngx_slab_pool_t *) shm_zone->shm.addr;

    if (shm_zone->shm.exists) {
        shm_zone->data = shpool->data;
        return NGX_OK;
    }

    zone = ngx_slab_calloc(shpool, sizeof(ngx_http_entra_mdm_zone_t));

    if (zone == NULL) {
        return NGX_ERROR;
    }

    zone->activities = ngx_http_entra_mdm_activities_create(shpool);
    zone->refusals = ngx_http_entra_mdm_refusals_create(shpool);

    if (zone->activities == NULL || zone->refusals == NULL
        || ngx_http_entra_mdm_zone_halves(shpool, zone) != NGX_OK)
    {
        return NGX_ERROR;
    }

    shpool->data = zone;
    shm_zone->data = zone;

    return ngx_http_entra_mdm_zone_fill(policy, shm_zone->shm.log);
}
