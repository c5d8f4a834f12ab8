/*
 * Counting, in the zone and without a lock: decisions, verified tokens, and
 * how long verifying took.
 *
 * A request may be decided more than once: an internal redirect leads to
 * another policy, or out of a dry run.  What stands when its response begins
 * is what the client is told and the access log says, and that is counted; so
 * whoever has the answer finds it in the counters.  A request that ends
 * without a response is counted when it is logged.
 */

#include "ngx_http_entra_mdm_zone.h"

#include <time.h>


static ngx_http_output_header_filter_pt  ngx_http_entra_mdm_next_header_filter;


const entra_str_t  ngx_http_entra_mdm_actions[NGX_HTTP_ENTRA_MDM_ACTIONS] = {
    ENTRA_STR_INIT("accepted"),
    ENTRA_STR_INIT("passed"),
    ENTRA_STR_INIT("refused"),
    ENTRA_STR_INIT("would_refuse")
};


/* verifying takes some 30 microseconds, and ten times that on a busy machine */

const ngx_uint_t  ngx_http_entra_mdm_bounds[NGX_HTTP_ENTRA_MDM_BOUNDS] = {
    10000, 25000, 50000, 100000, 250000, 500000, 1000000, 2500000, 5000000,
    10000000
};


entra_str_t
ngx_http_entra_mdm_result(ngx_uint_t action, entra_reason_t reason)
{
    if (action == NGX_HTTP_ENTRA_MDM_PASSED - NGX_HTTP_ENTRA_MDM_ACCEPTED) {
        return entra_lit("device_token");
    }

    return entra_reason_info(reason)->key;
}


/*** decisions ***/


/* the span of now, which an hour ago was another: then it begins anew */

static ngx_http_entra_mdm_span_t *
ngx_http_entra_mdm_span(ngx_http_entra_mdm_policy_t *policy)
{
    ngx_atomic_uint_t           number;
    ngx_http_entra_mdm_span_t  *span;

    number = ngx_time() / NGX_HTTP_ENTRA_MDM_SPAN;

    span = &ngx_http_entra_mdm_zone(policy)->hour[number
                                                  % NGX_HTTP_ENTRA_MDM_SPANS];

    if (span->number != number) {
        ngx_http_entra_mdm_zone_lock(policy);

        if (span->number != number) {
            ngx_memzero(&span->decisions, sizeof(span->decisions));
            ngx_memory_barrier();
            span->number = number;
        }

        ngx_http_entra_mdm_zone_unlock(policy);
    }

    return span;
}


void
ngx_http_entra_mdm_hour(ngx_http_entra_mdm_policy_t *policy,
    ngx_http_entra_mdm_decisions_t *sum)
{
    ngx_uint_t                  i, action, reason;
    ngx_atomic_uint_t           now;
    ngx_http_entra_mdm_span_t  *span;

    ngx_memzero(sum, sizeof(ngx_http_entra_mdm_decisions_t));

    now = ngx_time() / NGX_HTTP_ENTRA_MDM_SPAN;

    for (i = 0; i < NGX_HTTP_ENTRA_MDM_SPANS; i++) {
        span = &ngx_http_entra_mdm_zone(policy)->hour[i];

        if (now - span->number >= NGX_HTTP_ENTRA_MDM_SPANS) {
            continue;
        }

        for (action = 0; action < NGX_HTTP_ENTRA_MDM_ACTIONS; action++) {
            for (reason = 0; reason < ENTRA_REASONS; reason++) {
                sum->count[action][reason] +=
                                        span->decisions.count[action][reason];
            }
        }
    }
}


static ngx_http_entra_mdm_version_e
ngx_http_entra_mdm_version(const entra_claim_str_t *ver)
{
    if (ver->state != ENTRA_CLAIM_PRESENT) {
        return NGX_HTTP_ENTRA_MDM_V_OTHER;
    }

    if (entra_str_eq(ver->value, entra_lit("1.0"))) {
        return NGX_HTTP_ENTRA_MDM_V1;
    }

    return entra_str_eq(ver->value, entra_lit("2.0"))
           ? NGX_HTTP_ENTRA_MDM_V2 : NGX_HTTP_ENTRA_MDM_V_OTHER;
}


