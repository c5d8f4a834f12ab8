/*
 * What the files of the feed share; ngx_http_entra_mdm_redis.c has the picture.
 */

#ifndef NGX_HTTP_ENTRA_MDM_REDIS_FEED_H
#define NGX_HTTP_ENTRA_MDM_REDIS_FEED_H

#include "ngx_http_entra_mdm_redis_account.h"


/* in milliseconds; the ear is for pokes, and often used where nothing is told */
#define NGX_HTTP_ENTRA_MDM_FEED_BEAT  1000
#define NGX_HTTP_ENTRA_MDM_FEED_EAR   50

typedef enum {
    NGX_HTTP_ENTRA_MDM_FEED_STOPPED = 0,
    NGX_HTTP_ENTRA_MDM_FEED_WAITING,
    NGX_HTTP_ENTRA_MDM_FEED_SEARCHING,
    NGX_HTTP_ENTRA_MDM_FEED_GREETING,
    NGX_HTTP_ENTRA_MDM_FEED_LOADING,
    NGX_HTTP_ENTRA_MDM_FEED_FOLLOWING
} ngx_http_entra_mdm_feed_state_e;


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
    ngx_msec_t                         since;       /* FOLLOWING */
    ngx_uint_t                         moves;       /* without a load between */

    ngx_uint_t                         was;         /* connected before */
    ngx_uint_t                         untracked;   /* told so */
    time_t                             told;        /* of a failure */
    uint32_t                           told_reason; /* a checksum */
};


static ngx_inline ngx_http_entra_mdm_zone_t *
ngx_http_entra_mdm_feed_zone(ngx_http_entra_mdm_redis_feed_t *feed)
{
    return ngx_http_entra_mdm_zone(feed->policy);
}


static ngx_inline ngx_http_entra_mdm_redis_feed_t *
ngx_http_entra_mdm_feed_of_data(ngx_http_entra_mdm_redis_conn_t *conn)
{
    ngx_http_entra_mdm_redis_load_t  *load;

    load = conn->data;

    return load->data;
}


/*** ngx_http_entra_mdm_redis.c ***/


/* another feed has taken over, or nginx goes: stop */
ngx_uint_t ngx_http_entra_mdm_feed_over(ngx_http_entra_mdm_redis_feed_t *feed);
void ngx_http_entra_mdm_feed_stop(ngx_http_entra_mdm_redis_feed_t *feed);

/* both connections are closed, and opened again in a while */
void ngx_http_entra_mdm_feed_failed(ngx_http_entra_mdm_redis_feed_t *feed,
    const char *why);

/* a command; nothing happens if the connection is closed already */
void ngx_http_entra_mdm_feed_send(ngx_http_entra_mdm_redis_feed_t *feed,
    ngx_http_entra_mdm_redis_conn_t *conn,
    ngx_http_entra_mdm_redis_reply_pt handler, const ngx_str_t *words,
    ngx_uint_t n);

/* GREETING is over */
void ngx_http_entra_mdm_feed_load(ngx_http_entra_mdm_redis_feed_t *feed);

/* listens for pokes once more */
void ngx_http_entra_mdm_feed_listen(ngx_http_entra_mdm_redis_feed_t *feed);

/* how often all is read */
ngx_msec_t ngx_http_entra_mdm_feed_poll_time(
    ngx_http_entra_mdm_redis_feed_t *feed);


/*** ngx_http_entra_mdm_redis_greet.c ***/


/* both connections are open: on to tracking, or to doing without */
void ngx_http_entra_mdm_feed_greet(ngx_http_entra_mdm_redis_feed_t *feed);

/* what the subscriber is told */
void ngx_http_entra_mdm_feed_message(ngx_http_entra_mdm_redis_conn_t *conn,
    const redisReply *message);


/*** ngx_http_entra_mdm_redis_beat.c ***/


/* handlers of feed->beat, feed->poll, feed->ear and feed->check */
void ngx_http_entra_mdm_feed_beat(ngx_event_t *ev);
void ngx_http_entra_mdm_feed_poll(ngx_event_t *ev);
void ngx_http_entra_mdm_feed_ear(ngx_event_t *ev);
void ngx_http_entra_mdm_feed_checked(ngx_http_entra_mdm_redis_where_t *where,
    const char *why);


#endif /* NGX_HTTP_ENTRA_MDM_REDIS_FEED_H */
