/*
 * The feed greets a Redis: it learns the number of one connection, subscribes
 * on it, and has the other one's tracking redirected there.
 */

#include "ngx_http_entra_mdm_redis_feed.h"


/* what must be answered before tracking can begin */

#define GREETED_ROLE        1
#define GREETED_ID          2
#define GREETED_SUBSCRIBED  4
#define GREETED_ALL         7


static const ngx_str_t  ngx_http_entra_mdm_feed_channel =
    ngx_string("__redis__:invalidate");


static void
ngx_http_entra_mdm_feed_untracked(ngx_http_entra_mdm_redis_feed_t *feed,
    const char *why)
{
    ngx_http_entra_mdm_redis_close(&feed->sub);

    feed->tracking = 0;
    feed->greeted |= GREETED_ID|GREETED_SUBSCRIBED;

    if (!feed->untracked) {
        feed->untracked = 1;

        ngx_log_error(NGX_LOG_WARN, feed->log, 0,
                      "entra_mdm: redis \"%s\" of policy \"%V\" does not tell "
                      "of changes, lists are read every %M ms instead: %s; it "
                      "takes Redis 6 and, for its user, \"ACL SETUSER ... "
                      "+client|id +client|tracking +client|trackinginfo "
                      "+subscribe &%V\"", feed->where.place.text,
                      &feed->policy->name,
                      ngx_http_entra_mdm_feed_poll_time(feed), why,
                      &ngx_http_entra_mdm_feed_channel);
    }

    if (feed->greeted == GREETED_ALL) {
        ngx_http_entra_mdm_feed_load(feed);
    }
}


/*
 * An error on the way to tracking: by an ACL, or of a server that is too old,
 * it means to do without; anything else ends the attempt.
 */

static void
ngx_http_entra_mdm_feed_no_tracking(ngx_http_entra_mdm_redis_feed_t *feed,
    const char *why)
{
    char                 text[256];
    entra_redis_host_t   moved;

    switch (entra_redis_error(entra_str(why), &moved)) {

    case ENTRA_REDIS_DENIED:
    case ENTRA_REDIS_UNKNOWN:
        ngx_cpystrn((u_char *) text, (u_char *) why, sizeof(text));
        ngx_http_entra_mdm_feed_untracked(feed, text);
        return;

    default:
        ngx_http_entra_mdm_feed_failed(feed, why);
    }
}


static void
ngx_http_entra_mdm_feed_tracked(ngx_http_entra_mdm_redis_conn_t *conn,
    redisReply *reply)
{
    ngx_http_entra_mdm_redis_feed_t  *feed;

    feed = ngx_http_entra_mdm_feed_of_data(conn);

    if (reply->type == REDIS_REPLY_ERROR) {
        ngx_http_entra_mdm_feed_no_tracking(feed,
                    ngx_http_entra_mdm_redis_text(reply->str, reply->len));
        return;
    }

    feed->tracking = 1;
    feed->untracked = 0;

    ngx_http_entra_mdm_feed_load(feed);
}


static void
ngx_http_entra_mdm_feed_greeted(ngx_http_entra_mdm_redis_feed_t *feed,
    ngx_uint_t what)
{
    ngx_str_t  words[8];

    feed->greeted |= what;

    if (feed->greeted != GREETED_ALL
        || feed->state != NGX_HTTP_ENTRA_MDM_FEED_GREETING)
    {
        return;
    }

    if (feed->sub.rc == NULL) {
        /* it may not track, and the role came last */
        ngx_http_entra_mdm_feed_load(feed);
        return;
    }

    ngx_str_set(&words[0], "CLIENT");
    ngx_str_set(&words[1], "TRACKING");
    ngx_str_set(&words[2], "ON");
    ngx_str_set(&words[3], "REDIRECT");
    words[4].data = feed->id;
    words[4].len = feed->id_len;
    ngx_str_set(&words[5], "BCAST");
    ngx_str_set(&words[6], "PREFIX");
    words[7] = feed->redis->prefix;

    ngx_http_entra_mdm_feed_send(feed, &feed->data,
                                 ngx_http_entra_mdm_feed_tracked, words, 8);
}


