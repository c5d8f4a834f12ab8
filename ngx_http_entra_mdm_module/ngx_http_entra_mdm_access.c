/*
 * The gate: from a request to a verdict, and what follows from it.
 */

#include "ngx_http_entra_mdm_keys.h"
#include "ngx_http_entra_mdm_lists.h"
#include "ngx_http_entra_mdm_refusals.h"

#include "entra_device.h"


static ngx_http_entra_mdm_token_e ngx_http_entra_mdm_token(
    ngx_http_request_t *r, const ngx_http_entra_mdm_loc_conf_t *emlcf);
static ngx_uint_t ngx_http_entra_mdm_stray_body(ngx_http_request_t *r,
    const ngx_http_entra_mdm_loc_conf_t *emlcf,
    ngx_http_entra_mdm_token_e token);
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
static entra_reason_t ngx_http_entra_mdm_bearer(ngx_http_request_t *r,
    const ngx_http_entra_mdm_loc_conf_t *emlcf, ngx_http_entra_mdm_ctx_t *ctx);
static entra_reason_t ngx_http_entra_mdm_soap_head(ngx_http_request_t *r,
    ngx_http_entra_mdm_ctx_t *ctx);
static entra_reason_t ngx_http_entra_mdm_soap_dropped(ngx_http_request_t *r,
    ngx_http_entra_mdm_ctx_t *ctx);
static entra_reason_t ngx_http_entra_mdm_soap_body(ngx_http_request_t *r,
    ngx_http_entra_mdm_ctx_t *ctx);
static entra_reason_t ngx_http_entra_mdm_judge(ngx_http_request_t *r,
    ngx_http_entra_mdm_ctx_t *ctx, entra_str_t token);
static entra_reason_t ngx_http_entra_mdm_judge_claims(
    ngx_http_entra_mdm_ctx_t *ctx);
