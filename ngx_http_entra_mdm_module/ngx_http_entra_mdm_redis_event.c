/*
 * hiredis and nginx's events.  Knows nothing of lists.
 *
 * hiredis formats, buffers and parses; its own asynchronous interface is left
 * aside, since it ends the process by an assertion when a server says what it
 * was not asked.
 *
 * The descriptor is hiredis' and closed by it; the nginx connection around it
 * is ours, and its events are deleted before that.
 */

#include "ngx_http_entra_mdm_redis_event.h"

#if (NGX_ENTRA_HAVE_REDIS_TLS)
#include <openssl/ssl.h>
#endif

#include "entra_escape.h"


#define MAX_TEXT      200

/* of one answer, however it is nested: a server may say what it likes */
#define MAX_BYTES     (16 * 1024 * 1024)
#define MAX_ELEMENTS  (256 * 1024)


#if (HIREDIS_MAJOR >= 1)
typedef size_t  ngx_http_entra_mdm_redis_elements_t;
#else
typedef int     ngx_http_entra_mdm_redis_elements_t;
#endif


static void ngx_http_entra_mdm_redis_read_handler(ngx_event_t *rev);
static void ngx_http_entra_mdm_redis_write_handler(ngx_event_t *wev);
static void ngx_http_entra_mdm_redis_timer_handler(ngx_event_t *ev);


/*** closing ***/


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


void
ngx_http_entra_mdm_redis_close(ngx_http_entra_mdm_redis_conn_t *conn)
{
    redisContext      *rc;
    ngx_connection_t  *c;

    c = conn->c;
    rc = conn->rc;

    if (rc == NULL) {
        return;
    }

    conn->c = NULL;
    conn->rc = NULL;
    conn->ssl = NULL;
    conn->pending = 0;

    if (conn->closing) {
        *conn->closing = 1;
        conn->closing = NULL;
    }

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

    redisFree(rc);
}


void
ngx_http_entra_mdm_redis_abandon(ngx_http_entra_mdm_redis_conn_t *conn,
    const char *why)
{
    if (conn->rc == NULL) {
        return;
    }

    ngx_cpystrn((u_char *) conn->why, (u_char *) why, sizeof(conn->why));

    ngx_http_entra_mdm_redis_close(conn);

    conn->closed(conn, conn->why);
}


static void
ngx_http_entra_mdm_redis_broken(ngx_http_entra_mdm_redis_conn_t *conn)
{
    const char  *why;

    why = conn->rc->errstr[0] ? conn->rc->errstr : "the connection ended";

    if (conn->elements > MAX_ELEMENTS) {
        why = "an answer of too many elements";
    }

    ngx_http_entra_mdm_redis_abandon(conn,
                       ngx_http_entra_mdm_redis_text(why, ngx_strlen(why)));
}


/*** what an answer may be ***/


static redisReplyObjectFunctions   ngx_http_entra_mdm_redis_functions;
static void                     *(*ngx_http_entra_mdm_redis_array)(
    const redisReadTask *task, ngx_http_entra_mdm_redis_elements_t n);


/*
 * hiredis takes memory for as many elements as are announced, and looks at
 * each of them when it gives it back: seconds, for a line of ten bytes.
 */

static void *
ngx_http_entra_mdm_redis_bounded_array(const redisReadTask *task,
    ngx_http_entra_mdm_redis_elements_t n)
{
    ngx_http_entra_mdm_redis_conn_t *conn = task->privdata;

    conn->elements += n;

    if (conn->elements > MAX_ELEMENTS) {
        /* to hiredis that is a lack of memory, which ends the connection */
        return NULL;
    }

    return ngx_http_entra_mdm_redis_array(task, n);
}


static void
ngx_http_entra_mdm_redis_bound(ngx_http_entra_mdm_redis_conn_t *conn,
    redisReader *reader)
{
    if (ngx_http_entra_mdm_redis_array == NULL) {
        ngx_http_entra_mdm_redis_array = reader->fn->createArray;
        ngx_http_entra_mdm_redis_functions = *reader->fn;
        ngx_http_entra_mdm_redis_functions.createArray =
                                     ngx_http_entra_mdm_redis_bounded_array;
    }

    reader->fn = &ngx_http_entra_mdm_redis_functions;
    reader->privdata = conn;

    conn->bytes = 0;
    conn->elements = 0;
}


