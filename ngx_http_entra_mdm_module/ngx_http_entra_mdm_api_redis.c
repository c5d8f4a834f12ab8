/*
 * Changing the lists in Redis, over a connection of this worker's own:
 *
 *     READING   WATCH both sets, SCARD, SMEMBERS, GET generation
 *     WRITING   MULTI, INCR generation, SREM and SADD of what differs,
 *               XADD of activities
 *     SENT      EXEC; nil: somebody was faster, again from READING
 *     WAITING   until this node's feed has read what was written
 *
 * Up to EXEC nothing has changed, whatever goes wrong.  After that the change
 * goes on even if its client has gone.
 */

#include "ngx_http_entra_mdm_api_patch.h"
#include "ngx_http_entra_mdm_redis_session.h"


#define TRIES      50
#define LOOK       5                    /* milliseconds between two looks */
#define MAX_WAIT   2000                 /* for the feed, in milliseconds */
#define MEMBERS    200                  /* of one command */
#define COMMANDS   200                  /* in one turn of the event loop */
#define MAX_XADD   10000                /* the stream holds no more */


typedef enum {
    NGX_HTTP_ENTRA_MDM_STORE_READING = 0,
    NGX_HTTP_ENTRA_MDM_STORE_WRITING,
    NGX_HTTP_ENTRA_MDM_STORE_SENT,
    NGX_HTTP_ENTRA_MDM_STORE_WAITING
} ngx_http_entra_mdm_store_state_e;


/* what is written of each list, in this order */

typedef enum {
    NGX_HTTP_ENTRA_MDM_STEP_REMOVE = 0,
    NGX_HTTP_ENTRA_MDM_STEP_ADD,
    NGX_HTTP_ENTRA_MDM_STEP_FORGET,     /* accounted, as typed */
    NGX_HTTP_ENTRA_MDM_STEP_FORGET_LOWER,
    NGX_HTTP_ENTRA_MDM_STEP_ACCOUNT,
    NGX_HTTP_ENTRA_MDM_STEP_ACTIVITIES,
    NGX_HTTP_ENTRA_MDM_STEPS
} ngx_http_entra_mdm_step_e;


/* a set as Redis has it: a GUID may be there in several spellings */

typedef struct {
    entra_typed_t                     *members;     /* ascending */
    size_t                             nmembers;
    ngx_str_t                         *odd;         /* that are no GUIDs */
    size_t                             nodd;
    entra_set_t                        ids;
} ngx_http_entra_mdm_stored_t;


struct ngx_http_entra_mdm_store_s {
    ngx_http_entra_mdm_patch_t        *patch;
    ngx_http_entra_mdm_session_t       session;
    ngx_http_entra_mdm_store_state_e   state;

    ngx_http_entra_mdm_stored_t        stored[ENTRA_LISTS];
    ngx_uint_t                         read;        /* lists, so far */
    ngx_uint_t                         lost;        /* unsigned  lost:1; */
    ngx_atomic_uint_t                  generation;  /* 0: none */

    /* how far the writing is */
    ngx_uint_t                         lists;       /* bits */
    ngx_uint_t                         list;
    ngx_http_entra_mdm_step_e          step;
    size_t                             index;
    entra_diff_t                       diff;
    size_t                             skip;        /* of the activities */
    char                               refused[256];

    ngx_event_t                        work;
    ngx_event_t                        deadline;
};


static void ngx_http_entra_mdm_store_decide(ngx_http_entra_mdm_store_t *store);
static void ngx_http_entra_mdm_store_write(ngx_http_entra_mdm_store_t *store);
static void ngx_http_entra_mdm_store_wait(ngx_http_entra_mdm_store_t *store);


/*** the end ***/


static void
ngx_http_entra_mdm_store_close(ngx_http_entra_mdm_store_t *store)
{
    ngx_http_entra_mdm_session_close(&store->session);

    if (store->work.posted) {
        ngx_delete_posted_event(&store->work);
    }

    if (store->deadline.timer_set) {
        ngx_del_timer(&store->deadline);
    }
}


static void
ngx_http_entra_mdm_store_done(ngx_http_entra_mdm_store_t *store, ngx_int_t rc)
{
    ngx_http_entra_mdm_store_close(store);
    ngx_http_entra_mdm_patch_done(store->patch, rc);
}


static void
ngx_http_entra_mdm_store_no_memory(ngx_http_entra_mdm_store_t *store)
{
    ngx_http_entra_mdm_store_done(store, NGX_HTTP_INTERNAL_SERVER_ERROR);
}


/* nothing was changed, for that reason */

static void
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


