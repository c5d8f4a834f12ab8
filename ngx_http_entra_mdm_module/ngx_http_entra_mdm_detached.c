/*
 * A request that belongs to no client.
 *
 * It is a background subrequest, its body kept in memory, of a main request
 * that has a connection without a socket.  Nobody but this file may end it,
 * since what nginx does at the end of a connection is to close its socket.
 */

#include "ngx_http_entra_mdm_detached.h"


static ngx_int_t ngx_http_entra_mdm_detached_connection(
    ngx_http_entra_mdm_detached_t *detached, ngx_pool_t *pool);
static ngx_int_t ngx_http_entra_mdm_detached_request(
    ngx_http_entra_mdm_detached_t *detached);
static u_char *ngx_http_entra_mdm_detached_log(ngx_log_t *log, u_char *buf,
    size_t len);
static void ngx_http_entra_mdm_detached_read(ngx_event_t *rev);
static void ngx_http_entra_mdm_detached_write(ngx_event_t *wev);
static ngx_int_t ngx_http_entra_mdm_detached_answered(ngx_http_request_t *r,
    void *data, ngx_int_t rc);
static void ngx_http_entra_mdm_detached_done(ngx_event_t *ev);


ngx_int_t
ngx_http_entra_mdm_detached_start(ngx_http_entra_mdm_detached_t *detached,
    ngx_pool_t *pool)
{
    if (ngx_http_entra_mdm_detached_connection(detached, pool) != NGX_OK) {
        ngx_destroy_pool(pool);
        return NGX_ERROR;
    }

    if (ngx_http_entra_mdm_detached_request(detached) != NGX_OK) {
        (void) ngx_http_entra_mdm_detached_free(detached);
        return NGX_ERROR;
    }

    ngx_post_event(detached->connection->write, &ngx_posted_events);

    return NGX_OK;
}


/*
 * A connection that looks like one to a client over a UNIX socket.  Its events
 * are as they must be for nobody to ask the kernel about its number, whatever
 * the event method; it is idle, so that a worker that is to quit calls its
 * read handler.
 */

static ngx_int_t
ngx_http_entra_mdm_detached_connection(ngx_http_entra_mdm_detached_t *detached,
    ngx_pool_t *pool)
{
    ngx_connection_t  *c;

    c = ngx_get_connection(0, ngx_cycle->log);
    if (c == NULL) {
        return NGX_ERROR;
    }

    detached->log = *ngx_cycle->log;
    detached->log.connection = c->number;
    detached->log.handler = ngx_http_entra_mdm_detached_log;
    detached->log.data = &detached->log_ctx;
    detached->log.action = NULL;

    detached->log_ctx.connection = c;

    pool->log = &detached->log;

    c->pool = pool;
    c->log = &detached->log;
    c->read->log = &detached->log;
    c->write->log = &detached->log;

    c->number = ngx_atomic_fetch_add(ngx_connection_counter, 1);
    c->log->connection = c->number;
    c->start_time = ngx_current_msec;
    c->log_error = NGX_ERROR_INFO;

    detached->sockaddr.sa_family = AF_UNIX;

    c->sockaddr = &detached->sockaddr;
    c->socklen = offsetof(struct sockaddr, sa_data);
    c->local_sockaddr = c->sockaddr;
    c->local_socklen = c->socklen;
    ngx_str_set(&c->addr_text, "unix:");

    c->tcp_nodelay = NGX_TCP_NODELAY_DISABLED;
    c->tcp_nopush = NGX_TCP_NOPUSH_DISABLED;
    c->idle = 1;

    c->read->active = 1;
    c->write->active = (ngx_event_flags & NGX_USE_CLEAR_EVENT) != 0;
    c->write->ready = 1;

    c->read->handler = ngx_http_entra_mdm_detached_read;
    c->write->handler = ngx_http_entra_mdm_detached_write;

    detached->connection = c;

    return NGX_OK;
}


