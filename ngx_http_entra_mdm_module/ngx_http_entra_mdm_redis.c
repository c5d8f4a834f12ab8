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

#include "ngx_http_entra_mdm_redis_feed.h"


#define MIN_BACKOFF   100               /* milliseconds */
#define MAX_BACKOFF   3000
#define BROKEN_OFF    1000              /* for one that has just been read */
#define LOG_INTERVAL  60                /* seconds between lines of one reason */
#define MAX_MOVES     5


/*
 * After a reload another worker 0 has taken over, and this one has nothing
 * more to say.
 */

ngx_uint_t
ngx_http_entra_mdm_feed_over(ngx_http_entra_mdm_redis_feed_t *feed)
{
    return ngx_exiting || ngx_terminate || ngx_quit
           || feed->policy->epoch
              != ngx_http_entra_mdm_feed_zone(feed)->feed_epoch;
}


void
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
    uint32_t     reason;
    const char  *where;

    where = feed->where.place.text[0] ? feed->where.place.text : "nowhere";
    reason = ngx_crc32_short((u_char *) why, ngx_strlen(why));

    if (feed->state == NGX_HTTP_ENTRA_MDM_FEED_FOLLOWING) {
        feed->told = ngx_time();
        feed->told_reason = reason;

        ngx_log_error(NGX_LOG_ERR, feed->log, 0,
                      "entra_mdm: redis \"%s\" of policy \"%V\" lost: %s; the "
                      "last lists stay in force", where, &feed->policy->name,
                      why);
        return;
    }

    if (feed->told && ngx_time() - feed->told < LOG_INTERVAL
        && feed->told_reason == reason)
    {
        return;
    }

    feed->told = ngx_time();
    feed->told_reason = reason;

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
        || entra_redis_error(entra_str(why), &moved) != ENTRA_REDIS_MOVED)
    {
        return NGX_DECLINED;
    }

    if (feed->moves++ == MAX_MOVES) {
        /* after a pause the nodes may agree */
        feed->moves = 0;
        return NGX_DECLINED;
    }

    if (ngx_http_entra_mdm_redis_find_moved(&feed->where, &moved) != NGX_OK) {
        return NGX_DECLINED;
    }

    ngx_log_error(NGX_LOG_INFO, feed->log, 0,
                  "entra_mdm: redis \"%s\" of policy \"%V\" says %s",
                  feed->where.place.text, &feed->policy->name, why);

    ngx_http_entra_mdm_feed_disconnect(feed);

    feed->state = NGX_HTTP_ENTRA_MDM_FEED_WAITING;
    ngx_add_timer(&feed->timer, 1);

    return NGX_OK;
}


void
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

    if (feed->state == NGX_HTTP_ENTRA_MDM_FEED_FOLLOWING
        && ngx_current_msec - feed->since < BROKEN_OFF)
    {
        /* a Redis that breaks off whenever it is read is not read so often */
        feed->backoff = BROKEN_OFF;
    }

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


/*** following ***/


static void
ngx_http_entra_mdm_feed_connected(ngx_http_entra_mdm_redis_feed_t *feed)
{
    ngx_http_entra_mdm_zone_t  *zone;

    zone = ngx_http_entra_mdm_feed_zone(feed);

    feed->state = NGX_HTTP_ENTRA_MDM_FEED_FOLLOWING;
    feed->since = ngx_current_msec;
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

ngx_msec_t
ngx_http_entra_mdm_feed_poll_time(ngx_http_entra_mdm_redis_feed_t *feed)
{
    if (feed->tracking || feed->redis->max_stale == 0) {
        return feed->redis->poll;
    }

    return ngx_min(feed->redis->poll,
                   (ngx_msec_t) feed->redis->max_stale * 1000 / 3);
}


void
ngx_http_entra_mdm_feed_load(ngx_http_entra_mdm_redis_feed_t *feed)
{
    feed->state = NGX_HTTP_ENTRA_MDM_FEED_LOADING;

    ngx_add_timer(&feed->beat, NGX_HTTP_ENTRA_MDM_FEED_BEAT);
    ngx_add_timer(&feed->poll, ngx_http_entra_mdm_feed_poll_time(feed));
    ngx_http_entra_mdm_feed_listen(feed);

    ngx_http_entra_mdm_redis_load_dirty(&feed->load,
                                        NGX_HTTP_ENTRA_MDM_REDIS_ALL);
}


/*** connecting ***/


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


void
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
    feed->load.account = &feed->account;
    feed->load.log = feed->log;

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


/* the same on another host is the same: Redis may move */

static uint32_t
ngx_http_entra_mdm_redis_place(const ngx_http_entra_mdm_redis_t *redis)
{
    const ngx_str_t  *key;

    if (redis == NULL) {
        return 0;
    }

    key = &redis->keys[NGX_HTTP_ENTRA_MDM_REDIS_GENERATION];

    return ngx_crc32_long(key->data, key->len) + redis->url.db;
}


/*
 * A new URL or prefix changes nothing by itself: lists of the old Redis stay
 * in force, as those of a state file do, until the new one has answered.  But
 * lists that a policy without any has left in the zone are nobody's word, and
 * where other keys are looked at, none of them can have been lost.
 */

void
ngx_http_entra_mdm_redis_init(ngx_http_entra_mdm_policy_t *policy)
{
    uint32_t                    place;
    ngx_http_entra_mdm_zone_t  *zone;

    zone = ngx_http_entra_mdm_zone(policy);
    place = ngx_http_entra_mdm_redis_place(policy->redis);

    ngx_http_entra_mdm_zone_lock(policy);

    if (policy->live && zone->lists_left) {
        zone->lists_known = 0;
        zone->source = NGX_HTTP_ENTRA_MDM_FROM_STATE;
        zone->feed.generation = 0;
    }

    if (zone->feed.place && zone->feed.place != place) {
        zone->feed.generation = 0;
    }

    zone->feed.place = place;

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
        ngx_log_error(NGX_LOG_ERR, cycle->log, 0,
                      "entra_mdm: no memory to follow redis of policy \"%V\": "
                      "the last lists stay in force; reload nginx once there "
                      "is some", &policy->name);
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
