/*
 * Writing changed lists to Redis, in one transaction that is sent bit by bit.
 */

#include "ngx_http_entra_mdm_api_redis.h"


#define TRIES      50
#define MEMBERS    200                  /* of one command */
#define UNANSWERED 100                  /* commands; more when half are */
#define MAX_XADD   10000                /* the stream holds no more */


static void ngx_http_entra_mdm_store_executed(
    ngx_http_entra_mdm_redis_conn_t *conn, redisReply *reply);
static void ngx_http_entra_mdm_store_work(ngx_http_entra_mdm_store_t *store);


/*
 * Up to EXEC, the generation that was read is the latest there is, or else
 * nothing is changed.  What the feed held beyond that by then is of another
 * Redis, or of this one before it lost some, and says nothing of this change.
 */

static void
ngx_http_entra_mdm_store_anew(ngx_http_entra_mdm_store_t *store)
{
    ngx_http_entra_mdm_zone_t    *zone;
    ngx_http_entra_mdm_policy_t  *policy;

    if (store->held <= store->generation) {
        return;
    }

    policy = store->patch->policy;
    zone = ngx_http_entra_mdm_zone(policy);

    ngx_http_entra_mdm_zone_lock(policy);

    if (zone->feed.held == store->held) {
        zone->feed.held = 0;
    }

    ngx_http_entra_mdm_zone_unlock(policy);

    ngx_http_entra_mdm_store_poke(store);
}


/* all is queued, nothing was refused: from here on it cannot be undone */

static void
ngx_http_entra_mdm_store_execute(ngx_http_entra_mdm_store_t *store)
{
    ngx_str_t  words[1];

    store->state = NGX_HTTP_ENTRA_MDM_STORE_SENT;
    store->held = ngx_http_entra_mdm_zone(store->patch->policy)->feed.held;

    ngx_str_set(&words[0], "EXEC");

    (void) ngx_http_entra_mdm_session_send(&store->session,
                                           ngx_http_entra_mdm_store_executed,
                                           words, 1);
}


static void
ngx_http_entra_mdm_store_queued(ngx_http_entra_mdm_redis_conn_t *conn,
    redisReply *reply)
{
    ngx_http_entra_mdm_store_t  *store;

    store = ngx_http_entra_mdm_store_of(conn);

    if (reply->type == REDIS_REPLY_ERROR) {
        ngx_http_entra_mdm_store_away(store,
                    ngx_http_entra_mdm_redis_text(reply->str, reply->len));
        return;
    }

    if (--store->queued == 0 && store->list == ENTRA_LISTS) {
        ngx_http_entra_mdm_store_execute(store);
        return;
    }

    if (store->list < ENTRA_LISTS && store->queued == UNANSWERED / 2) {
        ngx_http_entra_mdm_store_work(store);
    }
}


static ngx_int_t
ngx_http_entra_mdm_store_queue(ngx_http_entra_mdm_store_t *store,
    const ngx_str_t *words, ngx_uint_t n)
{
    store->queued++;

    return ngx_http_entra_mdm_session_send(&store->session,
                                           ngx_http_entra_mdm_store_queued,
                                           words, n);
}


/* the next member that this step names; 0: there is none */

static ngx_uint_t
ngx_http_entra_mdm_store_member(ngx_http_entra_mdm_store_t *store,
    ngx_str_t *word, u_char *room)
{
    const entra_set_t            *to;
    const entra_typed_t          *member;
    ngx_http_entra_mdm_stored_t  *stored;

    to = &store->patch->to.list[store->list].ids;
    stored = &store->stored[store->list];

    word->data = room;
    word->len = ENTRA_GUID_LEN;

    if (store->step == NGX_HTTP_ENTRA_MDM_STEP_ADD
        || store->step == NGX_HTTP_ENTRA_MDM_STEP_ACCOUNT)
    {
        while (store->index < to->count) {
            const entra_guid_t  *id = &to->ids[store->index++];

            if (!entra_set_has(&stored->ids, id)) {
                (void) entra_guid_write_typed(id,
                                       entra_set_upper(to, store->index - 1),
                                       (char *) room);
                return 1;
            }
        }

        return 0;
    }

    while (store->index < stored->nmembers) {
        member = &stored->members[store->index++];

        if (!entra_set_has(to, &member->id)) {
            (void) entra_guid_write_typed(&member->id,
                       store->step == NGX_HTTP_ENTRA_MDM_STEP_FORGET_LOWER
                       ? 0 : member->upper, (char *) room);
            return 1;
        }
    }

    if (store->step == NGX_HTTP_ENTRA_MDM_STEP_REMOVE
        && store->index < stored->nmembers + stored->nodd)
    {
        *word = stored->odd[store->index++ - stored->nmembers];
        return 1;
    }

    return 0;
}


