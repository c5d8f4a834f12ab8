/*
 * The token of a request, taken from where it belongs, verified and judged.
 * What follows from the verdict is in ngx_http_entra_mdm_access.c.
 */

#include "ngx_http_entra_mdm_keys.h"
#include "ngx_http_entra_mdm_lists.h"

#include "entra_bearer.h"
#include "entra_device.h"

#include <openssl/err.h>
#include <openssl/rand.h>


/*** where it belongs ***/


/*
 * Where to look for the token.  It is the client's method that counts: nginx
 * turns it into GET on error pages and X-Accel-Redirect, but the message
 * stays what it was, and so does the verdict on it.
 */

ngx_http_entra_mdm_token_e
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


/*
 * A body where a backend might find another token than the one judged.  HTTP/1
 * and HTTP/2 say whether one comes.  Without a Content-Length, HTTP/3 does not,
 * and its stream may end without one however late: that is to be waited for.
 */

static ngx_uint_t
ngx_http_entra_mdm_no_body(const ngx_http_entra_mdm_loc_conf_t *emlcf,
    ngx_http_entra_mdm_token_e token)
{
    return emlcf->token == NGX_HTTP_ENTRA_MDM_AUTO
           && token == NGX_HTTP_ENTRA_MDM_BEARER;
}


ngx_uint_t
ngx_http_entra_mdm_may_end(ngx_http_request_t *r,
    const ngx_http_entra_mdm_loc_conf_t *emlcf,
    const ngx_http_entra_mdm_ctx_t *ctx)
{
    return ngx_http_entra_mdm_no_body(emlcf, ctx->token)
           && ctx->state < NGX_HTTP_ENTRA_MDM_READ
           && !ctx->body_dropped
           && r->http_version > NGX_HTTP_VERSION_20
           && r->headers_in.content_length_n < 0
           && r->headers_in.chunked;
}


/*
 * The whole body has been read, and there was none.  It is the protocol's name
 * that tells: to post_action every request is one of HTTP/0.9.
 */

static ngx_uint_t
ngx_http_entra_mdm_has_ended(ngx_http_request_t *r,
    const ngx_http_entra_mdm_ctx_t *ctx)
{
    ngx_http_request_body_t  *rb;

    static ngx_str_t  http3 = ngx_string("HTTP/3");

    rb = r->request_body;

    return r->http_protocol.len > http3.len
           && ngx_strncmp(r->http_protocol.data, http3.data, http3.len) == 0
           && !ctx->body_dropped
           && rb != NULL
           && rb->rest == 0
           && rb->last_saved
           && ngx_http_entra_mdm_body_size(r) == 0;
}


ngx_uint_t
ngx_http_entra_mdm_stray_body(ngx_http_request_t *r,
    const ngx_http_entra_mdm_loc_conf_t *emlcf,
    const ngx_http_entra_mdm_ctx_t *ctx, ngx_http_entra_mdm_token_e token)
{
    if (!ngx_http_entra_mdm_no_body(emlcf, token)) {
        return 0;
    }

    return r->headers_in.content_length_n > 0
           || (r->headers_in.chunked
               && !ngx_http_entra_mdm_has_ended(r, ctx));
}


/*** judging it ***/


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
 * Whether a look for new keys might help, and a stranger may cause one: where
 * there are keys, only with a token that names a trusted issuer and a listed
 * tenant.
 */

static ngx_uint_t
ngx_http_entra_mdm_may_wait(ngx_http_entra_mdm_ctx_t *ctx,
    entra_reason_t reason)
{
    ngx_uint_t                      may;
    ngx_http_entra_mdm_policy_t    *policy;
    ngx_http_entra_mdm_snapshot_t   snapshot;

    if (ctx->verdict.nonce) {
        return 0;
    }

    if (reason != ENTRA_KEY_UNKNOWN) {
        return reason == ENTRA_KEYS_UNAVAILABLE;
    }

    policy = ctx->policy;

    do {
        ngx_http_entra_mdm_snapshot(policy, &snapshot);

        may = entra_policy_may_ask(&policy->rules,
                            ngx_http_entra_mdm_lists_live(policy, &snapshot),
                            &ctx->verdict.claims);

    } while (!ngx_http_entra_mdm_snapshot_current(policy, &snapshot));

    return may;
}