static void
ngx_http_entra_mdm_count(ngx_http_request_t *r)
{
    ngx_uint_t                     action;
    ngx_http_entra_mdm_ctx_t      *ctx;
    ngx_http_entra_mdm_span_t     *span;
    ngx_http_entra_mdm_zone_t     *zone;
    ngx_http_entra_mdm_version_e   version;

    ctx = ngx_http_entra_mdm_ctx(r, 0);

    if (ctx == NULL || ctx->counted
        || ctx->state < NGX_HTTP_ENTRA_MDM_ACCEPTED)
    {
        return;
    }

    ctx->counted = 1;

    zone = ngx_http_entra_mdm_zone(ctx->policy);
    span = ngx_http_entra_mdm_span(ctx->policy);
    action = ctx->state - NGX_HTTP_ENTRA_MDM_ACCEPTED;

    (void) ngx_atomic_fetch_add(&zone->decisions.count[action][ctx->reason],
                                1);
    (void) ngx_atomic_fetch_add(&span->decisions.count[action][ctx->reason],
                                1);

    if (ctx->verdict.verified) {
        version = ngx_http_entra_mdm_version(&ctx->verdict.claims.ver);
        (void) ngx_atomic_fetch_add(&zone->tokens[version], 1);
    }
}


static ngx_int_t
ngx_http_entra_mdm_count_filter(ngx_http_request_t *r)
{
    if (r == r->main) {
        ngx_http_entra_mdm_count(r);
    }

    return ngx_http_entra_mdm_next_header_filter(r);
}


/*
 * Linked into nginx the module is set up before the filters, each of which
 * puts itself in front: too early.  A reload that fails after it has read the
 * configuration leaves a chain without this filter to workers that are born
 * later; they count when they log.
 */

void
ngx_http_entra_mdm_count_init(void)
{
    ngx_http_entra_mdm_next_header_filter = ngx_http_top_header_filter;
    ngx_http_top_header_filter = ngx_http_entra_mdm_count_filter;
}


ngx_int_t
ngx_http_entra_mdm_log_handler(ngx_http_request_t *r)
{
    ngx_http_entra_mdm_ctx_t  *ctx;

    ctx = ngx_http_entra_mdm_ctx(r, 0);

    if (r == r->main && ctx != NULL) {
        ctx->over = 1;
        ngx_http_entra_mdm_count(r);
    }

    return NGX_OK;
}


/*** verifications ***/


uint64_t
ngx_http_entra_mdm_clock(void)
{
    struct timespec  now;

    if (clock_gettime(CLOCK_MONOTONIC, &now) != 0) {
        return 0;
    }

    return (uint64_t) now.tv_sec * 1000000000 + (uint64_t) now.tv_nsec;
}


void
ngx_http_entra_mdm_count_verification(ngx_http_entra_mdm_policy_t *policy,
    const entra_verdict_t *verdict, entra_reason_t reason, uint64_t since)
{
    uint64_t                      took;
    ngx_uint_t                    i;
    ngx_http_entra_mdm_timing_t  *timing;

    if (!verdict->verified && reason != ENTRA_SIGNATURE_INVALID) {
        return;
    }

    took = ngx_http_entra_mdm_clock() - since;
    timing = &ngx_http_entra_mdm_zone(policy)->verification;

    for (i = 0; i < NGX_HTTP_ENTRA_MDM_BOUNDS; i++) {
        if (took <= ngx_http_entra_mdm_bounds[i]) {
            break;
        }
    }

    (void) ngx_atomic_fetch_add(&timing->count[i], 1);
    (void) ngx_atomic_fetch_add(&timing->nanoseconds, took);
}
