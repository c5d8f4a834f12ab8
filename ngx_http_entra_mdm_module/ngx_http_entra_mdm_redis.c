/*
 * The feed: worker 0 follows the lists of a policy, for all workers.
 *
 *                        ┌────────────────────────────────────────────┐
 *                        ▼                                            │
 *     start ──────► SEARCHING ─► GREETING ─► LOADING ─► FOLLOWING     │
 *                        │           │          │           │         │
 *                        ▼           ▼          ▼           ▼         │
 *                        any failure: both connections close          │
 *                                        │                            │
 *                                     WAITING, longer each time ──────┘
 *
 * SEARCHING: where to connect to.  GREETING: two connections to that place.
 * On one, CLIENT ID and SUBSCRIBE __redis__:invalidate; then, on the other,
 * CLIENT TRACKING ON REDIRECT that id BCAST PREFIX ours.  LOADING: all keys
 * are read, since invalidations are not kept for those who were away.
 * FOLLOWING: a key that is named by an invalidation is read again; all are
 * with each poll, which is all there is where the server cannot track.
 *
 * The two connections are one unit.  Redis does not say so when the target of
 * a redirect has died, so a heartbeat goes over both.  That of the other one
 * asks what must not change silently: with Sentinel the role, in a cluster
 * whether the slot is still here.
 */

#include "ngx_http_entra_mdm_redis_account.h"
#include "ngx_http_entra_mdm_lists.h"
#include "ngx_http_entra_mdm_keys.h"


#define MIN_BACKOFF   100               /* milliseconds */
#define MAX_BACKOFF   3000
#define BEAT          1000
#define EAR           50                /* for pokes, where nothing is told */
#define LOG_INTERVAL  60                /* seconds between like failures */
#define MAX_MOVES     5


typedef enum {
    NGX_HTTP_ENTRA_MDM_FEED_STOPPED = 0,
    NGX_HTTP_ENTRA_MDM_FEED_WAITING,
    NGX_HTTP_ENTRA_MDM_FEED_SEARCHING,
    NGX_HTTP_ENTRA_MDM_FEED_GREETING,
    NGX_HTTP_ENTRA_MDM_FEED_LOADING,
    NGX_HTTP_ENTRA_MDM_FEED_FOLLOWING
} ngx_http_entra_mdm_feed_state_e;


/* what must be answered before tracking can begin */

#define GREETED_ROLE        1
#define GREETED_ID          2
#define GREETED_SUBSCRIBED  4
#define GREETED_ALL         7


struct ngx_http_entra_mdm_redis_feed_s {
    ngx_http_entra_mdm_policy_t       *policy;
    ngx_http_entra_mdm_redis_t        *redis;
    ngx_log_t                         *log;

    ngx_http_entra_mdm_feed_state_e    state;
    ngx_http_entra_mdm_redis_where_t   where;
    ngx_http_entra_mdm_redis_where_t   check;       /* is it still there? */
    ngx_http_entra_mdm_redis_conn_t    data;
    ngx_http_entra_mdm_redis_conn_t    sub;
    ngx_http_entra_mdm_redis_load_t    load;
    ngx_http_entra_mdm_account_t       account;

    ngx_uint_t                         greeted;
    ngx_uint_t                         tracking;    /* unsigned  tracking:1; */
    ngx_uint_t                         beating;     /* heartbeats unanswered */
    u_char                             id[NGX_INT64_LEN];
    size_t                             id_len;

    ngx_event_t                        timer;       /* of WAITING */
    ngx_event_t                        beat;
    ngx_event_t                        poll;
    ngx_event_t                        ear;
    ngx_atomic_uint_t                  poked;       /* heard so often */
    ngx_msec_t                         backoff;
    ngx_uint_t                         moves;       /* without a load between */

    ngx_uint_t                         was;         /* connected before */
    ngx_uint_t                         untracked;   /* told so */
    time_t                             told;        /* of a failure */
};


static void ngx_http_entra_mdm_feed_failed(
    ngx_http_entra_mdm_redis_feed_t *feed, const char *why);
