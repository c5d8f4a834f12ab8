/*
 * Reading the lists.  A pass goes over the keys that are dirty:
 *
 *     GET generation                                 always, and first
 *     ┌─► SSCAN ─► a batch is sorted and merged ─┐   for each list,
 *     │            piece by piece                │   1,000 members at a time
 *     └──────────────────────────────────────────┘
 *     STRLEN, GET jwks                               with "jwks redis"
 *     EXISTS, EXISTS, GET generation                 always, and last
 *     publish, or find that Redis has lost its data
 *
 * Whether the keys exist is asked after they were read: were it asked before,
 * a Redis that loses its data in between would look like one whose lists were
 * emptied.
 *
 * The generation is asked for twice.  Lists that are read after it hold at
 * least what the change of that generation wrote; if it is a new one, both are
 * read, whichever was named.  That is what an answer of the API waits for.
 *
 * Never more than one command of a scan is under way, and no other read of
 * that key.  SSCAN returns what was there throughout; for what was not, an
 * invalidation comes, and another pass.
 */

#include "ngx_http_entra_mdm_redis_load.h"
#include "ngx_http_entra_mdm_keys.h"
#include "ngx_http_entra_mdm_lists.h"


#define COALESCE  5                     /* milliseconds */


/*** the pass ***/


static void
ngx_http_entra_mdm_redis_load_clear(ngx_http_entra_mdm_redis_load_t *load)
{
    ngx_uint_t  i;

    for (i = 0; i < ENTRA_LISTS; i++) {
        entra_gather_free(&load->list[i].gather);
    }

    load->busy = 0;
    load->reading = 0;
    load->publish = 0;
}


/* what is in force is what Redis has */

static void
ngx_http_entra_mdm_redis_load_fresh(ngx_http_entra_mdm_redis_load_t *load)
{
    ngx_uint_t                  i;
    ngx_http_entra_mdm_zone_t  *zone;

    zone = ngx_http_entra_mdm_zone(load->policy);

    if (zone->source != NGX_HTTP_ENTRA_MDM_FROM_REDIS
        || zone->feed_epoch != load->policy->epoch)
    {
        return;
    }

    if (load->keys_good) {
        ngx_http_entra_mdm_moment_set(&zone->keys_fetched, ngx_time());
    }

    for (i = 0; i < ENTRA_LISTS; i++) {
        if (load->list[i].wrong || load->list[i].refused) {
            return;
        }
    }

    ngx_http_entra_mdm_moment_set(&zone->lists_updated, ngx_time());
}


void
ngx_http_entra_mdm_redis_load_end(ngx_http_entra_mdm_redis_load_t *load,
    ngx_http_entra_mdm_redis_loaded_e how, const char *why)
{
    ngx_http_entra_mdm_redis_load_clear(load);

    if (how == NGX_HTTP_ENTRA_MDM_REDIS_LOADED
        && load->dirty && !load->start.timer_set)
    {
        ngx_add_timer(&load->start, COALESCE);
    }

    /* the owner may stop it now */

    load->handler(load, how, why);
}


void
ngx_http_entra_mdm_redis_load_failed(ngx_http_entra_mdm_redis_load_t *load,
    const char *why)
{
    ngx_http_entra_mdm_redis_load_end(load, NGX_HTTP_ENTRA_MDM_REDIS_FAILED,
                                      why);
}


void
ngx_http_entra_mdm_redis_load_error(ngx_http_entra_mdm_redis_load_t *load,
    const redisReply *reply)
{
    const char  *why;

    why = reply->type == REDIS_REPLY_ERROR
          ? ngx_http_entra_mdm_redis_text(reply->str, reply->len)
          : "an answer of another form";

    ngx_http_entra_mdm_redis_load_failed(load, why);
}


ngx_int_t
ngx_http_entra_mdm_redis_load_send(ngx_http_entra_mdm_redis_load_t *load,
    ngx_http_entra_mdm_redis_reply_pt handler, const ngx_str_t *words,
    ngx_uint_t n)
{
    if (ngx_http_entra_mdm_redis_send(load->conn, handler, words, n)
        != NGX_OK)
    {
        ngx_http_entra_mdm_redis_load_failed(load, "nothing can be sent");
        return NGX_ERROR;
    }

    return NGX_OK;
}


