/*
 * Requests that wait for keys, a queue for each policy of a worker.
 *
 * Nothing holds a request that waits but its own client: it leaves the queue
 * by a cleanup handler, which nginx calls however a request ends.  The fetch
 * may be another worker's, and workers cannot wake each other, so one timer
 * looks at the zone, for as long as somebody waits.
 */

#include "ngx_http_entra_mdm_fetch.h"
#include "ngx_http_entra_mdm_wait.h"


#define LOOK_TIME  30                   /* milliseconds */


static void ngx_http_entra_mdm_wait_look(ngx_event_t *ev);


static ngx_uint_t  ngx_http_entra_mdm_wait_count;


static void
ngx_http_entra_mdm_wait_remove(ngx_http_entra_mdm_waiter_t *waiter)
{
    /* false alarm (NullDereference): whoever waits is queued */
    ngx_queue_remove(&waiter->queue);

    waiter->request = NULL;

    ngx_http_entra_mdm_wait_count--;
}


static void
ngx_http_entra_mdm_wait_cleanup(void *data)
{
    ngx_http_entra_mdm_waiter_t *waiter = data;

    if (waiter->request != NULL) {
        ngx_http_entra_mdm_wait_remove(waiter);
    }
}


static void
ngx_http_entra_mdm_wait_start_timer(ngx_http_entra_mdm_policy_t *policy)
{
    ngx_event_t  *timer;

    timer = &policy->keys->waiting_timer;

    if (timer->timer_set) {
        return;
    }

    /* not cancelable: a worker does not exit before those who wait are told */

    timer->handler = ngx_http_entra_mdm_wait_look;
    timer->data = policy;
    timer->log = ngx_cycle->log;

    ngx_add_timer(timer, LOOK_TIME);
}


ngx_int_t
ngx_http_entra_mdm_wait(ngx_http_request_t *r, ngx_http_entra_mdm_ctx_t *ctx)
{
    ngx_atomic_uint_t             ended;
    ngx_connection_t             *c;
    ngx_http_cleanup_t           *cln;
    ngx_http_entra_mdm_zone_t    *zone;
    ngx_http_entra_mdm_waiter_t  *waiter;

    waiter = &ctx->waiter;

    if (ctx->policy->keys->from != NGX_HTTP_ENTRA_MDM_JWKS_REQUEST
        || waiter->waited
        || ngx_http_entra_mdm_wait_count >= NGX_HTTP_ENTRA_MDM_WAIT_COUNT)
    {
        return NGX_DECLINED;
    }

    zone = ngx_http_entra_mdm_zone(ctx->policy);
    ended = zone->fetch.ended;

    if (ngx_http_entra_mdm_fetch(ctx->policy) != NGX_OK) {
        return NGX_DECLINED;
    }

    cln = ngx_http_cleanup_add(r, 0);
    if (cln == NULL) {
        return NGX_DECLINED;
    }

    cln->handler = ngx_http_entra_mdm_wait_cleanup;
    cln->data = waiter;

    waiter->request = r;
    waiter->waited = 1;
    waiter->ended = ended;
    waiter->generation = ctx->policy->keys->generation;
    waiter->deadline = ngx_current_msec + NGX_HTTP_ENTRA_MDM_WAIT_TIME;

    ngx_queue_insert_tail(&ctx->policy->keys->waiting, &waiter->queue);

    ngx_http_entra_mdm_wait_count++;
    ngx_http_entra_mdm_wait_start_timer(ctx->policy);

    /* a client that goes away, or has gone already, is to be noticed */

    c = r->connection;

    r->read_event_handler = ngx_http_test_reading;
    r->write_event_handler = ngx_http_request_empty_handler;

    if (c->read->ready) {
        ngx_post_event(c->read, &ngx_posted_events);

    } else if (ngx_handle_read_event(c->read, 0) != NGX_OK) {
        ngx_http_entra_mdm_wait_remove(waiter);
        return NGX_DECLINED;
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_entra_mdm_wait_over(ngx_http_request_t *r,
    ngx_http_entra_mdm_ctx_t *ctx)
{
    if (ctx->waiter.request != NULL) {
        return NGX_AGAIN;
    }

    r->read_event_handler = ngx_http_block_reading;

    return ngx_handle_read_event(r->connection->read, 0) == NGX_OK
           ? NGX_OK : NGX_ERROR;
}


static void
ngx_http_entra_mdm_wait_wake(ngx_http_entra_mdm_waiter_t *waiter)
{
    ngx_http_request_t  *r;

    r = waiter->request;

    ngx_http_entra_mdm_wait_remove(waiter);
    ngx_http_entra_mdm_wake(r);
}


void
ngx_http_entra_mdm_wait_end(ngx_http_entra_mdm_policy_t *policy)
{
    ngx_queue_t  *q, *waiting;

    waiting = &policy->keys->waiting;

    while (!ngx_queue_empty(waiting)) {
        q = ngx_queue_head(waiting);

        ngx_http_entra_mdm_wait_wake(
            ngx_queue_data(q, ngx_http_entra_mdm_waiter_t, queue));
    }
}


/* is there anything new for it, or no more time? */

static ngx_uint_t
ngx_http_entra_mdm_wait_ready(const ngx_http_entra_mdm_waiter_t *waiter,
    ngx_atomic_uint_t ended, ngx_atomic_uint_t generation)
{
    return waiter->ended != ended
           || waiter->generation != generation
           || (ngx_msec_int_t) (waiter->deadline - ngx_current_msec) <= 0;
}


static void
ngx_http_entra_mdm_wait_look(ngx_event_t *ev)
{
    ngx_queue_t                    *q, *next, *waiting;
    ngx_atomic_uint_t               ended;
    ngx_http_entra_mdm_policy_t    *policy;
    ngx_http_entra_mdm_waiter_t    *waiter;
    ngx_http_entra_mdm_snapshot_t   snapshot;

    policy = ev->data;
    waiting = &policy->keys->waiting;
    ended = ngx_http_entra_mdm_zone(policy)->fetch.ended;

    ngx_http_entra_mdm_snapshot(policy, &snapshot);

    for (q = ngx_queue_head(waiting);
         q != ngx_queue_sentinel(waiting);
         q = next)
    {
        next = ngx_queue_next(q);
        waiter = ngx_queue_data(q, ngx_http_entra_mdm_waiter_t, queue);

        if (ngx_http_entra_mdm_wait_ready(waiter, ended,
                                          snapshot.keys_generation)) {
            ngx_http_entra_mdm_wait_wake(waiter);
        }
    }

    if (ngx_queue_empty(waiting)) {
        return;
    }

    /*
     * Whoever fetched may have died or given up: then it is done from here,
     * and if it must not be, there is nothing to wait for.
     */

    if (ngx_http_entra_mdm_fetch(policy) != NGX_OK) {
        ngx_http_entra_mdm_wait_end(policy);
        return;
    }

    ngx_add_timer(ev, LOOK_TIME);
}