static void ngx_http_entra_mdm_feed_stop(
    ngx_http_entra_mdm_redis_feed_t *feed);

static const ngx_str_t  ngx_http_entra_mdm_feed_channel =
    ngx_string("__redis__:invalidate");


static ngx_http_entra_mdm_zone_t *
ngx_http_entra_mdm_feed_zone(ngx_http_entra_mdm_redis_feed_t *feed)
{
    return ngx_http_entra_mdm_zone(feed->policy);
}


static ngx_http_entra_mdm_redis_feed_t *
ngx_http_entra_mdm_feed_of_data(ngx_http_entra_mdm_redis_conn_t *conn)
{
    ngx_http_entra_mdm_redis_load_t  *load;

    load = conn->data;

    return load->data;
}


/*
 * After a reload another worker 0 has taken over, and this one has nothing
 * more to say.
 */

static ngx_uint_t
ngx_http_entra_mdm_feed_over(ngx_http_entra_mdm_redis_feed_t *feed)
{
    return ngx_exiting || ngx_terminate || ngx_quit
           || feed->policy->epoch
              != ngx_http_entra_mdm_feed_zone(feed)->feed_epoch;
}


static void
ngx_http_entra_mdm_feed_send(ngx_http_entra_mdm_redis_feed_t *feed,
    ngx_http_entra_mdm_redis_conn_t *conn,
    ngx_http_entra_mdm_redis_reply_pt handler, const ngx_str_t *words,
    ngx_uint_t n)
{
    if (conn->rc != NULL
        && ngx_http_entra_mdm_redis_send(conn, handler, words, n) != NGX_OK)
    {
        ngx_http_entra_mdm_feed_failed(feed, "nothing can be sent");
    }
}


/*** the end of a connection ***/


static void
ngx_http_entra_mdm_feed_disconnect(ngx_http_entra_mdm_redis_feed_t *feed)
{
    ngx_http_entra_mdm_zone_t  *zone;

    ngx_http_entra_mdm_redis_find_cancel(&feed->where);
    ngx_http_entra_mdm_redis_find_cancel(&feed->check);
    ngx_http_entra_mdm_redis_load_stop(&feed->load);
    ngx_http_entra_mdm_account_stop(&feed->account);
    ngx_http_entra_mdm_redis_close(&feed->data);
    ngx_http_entra_mdm_redis_close(&feed->sub);

    if (feed->timer.timer_set) {
        ngx_del_timer(&feed->timer);
    }

    if (feed->beat.timer_set) {
        ngx_del_timer(&feed->beat);
    }

    if (feed->poll.timer_set) {
        ngx_del_timer(&feed->poll);
    }

    if (feed->ear.timer_set) {
        ngx_del_timer(&feed->ear);
    }

    feed->tracking = 0;
    feed->beating = 0;

    zone = ngx_http_entra_mdm_feed_zone(feed);

    if (zone->feed_epoch == feed->policy->epoch) {
        zone->feed.connected = 0;
        zone->feed.tracking = 0;
    }
}


static void
ngx_http_entra_mdm_feed_log_failure(ngx_http_entra_mdm_redis_feed_t *feed,
    const char *why)
{
    const char  *where;

    where = feed->where.place.text[0] ? feed->where.place.text : "nowhere";

    if (feed->state == NGX_HTTP_ENTRA_MDM_FEED_FOLLOWING) {
        feed->told = ngx_time();

        ngx_log_error(NGX_LOG_ERR, feed->log, 0,
                      "entra_mdm: redis \"%s\" of policy \"%V\" lost: %s; the "
                      "last lists stay in force", where, &feed->policy->name,
                      why);
        return;
    }

    if (feed->told && ngx_time() - feed->told < LOG_INTERVAL) {
        return;
    }

    feed->told = ngx_time();

    ngx_log_error(NGX_LOG_ERR, feed->log, 0,
                  "entra_mdm: redis \"%V\" of policy \"%V\" cannot be used, "
                  "last tried \"%s\": %s; %s", &feed->redis->name,
                  &feed->policy->name, where, why,
                  ngx_http_entra_mdm_feed_zone(feed)->lists_known
                  ? "the last lists stay in force"
                  : "there are no live lists yet");
}