static void
ngx_http_entra_mdm_feed_role(ngx_http_entra_mdm_redis_conn_t *conn,
    redisReply *reply)
{
    ngx_http_entra_mdm_redis_feed_t  *feed;

    feed = ngx_http_entra_mdm_feed_of_data(conn);

    if (reply->type == REDIS_REPLY_ERROR) {
        ngx_http_entra_mdm_feed_failed(feed,
                    ngx_http_entra_mdm_redis_text(reply->str, reply->len));
        return;
    }

    if (!entra_redis_is_master(reply)) {
        ngx_http_entra_mdm_feed_failed(feed,
                                       "Sentinel named it, but it is no "
                                       "master");
        return;
    }

    ngx_http_entra_mdm_feed_greeted(feed, GREETED_ROLE);
}


static void
ngx_http_entra_mdm_feed_id(ngx_http_entra_mdm_redis_conn_t *conn,
    redisReply *reply)
{
    ngx_http_entra_mdm_redis_feed_t *feed = conn->data;

    if (reply->type == REDIS_REPLY_ERROR) {
        ngx_http_entra_mdm_feed_no_tracking(feed,
                    ngx_http_entra_mdm_redis_text(reply->str, reply->len));
        return;
    }

    if (reply->type != REDIS_REPLY_INTEGER) {
        ngx_http_entra_mdm_feed_failed(feed, "CLIENT ID gave no number");
        return;
    }

    feed->id_len = ngx_sprintf(feed->id, "%L", (int64_t) reply->integer)
                   - feed->id;

    ngx_http_entra_mdm_feed_greeted(feed, GREETED_ID);
}


/* [key, ...], or nil for all: FLUSHALL, FLUSHDB */

static void
ngx_http_entra_mdm_feed_invalidated(ngx_http_entra_mdm_redis_feed_t *feed,
    const redisReply *keys)
{
    size_t       i;
    ngx_uint_t   dirty;
    redisReply  *key;

    if (keys->type != REDIS_REPLY_ARRAY) {
        ngx_http_entra_mdm_redis_load_dirty(&feed->load,
                                            NGX_HTTP_ENTRA_MDM_REDIS_ALL);
        return;
    }

    dirty = 0;

    for (i = 0; i < keys->elements; i++) {
        key = keys->element[i];

        if (key->type == REDIS_REPLY_STRING) {
            dirty |= ngx_http_entra_mdm_redis_load_key(&feed->load, key->str,
                                                       key->len);
        }
    }

    ngx_http_entra_mdm_redis_load_dirty(&feed->load, dirty);
}


void
ngx_http_entra_mdm_feed_message(ngx_http_entra_mdm_redis_conn_t *conn,
    const redisReply *message)
{
    ngx_http_entra_mdm_redis_feed_t *feed = conn->data;

    /* until all is being read, there is nothing to read again */

    if (feed->state >= NGX_HTTP_ENTRA_MDM_FEED_LOADING) {
        ngx_http_entra_mdm_feed_invalidated(feed, message);
    }
}


static void
ngx_http_entra_mdm_feed_subscribed(ngx_http_entra_mdm_redis_conn_t *conn,
    redisReply *reply)
{
    ngx_http_entra_mdm_redis_feed_t *feed = conn->data;

    if (reply->type == REDIS_REPLY_ERROR) {
        ngx_http_entra_mdm_feed_no_tracking(feed,
                    ngx_http_entra_mdm_redis_text(reply->str, reply->len));
        return;
    }

    if (reply->type != REDIS_REPLY_ARRAY) {
        ngx_http_entra_mdm_feed_failed(feed, "SUBSCRIBE did not subscribe");
        return;
    }

    ngx_http_entra_mdm_feed_greeted(feed, GREETED_SUBSCRIBED);
}


void
ngx_http_entra_mdm_feed_greet(ngx_http_entra_mdm_redis_feed_t *feed)
{
    ngx_str_t  words[2];

    if (feed->redis->url.kind == ENTRA_REDIS_SENTINEL) {
        ngx_str_set(&words[0], "ROLE");
        ngx_http_entra_mdm_feed_send(feed, &feed->data,
                                     ngx_http_entra_mdm_feed_role, words, 1);

    } else {
        feed->greeted = GREETED_ROLE;
    }

    ngx_str_set(&words[0], "CLIENT");
    ngx_str_set(&words[1], "ID");

    ngx_http_entra_mdm_feed_send(feed, &feed->sub, ngx_http_entra_mdm_feed_id,
                                 words, 2);

    ngx_str_set(&words[0], "SUBSCRIBE");
    words[1] = ngx_http_entra_mdm_feed_channel;

    ngx_http_entra_mdm_feed_send(feed, &feed->sub,
                                 ngx_http_entra_mdm_feed_subscribed, words, 2);
}
