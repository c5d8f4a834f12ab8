/*
 * Changing the lists in Redis, over a connection of this worker's own:
 *
 *     READING   WATCH all that is read: SCARD, SMEMBERS, GET generation
 *     WRITING   MULTI, INCR generation, SREM and SADD of what differs,
 *               XADD of activities; until all of that is queued
 *     SENT      EXEC; nil: somebody was faster, again from READING
 *     WAITING   until this node's feed has read what was written
 *
 * Up to EXEC nothing has changed, whatever goes wrong.  After that the change
 * goes on even if its client has gone.
 */

#include "ngx_http_entra_mdm_api_redis.h"


#define LOOK  5                         /* milliseconds between two looks */


static void ngx_http_entra_mdm_store_decide(ngx_http_entra_mdm_store_t *store);


/*** the end ***/


void
ngx_http_entra_mdm_store_done(ngx_http_entra_mdm_store_t *store, ngx_int_t rc)
{
    ngx_http_entra_mdm_session_close(&store->session);
    ngx_http_entra_mdm_patch_done(store->patch, rc);
}


static void
ngx_http_entra_mdm_store_no_memory(ngx_http_entra_mdm_store_t *store)
{
    ngx_http_entra_mdm_store_done(store, NGX_HTTP_INTERNAL_SERVER_ERROR);
}


/* nothing was changed, for that reason */

void
ngx_http_entra_mdm_store_away(ngx_http_entra_mdm_store_t *store,
    const char *why)
{
    char       text[512];
    ngx_int_t  rc;

    *ngx_snprintf((u_char *) text, sizeof(text) - 1,
                  "Redis cannot be used: %s; nothing was changed", why)
        = '\0';

    ngx_log_error(NGX_LOG_ERR, store->patch->log, 0,
                  "entra_mdm: a change of policy \"%V\" was not made: %s",
                  &store->patch->policy->name, text);

    rc = ngx_http_entra_mdm_patch_error(store->patch,
                                        NGX_HTTP_SERVICE_UNAVAILABLE, text);
    ngx_http_entra_mdm_store_done(store, rc);
}


void
ngx_http_entra_mdm_store_poke(ngx_http_entra_mdm_store_t *store)
{
    ngx_http_entra_mdm_zone_t  *zone;

    zone = ngx_http_entra_mdm_zone(store->patch->policy);

    (void) ngx_atomic_fetch_add(&zone->feed.poked, 1);
}


static void
ngx_http_entra_mdm_store_unknown(ngx_http_entra_mdm_store_t *store,
    const char *why)
{
    char       text[512];
    ngx_int_t  rc;

    *ngx_snprintf((u_char *) text, sizeof(text) - 1,
                  "outcome unknown: Redis was lost after the change had been "
                  "sent (%s); read the lists again", why)
        = '\0';

    ngx_log_error(NGX_LOG_ERR, store->patch->log, 0,
                  "entra_mdm: a change of policy \"%V\": %s",
                  &store->patch->policy->name, text);

    ngx_http_entra_mdm_store_poke(store);

    rc = ngx_http_entra_mdm_patch_error(store->patch,
                                        NGX_HTTP_SERVICE_UNAVAILABLE, text);
    ngx_http_entra_mdm_store_done(store, rc);
}


static void
ngx_http_entra_mdm_store_failed(ngx_http_entra_mdm_session_t *session,
    const char *why)
{
    ngx_http_entra_mdm_store_t *store = session->data;

    if (store->state == NGX_HTTP_ENTRA_MDM_STORE_SENT) {
        ngx_http_entra_mdm_store_unknown(store, why);
        return;
    }

    ngx_http_entra_mdm_store_away(store, why);
}


ngx_int_t
ngx_http_entra_mdm_patch_redis_gone(ngx_http_entra_mdm_patch_t *patch)
{
    if (patch->store->state == NGX_HTTP_ENTRA_MDM_STORE_SENT) {
        return NGX_AGAIN;
    }

    ngx_http_entra_mdm_session_close(&patch->store->session);

    return NGX_OK;
}


/*** reading ***/


ngx_http_entra_mdm_store_t *
ngx_http_entra_mdm_store_of(ngx_http_entra_mdm_redis_conn_t *conn)
{
    ngx_http_entra_mdm_session_t  *session;

    session = conn->data;

    return session->data;
}


/* NGX_OK: an answer of that type; else it has been seen to */

static ngx_int_t
ngx_http_entra_mdm_store_answer(ngx_http_entra_mdm_store_t *store,
    const redisReply *reply, int type)
{
    ngx_int_t  rc;

    rc = ngx_http_entra_mdm_session_answer(&store->session, reply);

    if (rc == NGX_DECLINED) {
        ngx_http_entra_mdm_store_away(store,
                    ngx_http_entra_mdm_redis_text(reply->str, reply->len));
        return NGX_ERROR;
    }

    if (rc == NGX_OK && reply->type != type) {
        ngx_http_entra_mdm_store_away(store, "an answer of another form");
        return NGX_ERROR;
    }

    return rc;
}


