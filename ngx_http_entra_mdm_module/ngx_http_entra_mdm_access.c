/*
 * The gate: from a request to a verdict, and what follows from it.
 */

#include "ngx_http_entra_mdm_refusals.h"
#include "ngx_http_entra_mdm_wait.h"


static void ngx_http_entra_mdm_forget(ngx_http_request_t *r,
    ngx_http_entra_mdm_ctx_t *ctx);
static ngx_int_t ngx_http_entra_mdm_read_body(ngx_http_request_t *r,
    ngx_http_entra_mdm_ctx_t *ctx);
static void ngx_http_entra_mdm_body_handler(ngx_http_request_t *r);
static ngx_int_t ngx_http_entra_mdm_decide(ngx_http_request_t *r,
    const ngx_http_entra_mdm_loc_conf_t *emlcf, ngx_http_entra_mdm_ctx_t *ctx,
    entra_reason_t reason);
static ngx_int_t ngx_http_entra_mdm_enforce(ngx_http_request_t *r,
    const ngx_http_entra_mdm_loc_conf_t *emlcf, ngx_http_entra_mdm_ctx_t *ctx);
static void ngx_http_entra_mdm_cleanup(void *data);


ngx_int_t
ngx_http_entra_mdm_access_handler(ngx_http_request_t *r)
{
    entra_reason_t                        reason;
    ngx_http_entra_mdm_ctx_t             *ctx;
    ngx_http_entra_mdm_token_e            token;
    const ngx_http_entra_mdm_loc_conf_t  *emlcf;

    emlcf = ngx_http_get_module_loc_conf(r, ngx_http_entra_mdm_module);

    if (emlcf->policy == NULL) {
        return NGX_DECLINED;
    }

    ctx = ngx_http_entra_mdm_ctx(r, 1);
    if (ctx == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (ctx->state == NGX_HTTP_ENTRA_MDM_WAITING) {

        switch (ngx_http_entra_mdm_wait_over(r, ctx)) {

        case NGX_AGAIN:
            return NGX_AGAIN;

        case NGX_ERROR:
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        ctx->state = ctx->resume;
    }

    token = ngx_http_entra_mdm_token(r, emlcf);

    if (ctx->state >= NGX_HTTP_ENTRA_MDM_ACCEPTED) {

        if (ctx->policy == emlcf->policy && ctx->token == token
            && !(ctx->reason == ENTRA_OK
                 && ngx_http_entra_mdm_stray_body(r, emlcf, ctx, token)))
        {
            /* an internal redirect: the verdict stands */
            return ngx_http_entra_mdm_enforce(r, emlcf, ctx);
        }

        ngx_http_entra_mdm_forget(r, ctx);
    }

    ctx->policy = emlcf->policy;
    ctx->token = token;

    if (token == NGX_HTTP_ENTRA_MDM_BEARER) {

        if (ngx_http_entra_mdm_may_end(r, emlcf, ctx)) {
            return ngx_http_entra_mdm_read_body(r, ctx);
        }

        reason = ngx_http_entra_mdm_bearer(r, emlcf, ctx);
        return ngx_http_entra_mdm_decide(r, emlcf, ctx, reason);
    }

    if (ctx->body_dropped) {
        ctx->why = "its body is over max_body";
        return ngx_http_entra_mdm_decide(r, emlcf, ctx, ENTRA_BODY_TOO_LARGE);
    }

    if (ctx->state == NGX_HTTP_ENTRA_MDM_READ) {
        reason = ngx_http_entra_mdm_soap_body(r, ctx);
        return ngx_http_entra_mdm_decide(r, emlcf, ctx, reason);
    }

    reason = ngx_http_entra_mdm_soap_head(r, ctx);
    if (reason != ENTRA_OK) {
        return ngx_http_entra_mdm_decide(r, emlcf, ctx, reason);
    }

    return ngx_http_entra_mdm_read_body(r, ctx);
}


/* another policy or kind of token decides anew */

static void
ngx_http_entra_mdm_forget(ngx_http_request_t *r, ngx_http_entra_mdm_ctx_t *ctx)
{
    if (ctx->challenge != NULL) {

        if (r->headers_out.www_authenticate == ctx->challenge) {
            r->headers_out.www_authenticate = NULL;
        }

        ctx->challenge->hash = 0;
        ctx->challenge = NULL;
    }

    if (ctx->retry_after != NULL) {
        ctx->retry_after->hash = 0;
        ctx->retry_after = NULL;
    }

    ngx_memzero(&ctx->verdict, sizeof(entra_verdict_t));
    ngx_memzero(&ctx->message, sizeof(entra_soap_message_t));

    ctx->state = NGX_HTTP_ENTRA_MDM_UNDECIDED;
    ctx->reason = ENTRA_OK;
    ctx->why = NULL;
    ctx->token_len = 0;
    ctx->may_wait = 0;
}


/*** reading the body ***/


/*
 *   UNDECIDED -> READING -> READ -> a verdict, maybe after WAITING
 *
 * The body may be there at once or come in many events; either way the
 * phases run again, and the handler finds it READ.  By then the request may
 * be over, kept only by the reference that the call has taken, and the one
 * thing to do is to give that back.
 *
 * While READING two things run the phases: the filter that drops a body that
 * is too large, and the error page of one that broke off; what has come of
 * that by then is refused as incomplete.
 */

static ngx_int_t
ngx_http_entra_mdm_read_body(ngx_http_request_t *r,
    ngx_http_entra_mdm_ctx_t *ctx)
{
    ngx_int_t  rc;

    ctx->state = NGX_HTTP_ENTRA_MDM_READING;

    rc = ngx_http_read_client_request_body(r, ngx_http_entra_mdm_body_handler);

    if (rc >= NGX_HTTP_SPECIAL_RESPONSE) {
        return rc;
    }

    if (rc == NGX_AGAIN && ctx->body_dropped) {
        /* too much had come already; since then nginx has set its handlers */
        ngx_http_entra_mdm_body_stop(r);
    }

    ngx_http_finalize_request(r, NGX_DONE);

    return NGX_DONE;
}


static void
ngx_http_entra_mdm_body_handler(ngx_http_request_t *r)
{
    ngx_http_entra_mdm_ctx_t  *ctx;

    /* false alarm (null-dereference): it was there when reading began */
    ctx = ngx_http_entra_mdm_ctx(r, 0);
    ctx->state = NGX_HTTP_ENTRA_MDM_READ;

    /* another policy may have to read it again after an internal redirect */
    r->preserve_body = 1;

    r->write_event_handler = ngx_http_core_run_phases;
    ngx_http_core_run_phases(r);
}


/* an event of the connection itself, so that nginx sets its log and posts */

void
ngx_http_entra_mdm_wake(ngx_http_request_t *r)
{
    r->write_event_handler = ngx_http_core_run_phases;
    ngx_post_event(r->connection->write, &ngx_posted_events);
}


/*** the verdict and what follows ***/


/* nothing that was found out by the keys of now is to outlive them */

static void
ngx_http_entra_mdm_suspend(ngx_http_request_t *r,
    ngx_http_entra_mdm_ctx_t *ctx)
{
    ctx->resume = ctx->state;

    ngx_http_entra_mdm_forget(r, ctx);

    ctx->state = NGX_HTTP_ENTRA_MDM_WAITING;
}


static ngx_int_t
ngx_http_entra_mdm_decide(ngx_http_request_t *r,
    const ngx_http_entra_mdm_loc_conf_t *emlcf, ngx_http_entra_mdm_ctx_t *ctx,
    entra_reason_t reason)
{
    if (ctx->may_wait && ngx_http_entra_mdm_wait(r, ctx) == NGX_OK) {
        ngx_http_entra_mdm_suspend(r, ctx);
        return NGX_AGAIN;
    }

    ctx->reason = reason;

    if (reason != ENTRA_OK) {
        ctx->state = emlcf->dry_run ? NGX_HTTP_ENTRA_MDM_WOULD_REFUSE
                                    : NGX_HTTP_ENTRA_MDM_REFUSED;

    } else if (ctx->message.credential == ENTRA_CREDENTIAL_DEVICE) {
        ctx->state = NGX_HTTP_ENTRA_MDM_PASSED;

    } else {
        ctx->state = NGX_HTTP_ENTRA_MDM_ACCEPTED;
    }

    if (ngx_http_entra_mdm_headers_set(r, ctx) != NGX_OK) {
        /* out of memory: neither with these headers nor without them */
        ctx->reason = ENTRA_INTERNAL;
        ctx->state = NGX_HTTP_ENTRA_MDM_REFUSED;
    }

    if (ctx->reason != ENTRA_OK) {
        ngx_http_entra_mdm_log_refusal(r, ctx);
        ngx_http_entra_mdm_refusals_add(r, ctx);
    }

    return ngx_http_entra_mdm_enforce(r, emlcf, ctx);
}


static ngx_int_t
ngx_http_entra_mdm_enforce(ngx_http_request_t *r,
    const ngx_http_entra_mdm_loc_conf_t *emlcf, ngx_http_entra_mdm_ctx_t *ctx)
{
    switch (ctx->state) {

    case NGX_HTTP_ENTRA_MDM_ACCEPTED:
    case NGX_HTTP_ENTRA_MDM_PASSED:
        return NGX_OK;

    case NGX_HTTP_ENTRA_MDM_WOULD_REFUSE:
        if (emlcf->dry_run) {
            /* declined, not granted: it opens nothing under "satisfy any" */
            return NGX_DECLINED;
        }

        /* redirected to where the same policy means it */

        ctx->state = NGX_HTTP_ENTRA_MDM_REFUSED;
        ngx_http_entra_mdm_log_refusal(r, ctx);

        /* fall through */

    default:
        return ngx_http_entra_mdm_refuse(r, emlcf, ctx);
    }
}


/*** subrequests ***/


/*
 * nginx leaves out the access phase for subrequests.  One that enters a gated
 * location rides on its main request's verdict by the same policy, or is
 * refused: otherwise auth_request, SSI or mirror would go around the gate.
 */

ngx_int_t
ngx_http_entra_mdm_subrequest_handler(ngx_http_request_t *r)
{
    ngx_http_entra_mdm_ctx_t             *ctx;
    const ngx_http_entra_mdm_loc_conf_t  *emlcf;

    if (r == r->main) {
        return NGX_DECLINED;
    }

    emlcf = ngx_http_get_module_loc_conf(r, ngx_http_entra_mdm_module);

    if (emlcf->policy == NULL || emlcf->dry_run) {
        return NGX_DECLINED;
    }

    ctx = ngx_http_entra_mdm_ctx(r, 0);

    if (ctx != NULL && ctx->fetch) {
        /* no client's: the key location may lie behind a gate as well */
        return NGX_DECLINED;
    }

    if (ctx != NULL && ctx->policy == emlcf->policy
        && (ctx->state == NGX_HTTP_ENTRA_MDM_ACCEPTED
            || ctx->state == NGX_HTTP_ENTRA_MDM_PASSED))
    {
        return NGX_DECLINED;
    }

    ngx_http_entra_mdm_log_subrequest(r, emlcf->policy);

    return NGX_HTTP_FORBIDDEN;
}


/*** the context ***/


static void *
ngx_http_entra_mdm_alloc(void *data, size_t size)
{
    return ngx_palloc(data, size);
}


ngx_http_entra_mdm_ctx_t *
ngx_http_entra_mdm_ctx(ngx_http_request_t *r, ngx_uint_t create)
{
    ngx_pool_cleanup_t        *cln;
    ngx_http_entra_mdm_ctx_t  *ctx;

    r = r->main;

    ctx = ngx_http_get_module_ctx(r, ngx_http_entra_mdm_module);

    if (ctx != NULL) {
        return ctx;
    }

    for (cln = r->pool->cleanup; cln; cln = cln->next) {
        if (cln->handler == ngx_http_entra_mdm_cleanup) {
            ctx = cln->data;
            break;
        }
    }

    if (ctx == NULL) {

        if (!create) {
            return NULL;
        }

        cln = ngx_pool_cleanup_add(r->pool, sizeof(ngx_http_entra_mdm_ctx_t));
        if (cln == NULL) {
            return NULL;
        }

        ctx = cln->data;
        ngx_memzero(ctx, sizeof(ngx_http_entra_mdm_ctx_t));

        ctx->mem.alloc = ngx_http_entra_mdm_alloc;
        ctx->mem.data = r->pool;

        cln->handler = ngx_http_entra_mdm_cleanup;
    }

    ngx_http_set_ctx(r, ctx, ngx_http_entra_mdm_module);

    return ctx;
}


/* nothing to free: it is how an internal redirect finds the context */

static void
ngx_http_entra_mdm_cleanup(void *data)
{
}
