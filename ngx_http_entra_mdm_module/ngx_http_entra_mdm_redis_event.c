/*
 * hiredis' hooks and nginx's events.  Knows nothing of lists.
 *
 * Who owns what: the descriptor is hiredis' and closed by it; the nginx
 * connection around it is ours, and its events are deleted before that.  A
 * context that is freed within one of its own callbacks lives on until that
 * returns, so it is cut off from its owner first: ac->data is NULL then.
 */

#include "ngx_http_entra_mdm_redis_event.h"

#include "entra_escape.h"


#define MAX_TEXT  200


static void ngx_http_entra_mdm_redis_read_handler(ngx_event_t *rev);
static void ngx_http_entra_mdm_redis_write_handler(ngx_event_t *wev);
static void ngx_http_entra_mdm_redis_timer_handler(ngx_event_t *ev);


/*** hiredis calls ***/


/*
 * hiredis reads 16 KiB once for each event: both directions must be level-
 * triggered, or the rest of a long answer would wait for the next one.
 */

static void
ngx_http_entra_mdm_redis_add(ngx_event_t *ev, ngx_int_t event)
{
    if (!ev->active) {
        (void) ngx_add_event(ev, event, NGX_LEVEL_EVENT);
    }
}


static void
ngx_http_entra_mdm_redis_del(ngx_event_t *ev, ngx_int_t event)
{
    if (ev->active) {
        (void) ngx_del_event(ev, event, 0);
    }
}


static void
ngx_http_entra_mdm_redis_add_read(void *data)
{
    ngx_http_entra_mdm_redis_conn_t *conn = data;

    ngx_http_entra_mdm_redis_add(conn->c->read, NGX_READ_EVENT);
}


static void
ngx_http_entra_mdm_redis_del_read(void *data)
{
    ngx_http_entra_mdm_redis_conn_t *conn = data;

    ngx_http_entra_mdm_redis_del(conn->c->read, NGX_READ_EVENT);
}


static void
ngx_http_entra_mdm_redis_add_write(void *data)
{
    ngx_http_entra_mdm_redis_conn_t *conn = data;

    ngx_http_entra_mdm_redis_add(conn->c->write, NGX_WRITE_EVENT);
}


static void
ngx_http_entra_mdm_redis_del_write(void *data)
{
    ngx_http_entra_mdm_redis_conn_t *conn = data;

    ngx_http_entra_mdm_redis_del(conn->c->write, NGX_WRITE_EVENT);
}


static void
ngx_http_entra_mdm_redis_detach(ngx_http_entra_mdm_redis_conn_t *conn)
{
    ngx_connection_t   *c;
    redisAsyncContext  *ac;

    c = conn->c;
    ac = conn->ac;

    conn->c = NULL;
    conn->ac = NULL;
    conn->pending = 0;

    ac->data = NULL;
    ngx_memzero(&ac->ev, sizeof(ac->ev));

    if (conn->timer.timer_set) {
        ngx_del_timer(&conn->timer);
    }

    ngx_http_entra_mdm_redis_del(c->read, NGX_READ_EVENT);
    ngx_http_entra_mdm_redis_del(c->write, NGX_WRITE_EVENT);

    if (c->read->posted) {
        ngx_delete_posted_event(c->read);
    }

    if (c->write->posted) {
        ngx_delete_posted_event(c->write);
    }

    c->read->closed = 1;
    c->write->closed = 1;

    ngx_free_connection(c);

    c->fd = (ngx_socket_t) -1;
}


/* hiredis frees the context, for the other side or itself has failed */

static void
ngx_http_entra_mdm_redis_cleanup(void *data)
{
    ngx_http_entra_mdm_redis_conn_t *conn = data;

    const char  *text;

    text = conn->ac->err && conn->ac->errstr[0] ? conn->ac->errstr
                                                : "the connection ended";

    text = ngx_http_entra_mdm_redis_text(text, ngx_strlen(text));
    ngx_cpystrn((u_char *) conn->why, (u_char *) text, sizeof(conn->why));

    ngx_http_entra_mdm_redis_detach(conn);

    conn->closed(conn, conn->why);
}


/*** nginx calls ***/


static void
ngx_http_entra_mdm_redis_read_handler(ngx_event_t *rev)
{
    ngx_connection_t                 *c;
    ngx_http_entra_mdm_redis_conn_t  *conn;

    c = rev->data;
    conn = c->data;

    if (c->close) {
        /* a worker that is to go closes what is idle */
        ngx_http_entra_mdm_redis_close(conn);
        conn->closed(conn, NULL);
        return;
    }

    redisAsyncHandleRead(conn->ac);
}


static void
ngx_http_entra_mdm_redis_write_handler(ngx_event_t *wev)
{
    ngx_connection_t                 *c;
    ngx_http_entra_mdm_redis_conn_t  *conn;

    c = wev->data;
    conn = c->data;

    redisAsyncHandleWrite(conn->ac);
}


static void
ngx_http_entra_mdm_redis_timer_handler(ngx_event_t *ev)
{
    ngx_http_entra_mdm_redis_conn_t *conn = ev->data;

    ngx_http_entra_mdm_redis_abandon(conn, "no answer in time");
}


/*** the owner calls ***/


/* a peer that is gone without a word is found even where nothing is said */

static void
ngx_http_entra_mdm_redis_socket_options(ngx_socket_t fd)
{
    int  on;

    on = 1;

    (void) setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(int));
    (void) setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(int));