/* what stays of an answer of SMEMBERS */

static ngx_int_t
ngx_http_entra_mdm_store_keep(ngx_http_entra_mdm_store_t *store,
    ngx_http_entra_mdm_stored_t *stored, const redisReply *reply)
{
    size_t                 i, n;
    uint32_t              *upper;
    ngx_str_t             *odd;
    ngx_pool_t            *pool;
    entra_str_t            text;
    entra_guid_t          *ids;
    entra_typed_t         *members;
    entra_redis_member_e   kind;

    n = reply->elements;
    pool = store->patch->lists;

    ids = ngx_palloc(pool, (n + 1) * sizeof(entra_guid_t));
    upper = ngx_palloc(pool, (n + 1) * sizeof(uint32_t));
    members = ngx_palloc(pool, (n + 1) * sizeof(entra_typed_t));

    if (ids == NULL || upper == NULL || members == NULL) {
        return NGX_ERROR;
    }

    ngx_memzero(stored, sizeof(ngx_http_entra_mdm_stored_t));

    stored->members = members;

    for (i = 0; i < n; i++) {
        kind = entra_redis_member(reply->element[i],
                                  &members[stored->nmembers], &text);

        stored->nmembers += kind == ENTRA_REDIS_ID_MEMBER;

        if (kind != ENTRA_REDIS_ODD_MEMBER) {
            continue;
        }

        if (stored->odd == NULL) {
            stored->odd = ngx_palloc(pool, (n - i) * sizeof(ngx_str_t));
            if (stored->odd == NULL) {
                return NGX_ERROR;
            }
        }

        odd = &stored->odd[stored->nodd++];
        odd->len = text.len;
        odd->data = ngx_pnalloc(pool, text.len + 1);

        if (odd->data == NULL) {
            return NGX_ERROR;
        }

        ngx_memcpy(odd->data, text.data, text.len);
    }

    /* and members are in that order now */

    stored->ids = entra_set_build_typed(members, stored->nmembers, ids, upper);

    return NGX_OK;
}


/* the last answer */

static void
ngx_http_entra_mdm_store_generation(ngx_http_entra_mdm_redis_conn_t *conn,
    redisReply *reply)
{
    uint64_t                     n;
    ngx_http_entra_mdm_store_t  *store;

    store = ngx_http_entra_mdm_store_of(conn);
    store->generation = 0;

    if (reply->type != REDIS_REPLY_NIL) {

        if (ngx_http_entra_mdm_store_answer(store, reply, REDIS_REPLY_STRING)
            != NGX_OK)
        {
            return;
        }

        if (!entra_redis_number(reply, &n)) {
            ngx_http_entra_mdm_store_away(store, "its key \"generation\" is "
                                          "not a number, delete it");
            return;
        }

        store->generation = n ? (ngx_atomic_uint_t) n : 1;
    }

    ngx_http_entra_mdm_store_decide(store);
}


static void
ngx_http_entra_mdm_store_members(ngx_http_entra_mdm_redis_conn_t *conn,
    redisReply *reply)
{
    ngx_http_entra_mdm_store_t  *store;

    store = ngx_http_entra_mdm_store_of(conn);

    if (ngx_http_entra_mdm_store_answer(store, reply, REDIS_REPLY_ARRAY)
        != NGX_OK)
    {
        return;
    }

    if (ngx_http_entra_mdm_store_keep(store, &store->stored[store->read++],
                                      reply)
        != NGX_OK)
    {
        ngx_http_entra_mdm_store_no_memory(store);
    }
}


/* after the sizes: none is too large to be read at once */

static void
ngx_http_entra_mdm_store_read(ngx_http_entra_mdm_store_t *store)
{
    ngx_str_t                      words[2], *keys;
    ngx_uint_t                     i;
    ngx_http_entra_mdm_session_t  *session;

    session = &store->session;
    keys = session->redis->keys;

    store->read = 0;

    ngx_str_set(&words[0], "SMEMBERS");

    for (i = 0; i < ENTRA_LISTS; i++) {
        words[1] = keys[i];

        if (ngx_http_entra_mdm_session_send(session,
                                            ngx_http_entra_mdm_store_members,
                                            words, 2)
            != NGX_OK)
        {
            return;
        }
    }

    ngx_str_set(&words[0], "GET");
    words[1] = keys[NGX_HTTP_ENTRA_MDM_REDIS_GENERATION];

    (void) ngx_http_entra_mdm_session_send(session,
                                           ngx_http_entra_mdm_store_generation,
                                           words, 2);
}


