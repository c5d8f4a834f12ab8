/*
 * Fetching a key set.
 *
 * The request is a background subrequest, its body kept in memory, of a main
 * request that has a connection without a socket: no client can abort it, wait
 * on it, or put a header into it.  Nobody but this file may end it, since what
 * nginx does at the end of a connection is to close its socket.
 */

#include "ngx_http_entra_mdm_fetch.h"
#include "ngx_http_entra_mdm_lease.h"
#include "ngx_http_entra_mdm_wait.h"


#define POOL_SIZE      1024
#define RETRY_TIME     10               /* milliseconds */
#define SHUTDOWN_TIME  4000


struct ngx_http_entra_mdm_fetch_s {
    ngx_http_entra_mdm_policy_t  *policy;
    ngx_uint_t                    attempt;      /* of the lease */

    ngx_connection_t             *connection;
    ngx_http_request_t           *request;      /* the main one */
    ngx_http_request_t           *sr;

    ngx_uint_t                    answered;     /* unsigned  answered:1; */
    ngx_int_t                     rc;           /* what sr has come to */

    ngx_event_t                   done;
    ngx_event_t                   timer;
    ngx_log_t                     log;
    ngx_http_log_ctx_t            log_ctx;
    ngx_http_connection_t         hc;
    ngx_http_addr_conf_t          addr_conf;
    struct sockaddr               sockaddr;
};


static ngx_int_t ngx_http_entra_mdm_fetch_begin(
    ngx_http_entra_mdm_policy_t *policy, ngx_uint_t attempt);
static ngx_connection_t *ngx_http_entra_mdm_fetch_connection(
    ngx_http_entra_mdm_fetch_t *fetch, ngx_pool_t *pool);
static ngx_int_t ngx_http_entra_mdm_fetch_request(
    ngx_http_entra_mdm_fetch_t *fetch);
static u_char *ngx_http_entra_mdm_fetch_log(ngx_log_t *log, u_char *buf,
    size_t len);
static void ngx_http_entra_mdm_fetch_read(ngx_event_t *rev);
static void ngx_http_entra_mdm_fetch_write(ngx_event_t *wev);
static ngx_int_t ngx_http_entra_mdm_fetch_answered(ngx_http_request_t *r,
    void *data, ngx_int_t rc);
static void ngx_http_entra_mdm_fetch_done(ngx_event_t *ev);
static void ngx_http_entra_mdm_fetch_expired(ngx_event_t *ev);
static ngx_int_t ngx_http_entra_mdm_fetch_judge(
    ngx_http_entra_mdm_fetch_t *fetch, ngx_str_t *error);
static ngx_int_t ngx_http_entra_mdm_fetch_free(
    ngx_http_entra_mdm_fetch_t *fetch);
static void ngx_http_entra_mdm_fetch_refresh(ngx_event_t *ev);


ngx_int_t
ngx_http_entra_mdm_fetch(ngx_http_entra_mdm_policy_t *policy)
{
    ngx_int_t   rc;
    ngx_uint_t  attempt;

    static ngx_str_t  error = ngx_string("no memory or connection for it");

    if (policy->keys->fetch != NULL) {
        return NGX_OK;
    }

    rc = ngx_http_entra_mdm_lease_take(policy, &attempt);

    if (rc != NGX_OK) {
        return rc == NGX_BUSY ? NGX_OK : NGX_DECLINED;
    }

    if (ngx_http_entra_mdm_fetch_begin(policy, attempt) == NGX_OK) {
        return NGX_OK;
    }

    ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                  "entra_mdm: the keys of policy \"%V\" were not fetched: %V",
                  &policy->name, &error);

    ngx_http_entra_mdm_lease_end(policy, attempt, &error);

    return NGX_DECLINED;
}


/*** the request ***/


/*
 * It starts by an event of its own: whoever asks for it may be in the middle
 * of another request.
 */

static ngx_int_t
ngx_http_entra_mdm_fetch_begin(ngx_http_entra_mdm_policy_t *policy,
    ngx_uint_t attempt)
{
    ngx_pool_t                  *pool;
    ngx_http_entra_mdm_fetch_t  *fetch;

    pool = ngx_create_pool(POOL_SIZE, ngx_cycle->log);
    if (pool == NULL) {
        return NGX_ERROR;
    }

    fetch = ngx_pcalloc(pool, sizeof(ngx_http_entra_mdm_fetch_t));
    if (fetch == NULL) {
        ngx_destroy_pool(pool);
        return NGX_ERROR;
    }

    fetch->policy = policy;
    fetch->attempt = attempt;

    fetch->connection = ngx_http_entra_mdm_fetch_connection(fetch, pool);
    if (fetch->connection == NULL) {
        ngx_destroy_pool(pool);
        return NGX_ERROR;
    }

    if (ngx_http_entra_mdm_fetch_request(fetch) != NGX_OK) {
        (void) ngx_http_entra_mdm_fetch_free(fetch);
        return NGX_ERROR;
    }

    policy->keys->fetch = fetch;

    ngx_add_timer(&fetch->timer, ngx_exiting ? SHUTDOWN_TIME
                                             : NGX_HTTP_ENTRA_MDM_FETCH_TIME);

    ngx_post_event(fetch->connection->write, &ngx_posted_events);

    return NGX_OK;
}