static ngx_int_t
ngx_http_entra_mdm_detached_request(ngx_http_entra_mdm_detached_t *detached)
{
    ngx_connection_t            *c;
    ngx_http_request_t          *r;
    ngx_http_entra_mdm_ctx_t    *ctx;
    ngx_http_post_subrequest_t  *ps;

    static ngx_str_t  protocol = ngx_string("HTTP/1.1");

    c = detached->connection;

    detached->hc.conf_ctx = detached->server;
    detached->hc.addr_conf = &detached->addr_conf;
    detached->addr_conf.default_server =
        ngx_http_get_module_srv_conf(detached->server, ngx_http_core_module);

    c->data = &detached->hc;

    r = ngx_http_create_request(c);
    if (r == NULL) {
        return NGX_ERROR;
    }

    c->data = r;
    detached->request = r;

    r->logged = 1;
    r->method = NGX_HTTP_GET;
    ngx_str_set(&r->method_name, "GET");
    r->http_version = NGX_HTTP_VERSION_11;
    r->http_protocol = protocol;
    r->uri = detached->uri;
    r->args = detached->args;
    r->unparsed_uri = detached->name;
    r->valid_location = 1;
    r->internal = 1;
    r->write_event_handler = ngx_http_request_empty_handler;

    /* as if a thread were at work: nginx never frees it, nor closes "fd 0" */
    r->blocked = 1;

    detached->event.handler = ngx_http_entra_mdm_detached_done;
    detached->event.data = detached;
    detached->event.log = c->log;

    r->request_body = ngx_pcalloc(r->pool, sizeof(ngx_http_request_body_t));
    ctx = ngx_http_entra_mdm_ctx(r, 1);
    ps = ngx_palloc(r->pool, sizeof(ngx_http_post_subrequest_t));

    if (r->request_body == NULL || ctx == NULL || ps == NULL
        || ngx_list_init(&r->headers_in.headers, r->pool, 1,
                         sizeof(ngx_table_elt_t))
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    /* it may enter a gated location; nobody else's main request has this */
    ctx->fetch = 1;

    ps->handler = ngx_http_entra_mdm_detached_answered;
    ps->data = detached;

    return ngx_http_subrequest(r, &r->uri, &r->args, &detached->sr, ps,
                               NGX_HTTP_SUBREQUEST_IN_MEMORY
                               |NGX_HTTP_SUBREQUEST_BACKGROUND);
}


static u_char *
ngx_http_entra_mdm_detached_log(ngx_log_t *log, u_char *buf, size_t len)
{
    u_char                         *p;
    ngx_http_request_t             *r;
    ngx_http_log_ctx_t             *ctx;
    ngx_http_entra_mdm_detached_t  *detached;

    p = buf;
    ctx = log->data;
    r = ctx->request;

    detached = (ngx_http_entra_mdm_detached_t *)
                   ((u_char *) ctx
                    - offsetof(ngx_http_entra_mdm_detached_t, log_ctx));

    if (log->action) {
        p = ngx_snprintf(p, len, " while %s", log->action);
    }

    p = ngx_snprintf(p, len - (p - buf), ", fetching the keys of policy \"%V\"",
                     detached->policy);

    if (r == NULL) {
        return p;
    }

    return r->log_handler(r, ctx->current_request, p, len - (p - buf));
}


/* the one that a connection's request is the main request of */

static ngx_http_entra_mdm_detached_t *
ngx_http_entra_mdm_detached_of(ngx_connection_t *c)
{
    ngx_http_request_t  *r;

    r = c->data;

    return (ngx_http_entra_mdm_detached_t *)
               ((u_char *) r->http_connection
                - offsetof(ngx_http_entra_mdm_detached_t, hc));
}


/* called when the worker is to quit: once, and by worker_shutdown_timeout */

static void
ngx_http_entra_mdm_detached_read(ngx_event_t *rev)
{
    ngx_connection_t               *c;
    ngx_http_entra_mdm_detached_t  *detached;

    c = rev->data;

    if (!c->close) {
        return;
    }

    detached = ngx_http_entra_mdm_detached_of(c);

    detached->at_once = c->error;

    c->idle = 0;
    c->error = 0;

    detached->closing(detached);
}


/*
 * The first call runs the subrequest.  Later ones are timers that it has set
 * on its connection, as limit_req does: nginx would call the main request, as
 * a background subrequest is not the connection's.
 */

static void
ngx_http_entra_mdm_detached_write(ngx_event_t *wev)
{
    ngx_connection_t               *c;
    ngx_http_entra_mdm_detached_t  *detached;

    c = wev->data;
    detached = ngx_http_entra_mdm_detached_of(c);

    if (wev->timedout && !detached->answered) {

        if (wev->delayed) {
            wev->delayed = 0;
            wev->timedout = 0;
        }

        ngx_http_set_log_request(c->log, detached->sr);

        detached->sr->write_event_handler(detached->sr);
    }

    ngx_http_run_posted_requests(c);
}


/*
 * The end of the subrequest, reported more than once if nginx goes on with an
 * error page.  It must not be kept by what its filters still hold, nor end the
 * connection by an error: an answer that is too large does both.
 */

static ngx_int_t
ngx_http_entra_mdm_detached_answered(ngx_http_request_t *r, void *data,
    ngx_int_t rc)
{
    ngx_http_entra_mdm_detached_t *detached = data;

    if ((rc == NGX_OK || rc == NGX_AGAIN)
        && r->buffered && !r->connection->error)
    {
        /* a file is being read by a thread */
        return rc;
    }

    if (!detached->answered) {
        detached->answered = 1;
        detached->rc = r->connection->error ? NGX_ERROR : rc;

        ngx_post_event(&detached->event, &ngx_posted_events);
    }

    r->buffered = 0;
    r->connection->buffered = 0;
    r->connection->error = 0;

    return NGX_OK;
}


static void
ngx_http_entra_mdm_detached_done(ngx_event_t *ev)
{
    ngx_http_entra_mdm_detached_t *detached = ev->data;

    detached->log.action = NULL;

    detached->done(detached);
}


ngx_int_t
ngx_http_entra_mdm_detached_free(ngx_http_entra_mdm_detached_t *detached)
{
    ngx_pool_t          *pool;
    ngx_connection_t    *c;
    ngx_http_request_t  *r;

    c = detached->connection;
    r = detached->request;

    /* nothing is to be made of it any more */
    detached->answered = 1;

    if (r != NULL) {

        if (r->blocked > 1) {
            return NGX_AGAIN;
        }

        ngx_http_free_request(r, 0);
    }

    if (detached->event.posted) {
        ngx_delete_posted_event(&detached->event);
    }

    if (c->read->timer_set) {
        ngx_del_timer(c->read);
    }

    if (c->write->timer_set) {
        ngx_del_timer(c->write);
    }

    if (c->read->posted) {
        ngx_delete_posted_event(c->read);
    }

    if (c->write->posted) {
        ngx_delete_posted_event(c->write);
    }

    c->read->closed = 1;
    c->write->closed = 1;

    pool = c->pool;

    ngx_free_connection(c);
    c->fd = (ngx_socket_t) -1;

    ngx_destroy_pool(pool);

    return NGX_OK;
}