static void
ngx_http_entra_mdm_store_size(ngx_http_entra_mdm_redis_conn_t *conn,
    redisReply *reply)
{
    ngx_int_t                    rc;
    ngx_http_entra_mdm_store_t  *store;

    store = ngx_http_entra_mdm_store_of(conn);

    if (ngx_http_entra_mdm_store_answer(store, reply, REDIS_REPLY_INTEGER)
        != NGX_OK)
    {
        return;
    }

    if (reply->integer > ENTRA_CONFIG_MAX_IDS) {
        rc = ngx_http_entra_mdm_patch_too_large(store->patch);
        ngx_http_entra_mdm_store_done(store, rc);
        return;
    }

    if (++store->read == ENTRA_LISTS) {
        ngx_http_entra_mdm_store_read(store);
    }
}


static void
ngx_http_entra_mdm_store_watched(ngx_http_entra_mdm_redis_conn_t *conn,
    redisReply *reply)
{
    (void) ngx_http_entra_mdm_store_answer(ngx_http_entra_mdm_store_of(conn),
                                           reply, REDIS_REPLY_STATUS);
}


void
ngx_http_entra_mdm_store_ready(ngx_http_entra_mdm_session_t *session)
{
    ngx_str_t                    words[4], *keys;
    ngx_uint_t                   i;
    ngx_http_entra_mdm_store_t  *store;

    store = session->data;
    keys = session->redis->keys;

    store->state = NGX_HTTP_ENTRA_MDM_STORE_READING;
    store->read = 0;

    ngx_reset_pool(store->patch->lists);

    ngx_str_set(&words[0], "WATCH");
    words[1] = keys[ENTRA_CLIENT_IDS];
    words[2] = keys[ENTRA_TENANT_IDS];

    /* lost lists that another node confirms as empty are gone as before */

    words[3] = keys[NGX_HTTP_ENTRA_MDM_REDIS_GENERATION];

    if (ngx_http_entra_mdm_session_send(session,
                                        ngx_http_entra_mdm_store_watched,
                                        words, 4)
        != NGX_OK)
    {
        return;
    }

    ngx_str_set(&words[0], "SCARD");

    for (i = 0; i < ENTRA_LISTS; i++) {
        words[1] = keys[i];

        if (ngx_http_entra_mdm_session_send(session,
                                            ngx_http_entra_mdm_store_size,
                                            words, 2)
            != NGX_OK)
        {
            return;
        }
    }
}


/*** deciding ***/


/*
 * What is to be changed is what Redis has; or, if that has lost its data, what
 * this node has kept, which the change confirms.
 */

static ngx_int_t
ngx_http_entra_mdm_store_from(ngx_http_entra_mdm_store_t *store)
{
    ngx_uint_t                    i, empty;
    ngx_atomic_uint_t             generation;
    ngx_http_entra_mdm_patch_t   *patch;

    patch = store->patch;
    empty = 1;

    for (i = 0; i < ENTRA_LISTS; i++) {
        patch->from.list[i].ids = store->stored[i].ids;
        patch->from.list[i].known = true;

        empty &= store->stored[i].nmembers + store->stored[i].nodd == 0;
    }

    store->lost = empty && store->generation == 0
                  && ngx_http_entra_mdm_zone(patch->policy)->source
                     == NGX_HTTP_ENTRA_MDM_FROM_LOST;

    if (!store->lost) {
        return NGX_OK;
    }

    return ngx_http_entra_mdm_lists_copy(patch->policy, patch->lists,
                                         ENTRA_CONFIG_MAX_IDS, &patch->from,
                                         &generation);
}


static void
ngx_http_entra_mdm_store_decide(ngx_http_entra_mdm_store_t *store)
{
    ngx_int_t                    rc;
    ngx_http_entra_mdm_patch_t  *patch;

    patch = store->patch;

    rc = ngx_http_entra_mdm_store_from(store);

    if (rc == NGX_DECLINED) {
        rc = ngx_http_entra_mdm_patch_too_large(patch);
        ngx_http_entra_mdm_store_done(store, rc);
        return;
    }

    if (rc == NGX_OK) {
        rc = ngx_http_entra_mdm_patch_match(patch);
    }

    if (rc == NGX_DECLINED) {
        rc = ngx_http_entra_mdm_patch_no_match(patch);
        ngx_http_entra_mdm_store_done(store, rc);
        return;
    }

    if (rc == NGX_OK) {
        rc = ngx_http_entra_mdm_patch_apply(patch);
    }

    if (rc != NGX_OK) {
        ngx_http_entra_mdm_store_no_memory(store);
        return;
    }

    store->lists = store->lost ? (1u << ENTRA_LISTS) - 1 : patch->changed;

    if (store->lists == 0) {
        /* what was read may be news to this node */
        ngx_http_entra_mdm_store_wait(store);
        return;
    }

    if (!ngx_http_entra_mdm_zone_takes(patch->policy, &patch->to)) {
        rc = ngx_http_entra_mdm_patch_no_room(patch);
        ngx_http_entra_mdm_store_done(store, rc);
        return;
    }

    ngx_http_entra_mdm_store_write(store);
}


