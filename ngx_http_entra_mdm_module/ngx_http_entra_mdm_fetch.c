/*
 * Fetching a key set: when, by whose lease, and what is made of the answer.
 */

#include "ngx_http_entra_mdm_detached.h"
#include "ngx_http_entra_mdm_fetch.h"
#include "ngx_http_entra_mdm_lease.h"
#include "ngx_http_entra_mdm_wait.h"


#define POOL_SIZE      1024
#define RETRY_TIME     10               /* milliseconds */
#define SHUTDOWN_TIME  4000


struct ngx_http_entra_mdm_fetch_s {
    ngx_http_entra_mdm_detached_t   detached;   /* first: see callbacks */
    ngx_http_entra_mdm_policy_t    *policy;
    ngx_uint_t                      attempt;    /* of the lease */
    ngx_event_t                     timer;
};


static ngx_int_t ngx_http_entra_mdm_fetch_begin(
    ngx_http_entra_mdm_policy_t *policy, ngx_uint_t attempt);
static void ngx_http_entra_mdm_fetch_closing(
    ngx_http_entra_mdm_detached_t *detached);
static void ngx_http_entra_mdm_fetch_done(
    ngx_http_entra_mdm_detached_t *detached);
static void ngx_http_entra_mdm_fetch_expired(ngx_event_t *ev);
static ngx_int_t ngx_http_entra_mdm_fetch_judge(
    ngx_http_entra_mdm_fetch_t *fetch, ngx_str_t *error);
static void ngx_http_entra_mdm_fetch_free(ngx_http_entra_mdm_fetch_t *fetch);
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


static ngx_int_t
ngx_http_entra_mdm_fetch_begin(ngx_http_entra_mdm_policy_t *policy,
    ngx_uint_t attempt)
{
    ngx_pool_t                     *pool;
    ngx_http_entra_mdm_fetch_t     *fetch;
    ngx_http_entra_mdm_detached_t  *detached;

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

    fetch->timer.handler = ngx_http_entra_mdm_fetch_expired;
    fetch->timer.data = fetch;
    fetch->timer.log = ngx_cycle->log;

    detached = &fetch->detached;

    detached->server = policy->keys->server;
    detached->name = policy->keys->name;
    detached->uri = policy->keys->uri;
    detached->args = policy->keys->args;
    detached->policy = &policy->name;
    detached->done = ngx_http_entra_mdm_fetch_done;
    detached->closing = ngx_http_entra_mdm_fetch_closing;

    if (ngx_http_entra_mdm_detached_start(detached, pool) != NGX_OK) {
        return NGX_ERROR;
    }

    policy->keys->fetch = fetch;

    ngx_add_timer(&fetch->timer, ngx_exiting ? SHUTDOWN_TIME
                                             : NGX_HTTP_ENTRA_MDM_FETCH_TIME);

    return NGX_OK;
}


/*
 * Whoever waits here for the answer waits no more than five seconds; if nobody
 * does, it is left to another worker.
 */

static void
ngx_http_entra_mdm_fetch_closing(ngx_http_entra_mdm_detached_t *detached)
{
    ngx_http_entra_mdm_fetch_t  *fetch;

    fetch = (ngx_http_entra_mdm_fetch_t *) detached;

    ngx_add_timer(&fetch->timer,
                  detached->at_once
                  || ngx_queue_empty(&fetch->policy->keys->waiting)
                  ? 0 : SHUTDOWN_TIME);
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
ngx_http_entra_mdm_fetch_done(ngx_http_entra_mdm_detached_t *detached)
{
    u_char                       buffer[NGX_HTTP_ENTRA_MDM_MAX_ERROR];
    ngx_int_t                    rc;
    ngx_str_t                    error;
    ngx_http_entra_mdm_fetch_t  *fetch;

    fetch = (ngx_http_entra_mdm_fetch_t *) detached;

    error.data = buffer;
    error.len = 0;

    rc = ngx_http_entra_mdm_fetch_judge(fetch, &error);

    if (rc == NGX_AGAIN) {
        /* another process is publishing: the answer stays where it is */
        ngx_add_timer(&fetch->timer, RETRY_TIME);
        return;
    }

    if (rc == NGX_ABORT) {
        ngx_http_entra_mdm_lease_give_back(fetch->policy, fetch->attempt);
        ngx_http_entra_mdm_wait_end(fetch->policy);

    } else {
        ngx_http_entra_mdm_fetch_end(fetch, error.len ? &error : NULL);
    }

    ngx_http_entra_mdm_fetch_free(fetch);
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
        ngx_http_entra_mdm_fetch_free(fetch);
        return;
    }

    if (fetch->detached.answered) {
        ngx_http_entra_mdm_fetch_done(&fetch->detached);
        return;
    }

    if (ngx_exiting
        && ngx_queue_empty(&fetch->policy->keys->waiting))
    {
        ngx_http_entra_mdm_lease_give_back(fetch->policy, fetch->attempt);

    } else {
        ngx_str_set(&error, "no answer in time");

        ngx_log_error(NGX_LOG_ERR, &fetch->detached.log, 0,
                      "entra_mdm: \"%V\" gave policy \"%V\" no answer within "
                      "%d seconds; the last good key set stays: lower the "
                      "timeouts of that location, and see whether its server "
                      "can be reached", &fetch->policy->keys->name,
                      &fetch->policy->name,
                      (ngx_exiting ? SHUTDOWN_TIME
                                   : NGX_HTTP_ENTRA_MDM_FETCH_TIME) / 1000);

        ngx_http_entra_mdm_fetch_end(fetch, &error);
    }

    ngx_http_entra_mdm_fetch_free(fetch);
}