/*
 * A connection that looks like one to a client over a UNIX socket.  Its events
 * are active and ready, so that nobody asks the kernel about its number; it is
 * idle, so that a worker that is to quit calls its read handler.
 */

static ngx_connection_t *
ngx_http_entra_mdm_fetch_connection(ngx_http_entra_mdm_fetch_t *fetch,
    ngx_pool_t *pool)
{
    ngx_connection_t  *c;

    c = ngx_get_connection(0, ngx_cycle->log);
    if (c == NULL) {
        return NULL;
    }

    fetch->log = *ngx_cycle->log;
    fetch->log.connection = c->number;
    fetch->log.handler = ngx_http_entra_mdm_fetch_log;
    fetch->log.data = &fetch->log_ctx;
    fetch->log.action = NULL;

    fetch->log_ctx.connection = c;

    pool->log = &fetch->log;

    c->pool = pool;
    c->log = &fetch->log;
    c->read->log = &fetch->log;
    c->write->log = &fetch->log;

    c->number = ngx_atomic_fetch_add(ngx_connection_counter, 1);
    c->log->connection = c->number;
    c->start_time = ngx_current_msec;
    c->log_error = NGX_ERROR_INFO;

    fetch->sockaddr.sa_family = AF_UNIX;

    c->sockaddr = &fetch->sockaddr;
    c->socklen = offsetof(struct sockaddr, sa_data);
    c->local_sockaddr = c->sockaddr;
    c->local_socklen = c->socklen;
    ngx_str_set(&c->addr_text, "unix:");

    c->tcp_nodelay = NGX_TCP_NODELAY_DISABLED;
    c->tcp_nopush = NGX_TCP_NOPUSH_DISABLED;
    c->idle = 1;

    c->read->active = 1;
    c->write->active = 1;
    c->write->ready = 1;

    c->read->handler = ngx_http_entra_mdm_fetch_read;
    c->write->handler = ngx_http_entra_mdm_fetch_write;

    return c;
}


static ngx_int_t
ngx_http_entra_mdm_fetch_request(ngx_http_entra_mdm_fetch_t *fetch)
{
    ngx_connection_t            *c;
    ngx_http_request_t          *r;
    ngx_http_entra_mdm_ctx_t    *ctx;
    ngx_http_entra_mdm_keys_t   *keys;
    ngx_http_post_subrequest_t  *ps;

    static ngx_str_t  protocol = ngx_string("HTTP/1.1");

    c = fetch->connection;
    keys = fetch->policy->keys;

    fetch->hc.conf_ctx = keys->server;
    fetch->hc.addr_conf = &fetch->addr_conf;
    fetch->addr_conf.default_server =
        ngx_http_get_module_srv_conf(keys->server, ngx_http_core_module);

    c->data = &fetch->hc;

    r = ngx_http_create_request(c);
    if (r == NULL) {
        return NGX_ERROR;
    }

    c->data = r;
    fetch->request = r;

    r->logged = 1;
    r->method = NGX_HTTP_GET;
    ngx_str_set(&r->method_name, "GET");
    r->http_version = NGX_HTTP_VERSION_11;
    r->http_protocol = protocol;
    r->uri = keys->uri;
    r->args = keys->args;
    r->unparsed_uri = keys->name;
    r->valid_location = 1;
    r->internal = 1;
    r->write_event_handler = ngx_http_request_empty_handler;

    fetch->done.handler = ngx_http_entra_mdm_fetch_done;
    fetch->done.data = fetch;
    fetch->done.log = c->log;

    fetch->timer.handler = ngx_http_entra_mdm_fetch_expired;
    fetch->timer.data = fetch;
    fetch->timer.log = c->log;

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

    ps->handler = ngx_http_entra_mdm_fetch_answered;
    ps->data = fetch;

    return ngx_http_subrequest(r, &r->uri, &r->args, &fetch->sr, ps,
                               NGX_HTTP_SUBREQUEST_IN_MEMORY
                               |NGX_HTTP_SUBREQUEST_BACKGROUND);
}


