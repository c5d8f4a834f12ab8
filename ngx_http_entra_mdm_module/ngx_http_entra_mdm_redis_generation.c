/*
 * What a pass asks beside the lists themselves: which keys exist, and of which
 * generation they are.  It tells a Redis that has lost its data from one whose
 * lists were emptied.
 */

#include "ngx_http_entra_mdm_redis_load.h"


/*** which keys exist ***/


static void
ngx_http_entra_mdm_redis_exists(ngx_http_entra_mdm_redis_load_t *load,
    redisReply *reply, ngx_uint_t key)
{
    if (!load->busy) {
        /* the answer before this one ended it */
        return;
    }

    if (reply->type != REDIS_REPLY_INTEGER) {
        ngx_http_entra_mdm_redis_load_error(load, reply);
        return;
    }

    load->exist |= (reply->integer != 0) << key;
}


static void
ngx_http_entra_mdm_redis_client_ids_exist(
    ngx_http_entra_mdm_redis_conn_t *conn, redisReply *reply)
{
    ngx_http_entra_mdm_redis_exists(ngx_http_entra_mdm_redis_load_of(conn),
                                    reply,
                                    NGX_HTTP_ENTRA_MDM_REDIS_CLIENT_IDS);
}


static void
ngx_http_entra_mdm_redis_tenant_ids_exist(
    ngx_http_entra_mdm_redis_conn_t *conn, redisReply *reply)
{
    ngx_http_entra_mdm_redis_exists(ngx_http_entra_mdm_redis_load_of(conn),
                                    reply,
                                    NGX_HTTP_ENTRA_MDM_REDIS_TENANT_IDS);
}


/* 0: there is none.  One that is no number says no more than that it exists. */

static ngx_atomic_uint_t
ngx_http_entra_mdm_redis_number(ngx_http_entra_mdm_redis_load_t *load,
    const redisReply *reply)
{
    uint64_t           n;
    ngx_atomic_uint_t  last;

    if (reply->type == REDIS_REPLY_NIL) {
        return 0;
    }

    if (entra_redis_number(reply, &n)) {
        return n ? (ngx_atomic_uint_t) n : 1;
    }

    if (!load->odd_told) {
        ngx_log_error(NGX_LOG_WARN, load->log, 0,
                      "entra_mdm: key \"%V\" of policy \"%V\" in Redis is not "
                      "a number",
                      &load->policy->redis->keys[
                          NGX_HTTP_ENTRA_MDM_REDIS_GENERATION],
                      &load->policy->name);
    }

    load->odd_told = 1;

    last = ngx_http_entra_mdm_zone(load->policy)->feed.generation;

    return last ? last : 1;
}


void
ngx_http_entra_mdm_redis_generation_seen(
    ngx_http_entra_mdm_redis_conn_t *conn, redisReply *reply)
{
    ngx_http_entra_mdm_redis_load_t  *load;

    load = ngx_http_entra_mdm_redis_load_of(conn);

    if (reply->type != REDIS_REPLY_STRING && reply->type != REDIS_REPLY_NIL
        && !ngx_http_entra_mdm_redis_wrong_type(reply))
    {
        ngx_http_entra_mdm_redis_load_error(load, reply);
        return;
    }

    load->seen = ngx_http_entra_mdm_redis_number(load, reply);

    if (load->seen != ngx_http_entra_mdm_zone(load->policy)->feed.held) {
        load->reading |= NGX_HTTP_ENTRA_MDM_REDIS_LISTS;
    }

    ngx_http_entra_mdm_redis_load_next(load);
}


static void
ngx_http_entra_mdm_redis_generation_set(ngx_http_entra_mdm_redis_conn_t *conn,
    redisReply *reply)
{
    ngx_http_entra_mdm_zone_t        *zone;
    ngx_http_entra_mdm_redis_load_t  *load;

    load = ngx_http_entra_mdm_redis_load_of(conn);
    zone = ngx_http_entra_mdm_zone(load->policy);

    /* one who may not write has no guard against lost data: docs/redis.md */

    if (reply->type == REDIS_REPLY_STATUS) {
        zone->feed.generation = 1;
    }
}


/*
 * Whoever writes lists by redis-cli alone writes no generation, by which lost
 * data is told from emptied lists.  So the feed leaves one.
 */

static void
ngx_http_entra_mdm_redis_generation_leave(
    ngx_http_entra_mdm_redis_load_t *load)
{
    ngx_str_t  words[4];

    ngx_str_set(&words[0], "SET");
    words[1] = load->policy->redis->keys[NGX_HTTP_ENTRA_MDM_REDIS_GENERATION];
    ngx_str_set(&words[2], "1");
    ngx_str_set(&words[3], "NX");

    (void) ngx_http_entra_mdm_redis_send(load->conn,
                         ngx_http_entra_mdm_redis_generation_set, words, 4);
}