#if (NGX_HAVE_KEEPALIVE_TUNABLE)
    {
    int  idle, interval, count;

    idle = 5;
    interval = 2;
    count = 3;

    (void) setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(int));
    (void) setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof(int));
    (void) setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof(int));
    }
#endif
}


ngx_int_t
ngx_http_entra_mdm_redis_attach(ngx_http_entra_mdm_redis_conn_t *conn,
    redisAsyncContext *ac)
{
    ngx_connection_t  *c;

    c = ngx_get_connection(ac->c.fd, conn->log);

    if (c == NULL) {
        ngx_cpystrn((u_char *) conn->why, (u_char *) "no connection is free",
                    sizeof(conn->why));
        redisAsyncFree(ac);
        return NGX_ERROR;
    }

    if (ac->c.connection_type == REDIS_CONN_TCP) {
        ngx_http_entra_mdm_redis_socket_options(ac->c.fd);
    }

    c->data = conn;
    c->log = conn->log;
    c->read->log = conn->log;
    c->write->log = conn->log;
    c->read->handler = ngx_http_entra_mdm_redis_read_handler;
    c->write->handler = ngx_http_entra_mdm_redis_write_handler;

    /* closed by nginx when a worker is to go: see the read handler */
    c->idle = 1;

    conn->c = c;
    conn->ac = ac;
    conn->pending = 0;

    ngx_memzero(&conn->timer, sizeof(ngx_event_t));

    conn->timer.handler = ngx_http_entra_mdm_redis_timer_handler;
    conn->timer.data = conn;
    conn->timer.log = conn->log;
    conn->timer.cancelable = 1;

    ac->data = conn;
    ac->ev.data = conn;
    ac->ev.addRead = ngx_http_entra_mdm_redis_add_read;
    ac->ev.delRead = ngx_http_entra_mdm_redis_del_read;
    ac->ev.addWrite = ngx_http_entra_mdm_redis_add_write;
    ac->ev.delWrite = ngx_http_entra_mdm_redis_del_write;
    ac->ev.cleanup = ngx_http_entra_mdm_redis_cleanup;

    return NGX_OK;
}


/* what a subscriber is told is no answer to what it said */

static ngx_uint_t
ngx_http_entra_mdm_redis_is_message(const redisReply *reply)
{
    return reply->type == REDIS_REPLY_ARRAY
           && reply->elements == 3
           && reply->element[0]->type == REDIS_REPLY_STRING
           && ngx_strcmp(reply->element[0]->str, "message") == 0;
}


static void
ngx_http_entra_mdm_redis_answered(redisAsyncContext *ac, void *data,
    void *privdata)
{
    redisReply *reply = data;

    ngx_http_entra_mdm_redis_conn_t    *conn;
    ngx_http_entra_mdm_redis_reply_pt   handler;

    conn = ac->data;

    if (conn == NULL || reply == NULL) {
        /* closed by its owner, or about to be cleaned up */
        return;
    }

    if (!ngx_http_entra_mdm_redis_is_message(reply) && conn->pending) {
        conn->pending--;

        if (conn->pending) {
            ngx_add_timer(&conn->timer, conn->timeout);

        } else if (conn->timer.timer_set) {
            ngx_del_timer(&conn->timer);
        }
    }

    handler = (ngx_http_entra_mdm_redis_reply_pt) (uintptr_t) privdata;

    handler(conn, reply);
}


ngx_int_t
ngx_http_entra_mdm_redis_send(ngx_http_entra_mdm_redis_conn_t *conn,
    ngx_http_entra_mdm_redis_reply_pt handler, const ngx_str_t *words,
    ngx_uint_t n)
{
    size_t       len[NGX_HTTP_ENTRA_MDM_REDIS_ARGS];
    ngx_uint_t   i;
    const char  *data[NGX_HTTP_ENTRA_MDM_REDIS_ARGS];

    if (conn->ac == NULL || n > NGX_HTTP_ENTRA_MDM_REDIS_ARGS) {
        return NGX_ERROR;
    }

    for (i = 0; i < n; i++) {
        data[i] = (const char *) words[i].data;
        len[i] = words[i].len;
    }

    if (redisAsyncCommandArgv(conn->ac, ngx_http_entra_mdm_redis_answered,
                              (void *) (uintptr_t) handler, (int) n, data, len)
        != REDIS_OK)
    {
        return NGX_ERROR;
    }

    if (conn->pending++ == 0) {
        ngx_add_timer(&conn->timer, conn->timeout);
    }

    return NGX_OK;
}


void
ngx_http_entra_mdm_redis_close(ngx_http_entra_mdm_redis_conn_t *conn)
{
    redisAsyncContext  *ac;

    ac = conn->ac;

    if (ac == NULL) {
        return;
    }

    ngx_http_entra_mdm_redis_detach(conn);

    /* at once or, within one of its callbacks, after that */
    redisAsyncFree(ac);
}


void
ngx_http_entra_mdm_redis_abandon(ngx_http_entra_mdm_redis_conn_t *conn,
    const char *why)
{
    if (conn->ac == NULL) {
        return;
    }

    ngx_http_entra_mdm_redis_close(conn);

    ngx_cpystrn((u_char *) conn->why, (u_char *) why, sizeof(conn->why));

    conn->closed(conn, conn->why);
}


const char *
ngx_http_entra_mdm_redis_text(const char *text, size_t len)
{
    char  *last;

    static char  escaped[MAX_TEXT * ENTRA_ESCAPE_MAX + 1];

    last = entra_escape_log((entra_str_t) { text, ngx_min(len, MAX_TEXT) },
                            escaped);
    *last = '\0';

    return escaped;
}