static u_char *
ngx_http_entra_mdm_fetch_log(ngx_log_t *log, u_char *buf, size_t len)
{
    u_char                      *p;
    ngx_http_request_t          *r;
    ngx_http_log_ctx_t          *ctx;
    ngx_http_entra_mdm_fetch_t  *fetch;

    p = buf;
    ctx = log->data;
    r = ctx->request;

    fetch = (ngx_http_entra_mdm_fetch_t *)
                ((u_char *) ctx
                 - offsetof(ngx_http_entra_mdm_fetch_t, log_ctx));

    if (log->action) {
        p = ngx_snprintf(p, len, " while %s", log->action);
    }

    p = ngx_snprintf(p, len - (p - buf), ", fetching the keys of policy \"%V\"",
                     &fetch->policy->name);

    if (r == NULL) {
        return p;
    }

    return r->log_handler(r, ctx->current_request, p, len - (p - buf));
}


/*
 * Called when the worker is to quit, by name or by worker_shutdown_timeout.
 * Whoever waits here for the answer waits no more than five seconds; if nobody
 * does, it is left to another worker.
 */

static void
ngx_http_entra_mdm_fetch_read(ngx_event_t *rev)
{
    ngx_connection_t            *c;
    ngx_http_request_t          *r;
    ngx_http_entra_mdm_fetch_t  *fetch;

    c = rev->data;
    r = c->data;

    if (!c->close) {
        return;
    }

    fetch = (ngx_http_entra_mdm_fetch_t *)
                ((u_char *) r->http_connection
                 - offsetof(ngx_http_entra_mdm_fetch_t, hc));

    ngx_add_timer(&fetch->timer,
                  c->error || ngx_queue_empty(&fetch->policy->keys->waiting)
                  ? 0 : SHUTDOWN_TIME);

    c->idle = 0;
    c->error = 0;
}


/*
 * The first call runs the subrequest.  Later ones are timers that it has set
 * on its connection, as limit_req does: nginx would call the main request, as
 * a background subrequest is not the connection's.
 */

static void
ngx_http_entra_mdm_fetch_write(ngx_event_t *wev)
{
    ngx_connection_t            *c;
    ngx_http_request_t          *r;
    ngx_http_entra_mdm_fetch_t  *fetch;

    c = wev->data;
    r = c->data;

    fetch = (ngx_http_entra_mdm_fetch_t *)
                ((u_char *) r->http_connection
                 - offsetof(ngx_http_entra_mdm_fetch_t, hc));

    if (wev->timedout && !fetch->answered) {

        if (wev->delayed) {
            wev->delayed = 0;
            wev->timedout = 0;
        }

        ngx_http_set_log_request(c->log, fetch->sr);

        fetch->sr->write_event_handler(fetch->sr);
    }

    ngx_http_run_posted_requests(c);
}


/*
 * The end of the subrequest, reported more than once if nginx goes on with an
 * error page.  It must not be kept by what its filters still hold, nor end the
 * connection by an error: an answer that is too large does both.
 */

static ngx_int_t
ngx_http_entra_mdm_fetch_answered(ngx_http_request_t *r, void *data,
    ngx_int_t rc)
{
    ngx_http_entra_mdm_fetch_t  *fetch = data;

    if ((rc == NGX_OK || rc == NGX_AGAIN) && r->buffered) {
        /* a file is being read by a thread */
        return rc;
    }

    if (!fetch->answered) {
        fetch->answered = 1;
        fetch->rc = rc;

        ngx_post_event(&fetch->done, &ngx_posted_events);
    }

    r->buffered = 0;
    r->connection->buffered = 0;
    r->connection->error = 0;

    return NGX_OK;
}


/*** the end ***/


static void
ngx_http_entra_mdm_fetch_end(ngx_http_entra_mdm_fetch_t *fetch,
    const ngx_str_t *error)
{
    ngx_http_entra_mdm_lease_end(fetch->policy, fetch->attempt, error);
    ngx_http_entra_mdm_wait_end(fetch->policy);
}