/*** reading and writing ***/


static void
ngx_http_entra_mdm_redis_dispatch(ngx_http_entra_mdm_redis_conn_t *conn,
    redisReply *reply)
{
    const redisReply                   *message;
    ngx_http_entra_mdm_redis_reply_pt   handler;

    /* what a subscriber is told is no answer to what it said */

    message = conn->message ? entra_redis_message(reply) : NULL;

    if (message != NULL) {
        conn->message(conn, message);
        return;
    }

    if (conn->pending == 0) {
        /* such as: max number of clients reached */
        ngx_http_entra_mdm_redis_abandon(conn,
                reply->type == REDIS_REPLY_ERROR
                ? ngx_http_entra_mdm_redis_text(reply->str, reply->len)
                : "an answer to no command");
        return;
    }

    handler = conn->waiting[conn->first];

    conn->first = (conn->first + 1) % NGX_HTTP_ENTRA_MDM_REDIS_PENDING;
    conn->pending--;

    if (conn->pending) {
        ngx_add_timer(&conn->timer, conn->timeout);

    } else if (conn->timer.timer_set) {
        ngx_del_timer(&conn->timer);
    }

    handler(conn, reply);
}


static ngx_int_t
ngx_http_entra_mdm_redis_read_more(ngx_http_entra_mdm_redis_conn_t *conn)
{
    redisReader  *reader;

    reader = conn->rc->reader;

    conn->bytes -= reader->len - reader->pos;

    if (redisBufferRead(conn->rc) != REDIS_OK) {
        ngx_http_entra_mdm_redis_broken(conn);
        return NGX_ERROR;
    }

    conn->bytes += reader->len - reader->pos;

    return NGX_OK;
}


/* a handler may close the connection, open it anew, and even free it */

static void
ngx_http_entra_mdm_redis_read(ngx_http_entra_mdm_redis_conn_t *conn)
{
    void         *reply;
    ngx_uint_t    closed;
    redisReader  *reader;

    if (ngx_http_entra_mdm_redis_read_more(conn) != NGX_OK) {
        return;
    }

    /* false alarm (autoVariables): every way out takes it back, or frees conn */
    closed = 0;
    conn->closing = &closed;
    reader = conn->rc->reader;

    do {
        if (redisGetReplyFromReader(conn->rc, &reply) != REDIS_OK) {
            ngx_http_entra_mdm_redis_broken(conn);
            return;
        }

        if (reply == NULL) {
            conn->closing = NULL;

            if (conn->bytes > MAX_BYTES) {
                ngx_http_entra_mdm_redis_abandon(conn,
                                               "an answer of too many bytes");
            }

            return;
        }

        conn->bytes = reader->len - reader->pos;
        conn->elements = 0;

        ngx_http_entra_mdm_redis_dispatch(conn, reply);

        freeReplyObject(reply);

    } while (!closed);
}


static ngx_int_t
ngx_http_entra_mdm_redis_write(ngx_http_entra_mdm_redis_conn_t *conn)
{
    int  done;

    if (redisBufferWrite(conn->rc, &done) != REDIS_OK) {
        ngx_http_entra_mdm_redis_broken(conn);
        return NGX_ERROR;
    }

    /* what comes has been asked for, or is the end */

    ngx_http_entra_mdm_redis_add(conn->c->read, NGX_READ_EVENT);

#if (NGX_ENTRA_HAVE_REDIS_TLS)

    if (!done && conn->ssl != NULL && SSL_want_read(conn->ssl)) {
        /* the handshake waits for the other side: see the read handler */
        done = 1;
    }

#endif

    if (done) {
        ngx_http_entra_mdm_redis_del(conn->c->write, NGX_WRITE_EVENT);
        return NGX_OK;
    }

    ngx_http_entra_mdm_redis_add(conn->c->write, NGX_WRITE_EVENT);

    return NGX_OK;
}