/* what is wrong with the answer, apart from its text; NULL: nothing */

static const char *
ngx_http_entra_mdm_fetch_fault(const ngx_http_entra_mdm_detached_t *detached,
    u_char *buffer, ngx_str_t *text)
{
    size_t                     limit;
    ngx_http_request_t        *sr;
    ngx_http_core_loc_conf_t  *clcf;

    sr = detached->sr;
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

    if (sr->headers_out.status == NGX_HTTP_OK && detached->rc == NGX_ERROR) {
        ngx_sprintf(buffer, "an answer that broke off or has more than %uz "
                    "bytes%Z", limit);
        return (char *) buffer;
    }

    if (sr->headers_out.status == 0
        && detached->rc < NGX_HTTP_SPECIAL_RESPONSE)
    {
        return "no answer at all";
    }

    if (detached->rc != NGX_OK || sr->headers_out.status != NGX_HTTP_OK) {
        ngx_sprintf(buffer, "status %ui instead of 200%Z",
                    detached->rc >= NGX_HTTP_SPECIAL_RESPONSE
                    ? (ngx_uint_t) detached->rc : sr->headers_out.status);
        return (char *) buffer;
    }

    if (sr->headers_out.content_encoding != NULL
        && sr->headers_out.content_encoding->hash)
    {
        return "a compressed answer";
    }

    if (sr->headers_out.content_length_n != -1
        && sr->headers_out.content_length_n != (off_t) text->len)
    {
        /* nginx tells a client by closing the connection, and nobody else */
        return "an answer that broke off";
    }

    return text->len ? NULL : "an empty answer";
}


/*
 * NGX_OK: the answer was a key set and is in force, or *error says why not.
 * NGX_AGAIN: another process is publishing.  NGX_ABORT: it is of no use any
 * more, as a reload has named another source, or the lease has passed on.
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

    if (!ngx_http_entra_mdm_lease_has(policy, fetch->attempt)) {
        /* this worker slept for long: others may have fetched newer keys */
        return NGX_ABORT;
    }

    fault = ngx_http_entra_mdm_fetch_fault(&fetch->detached, buffer, &text);

    if (fault != NULL) {
        ngx_log_error(NGX_LOG_ERR, &fetch->detached.log, 0,
                      "entra_mdm: \"%V\" gave policy \"%V\" no key set but %s; "
                      "the last good one stays: see what that location "
                      "answers, and why in the lines above",
                      &policy->keys->name, &policy->name, fault);
        rc = NGX_OK;

    } else {
        rc = ngx_http_entra_mdm_keys_publish(policy,
                                             ngx_http_entra_mdm_str(&text),
                                             fetch->attempt, 0,
                                             &fetch->detached.log);
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


static void
ngx_http_entra_mdm_fetch_free(ngx_http_entra_mdm_fetch_t *fetch)
{
    ngx_http_entra_mdm_keys_t  *keys;

    keys = fetch->policy->keys;

    if (keys->fetch == fetch) {
        keys->fetch = NULL;
    }

    if (fetch->timer.timer_set) {
        ngx_del_timer(&fetch->timer);
    }

    if (ngx_http_entra_mdm_detached_free(&fetch->detached) != NGX_OK) {
        /* the timer calls again */
        ngx_add_timer(&fetch->timer, RETRY_TIME);
    }
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
        ngx_http_entra_mdm_fetch_free(fetch);
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