static void
ngx_http_entra_mdm_fetch_done(ngx_event_t *ev)
{
    ngx_int_t                    rc;
    ngx_str_t                    error;
    ngx_http_entra_mdm_fetch_t  *fetch = ev->data;

    u_char  buffer[NGX_HTTP_ENTRA_MDM_MAX_ERROR];

    fetch->log.action = NULL;

    error.data = buffer;
    error.len = 0;

    rc = ngx_http_entra_mdm_fetch_judge(fetch, &error);

    if (rc == NGX_AGAIN) {
        /* another process is publishing: the answer stays where it is */
        ngx_add_timer(&fetch->timer, RETRY_TIME);
        return;
    }

    if (rc == NGX_ABORT) {
        /* a reload has named another source of keys */
        ngx_http_entra_mdm_lease_give_back(fetch->policy, fetch->attempt);

    } else {
        ngx_http_entra_mdm_fetch_end(fetch, error.len ? &error : NULL);
    }

    if (ngx_http_entra_mdm_fetch_free(fetch) != NGX_OK) {
        ngx_add_timer(&fetch->timer, RETRY_TIME);
    }
}


/*
 * Time is up, or it is time to publish or to free again.  A worker that is to
 * quit leaves the fetch to another.
 */

static void
ngx_http_entra_mdm_fetch_expired(ngx_event_t *ev)
{
    ngx_str_t                    error;
    ngx_http_entra_mdm_fetch_t  *fetch = ev->data;

    if (fetch->policy->keys->fetch != fetch) {
        /* ended, but for a thread that was still at work on it */
        if (ngx_http_entra_mdm_fetch_free(fetch) != NGX_OK) {
            ngx_add_timer(&fetch->timer, RETRY_TIME);
        }

        return;
    }

    if (fetch->answered) {
        ngx_http_entra_mdm_fetch_done(&fetch->done);
        return;
    }

    if (fetch->connection->close
        && ngx_queue_empty(&fetch->policy->keys->waiting))
    {
        ngx_http_entra_mdm_lease_give_back(fetch->policy, fetch->attempt);

    } else {
        ngx_str_set(&error, "no answer in time");

        ngx_log_error(NGX_LOG_ERR, fetch->connection->log, 0,
                      "entra_mdm: \"%V\" gave policy \"%V\" no answer within "
                      "%d seconds; the last good key set stays: lower the "
                      "timeouts of that location, and see whether its server "
                      "can be reached", &fetch->policy->keys->name,
                      &fetch->policy->name,
                      (fetch->connection->close || ngx_exiting
                       ? SHUTDOWN_TIME : NGX_HTTP_ENTRA_MDM_FETCH_TIME) / 1000);

        ngx_http_entra_mdm_fetch_end(fetch, &error);
    }

    if (ngx_http_entra_mdm_fetch_free(fetch) != NGX_OK) {
        ngx_add_timer(&fetch->timer, RETRY_TIME);
    }
}


/* what is wrong with the answer, apart from its text; NULL: nothing */

static const char *
ngx_http_entra_mdm_fetch_fault(ngx_http_entra_mdm_fetch_t *fetch,
    u_char *buffer, ngx_str_t *text)
{
    size_t                     limit;
    ngx_http_request_t        *sr;
    ngx_http_core_loc_conf_t  *clcf;

    sr = fetch->sr;
    clcf = ngx_http_get_module_loc_conf(sr, ngx_http_core_module);

    text->data = NULL;
    text->len = 0;

    if (sr->out != NULL) {
        text->data = sr->out->buf->pos;
        text->len = sr->out->buf->last - sr->out->buf->pos;
    }

    limit = ngx_min(clcf->subrequest_output_buffer_size,
                    NGX_HTTP_ENTRA_MDM_MAX_JWKS);

    if (sr->headers_out.status == NGX_HTTP_OK
        && sr->headers_out.content_length_n > (off_t) limit)
    {
        ngx_sprintf(buffer, "%O bytes, the limit is %uz%Z",
                    sr->headers_out.content_length_n, limit);
        return (char *) buffer;
    }

    if (sr->headers_out.status == NGX_HTTP_OK && fetch->rc == NGX_ERROR) {
        ngx_sprintf(buffer, "an answer that broke off or has more than %uz "
                    "bytes%Z", limit);
        return (char *) buffer;
    }

    if (fetch->rc != NGX_OK || sr->headers_out.status != NGX_HTTP_OK) {
        ngx_sprintf(buffer, "status %ui instead of 200%Z",
                    fetch->rc >= NGX_HTTP_SPECIAL_RESPONSE
                    ? (ngx_uint_t) fetch->rc : sr->headers_out.status);
        return (char *) buffer;
    }

    if (sr->headers_out.content_encoding != NULL
        && sr->headers_out.content_encoding->hash)
    {
        return "a compressed answer";
    }

    return text->len ? NULL : "an empty answer";
}


/*
 * NGX_OK: the answer was a key set and is in force, or *error says why not.
 * NGX_AGAIN and NGX_ABORT as of ngx_http_entra_mdm_keys_publish().
 */