/*
 * From a token to claims.  One that this worker has seen under the same keys
 * is not verified again; what is to be said of its claims is said anew.
 */

static entra_reason_t
ngx_http_entra_mdm_verify(ngx_http_request_t *r,
    ngx_http_entra_mdm_ctx_t *ctx, const entra_jwks_t *jwks,
    entra_str_t token)
{
    bool                          seen;
    uint64_t                      since;
    entra_cache_t                *cache;
    entra_reason_t                reason;
    ngx_http_entra_mdm_policy_t  *policy;

    policy = ctx->policy;
    cache = policy->keys->cache;
    since = ngx_http_entra_mdm_clock();

    if (jwks == NULL || cache == NULL) {
        /* no keys, or none that are fresh enough, or no memory */
        seen = false;
        reason = entra_verify(token, policy->max_token, jwks, &ctx->mem,
                              &ctx->verdict);

    } else {
        reason = entra_cache_verify(cache, token, policy->max_token,
                                    ngx_time(), &ctx->mem, &ctx->verdict,
                                    &seen);
    }

    if (!seen) {
        ngx_http_entra_mdm_count_verification(policy, &ctx->verdict, reason,
                                              since);
    }

    if (ctx->verdict.verified) {
        ngx_http_entra_mdm_zone_count_token(policy, seen);

        ngx_log_debug2(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                       "entra_mdm: policy \"%V\", token %s", &policy->name,
                       seen ? "seen before" : "verified");
    }

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
    entra_reason_t                reason;
    const entra_jwks_t           *jwks;
    ngx_http_entra_mdm_policy_t  *policy;

    policy = ctx->policy;

    reason = ENTRA_OK;
    jwks = ngx_http_entra_mdm_keys(policy, &reason);

    if (reason == ENTRA_INTERNAL) {
        return reason;
    }

    reason = ngx_http_entra_mdm_verify(r, ctx, jwks, token);

    if (reason == ENTRA_OK) {
        reason = ngx_http_entra_mdm_judge_claims(ctx);
    }

    ctx->may_wait = ngx_http_entra_mdm_may_wait(ctx, reason);
    ctx->token_len = token.len;
    ctx->why = ctx->verdict.why;

    if (!ctx->verdict.verified) {
        ngx_memzero(&ctx->verdict.claims, sizeof(entra_claims_t));
    }

    return reason;
}


/*** bearer ***/


entra_reason_t
ngx_http_entra_mdm_bearer(ngx_http_request_t *r,
    const ngx_http_entra_mdm_loc_conf_t *emlcf, ngx_http_entra_mdm_ctx_t *ctx)
{
    entra_str_t     value, token;
    entra_reason_t  reason;

    static ngx_str_t  authorization = ngx_string("authorization");

    if (ngx_http_entra_mdm_stray_body(r, emlcf, ctx, ctx->token)) {
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

    reason = entra_bearer_token(value, &token, &ctx->why);
    if (reason != ENTRA_OK) {
        return reason;
    }

    return ngx_http_entra_mdm_judge(r, ctx, token);
}


/*** SOAP ***/


/* what can be said of a message before its body is read */

entra_reason_t
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


/* one for all messages of a worker, since nobody gets to see it */

static void
ngx_http_entra_mdm_soap_salt(entra_soap_t *soap)
{
    static uint8_t     salt[ENTRA_SOAP_SALT];
    static ngx_uint_t  salted;

    if (!salted && RAND_bytes(salt, sizeof(salt)) != 1) {
        ERR_clear_error();
        return;
    }

    salted = 1;

    entra_soap_salt(soap, salt);
}


entra_reason_t
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

    ngx_http_entra_mdm_soap_salt(soap);

    reason = ngx_http_entra_mdm_soap_parse(r, ctx, soap);

    ctx->message = *entra_soap_message(soap);

    entra_soap_free(soap);

    return reason;
}