static void
ngx_http_entra_mdm_feed_wait(ngx_http_entra_mdm_redis_feed_t *feed)
{
    feed->state = NGX_HTTP_ENTRA_MDM_FEED_WAITING;

    /* not all nodes at once */

    ngx_add_timer(&feed->timer, feed->backoff / 2
                  + (ngx_msec_t) ngx_random() % (feed->backoff / 2 + 1));

    feed->backoff = ngx_min(2 * feed->backoff, MAX_BACKOFF);
}


/* the key lives on another node: no failure, unless it goes on for ever */

static ngx_int_t
ngx_http_entra_mdm_feed_moved(ngx_http_entra_mdm_redis_feed_t *feed,
    const char *why)
{
    entra_redis_host_t  moved;

    if (feed->redis->url.kind != ENTRA_REDIS_CLUSTER
        || entra_redis_error(entra_str(why), &moved) != ENTRA_REDIS_MOVED
        || feed->moves == MAX_MOVES
        || ngx_http_entra_mdm_redis_find_moved(&feed->where, &moved) != NGX_OK)
    {
        return NGX_DECLINED;
    }

    feed->moves++;

    ngx_log_error(NGX_LOG_INFO, feed->log, 0,
                  "entra_mdm: redis \"%s\" of policy \"%V\" says %s",
                  feed->where.place.text, &feed->policy->name, why);

    ngx_http_entra_mdm_feed_disconnect(feed);

    feed->state = NGX_HTTP_ENTRA_MDM_FEED_WAITING;
    ngx_add_timer(&feed->timer, 1);

    return NGX_OK;
}


static void
ngx_http_entra_mdm_feed_failed(ngx_http_entra_mdm_redis_feed_t *feed,
    const char *why)
{
    char  text[512];

    if (feed->state == NGX_HTTP_ENTRA_MDM_FEED_STOPPED
        || feed->state == NGX_HTTP_ENTRA_MDM_FEED_WAITING)
    {
        return;
    }

    if (ngx_http_entra_mdm_feed_over(feed)) {
        ngx_http_entra_mdm_feed_stop(feed);
        return;
    }

    if (ngx_http_entra_mdm_feed_moved(feed, why) == NGX_OK) {
        return;
    }

    /* why may be a part of what is closed now */

    ngx_cpystrn((u_char *) text, (u_char *) why, sizeof(text));

    ngx_http_entra_mdm_feed_disconnect(feed);
    ngx_http_entra_mdm_feed_log_failure(feed, text);
    ngx_http_entra_mdm_feed_wait(feed);
}


static void
ngx_http_entra_mdm_feed_data_closed(ngx_http_entra_mdm_redis_conn_t *conn,
    const char *why)
{
    ngx_http_entra_mdm_redis_feed_t  *feed;

    feed = ngx_http_entra_mdm_feed_of_data(conn);

    if (why == NULL) {
        ngx_http_entra_mdm_feed_stop(feed);
        return;
    }

    ngx_http_entra_mdm_feed_failed(feed, why);
}


/*** following ***/


static void
ngx_http_entra_mdm_feed_connected(ngx_http_entra_mdm_redis_feed_t *feed)
{
    ngx_http_entra_mdm_zone_t  *zone;

    zone = ngx_http_entra_mdm_feed_zone(feed);

    feed->state = NGX_HTTP_ENTRA_MDM_FEED_FOLLOWING;
    feed->backoff = MIN_BACKOFF;
    feed->moves = 0;
    feed->told = 0;

    zone->feed.connected = 1;
    zone->feed.tracking = feed->tracking;

    if (feed->was) {
        (void) ngx_atomic_fetch_add(&zone->feed.reconnects, 1);
    }

    ngx_log_error(NGX_LOG_NOTICE, feed->log, 0,
                  "entra_mdm: redis \"%s\" of policy \"%V\" %s, %s",
                  feed->where.place.text, &feed->policy->name,
                  feed->was ? "reconnected" : "connected",
                  feed->tracking ? "tracking" : "polling");

    feed->was = 1;
}


