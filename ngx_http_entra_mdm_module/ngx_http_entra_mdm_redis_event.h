/*
 * One connection to a Redis: hiredis speaks, nginx's event loop waits.
 */

#ifndef NGX_HTTP_ENTRA_MDM_REDIS_EVENT_H
#define NGX_HTTP_ENTRA_MDM_REDIS_EVENT_H

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>

#include <hiredis/hiredis.h>

#include "entra_redis_reply.h"


#define NGX_HTTP_ENTRA_MDM_REDIS_ARGS     256   /* words of a command */
#define NGX_HTTP_ENTRA_MDM_REDIS_PENDING  256


typedef struct ngx_http_entra_mdm_redis_conn_s  ngx_http_entra_mdm_redis_conn_t;

/*
 * An answer, which is never NULL and lives until the handler returns.  The
 * handler may close the connection.
 */
typedef void (*ngx_http_entra_mdm_redis_reply_pt)(
    ngx_http_entra_mdm_redis_conn_t *conn, redisReply *reply);

/* what a subscriber is told, as an answer is */
typedef void (*ngx_http_entra_mdm_redis_message_pt)(
    ngx_http_entra_mdm_redis_conn_t *conn, const redisReply *message);

/*
 * The connection has been closed, and not by its owner: why is a text, or NULL
 * if nginx wants to go.  It may be opened again at once.
 */
typedef void (*ngx_http_entra_mdm_redis_closed_pt)(
    ngx_http_entra_mdm_redis_conn_t *conn, const char *why);


struct ngx_http_entra_mdm_redis_conn_s {
    redisContext                        *rc;        /* NULL: closed */
    ngx_connection_t                    *c;
    void                                *ssl;       /* of rc; NULL: no TLS */
    ngx_uint_t                           connected; /* unsigned  :1; */
    ngx_uint_t                          *closing;   /* set when it is closed */
    size_t                               bytes;     /* of the answer so far */
    size_t                               elements;

    /* who waits for an answer, a ring */
    ngx_http_entra_mdm_redis_reply_pt    waiting[
                                           NGX_HTTP_ENTRA_MDM_REDIS_PENDING];
    ngx_uint_t                           first;
    ngx_uint_t                           pending;

    ngx_event_t                          timer;
    const ngx_str_t                     *secret;    /* what it was told */
    char                                 why[256];

    /* set by the owner before it is opened */
    ngx_msec_t                           timeout;
    ngx_http_entra_mdm_redis_closed_pt   closed;
    ngx_http_entra_mdm_redis_message_pt  message;   /* of a subscriber */
    void                                *data;
    ngx_log_t                           *log;
};


/*
 * Takes over a context that hiredis has begun to connect, and its SSL if it
 * has one.  NGX_ERROR: it is freed, conn->why says why.  No command is waited
 * for longer than the timeout, and so neither is the connection.
 */
ngx_int_t ngx_http_entra_mdm_redis_attach(
    ngx_http_entra_mdm_redis_conn_t *conn, redisContext *rc, void *ssl);

/*
 * Sends a command of n words.  NGX_ERROR: the connection is closed, there are
 * too many unanswered commands, or no memory; the owner had better close it.
 */
ngx_int_t ngx_http_entra_mdm_redis_send(ngx_http_entra_mdm_redis_conn_t *conn,
    ngx_http_entra_mdm_redis_reply_pt handler, const ngx_str_t *words,
    ngx_uint_t n);

/* nothing is called any more; no harm if it is closed already */
void ngx_http_entra_mdm_redis_close(ngx_http_entra_mdm_redis_conn_t *conn);

/* closes and tells the owner */
void ngx_http_entra_mdm_redis_abandon(ngx_http_entra_mdm_redis_conn_t *conn,
    const char *why);

/*
 * A text of the other side as a log may hold it: escaped, and cut at 200
 * bytes.  Valid until the next call.
 */
const char *ngx_http_entra_mdm_redis_text(const char *text, size_t len);


#endif /* NGX_HTTP_ENTRA_MDM_REDIS_EVENT_H */