/* one command; NGX_DONE: this step needs no more */

static ngx_int_t
ngx_http_entra_mdm_store_members_write(ngx_http_entra_mdm_store_t *store)
{
    u_char      room[MEMBERS][ENTRA_GUID_LEN];
    ngx_str_t   words[MEMBERS + 2], *keys;
    ngx_uint_t  n;

    keys = store->session.redis->keys;

    if (store->step == NGX_HTTP_ENTRA_MDM_STEP_ADD
        || store->step == NGX_HTTP_ENTRA_MDM_STEP_ACCOUNT)
    {
        ngx_str_set(&words[0], "SADD");

    } else {
        ngx_str_set(&words[0], "SREM");
    }

    words[1] = store->step >= NGX_HTTP_ENTRA_MDM_STEP_FORGET
               ? keys[NGX_HTTP_ENTRA_MDM_REDIS_ACCOUNTED + store->list]
               : keys[store->list];

    for (n = 0; n < MEMBERS; n++) {
        if (!ngx_http_entra_mdm_store_member(store, &words[n + 2], room[n])) {
            break;
        }
    }

    if (n == 0) {
        return NGX_DONE;
    }

    return ngx_http_entra_mdm_store_queue(store, words, n + 2);
}


static ngx_int_t
ngx_http_entra_mdm_store_activity_write(ngx_http_entra_mdm_store_t *store)
{
    bool                          added;
    char                          guid[ENTRA_GUID_LEN];
    uint32_t                      upper;
    ngx_str_t                     words[NGX_HTTP_ENTRA_MDM_REDIS_XADD];
    const entra_guid_t           *id;
    ngx_http_entra_mdm_author_t  *author;

    author = &store->patch->author;

    do {
        id = entra_diff_next(&store->diff, &added, &upper);
        if (id == NULL) {
            return NGX_DONE;
        }
    } while (store->skip && store->skip--);

    (void) entra_guid_write_typed(id, upper, guid);

    ngx_http_entra_mdm_redis_activity(store->session.redis, words,
                                      store->list, added, guid, author);

    return ngx_http_entra_mdm_store_queue(store, words,
                                          NGX_HTTP_ENTRA_MDM_REDIS_XADD);
}


/* where a step begins; activities of many, and only the last of them */

static void
ngx_http_entra_mdm_store_step(ngx_http_entra_mdm_store_t *store)
{
    ngx_http_entra_mdm_patch_t  *patch;

    patch = store->patch;

    store->index = 0;

    if (store->step == NGX_HTTP_ENTRA_MDM_STEP_ACTIVITIES) {
        store->diff = (entra_diff_t) { &patch->from.list[store->list].ids,
                                       &patch->to.list[store->list].ids,
                                       0, 0 };
    }
}


static void
ngx_http_entra_mdm_store_note(ngx_http_entra_mdm_store_t *store)
{
    ngx_uint_t                   i;
    entra_set_t                  from[ENTRA_LISTS], to[ENTRA_LISTS];
    ngx_http_entra_mdm_patch_t  *patch;

    patch = store->patch;

    for (i = 0; i < ENTRA_LISTS; i++) {
        from[i] = patch->from.list[i].ids;
        to[i] = patch->to.list[i].ids;
    }

    ngx_http_entra_mdm_activities_log(patch->policy, patch->changed, from, to,
                                      &patch->author);
}


/* a key of another type stops nothing but what it is for */

static void
ngx_http_entra_mdm_store_check(ngx_http_entra_mdm_store_t *store,
    const redisReply *reply)
{
    size_t       i;
    redisReply  *one;

    for (i = 0; i < reply->elements; i++) {
        one = reply->element[i];

        if (one->type == REDIS_REPLY_ERROR) {
            ngx_log_error(NGX_LOG_ERR, store->patch->log, 0,
                          "entra_mdm: a change of policy \"%V\" was made, but "
                          "its activities are not all in Redis: %s",
                          &store->patch->policy->name,
                          ngx_http_entra_mdm_redis_text(one->str, one->len));
            return;
        }
    }
}