static void
ngx_http_entra_mdm_feed_loaded(ngx_http_entra_mdm_redis_load_t *load,
    ngx_http_entra_mdm_redis_loaded_e how, const char *why)
{
    ngx_http_entra_mdm_redis_feed_t *feed = load->data;

    switch (how) {

    case NGX_HTTP_ENTRA_MDM_REDIS_SUPERSEDED:
        ngx_http_entra_mdm_feed_stop(feed);
        return;

    case NGX_HTTP_ENTRA_MDM_REDIS_FAILED:
        ngx_http_entra_mdm_feed_failed(feed, why);
        return;

    case NGX_HTTP_ENTRA_MDM_REDIS_LOADED:
        break;
    }

    if (feed->state == NGX_HTTP_ENTRA_MDM_FEED_LOADING) {
        ngx_http_entra_mdm_feed_connected(feed);
    }

    if (!load->dirty) {
        ngx_http_entra_mdm_account_start(&feed->account);
    }
}


/* without tracking a list must be read well before it is too old */

static ngx_msec_t
ngx_http_entra_mdm_feed_poll_time(ngx_http_entra_mdm_redis_feed_t *feed)
{
    if (feed->tracking || feed->redis->max_stale == 0) {
        return feed->redis->poll;
    }

    return ngx_min(feed->redis->poll,
                   (ngx_msec_t) feed->redis->max_stale * 1000 / 3);
}


static void
ngx_http_entra_mdm_feed_load(ngx_http_entra_mdm_redis_feed_t *feed)
{
    feed->state = NGX_HTTP_ENTRA_MDM_FEED_LOADING;

    ngx_add_timer(&feed->beat, BEAT);
    ngx_add_timer(&feed->poll, ngx_http_entra_mdm_feed_poll_time(feed));
    ngx_add_timer(&feed->ear, feed->tracking ? BEAT : EAR);

    ngx_http_entra_mdm_redis_load_dirty(&feed->load,
                                        NGX_HTTP_ENTRA_MDM_REDIS_ALL);
}


/*** heartbeat ***/


static ngx_uint_t
ngx_http_entra_mdm_feed_is_master(const redisReply *reply)
{
    return reply->type == REDIS_REPLY_ARRAY && reply->elements
           && reply->element[0]->type == REDIS_REPLY_STRING
           && ngx_strcmp(reply->element[0]->str, "master") == 0;
}


/* both connections have answered */

static void
ngx_http_entra_mdm_feed_alive(ngx_http_entra_mdm_redis_feed_t *feed)
{
    if (feed->beating && --feed->beating == 0 && feed->tracking) {
        ngx_http_entra_mdm_redis_load_proven(&feed->load);
    }
}


static void
ngx_http_entra_mdm_feed_beaten(ngx_http_entra_mdm_redis_conn_t *conn,
    redisReply *reply)
{
    ngx_http_entra_mdm_redis_feed_t  *feed;

    feed = ngx_http_entra_mdm_feed_of_data(conn);

    if (reply->type == REDIS_REPLY_ERROR) {
        ngx_http_entra_mdm_feed_failed(feed,
                    ngx_http_entra_mdm_redis_text(reply->str, reply->len));
        return;
    }

    if (feed->redis->url.kind == ENTRA_REDIS_SENTINEL
        && !ngx_http_entra_mdm_feed_is_master(reply))
    {
        ngx_http_entra_mdm_feed_failed(feed, "it is no longer the master");
        return;
    }

    ngx_http_entra_mdm_feed_alive(feed);
}


static void
ngx_http_entra_mdm_feed_sub_beaten(ngx_http_entra_mdm_redis_conn_t *conn,
    redisReply *reply)
{
    if (reply->type == REDIS_REPLY_ERROR) {
        ngx_http_entra_mdm_feed_failed(conn->data,
                    ngx_http_entra_mdm_redis_text(reply->str, reply->len));
        return;
    }

    ngx_http_entra_mdm_feed_alive(conn->data);
}