static void
ngx_http_entra_mdm_redis_lost(ngx_http_entra_mdm_redis_load_t *load)
{
    ngx_uint_t                  told;
    ngx_http_entra_mdm_zone_t  *zone;

    zone = ngx_http_entra_mdm_zone(load->policy);

    ngx_http_entra_mdm_zone_lock(load->policy);

    told = zone->source == NGX_HTTP_ENTRA_MDM_FROM_LOST;

    if (load->policy->epoch == zone->feed_epoch) {
        zone->source = NGX_HTTP_ENTRA_MDM_FROM_LOST;
        /* generations begin anew */
        zone->feed.held = 0;
    }

    ngx_http_entra_mdm_zone_unlock(load->policy);

    if (told) {
        return;
    }

    ngx_log_error(NGX_LOG_ERR, load->log, 0,
                  "entra_mdm: Redis has lost both lists of policy \"%V\" and "
                  "\"%V\" together, as one does that lost its data: the last "
                  "lists stay in force until it is restored, or a list is "
                  "written, or empty lists are confirmed through the API",
                  &load->policy->name,
                  &load->policy->redis->keys[
                      NGX_HTTP_ENTRA_MDM_REDIS_GENERATION]);
}


/*
 * A Set that exists has members, and one that does not has none: what was
 * found otherwise has changed meanwhile.  It is read again, since a feed that
 * only polls would not hear of that for long.
 */

static void
ngx_http_entra_mdm_redis_contradicted(ngx_http_entra_mdm_redis_load_t *load)
{
    ngx_uint_t  i, bit;

    for (i = 0; i < ENTRA_LISTS; i++) {
        bit = load->publish & (1u << i);

        if (bit && load->list[i].seen != ((load->exist & bit) != 0)) {
            load->dirty |= bit;
            load->publish &= ~bit;
            load->partial = 1;
        }
    }
}


static void
ngx_http_entra_mdm_redis_generation_read(
    ngx_http_entra_mdm_redis_conn_t *conn, redisReply *reply)
{
    ngx_atomic_uint_t                 generation;
    ngx_http_entra_mdm_zone_t        *zone;
    ngx_http_entra_mdm_redis_load_t  *load;

    load = ngx_http_entra_mdm_redis_load_of(conn);
    zone = ngx_http_entra_mdm_zone(load->policy);

    if (!load->busy) {
        return;
    }

    if (reply->type != REDIS_REPLY_STRING && reply->type != REDIS_REPLY_NIL
        && !ngx_http_entra_mdm_redis_wrong_type(reply))
    {
        ngx_http_entra_mdm_redis_load_error(load, reply);
        return;
    }

    if (zone->feed_epoch != load->policy->epoch) {
        /* what this Redis has lost or not is no longer the question */
        ngx_http_entra_mdm_redis_load_end(load,
                                NGX_HTTP_ENTRA_MDM_REDIS_SUPERSEDED, NULL);
        return;
    }

    generation = ngx_http_entra_mdm_redis_number(load, reply);

    if (load->exist == 0 && generation == 0 && zone->feed.generation) {
        ngx_http_entra_mdm_redis_lost(load);
        ngx_http_entra_mdm_redis_load_end(load,
                                    NGX_HTTP_ENTRA_MDM_REDIS_LOADED, NULL);
        return;
    }

    if (generation) {
        zone->feed.generation = generation;

    } else if (load->exist) {
        ngx_http_entra_mdm_redis_generation_leave(load);
    }

    if (zone->source == NGX_HTTP_ENTRA_MDM_FROM_LOST
        && (load->reading & NGX_HTTP_ENTRA_MDM_REDIS_LISTS)
           != NGX_HTTP_ENTRA_MDM_REDIS_LISTS)
    {
        /* it is back: both lists, or none */
        load->dirty |= NGX_HTTP_ENTRA_MDM_REDIS_ALL;
        load->publish = 0;
        load->partial = 1;
    }

    ngx_http_entra_mdm_redis_contradicted(load);
    ngx_http_entra_mdm_redis_load_publish(load);
}


void
ngx_http_entra_mdm_redis_meta(ngx_http_entra_mdm_redis_load_t *load)
{
    ngx_str_t   words[2], *keys;

    keys = load->policy->redis->keys;

    ngx_str_set(&words[0], "EXISTS");
    words[1] = keys[NGX_HTTP_ENTRA_MDM_REDIS_CLIENT_IDS];

    if (ngx_http_entra_mdm_redis_load_send(load,
                     ngx_http_entra_mdm_redis_client_ids_exist, words, 2)
        != NGX_OK)
    {
        return;
    }

    words[1] = keys[NGX_HTTP_ENTRA_MDM_REDIS_TENANT_IDS];

    if (ngx_http_entra_mdm_redis_load_send(load,
                     ngx_http_entra_mdm_redis_tenant_ids_exist, words, 2)
        != NGX_OK)
    {
        return;
    }

    ngx_str_set(&words[0], "GET");
    words[1] = keys[NGX_HTTP_ENTRA_MDM_REDIS_GENERATION];

    (void) ngx_http_entra_mdm_redis_load_send(load,
                        ngx_http_entra_mdm_redis_generation_read, words, 2);
}