/* the feed is to read the lists again, even if nobody tells it to */

static void
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


static void
ngx_http_entra_mdm_store_deadline(ngx_event_t *ev)
{
    ngx_http_entra_mdm_store_t *store = ev->data;

    ngx_http_entra_mdm_session_close(&store->session);
    ngx_http_entra_mdm_store_failed(&store->session, "it takes too long");
}


ngx_int_t
ngx_http_entra_mdm_patch_redis_gone(ngx_http_entra_mdm_patch_t *patch)
{
    if (patch->store->state == NGX_HTTP_ENTRA_MDM_STORE_SENT) {
        return NGX_AGAIN;
    }

    ngx_http_entra_mdm_store_close(patch->store);

    return NGX_OK;
}


/*** reading ***/


static ngx_http_entra_mdm_store_t *
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
    size_t             i, n;
    uint32_t          *upper;
    ngx_str_t         *odd;
    ngx_pool_t        *pool;
    entra_str_t        text;
    entra_guid_t      *ids;
    entra_typed_t     *members;

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
        text = (entra_str_t) { reply->element[i]->str,
                               reply->element[i]->len };

        if (reply->element[i]->type != REDIS_REPLY_STRING) {
            continue;
        }

        if (entra_guid_parse(text, &members[stored->nmembers].id)) {
            members[stored->nmembers++].upper = entra_guid_upper(text);
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
    ngx_int_t                    n;
    ngx_http_entra_mdm_store_t  *store;

    store = ngx_http_entra_mdm_store_of(conn);
    store->generation = 0;

    if (reply->type != REDIS_REPLY_NIL) {

        if (ngx_http_entra_mdm_store_answer(store, reply, REDIS_REPLY_STRING)
            != NGX_OK)
        {
            return;
        }

        n = ngx_atoi((u_char *) reply->str, reply->len);

        if (n == NGX_ERROR) {
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


static void
ngx_http_entra_mdm_store_ready(ngx_http_entra_mdm_session_t *session)
{
    ngx_str_t                    words[3], *keys;
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

    if (ngx_http_entra_mdm_session_send(session,
                                        ngx_http_entra_mdm_store_watched,
                                        words, 3)
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

    if (rc != NGX_OK) {
        ngx_http_entra_mdm_store_no_memory(store);
        return;
    }

    ngx_http_entra_mdm_patch_apply(patch);

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


/*** writing ***/


/* what will be refused is told by the answer to EXEC; this says why */

static void
ngx_http_entra_mdm_store_queued(ngx_http_entra_mdm_redis_conn_t *conn,
    redisReply *reply)
{
    const char                  *why;
    ngx_http_entra_mdm_store_t  *store;

    store = ngx_http_entra_mdm_store_of(conn);

    if (reply->type == REDIS_REPLY_ERROR && store->refused[0] == '\0') {
        why = ngx_http_entra_mdm_redis_text(reply->str, reply->len);
        ngx_cpystrn((u_char *) store->refused, (u_char *) why,
                    sizeof(store->refused));
    }
}


static ngx_int_t
ngx_http_entra_mdm_store_queue(ngx_http_entra_mdm_store_t *store,
    const ngx_str_t *words, ngx_uint_t n)
{
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
    ngx_str_t                     words[14];
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

    ngx_str_set(&words[0], "XADD");
    words[1] = store->session.redis->keys[NGX_HTTP_ENTRA_MDM_REDIS_ACTIVITIES];
    ngx_str_set(&words[2], "MAXLEN");
    ngx_str_set(&words[3], "~");
    ngx_str_set(&words[4], "10000");
    ngx_str_set(&words[5], "*");
    ngx_str_set(&words[6], "type");
    words[7].data = (u_char *) entra_activity_types[store->list][added];
    words[7].len = ngx_strlen(words[7].data);
    words[8].data = (u_char *) entra_activity_details[store->list];
    words[8].len = ngx_strlen(words[8].data);
    words[9].data = (u_char *) guid;
    words[9].len = ENTRA_GUID_LEN;
    ngx_str_set(&words[10], "actor");
    words[11] = author->actor;
    ngx_str_set(&words[12], "role");

    words[13] = author->role;

    return ngx_http_entra_mdm_store_queue(store, words, 14);
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


static size_t
ngx_http_entra_mdm_store_activities(ngx_http_entra_mdm_store_t *store)
{
    bool                         added;
    size_t                       n;
    uint32_t                     upper;
    ngx_uint_t                   i;
    entra_diff_t                 diff;
    ngx_http_entra_mdm_patch_t  *patch;

    n = 0;
    patch = store->patch;

    for (i = 0; i < ENTRA_LISTS; i++) {
        diff = (entra_diff_t) { &patch->from.list[i].ids,
                                &patch->to.list[i].ids, 0, 0 };

        while (entra_diff_next(&diff, &added, &upper) != NULL) {
            n++;
        }
    }

    return n;
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
        ngx_http_entra_mdm_store_away(store, store->refused[0]
                     ? store->refused
                     : ngx_http_entra_mdm_redis_text(reply->str, reply->len));
        return;
    }

    store->generation = 0;

    if (reply->element[0]->type == REDIS_REPLY_INTEGER) {
        store->generation = (ngx_atomic_uint_t) reply->element[0]->integer;
    }

    ngx_http_entra_mdm_store_note(store);

    if (!ngx_http_entra_mdm_zone(patch->policy)->feed.tracking) {
        ngx_http_entra_mdm_store_poke(store);
    }

    ngx_http_entra_mdm_store_wait(store);
}


/* some commands, then others have their turn */

static void
ngx_http_entra_mdm_store_work(ngx_event_t *ev)
{
    ngx_int_t                    rc;
    ngx_str_t                    words[1];
    ngx_uint_t                   n;
    ngx_http_entra_mdm_store_t  *store;

    store = ev->data;

    for (n = 0; n < COMMANDS; n++) {

        if (store->list == ENTRA_LISTS) {
            store->state = NGX_HTTP_ENTRA_MDM_STORE_SENT;
            ngx_str_set(&words[0], "EXEC");
            (void) ngx_http_entra_mdm_session_send(&store->session,
                               ngx_http_entra_mdm_store_executed, words, 1);
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

    ngx_post_event(&store->work, &ngx_posted_next_events);
}


static void
ngx_http_entra_mdm_store_write(ngx_http_entra_mdm_store_t *store)
{
    size_t     n;
    ngx_str_t  words[2];

    n = ngx_http_entra_mdm_store_activities(store);

    store->state = NGX_HTTP_ENTRA_MDM_STORE_WRITING;
    store->list = 0;
    store->step = NGX_HTTP_ENTRA_MDM_STEP_REMOVE;
    store->skip = n - ngx_min(n, MAX_XADD);
    store->refused[0] = '\0';

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

    ngx_http_entra_mdm_store_work(&store->work);
}


/*** waiting for the feed ***/


static ngx_uint_t
ngx_http_entra_mdm_store_held(ngx_http_entra_mdm_store_t *store)
{
    ngx_http_entra_mdm_zone_t  *zone;

    zone = ngx_http_entra_mdm_zone(store->patch->policy);

    return store->generation == 0 || zone->feed.held >= store->generation;
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

        if (++patch->tries < MAX_WAIT / LOOK) {
            ngx_add_timer(&patch->event, LOOK);
            return;
        }

        ngx_log_error(NGX_LOG_WARN, patch->log, 0,
                      "entra_mdm: a change of policy \"%V\" is in Redis, but "
                      "this node has not read it within %d ms",
                      &patch->policy->name, MAX_WAIT);
    }

    rc = ngx_http_entra_mdm_patch_send(patch, &patch->to, store->generation);
    ngx_http_entra_mdm_store_done(store, rc);
}


static void
ngx_http_entra_mdm_store_wait(ngx_http_entra_mdm_store_t *store)
{
    ngx_http_entra_mdm_patch_t  *patch;

    patch = store->patch;

    if (patch->r == NULL) {
        ngx_http_entra_mdm_store_done(store, NGX_OK);
        return;
    }

    /* closed: a worker that is to go waits for nothing but the timer */
    ngx_http_entra_mdm_store_close(store);

    store->state = NGX_HTTP_ENTRA_MDM_STORE_WAITING;

    patch->tries = 0;
    patch->event.handler = ngx_http_entra_mdm_store_look;
    patch->event.data = patch;
    patch->event.log = patch->log;

    ngx_http_entra_mdm_store_look(&patch->event);
}


/*** the beginning ***/


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

    store->work.handler = ngx_http_entra_mdm_store_work;
    store->work.data = store;
    store->work.log = patch->log;

    store->deadline.handler = ngx_http_entra_mdm_store_deadline;
    store->deadline.data = store;
    store->deadline.log = patch->log;

    session = &store->session;

    session->redis = patch->policy->redis;
    session->ready = ngx_http_entra_mdm_store_ready;
    session->failed = ngx_http_entra_mdm_store_failed;
    session->data = store;
    session->log = patch->log;

    ngx_add_timer(&store->deadline, 3 * session->redis->timeout + 1000);

    ngx_http_entra_mdm_session_open(session);
}