static void
ngx_http_entra_mdm_feed_beat(ngx_event_t *ev)
{
    ngx_uint_t                        n;
    ngx_str_t                         words[2];
    ngx_http_entra_mdm_redis_feed_t  *feed;

    feed = ev->data;

    if (ngx_http_entra_mdm_feed_over(feed)) {
        ngx_http_entra_mdm_feed_stop(feed);
        return;
    }

    ngx_add_timer(&feed->beat, BEAT);

    if (feed->beating) {
        /* the connection's own timer looks after the answer */
        return;
    }

    n = 1;
    ngx_str_set(&words[0], "PING");

    feed->beating = 1;

    if (feed->tracking) {
        feed->beating = 2;
        ngx_http_entra_mdm_feed_send(feed, &feed->sub,
                                     ngx_http_entra_mdm_feed_sub_beaten,
                                     words, 1);
    }

    if (feed->redis->url.kind == ENTRA_REDIS_SENTINEL) {
        ngx_str_set(&words[0], "ROLE");
    }

    if (feed->redis->url.kind == ENTRA_REDIS_CLUSTER) {
        ngx_str_set(&words[0], "EXISTS");
        words[n++] = feed->redis->keys[NGX_HTTP_ENTRA_MDM_REDIS_GENERATION];
    }

    ngx_http_entra_mdm_feed_send(feed, &feed->data,
                                 ngx_http_entra_mdm_feed_beaten, words, n);
}


/*** poll ***/


/* ["flags", ["on", "bcast", "broken_redirect"], "redirect", ...] */

static void
ngx_http_entra_mdm_feed_tracking_info(ngx_http_entra_mdm_redis_conn_t *conn,
    redisReply *reply)
{
    size_t       i;
    redisReply  *flags, *flag;

    /* a server before 6.2 does not know it */

    if (reply->type != REDIS_REPLY_ARRAY || reply->elements < 2
        || reply->element[1]->type != REDIS_REPLY_ARRAY)
    {
        return;
    }

    flags = reply->element[1];

    for (i = 0; i < flags->elements; i++) {
        flag = flags->element[i];

        if ((flag->type == REDIS_REPLY_STRING
             || flag->type == REDIS_REPLY_STATUS)
            && (ngx_strcmp(flag->str, "broken_redirect") == 0
                || ngx_strcmp(flag->str, "off") == 0))
        {
            ngx_http_entra_mdm_feed_failed(
                            ngx_http_entra_mdm_feed_of_data(conn),
                            "tracking has ended");
            return;
        }
    }
}


static void
ngx_http_entra_mdm_feed_checked(ngx_http_entra_mdm_redis_where_t *where,
    const char *why)
{
    ngx_http_entra_mdm_redis_feed_t *feed = where->data;

    /* that no Sentinel answers now is no reason to leave a working master */

    if (why == NULL
        && ngx_strcmp(where->place.text, feed->where.place.text) != 0)
    {
        ngx_http_entra_mdm_feed_failed(feed,
                                       "Sentinel names another master");
    }
}


static void
ngx_http_entra_mdm_feed_poll(ngx_event_t *ev)
{
    ngx_str_t                         words[2];
    ngx_http_entra_mdm_redis_feed_t  *feed;

    feed = ev->data;

    if (ngx_http_entra_mdm_feed_over(feed)) {
        ngx_http_entra_mdm_feed_stop(feed);
        return;
    }

    ngx_add_timer(&feed->poll, ngx_http_entra_mdm_feed_poll_time(feed));

    ngx_http_entra_mdm_redis_load_dirty(&feed->load,
                                        NGX_HTTP_ENTRA_MDM_REDIS_ALL);

    if (feed->tracking) {
        ngx_str_set(&words[0], "CLIENT");
        ngx_str_set(&words[1], "TRACKINGINFO");

        ngx_http_entra_mdm_feed_send(feed, &feed->data,
                                     ngx_http_entra_mdm_feed_tracking_info,
                                     words, 2);
    }

    if (feed->redis->url.kind == ENTRA_REDIS_SENTINEL
        && feed->data.rc != NULL && !feed->check.searching)
    {
        ngx_http_entra_mdm_redis_find(&feed->check);
    }
}