static void ngx_http_entra_mdm_claims_cleanup(void *data);
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

    token = ngx_http_entra_mdm_token(r, emlcf);

    if (ctx->state >= NGX_HTTP_ENTRA_MDM_ACCEPTED) {

        if (ctx->policy == emlcf->policy && ctx->token == token
            && !(ctx->reason == ENTRA_OK
                 && ngx_http_entra_mdm_stray_body(r, emlcf, token)))
        {
            /* an internal redirect: the verdict stands */
            return ngx_http_entra_mdm_enforce(r, emlcf, ctx);
        }

        ngx_http_entra_mdm_forget(r, ctx);
    }

    ctx->policy = emlcf->policy;
    ctx->token = token;

    if (token == NGX_HTTP_ENTRA_MDM_BEARER) {
        reason = ngx_http_entra_mdm_bearer(r, emlcf, ctx);
        return ngx_http_entra_mdm_decide(r, emlcf, ctx, reason);
    }

    if (ctx->body_dropped) {
        return ngx_http_entra_mdm_decide(r, emlcf, ctx,
                                     ngx_http_entra_mdm_soap_dropped(r, ctx));
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


/* a body where a backend might find another token than the one judged */

static ngx_uint_t
ngx_http_entra_mdm_stray_body(ngx_http_request_t *r,
    const ngx_http_entra_mdm_loc_conf_t *emlcf,
    ngx_http_entra_mdm_token_e token)
{
    return emlcf->token == NGX_HTTP_ENTRA_MDM_AUTO
           && token == NGX_HTTP_ENTRA_MDM_BEARER
           && (r->headers_in.content_length_n > 0 || r->headers_in.chunked);
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

    ngx_memzero(&ctx->verdict, sizeof(entra_verdict_t));
    ngx_memzero(&ctx->message, sizeof(entra_soap_message_t));

    ctx->state = NGX_HTTP_ENTRA_MDM_UNDECIDED;
    ctx->reason = ENTRA_OK;
    ctx->why = NULL;
    ctx->token_len = 0;
}


/*
 * Where to look for the token.  It is the client's method that counts: nginx
 * turns it into GET on error pages and X-Accel-Redirect, but the message
 * stays what it was, and so does the verdict on it.
 */

static ngx_http_entra_mdm_token_e
ngx_http_entra_mdm_token(ngx_http_request_t *r,
    const ngx_http_entra_mdm_loc_conf_t *emlcf)
{
    if (emlcf->token != NGX_HTTP_ENTRA_MDM_AUTO) {
        return emlcf->token;
    }

    if (r->request_line.len > 5
        && ngx_strncmp(r->request_line.data, "POST ", 5) == 0)
    {
        return NGX_HTTP_ENTRA_MDM_SOAP;
    }

    return NGX_HTTP_ENTRA_MDM_BEARER;
}


/*** reading the body ***/


/*
 *   UNDECIDED -> READING -> READ -> a verdict
 *
 * The body may be there at once or come in many events; either way the
 * phases run again, and the handler finds it READ.  By then the request may
 * be over: nothing but the reference taken is touched after the call.
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

    ngx_http_finalize_request(r, NGX_DONE);

    return NGX_DONE;
}


static void
ngx_http_entra_mdm_body_handler(ngx_http_request_t *r)
{
    ngx_http_entra_mdm_ctx_t  *ctx;

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


static ngx_int_t
ngx_http_entra_mdm_decide(ngx_http_request_t *r,
    const ngx_http_entra_mdm_loc_conf_t *emlcf, ngx_http_entra_mdm_ctx_t *ctx,
    entra_reason_t reason)
{
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

    ngx_http_entra_mdm_zone_count(ctx);

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


/*** taking the token ***/


static entra_reason_t
ngx_http_entra_mdm_bearer(ngx_http_request_t *r,
    const ngx_http_entra_mdm_loc_conf_t *emlcf, ngx_http_entra_mdm_ctx_t *ctx)
{
    entra_str_t  value;

    static ngx_str_t          authorization = ngx_string("authorization");
    static const entra_str_t  scheme = ENTRA_STR_INIT("Bearer");

    if (ngx_http_entra_mdm_stray_body(r, emlcf, ctx->token)) {
        ctx->why = "a body where only POST may have one";
        return ENTRA_MESSAGE_MALFORMED;
    }

    if (r->headers_in.authorization == NULL) {
        ctx->why = "no Authorization header";
        return ENTRA_NO_TOKEN;
    }

    if (ngx_http_entra_mdm_headers_count(r, &authorization) > 1) {
        /* nginx's own 400, but for an error page that goes on */
        ctx->why = "more than one Authorization header";
        return ENTRA_MESSAGE_MALFORMED;
    }

    value = ngx_http_entra_mdm_str(&r->headers_in.authorization->value);

    if (value.len < scheme.len
        || !entra_str_ieq((entra_str_t) { value.data, scheme.len }, scheme)
        || (value.len > scheme.len && value.data[scheme.len] != ' '))
    {
        ctx->why = "Authorization has another scheme than Bearer";
        return ENTRA_NO_TOKEN;
    }

    value = entra_str_from(value, scheme.len);

    while (value.len && value.data[0] == ' ') {
        value = entra_str_from(value, 1);
    }

    if (value.len == 0) {
        ctx->why = "Bearer without a token";
        return ENTRA_NO_TOKEN;
    }

    return ngx_http_entra_mdm_judge(r, ctx, value);
}


/* what can be said of a message before its body is read */

static entra_reason_t
ngx_http_entra_mdm_soap_head(ngx_http_request_t *r,
    ngx_http_entra_mdm_ctx_t *ctx)
{
    static ngx_str_t  content_encoding = ngx_string("content-encoding");

    if (ngx_http_entra_mdm_headers_count(r, &content_encoding)) {
        /* a backend that does not decode would read something else */
        ctx->why = "it has a Content-Encoding";
        return ENTRA_MESSAGE_MALFORMED;
    }

    if (r->headers_in.content_length_n <= 0 && !r->headers_in.chunked) {
        ctx->why = "it has no body";
        return ENTRA_MESSAGE_MALFORMED;
    }

    if (r->headers_in.content_length_n > (off_t) ctx->policy->max_body) {
        ctx->why = "its Content-Length is over max_body";
        return ENTRA_BODY_TOO_LARGE;
    }

    return ENTRA_OK;
}


/* the credential, as soon as the SOAP Header has ended */

static entra_reason_t
ngx_http_entra_mdm_soap_credential(ngx_http_request_t *r,
    ngx_http_entra_mdm_ctx_t *ctx)
{
    entra_str_t                   token;
    entra_reason_t                reason;
    const entra_soap_message_t   *message;

    message = &ctx->message;

    if (message->credential == ENTRA_CREDENTIAL_DEVICE
        && !ctx->policy->device_token_pass)
    {
        return ENTRA_DEVICE_TOKEN_DENIED;
    }

    reason = entra_soap_token(message, &ctx->mem, &token, &ctx->why);
    if (reason != ENTRA_OK) {
        return reason;
    }

    if (message->credential == ENTRA_CREDENTIAL_JWT) {
        return ngx_http_entra_mdm_judge(r, ctx, token);
    }

    reason = entra_device_token_check(token);

    if (reason == ENTRA_TOKEN_MALFORMED) {
        ctx->why = "a device token that is no JSON object with a type";
    }

    return reason;
}


/*
 * The rest of a message is read only for a signature that verified: its
 * claims then stand, and so does a refusal, whatever follows; an accepted
 * token in a message that turns out malformed is refused after all.
 */

static entra_reason_t
ngx_http_entra_mdm_soap_parse(ngx_http_request_t *r,
    ngx_http_entra_mdm_ctx_t *ctx, entra_soap_t *soap)
{
    ngx_int_t                   rc;
    ngx_uint_t                  judged;
    entra_str_t                 piece;
    entra_reason_t              reason;
    entra_soap_state_t          state;
    ngx_http_entra_mdm_body_t   body;

    ngx_http_entra_mdm_body_start(r, &body);

    rc = NGX_OK;
    judged = 0;
    reason = ENTRA_INTERNAL;

    while (rc == NGX_OK) {

        rc = ngx_http_entra_mdm_body_next(r, &body, &piece);
        if (rc == NGX_ERROR) {
            ctx->why = "its body cannot be read back";
            return ENTRA_INTERNAL;
        }

        state = entra_soap_feed(soap, piece, rc == NGX_DONE);

        if (state == ENTRA_SOAP_HEADER) {
            ctx->message = *entra_soap_message(soap);

            judged = 1;
            reason = ngx_http_entra_mdm_soap_credential(r, ctx);

            if (reason != ENTRA_OK && !ctx->verdict.verified) {
                return reason;
            }

            state = entra_soap_feed(soap, ENTRA_STR_NONE, rc == NGX_DONE);
        }

        if (state == ENTRA_SOAP_REFUSED) {
            return judged && reason != ENTRA_OK
                   ? reason : entra_soap_reason(soap, &ctx->why);
        }
    }

    return reason;
}


/*
 * The body may still be coming in: then nobody reads on, and the connection
 * ends with this answer, or the rest of the body would be the next request.
 */

static entra_reason_t
ngx_http_entra_mdm_soap_dropped(ngx_http_request_t *r,
    ngx_http_entra_mdm_ctx_t *ctx)
{
    if (r->request_body->rest != 0 || !r->request_body->last_saved) {
        r->read_event_handler = ngx_http_block_reading;
        r->keepalive = 0;
        r->lingering_close = 1;

        if (r->connection->read->timer_set) {
            ngx_del_timer(r->connection->read);
        }
    }

    ctx->why = "its body is over max_body";

    return ENTRA_BODY_TOO_LARGE;
}


static entra_reason_t
ngx_http_entra_mdm_soap_body(ngx_http_request_t *r,
    ngx_http_entra_mdm_ctx_t *ctx)
{
    off_t                     size;
    entra_soap_t             *soap;
    entra_reason_t            reason;
    ngx_http_request_body_t  *rb;

    rb = r->request_body;

    if (rb == NULL || rb->rest != 0 || !rb->last_saved) {
        ctx->why = "its body could not be read";
        return ENTRA_MESSAGE_MALFORMED;
    }

    size = ngx_http_entra_mdm_body_size(r);

    if (size == 0) {
        ctx->why = "it has no body";
        return ENTRA_MESSAGE_MALFORMED;
    }

    if (size > (off_t) ctx->policy->max_body) {
        ctx->why = "its body is over max_body";
        return ENTRA_BODY_TOO_LARGE;
    }

    soap = entra_soap_create(ctx->policy->max_token, &ctx->mem);
    if (soap == NULL) {
        return ENTRA_INTERNAL;
    }

    reason = ngx_http_entra_mdm_soap_parse(r, ctx, soap);

    ctx->message = *entra_soap_message(soap);

    entra_soap_free(soap);

    return reason;
}


/* by the lists of this moment: what changed meanwhile is judged again */

static entra_reason_t
ngx_http_entra_mdm_judge_claims(ngx_http_entra_mdm_ctx_t *ctx)
{
    entra_reason_t                  reason;
    entra_verdict_t                *verdict;
    const entra_lists_t            *live;
    ngx_http_entra_mdm_policy_t    *policy;
    ngx_http_entra_mdm_snapshot_t   snapshot;

    policy = ctx->policy;
    verdict = &ctx->verdict;

    do {
        ngx_http_entra_mdm_snapshot(policy, &snapshot);

        live = ngx_http_entra_mdm_lists_live(policy, &snapshot);

        reason = entra_policy_judge(&policy->rules, live, &verdict->claims,
                                    ngx_time(), &verdict->identity,
                                    &verdict->why);

    } while (!ngx_http_entra_mdm_snapshot_current(policy, &snapshot));

    return reason;
}


/*
 * Variables show claims in place, and nginx may keep what they have shown: the
 * claims of a verified token live as long as the request, whatever decides
 * after it.  Those of any other are nobody's to see.
 */

static entra_reason_t
ngx_http_entra_mdm_judge(ngx_http_request_t *r, ngx_http_entra_mdm_ctx_t *ctx,
    entra_str_t token)
{
    entra_claims_t               *claims;
    entra_reason_t                reason;
    const entra_jwks_t           *jwks;
    ngx_pool_cleanup_t           *cln;
    ngx_http_entra_mdm_policy_t  *policy;

    policy = ctx->policy;

    cln = ngx_pool_cleanup_add(r->pool, sizeof(entra_claims_t));
    if (cln == NULL) {
        return ENTRA_INTERNAL;
    }

    reason = ENTRA_OK;
    jwks = ngx_http_entra_mdm_keys(policy, &reason);

    if (reason == ENTRA_INTERNAL) {
        return reason;
    }

    reason = entra_verify(token, policy->max_token, jwks, &ctx->mem,
                          &ctx->verdict);

    if (reason == ENTRA_OK) {
        reason = ngx_http_entra_mdm_judge_claims(ctx);
    }

    ctx->token_len = token.len;
    ctx->why = ctx->verdict.why;

    claims = cln->data;
    *claims = ctx->verdict.claims;

    if (ctx->verdict.verified) {
        cln->handler = ngx_http_entra_mdm_claims_cleanup;
        return reason;
    }

    entra_claims_free(claims);
    ngx_memzero(&ctx->verdict.claims, sizeof(entra_claims_t));

    return reason;
}


static void
ngx_http_entra_mdm_claims_cleanup(void *data)
{
    entra_claims_free(data);
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