static void
ngx_http_entra_mdm_redis_load_start(ngx_event_t *ev)
{
    ngx_str_t                         words[2];
    ngx_uint_t                        i;
    ngx_http_entra_mdm_redis_load_t  *load;

    load = ev->data;

    if (load->busy || load->dirty == 0) {
        return;
    }

    load->busy = 1;
    load->reading = load->dirty;
    load->dirty = 0;
    load->read = 0;
    load->exist = 0;
    load->partial = 0;

    for (i = 0; i < ENTRA_LISTS; i++) {
        entra_gather_free(&load->list[i].gather);
        load->list[i].seen = 0;
        load->list[i].cursor[0] = '0';
        load->list[i].cursor[1] = '\0';
    }

    ngx_str_set(&words[0], "GET");
    words[1] = load->policy->redis->keys[NGX_HTTP_ENTRA_MDM_REDIS_GENERATION];

    (void) ngx_http_entra_mdm_redis_load_send(load,
                         ngx_http_entra_mdm_redis_generation_seen, words, 2);
}


/* a key of the wrong type: what was known of it stays */

ngx_uint_t
ngx_http_entra_mdm_redis_wrong_type(const redisReply *reply)
{
    entra_redis_host_t  moved;

    return reply->type == REDIS_REPLY_ERROR
           && entra_redis_error((entra_str_t) { reply->str, reply->len },
                                &moved)
              == ENTRA_REDIS_WRONGTYPE;
}


void
ngx_http_entra_mdm_redis_log_wrong(ngx_http_entra_mdm_redis_load_t *load,
    ngx_http_entra_mdm_redis_key_e key, const char *must)
{
    ngx_log_error(NGX_LOG_ERR, load->log, 0,
                  "entra_mdm: key \"%V\" of policy \"%V\" in Redis is not a "
                  "%s: the last good one stays in force, delete the key and "
                  "write it anew", &load->policy->redis->keys[key],
                  &load->policy->name, must);
}


/* the next key of the pass */

void
ngx_http_entra_mdm_redis_load_next(ngx_http_entra_mdm_redis_load_t *load)
{
    ngx_uint_t  i, todo;

    todo = load->reading & ~load->read;

    for (i = 0; i < ENTRA_LISTS; i++) {
        if (todo & (1u << i)) {
            load->read |= 1u << i;
            load->scanned = i;
            load->skipped.count = 0;
            load->skipped.hash = 0;

            ngx_http_entra_mdm_redis_scan(load);
            return;
        }
    }

    if ((todo & (1u << NGX_HTTP_ENTRA_MDM_REDIS_JWKS))
        && load->policy->keys->from == NGX_HTTP_ENTRA_MDM_JWKS_REDIS)
    {
        load->read |= 1u << NGX_HTTP_ENTRA_MDM_REDIS_JWKS;

        ngx_http_entra_mdm_redis_keys_get(load);
        return;
    }

    ngx_http_entra_mdm_redis_meta(load);
}


/*** putting lists in force ***/


/*
 * Each list by itself: one that does not fit must not keep the other out.
 * First the one that makes room.
 */

static ngx_uint_t
ngx_http_entra_mdm_redis_publish_first(ngx_http_entra_mdm_redis_load_t *load)
{
    size_t                          now, then;
    ngx_http_entra_mdm_snapshot_t   snapshot;

    if (load->publish != NGX_HTTP_ENTRA_MDM_REDIS_LISTS) {
        return load->publish & (1u << ENTRA_CLIENT_IDS) ? ENTRA_CLIENT_IDS
                                                        : ENTRA_TENANT_IDS;
    }

    ngx_http_entra_mdm_snapshot(load->policy, &snapshot);

    then = snapshot.lists.list[ENTRA_TENANT_IDS].ids.count;
    now = entra_gather_set(&load->list[ENTRA_TENANT_IDS].gather).count;

    return now <= then ? ENTRA_TENANT_IDS : ENTRA_CLIENT_IDS;
}


/* a list that did not fit may do so beside a shorter one */

static void
ngx_http_entra_mdm_redis_publish_refused(ngx_http_entra_mdm_redis_load_t *load)
{
    ngx_uint_t  i;

    for (i = 0; i < ENTRA_LISTS; i++) {
        if (load->list[i].refused && !(load->publish & (1u << i))) {
            load->dirty |= 1u << i;
        }
    }
}


/* what was read is in force, all of it */

static void
ngx_http_entra_mdm_redis_load_held(ngx_http_entra_mdm_redis_load_t *load)
{
    ngx_uint_t                  i;
    ngx_http_entra_mdm_zone_t  *zone;

    zone = ngx_http_entra_mdm_zone(load->policy);

    for (i = 0; i < ENTRA_LISTS; i++) {
        if (load->list[i].wrong || load->list[i].refused) {
            return;
        }
    }

    if (!load->partial && zone->feed_epoch == load->policy->epoch) {
        zone->feed.held = load->seen;
    }
}