/*** waiting for the feed ***/


static ngx_uint_t
ngx_http_entra_mdm_store_held(ngx_http_entra_mdm_store_t *store)
{
    ngx_http_entra_mdm_zone_t  *zone;

    zone = ngx_http_entra_mdm_zone(store->patch->policy);

    return store->generation == 0 || zone->feed.held >= store->generation;
}


/* what was asked for is so in Redis, but requests do not see it */

static void
ngx_http_entra_mdm_store_behind(ngx_http_entra_mdm_store_t *store)
{
    char       text[256];
    ngx_int_t  rc;

    *ngx_snprintf((u_char *) text, sizeof(text) - 1,
                  "Redis has these lists now, but this node has not read them "
                  "within %M ms: they are not in force here yet",
                  ngx_http_entra_mdm_session_time(store->session.redis))
        = '\0';

    ngx_log_error(NGX_LOG_WARN, store->patch->log, 0,
                  "entra_mdm: a change of policy \"%V\": %s",
                  &store->patch->policy->name, text);

    rc = ngx_http_entra_mdm_patch_error(store->patch,
                                        NGX_HTTP_SERVICE_UNAVAILABLE, text);
    ngx_http_entra_mdm_store_done(store, rc);
}


static void
ngx_http_entra_mdm_store_look(ngx_event_t *ev)
{
    ngx_int_t                    rc;
    ngx_http_entra_mdm_store_t  *store;
    ngx_http_entra_mdm_patch_t  *patch;

    patch = ev->data;
    store = patch->store;

    if (!ngx_http_entra_mdm_store_held(store)) {

        if (ngx_current_msec - store->since
            < ngx_http_entra_mdm_session_time(store->session.redis))
        {
            ngx_add_timer(&patch->event, LOOK);
            return;
        }

        ngx_http_entra_mdm_store_behind(store);
        return;
    }

    rc = ngx_http_entra_mdm_patch_send(patch, &patch->to, store->generation);
    ngx_http_entra_mdm_store_done(store, rc);
}


void
ngx_http_entra_mdm_store_wait(ngx_http_entra_mdm_store_t *store)
{
    ngx_http_entra_mdm_patch_t  *patch;

    patch = store->patch;

    if (patch->r == NULL) {
        ngx_http_entra_mdm_store_done(store, NGX_OK);
        return;
    }

    /* closed: a worker that is to go waits for nothing but the timer */
    ngx_http_entra_mdm_session_close(&store->session);

    store->state = NGX_HTTP_ENTRA_MDM_STORE_WAITING;

    if (!ngx_http_entra_mdm_store_held(store)
        && !ngx_http_entra_mdm_zone(patch->policy)->feed.tracking)
    {
        ngx_http_entra_mdm_store_poke(store);
    }

    store->since = ngx_current_msec;
    patch->event.handler = ngx_http_entra_mdm_store_look;
    patch->event.data = patch;
    patch->event.log = patch->log;

    ngx_http_entra_mdm_store_look(&patch->event);
}


/*** the beginning ***/


static void
ngx_http_entra_mdm_store_begin(ngx_event_t *ev)
{
    ngx_http_entra_mdm_patch_t  *patch;

    patch = ev->data;

    ngx_http_entra_mdm_session_open(&patch->store->session);
}


void
ngx_http_entra_mdm_patch_redis(ngx_http_entra_mdm_patch_t *patch)
{
    ngx_http_entra_mdm_store_t    *store;
    ngx_http_entra_mdm_session_t  *session;

    store = ngx_pcalloc(patch->pool, sizeof(ngx_http_entra_mdm_store_t));
    if (store == NULL) {
        ngx_http_entra_mdm_patch_done(patch, NGX_HTTP_INTERNAL_SERVER_ERROR);
        return;
    }

    store->patch = patch;
    patch->store = store;

    session = &store->session;

    session->redis = patch->policy->redis;
    session->ready = ngx_http_entra_mdm_store_ready;
    session->failed = ngx_http_entra_mdm_store_failed;
    session->data = store;
    session->log = patch->log;

    ngx_http_entra_mdm_patch_post(patch, ngx_http_entra_mdm_store_begin);
}