/*
 * A worker has written, or does not know whether it has: then it waits for
 * what this one reads.  Where Redis tells of changes, that is late enough.
 */

static void
ngx_http_entra_mdm_feed_ear(ngx_event_t *ev)
{
    ngx_atomic_uint_t                 poked;
    ngx_http_entra_mdm_redis_feed_t  *feed;

    feed = ev->data;
    poked = ngx_http_entra_mdm_feed_zone(feed)->feed.poked;

    if (poked != feed->poked) {
        feed->poked = poked;
        ngx_http_entra_mdm_redis_load_dirty(&feed->load,
                                            NGX_HTTP_ENTRA_MDM_REDIS_ALL);
    }

    ngx_add_timer(&feed->ear, feed->tracking ? BEAT : EAR);
}


/*** greeting ***/


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

    if (!ngx_http_entra_mdm_feed_is_master(reply)) {
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


/* [message, channel, [key, ...]], or nil for all: FLUSHALL, FLUSHDB */

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


static void
ngx_http_entra_mdm_feed_message(ngx_http_entra_mdm_redis_conn_t *conn,
    redisReply *reply)
{
    ngx_http_entra_mdm_redis_feed_t *feed = conn->data;

    /* until all is being read, there is nothing to read again */

    if (feed->state >= NGX_HTTP_ENTRA_MDM_FEED_LOADING) {
        ngx_http_entra_mdm_feed_invalidated(feed, reply->element[2]);
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


static void
ngx_http_entra_mdm_feed_sub_closed(ngx_http_entra_mdm_redis_conn_t *conn,
    const char *why)
{
    ngx_http_entra_mdm_redis_feed_t *feed = conn->data;

    if (why == NULL) {
        ngx_http_entra_mdm_feed_stop(feed);
        return;
    }

    ngx_http_entra_mdm_feed_failed(feed, why);
}


static void
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


static void
ngx_http_entra_mdm_feed_found(ngx_http_entra_mdm_redis_where_t *where,
    const char *why)
{
    ngx_http_entra_mdm_redis_feed_t *feed = where->data;

    if (why != NULL) {
        ngx_http_entra_mdm_feed_failed(feed, why);
        return;
    }

    feed->state = NGX_HTTP_ENTRA_MDM_FEED_GREETING;
    feed->greeted = 0;

    if (ngx_http_entra_mdm_redis_open(&feed->data, feed->redis, &where->place)
        != NGX_OK)
    {
        ngx_http_entra_mdm_feed_failed(feed, feed->data.why);
        return;
    }

    if (ngx_http_entra_mdm_redis_open(&feed->sub, feed->redis, &where->place)
        != NGX_OK)
    {
        ngx_http_entra_mdm_feed_failed(feed, feed->sub.why);
        return;
    }

    ngx_http_entra_mdm_feed_greet(feed);
}


static void
ngx_http_entra_mdm_feed_connect(ngx_event_t *ev)
{
    ngx_http_entra_mdm_redis_feed_t *feed = ev->data;

    if (ngx_http_entra_mdm_feed_over(feed)) {
        ngx_http_entra_mdm_feed_stop(feed);
        return;
    }

    feed->state = NGX_HTTP_ENTRA_MDM_FEED_SEARCHING;

    ngx_http_entra_mdm_redis_find(&feed->where);
}


/*** start and stop ***/


static void
ngx_http_entra_mdm_feed_stop(ngx_http_entra_mdm_redis_feed_t *feed)
{
    ngx_http_entra_mdm_feed_disconnect(feed);

    feed->state = NGX_HTTP_ENTRA_MDM_FEED_STOPPED;
}


static void
ngx_http_entra_mdm_feed_timer(ngx_http_entra_mdm_redis_feed_t *feed,
    ngx_event_t *ev, ngx_event_handler_pt handler)
{
    ev->handler = handler;
    ev->data = feed;
    ev->log = feed->log;
    ev->cancelable = 1;
}


static void
ngx_http_entra_mdm_feed_init(ngx_http_entra_mdm_redis_feed_t *feed)
{
    feed->data.timeout = feed->redis->timeout;
    feed->data.closed = ngx_http_entra_mdm_feed_data_closed;
    feed->data.data = &feed->load;
    feed->data.log = feed->log;

    feed->sub.timeout = feed->redis->timeout;
    feed->sub.closed = ngx_http_entra_mdm_feed_sub_closed;
    feed->sub.message = ngx_http_entra_mdm_feed_message;
    feed->sub.data = feed;
    feed->sub.log = feed->log;

    feed->where.redis = feed->redis;
    feed->where.handler = ngx_http_entra_mdm_feed_found;
    feed->where.data = feed;
    feed->where.log = feed->log;

    feed->check.redis = feed->redis;
    feed->check.handler = ngx_http_entra_mdm_feed_checked;
    feed->check.data = feed;
    feed->check.log = feed->log;

    feed->load.policy = feed->policy;
    feed->load.conn = &feed->data;
    feed->load.handler = ngx_http_entra_mdm_feed_loaded;
    feed->load.data = feed;
    feed->load.log = feed->log;

    feed->load.account = &feed->account;

    ngx_http_entra_mdm_redis_load_init(&feed->load);

    feed->account.policy = feed->policy;
    feed->account.conn = &feed->data;
    feed->account.log = feed->log;

    ngx_http_entra_mdm_account_init(&feed->account);

    ngx_http_entra_mdm_feed_timer(feed, &feed->timer,
                                  ngx_http_entra_mdm_feed_connect);
    ngx_http_entra_mdm_feed_timer(feed, &feed->beat,
                                  ngx_http_entra_mdm_feed_beat);
    ngx_http_entra_mdm_feed_timer(feed, &feed->poll,
                                  ngx_http_entra_mdm_feed_poll);
    ngx_http_entra_mdm_feed_timer(feed, &feed->ear,
                                  ngx_http_entra_mdm_feed_ear);

    feed->backoff = MIN_BACKOFF;
}


/*
 * A new URL or prefix changes nothing by itself: lists of the old Redis stay
 * in force, as those of a state file do, until the new one has answered.  But
 * lists that a policy without any has left in the zone are nobody's word.
 */

void
ngx_http_entra_mdm_redis_init(ngx_http_entra_mdm_policy_t *policy)
{
    ngx_http_entra_mdm_zone_t  *zone;

    zone = ngx_http_entra_mdm_zone(policy);

    ngx_http_entra_mdm_zone_lock(policy);

    if (policy->live && zone->lists_left) {
        zone->lists_known = 0;
        zone->source = NGX_HTTP_ENTRA_MDM_FROM_STATE;
        zone->feed.generation = 0;
    }

    zone->lists_left = !policy->live;

    ngx_http_entra_mdm_zone_unlock(policy);
}


void
ngx_http_entra_mdm_redis_start(ngx_http_entra_mdm_policy_t *policy,
    ngx_cycle_t *cycle)
{
    ngx_http_entra_mdm_zone_t        *zone;
    ngx_http_entra_mdm_redis_t       *redis;
    ngx_http_entra_mdm_redis_feed_t  *feed;

    zone = ngx_http_entra_mdm_zone(policy);
    redis = policy->redis;

    zone->feed.connected = 0;
    zone->feed.tracking = 0;
    zone->feed.held = 0;

    if (redis == NULL) {
        return;
    }

    feed = ngx_pcalloc(cycle->pool, sizeof(ngx_http_entra_mdm_redis_feed_t));
    if (feed == NULL) {
        return;
    }

    feed->policy = policy;
    feed->redis = redis;
    feed->log = cycle->log;

    redis->feed = feed;

    ngx_http_entra_mdm_feed_init(feed);
    ngx_http_entra_mdm_feed_connect(&feed->timer);
}


void
ngx_http_entra_mdm_redis_stop(ngx_http_entra_mdm_policy_t *policy)
{
    if (policy->redis != NULL && policy->redis->feed != NULL) {
        ngx_http_entra_mdm_feed_stop(policy->redis->feed);
        ngx_http_entra_mdm_account_free(&policy->redis->feed->account);
    }
}