void
ngx_http_entra_mdm_redis_load_publish(ngx_http_entra_mdm_redis_load_t *load)
{
    size_t                          before;
    ngx_int_t                       rc;
    ngx_uint_t                      i;
    ngx_http_entra_mdm_zone_t      *zone;
    ngx_http_entra_mdm_change_t     change;
    ngx_http_entra_mdm_snapshot_t   snapshot;

    zone = ngx_http_entra_mdm_zone(load->policy);

    while (load->publish) {
        i = ngx_http_entra_mdm_redis_publish_first(load);

        ngx_http_entra_mdm_snapshot(load->policy, &snapshot);
        before = snapshot.lists.list[i].ids.count;

        ngx_memzero(&change, sizeof(ngx_http_entra_mdm_change_t));

        change.lists = 1u << i;
        change.list[i] = entra_gather_set(&load->list[i].gather);
        change.source = NGX_HTTP_ENTRA_MDM_FROM_REDIS;
        change.epoch = load->policy->epoch;

        rc = ngx_http_entra_mdm_lists_publish(load->policy, &change,
                                              load->log);
        if (rc == NGX_AGAIN) {
            ngx_add_timer(&load->again, COALESCE);
            return;
        }

        if (rc == NGX_ABORT) {
            ngx_http_entra_mdm_redis_load_end(load,
                                NGX_HTTP_ENTRA_MDM_REDIS_SUPERSEDED, NULL);
            return;
        }

        zone->feed.refused += rc == NGX_DECLINED;
        load->list[i].refused = rc == NGX_DECLINED;
        load->publish &= ~(1u << i);

        if (rc == NGX_OK && change.list[i].count < before) {
            ngx_http_entra_mdm_redis_publish_refused(load);
        }
    }

    /* in that order: who waits for the latter looks at the former then */

    ngx_http_entra_mdm_redis_load_fresh(load);
    ngx_http_entra_mdm_redis_load_held(load);

    ngx_http_entra_mdm_redis_load_end(load, NGX_HTTP_ENTRA_MDM_REDIS_LOADED,
                                      NULL);
}


static void
ngx_http_entra_mdm_redis_load_again(ngx_event_t *ev)
{
    ngx_http_entra_mdm_redis_load_publish(ev->data);
}


/*** for the feed ***/


static void
ngx_http_entra_mdm_redis_load_event(ngx_http_entra_mdm_redis_load_t *load,
    ngx_event_t *ev, ngx_event_handler_pt handler)
{
    ev->handler = handler;
    ev->data = load;
    ev->log = load->log;
    ev->cancelable = 1;
}


void
ngx_http_entra_mdm_redis_load_init(ngx_http_entra_mdm_redis_load_t *load)
{
    load->keys_told = NGX_HTTP_ENTRA_MDM_REDIS_KEYS_GOOD;

    ngx_http_entra_mdm_redis_load_event(load, &load->start,
                                        ngx_http_entra_mdm_redis_load_start);
    ngx_http_entra_mdm_redis_load_event(load, &load->work,
                                        ngx_http_entra_mdm_redis_load_work);
    ngx_http_entra_mdm_redis_load_event(load, &load->again,
                                        ngx_http_entra_mdm_redis_load_again);
}


void
ngx_http_entra_mdm_redis_load_dirty(ngx_http_entra_mdm_redis_load_t *load,
    ngx_uint_t keys)
{
    if (keys == 0) {
        return;
    }

    load->dirty |= keys;

    if (!load->busy && !load->start.timer_set) {
        ngx_add_timer(&load->start, COALESCE);
    }
}


void
ngx_http_entra_mdm_redis_load_stop(ngx_http_entra_mdm_redis_load_t *load)
{
    load->dirty = 0;

    ngx_http_entra_mdm_redis_load_clear(load);

    if (load->start.timer_set) {
        ngx_del_timer(&load->start);
    }

    if (load->again.timer_set) {
        ngx_del_timer(&load->again);
    }

    if (load->work.posted) {
        ngx_delete_posted_event(&load->work);
    }
}


ngx_uint_t
ngx_http_entra_mdm_redis_load_key(ngx_http_entra_mdm_redis_load_t *load,
    const char *name, size_t len)
{
    ngx_str_t   *keys;
    ngx_uint_t   i;

    keys = load->policy->redis->keys;

    for (i = 0; i <= NGX_HTTP_ENTRA_MDM_REDIS_GENERATION; i++) {
        if (keys[i].len == len && ngx_memcmp(keys[i].data, name, len) == 0) {
            return 1u << i;
        }
    }

    return 0;
}


void
ngx_http_entra_mdm_redis_load_proven(ngx_http_entra_mdm_redis_load_t *load)
{
    if (!load->busy && !load->dirty) {
        ngx_http_entra_mdm_redis_load_fresh(load);
    }
}