/* the outcome of connect(), once */

static ngx_int_t
ngx_http_entra_mdm_redis_connected(ngx_http_entra_mdm_redis_conn_t *conn)
{
    int         err;
    char        text[128];
    socklen_t   len;

    if (conn->connected) {
        return NGX_OK;
    }

    err = 0;
    len = sizeof(int);

    if (getsockopt(conn->c->fd, SOL_SOCKET, SO_ERROR, (void *) &err, &len)
        == -1)
    {
        err = ngx_socket_errno;
    }

    if (err) {
        *ngx_strerror(err, (u_char *) text, sizeof(text) - 1) = '\0';
        ngx_http_entra_mdm_redis_abandon(conn, text);
        return NGX_ERROR;
    }

    conn->connected = 1;

    return NGX_OK;
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

    if (ngx_http_entra_mdm_redis_connected(conn) != NGX_OK) {
        return;
    }

#if (NGX_ENTRA_HAVE_REDIS_TLS)

    /* a write may have waited for this */

    if (conn->ssl != NULL && ngx_http_entra_mdm_redis_write(conn) != NGX_OK) {
        return;
    }

#endif

    ngx_http_entra_mdm_redis_read(conn);
}


static void
ngx_http_entra_mdm_redis_write_handler(ngx_event_t *wev)
{
    ngx_connection_t                 *c;
    ngx_http_entra_mdm_redis_conn_t  *conn;

    c = wev->data;
    conn = c->data;

    if (ngx_http_entra_mdm_redis_connected(conn) != NGX_OK) {
        return;
    }

    (void) ngx_http_entra_mdm_redis_write(conn);
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
    redisContext *rc, void *ssl)
{
    ngx_connection_t  *c;

    c = ngx_get_connection(rc->fd, conn->log);

    if (c == NULL) {
        ngx_cpystrn((u_char *) conn->why, (u_char *) "no connection is free",
                    sizeof(conn->why));
        redisFree(rc);
        return NGX_ERROR;
    }

    if (rc->connection_type == REDIS_CONN_TCP) {
        ngx_http_entra_mdm_redis_socket_options(rc->fd);
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
    conn->rc = rc;
    conn->ssl = ssl;
    conn->connected = 0;
    conn->closing = NULL;
    conn->first = 0;
    conn->pending = 0;

    ngx_http_entra_mdm_redis_bound(conn, rc->reader);

    ngx_memzero(&conn->timer, sizeof(ngx_event_t));

    conn->timer.handler = ngx_http_entra_mdm_redis_timer_handler;
    conn->timer.data = conn;
    conn->timer.log = conn->log;
    conn->timer.cancelable = 1;

    return NGX_OK;
}


ngx_int_t
ngx_http_entra_mdm_redis_send(ngx_http_entra_mdm_redis_conn_t *conn,
    ngx_http_entra_mdm_redis_reply_pt handler, const ngx_str_t *words,
    ngx_uint_t n)
{
    size_t       len[NGX_HTTP_ENTRA_MDM_REDIS_ARGS];
    ngx_uint_t   i;
    const char  *data[NGX_HTTP_ENTRA_MDM_REDIS_ARGS];

    if (conn->rc == NULL || n > NGX_HTTP_ENTRA_MDM_REDIS_ARGS
        || conn->pending == NGX_HTTP_ENTRA_MDM_REDIS_PENDING)
    {
        return NGX_ERROR;
    }

    for (i = 0; i < n; i++) {
        data[i] = (const char *) words[i].data;
        len[i] = words[i].len;
    }

    if (redisAppendCommandArgv(conn->rc, (int) n, data, len) != REDIS_OK) {
        return NGX_ERROR;
    }

    i = (conn->first + conn->pending) % NGX_HTTP_ENTRA_MDM_REDIS_PENDING;

    conn->waiting[i] = handler;

    if (conn->pending++ == 0) {
        ngx_add_timer(&conn->timer, conn->timeout);
    }

    ngx_http_entra_mdm_redis_add(conn->c->write, NGX_WRITE_EVENT);

    return NGX_OK;
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