static ngx_int_t
ngx_http_entra_mdm_fetch_judge(ngx_http_entra_mdm_fetch_t *fetch,
    ngx_str_t *error)
{
    u_char                       buffer[NGX_HTTP_ENTRA_MDM_MAX_ERROR];
    ngx_int_t                    rc;
    ngx_str_t                    text;
    const char                  *fault;
    ngx_http_entra_mdm_policy_t  *policy;

    policy = fetch->policy;

    fault = ngx_http_entra_mdm_fetch_fault(fetch, buffer, &text);

    if (fault != NULL) {
        ngx_log_error(NGX_LOG_ERR, fetch->connection->log, 0,
                      "entra_mdm: \"%V\" gave policy \"%V\" no key set but %s; "
                      "the last good one stays: see what that location "
                      "answers, and why in the lines above",
                      &policy->keys->name, &policy->name, fault);
        rc = NGX_OK;

    } else {
        rc = ngx_http_entra_mdm_keys_publish(policy,
                                             ngx_http_entra_mdm_str(&text), 0,
                                             fetch->connection->log);
    }

    if (rc == NGX_ERROR) {
        fault = "an answer that is no key set";
        rc = NGX_OK;

    } else if (rc == NGX_DECLINED) {
        fault = "a key set that does not fit the zone twice";
        rc = NGX_OK;
    }

    if (fault != NULL) {
        error->len = ngx_strlen(fault);
        ngx_memcpy(error->data, fault, error->len);
    }

    return rc;
}


/*
 * Ends whatever of the request still goes on and frees it, but not while a
 * thread works on it: NGX_AGAIN.  Called from events of our own only, so that
 * nothing of the request is on the stack.
 */

static ngx_int_t
ngx_http_entra_mdm_fetch_free(ngx_http_entra_mdm_fetch_t *fetch)
{
    ngx_pool_t                 *pool;
    ngx_connection_t           *c;
    ngx_http_request_t         *r;
    ngx_http_entra_mdm_keys_t  *keys;

    c = fetch->connection;
    r = fetch->request;
    keys = fetch->policy->keys;

    if (keys->fetch == fetch) {
        keys->fetch = NULL;
    }

    /* nothing of it is to be judged any more */
    fetch->answered = 1;

    if (r != NULL) {

        if (r->blocked) {
            return NGX_AGAIN;
        }

        /* what its cleanup ends must not close the connection */
        r->count += 1000;

        ngx_http_free_request(r, 0);
    }

    if (fetch->timer.timer_set) {
        ngx_del_timer(&fetch->timer);
    }

    if (fetch->done.posted) {
        ngx_delete_posted_event(&fetch->done);
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


void
ngx_http_entra_mdm_fetch_stop(ngx_http_entra_mdm_keys_t *keys)
{
    ngx_http_entra_mdm_fetch_t  *fetch;

    fetch = keys->fetch;

    if (keys->refresh_timer.timer_set) {
        ngx_del_timer(&keys->refresh_timer);
    }

    if (fetch != NULL) {
        ngx_http_entra_mdm_lease_give_back(fetch->policy, fetch->attempt);
        (void) ngx_http_entra_mdm_fetch_free(fetch);
    }
}


/*** keeping it fresh ***/


/*
 * Another worker may have fetched, or tried to, since the timer was set: it
 * is the zone that knows when the next attempt is due.
 */

static void
ngx_http_entra_mdm_fetch_refresh(ngx_event_t *ev)
{
    ngx_msec_t                    wait, most;
    ngx_http_entra_mdm_policy_t  *policy;

    policy = ev->data;

    if (ngx_exiting) {
        /* the next worker 0 is at it */
        return;
    }

    if (ngx_http_entra_mdm_lease_due(policy) == 0) {
        (void) ngx_http_entra_mdm_fetch(policy);
    }

    /* not under way in this worker either: look again before long */

    most = (ngx_msec_t) policy->keys->min_interval * 1000;
    wait = ngx_http_entra_mdm_lease_due(policy);

    ngx_add_timer(ev, wait ? ngx_min(wait, most) : 1000);
}


void
ngx_http_entra_mdm_fetch_start(ngx_http_entra_mdm_policy_t *policy)
{
    ngx_event_t  *timer;

    timer = &policy->keys->refresh_timer;

    timer->handler = ngx_http_entra_mdm_fetch_refresh;
    timer->data = policy;
    timer->log = ngx_cycle->log;
    timer->cancelable = 1;

    /* once the event loop runs */
    ngx_add_timer(timer, 0);
}
