/*
 * The feed looks after itself: a heartbeat over both connections, and a poll
 * that trusts nobody.
 */

#include "ngx_http_entra_mdm_redis_feed.h"


/*** heartbeat ***/


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
        && !entra_redis_is_master(reply))
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


void
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

    ngx_add_timer(&feed->beat, NGX_HTTP_ENTRA_MDM_FEED_BEAT);

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


static void
ngx_http_entra_mdm_feed_tracking_info(ngx_http_entra_mdm_redis_conn_t *conn,
    redisReply *reply)
{
    if (entra_redis_tracking_ended(reply)) {
        ngx_http_entra_mdm_feed_failed(ngx_http_entra_mdm_feed_of_data(conn),
                                       "tracking has ended");
    }
}


void
ngx_http_entra_mdm_feed_checked(ngx_http_entra_mdm_redis_where_t *where,
    const char *why)
{
    ngx_http_entra_mdm_redis_feed_t *feed = where->data;

    /*
     * That no Sentinel answers now is no reason to leave a working master;
     * nor is another address of the same name.
     */

    if (why == NULL
        && (where->host.port != feed->where.host.port
            || where->host.name.len != feed->where.host.name.len
            || ngx_memcmp(where->host.name.data, feed->where.host.name.data,
                          where->host.name.len) != 0))
    {
        ngx_http_entra_mdm_feed_failed(feed,
                                       "Sentinel names another master");
    }
}


void
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


/*** pokes ***/


void
ngx_http_entra_mdm_feed_listen(ngx_http_entra_mdm_redis_feed_t *feed)
{
    ngx_add_timer(&feed->ear, feed->tracking ? NGX_HTTP_ENTRA_MDM_FEED_BEAT
                                             : NGX_HTTP_ENTRA_MDM_FEED_EAR);
}


/*
 * A worker has written, or does not know whether it has: then it waits for
 * what this one reads.  Where Redis tells of changes, that is late enough.
 */

void
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

    ngx_http_entra_mdm_feed_listen(feed);
}