static void
ngx_http_entra_mdm_store_again(ngx_event_t *ev)
{
    ngx_http_entra_mdm_patch_t  *patch;

    patch = ev->data;

    ngx_http_entra_mdm_store_ready(&patch->store->session);
}


static void
ngx_http_entra_mdm_store_executed(ngx_http_entra_mdm_redis_conn_t *conn,
    redisReply *reply)
{
    ngx_int_t                    rc;
    ngx_http_entra_mdm_store_t  *store;
    ngx_http_entra_mdm_patch_t  *patch;

    store = ngx_http_entra_mdm_store_of(conn);
    patch = store->patch;

    store->state = NGX_HTTP_ENTRA_MDM_STORE_READING;

    if (reply->type == REDIS_REPLY_NIL) {

        /* what was watched has changed */

        if (patch->r == NULL) {
            ngx_http_entra_mdm_store_done(store, NGX_OK);
            return;
        }

        if (++patch->tries == TRIES) {
            rc = ngx_http_entra_mdm_patch_error(patch,
                                        NGX_HTTP_SERVICE_UNAVAILABLE,
                                        "the lists change too often; nothing "
                                        "was changed");
            ngx_http_entra_mdm_store_done(store, rc);
            return;
        }

        ngx_http_entra_mdm_patch_later(patch, ngx_http_entra_mdm_store_again);
        return;
    }

    if (reply->type != REDIS_REPLY_ARRAY || reply->elements == 0) {
        ngx_http_entra_mdm_store_away(store,
                    ngx_http_entra_mdm_redis_text(reply->str, reply->len));
        return;
    }

    ngx_http_entra_mdm_store_anew(store);

    store->generation = 0;

    if (reply->element[0]->type == REDIS_REPLY_INTEGER) {
        store->generation = (ngx_atomic_uint_t) reply->element[0]->integer;
    }

    ngx_http_entra_mdm_store_check(store, reply);
    ngx_http_entra_mdm_store_note(store);

    ngx_http_entra_mdm_store_wait(store);
}


/* some commands, as many as Redis keeps up with; its answers call for more */

static void
ngx_http_entra_mdm_store_work(ngx_http_entra_mdm_store_t *store)
{
    ngx_int_t  rc;

    while (store->queued < UNANSWERED) {

        if (store->list == ENTRA_LISTS) {
            /* the last answer is still to come */
            return;
        }

        rc = NGX_DONE;

        if (store->lists & (1u << store->list)) {
            rc = store->step == NGX_HTTP_ENTRA_MDM_STEP_ACTIVITIES
                 ? ngx_http_entra_mdm_store_activity_write(store)
                 : ngx_http_entra_mdm_store_members_write(store);
        }

        if (rc == NGX_ERROR) {
            /* it is over */
            return;
        }

        if (rc == NGX_OK) {
            continue;
        }

        if (++store->step == NGX_HTTP_ENTRA_MDM_STEPS) {
            store->step = NGX_HTTP_ENTRA_MDM_STEP_REMOVE;
            store->list++;
        }

        if (store->list < ENTRA_LISTS) {
            ngx_http_entra_mdm_store_step(store);
        }
    }
}


void
ngx_http_entra_mdm_store_write(ngx_http_entra_mdm_store_t *store)
{
    size_t       n;
    ngx_str_t    words[2];
    ngx_uint_t   i;

    for (i = 0, n = 0; i < ENTRA_LISTS; i++) {
        n += entra_set_differences(&store->patch->from.list[i].ids,
                                   &store->patch->to.list[i].ids);
    }

    store->state = NGX_HTTP_ENTRA_MDM_STORE_WRITING;
    store->list = 0;
    store->step = NGX_HTTP_ENTRA_MDM_STEP_REMOVE;
    store->skip = n - ngx_min(n, MAX_XADD);
    store->queued = 0;

    ngx_http_entra_mdm_store_step(store);

    ngx_str_set(&words[0], "MULTI");

    if (ngx_http_entra_mdm_store_queue(store, words, 1) != NGX_OK) {
        return;
    }

    ngx_str_set(&words[0], "INCR");
    words[1] = store->session.redis->keys[NGX_HTTP_ENTRA_MDM_REDIS_GENERATION];

    if (ngx_http_entra_mdm_store_queue(store, words, 2) != NGX_OK) {
        return;
    }

    ngx_http_entra_mdm_store_work(store);
}
