/*
 * The variables.  The verdict can be read as soon as there is one.  Claims
 * are empty unless the signature verified; those of a request that was not
 * accepted stay empty until its response has begun, so that logs have them
 * and upstreams do not.
 */

#include "ngx_http_entra_mdm_zone.h"


typedef enum {
    VARIABLE_UPN = 0,
    VARIABLE_TID,
    VARIABLE_OID,
    VARIABLE_DEVICE_ID,
    VARIABLE_AUD,
    VARIABLE_ISS,
    VARIABLE_VERSION,
    VARIABLE_KID,
    VARIABLE_EXPIRES
} ngx_http_entra_mdm_variable_e;


static ngx_int_t ngx_http_entra_mdm_result_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_http_entra_mdm_action_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_http_entra_mdm_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_http_entra_mdm_claim_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_http_entra_mdm_context_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);


/* what a variable says changes when the gate has run: nothing is cached */

static ngx_http_variable_t  ngx_http_entra_mdm_variables[] = {

    { ngx_string("entra_mdm_result"), NULL,
      ngx_http_entra_mdm_result_variable, 0, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("entra_mdm_action"), NULL,
      ngx_http_entra_mdm_action_variable, 0, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("entra_mdm_upn"), NULL, ngx_http_entra_mdm_variable,
      VARIABLE_UPN, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("entra_mdm_tid"), NULL, ngx_http_entra_mdm_variable,
      VARIABLE_TID, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("entra_mdm_oid"), NULL, ngx_http_entra_mdm_variable,
      VARIABLE_OID, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("entra_mdm_device_id"), NULL, ngx_http_entra_mdm_variable,
      VARIABLE_DEVICE_ID, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("entra_mdm_aud"), NULL, ngx_http_entra_mdm_variable,
      VARIABLE_AUD, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("entra_mdm_iss"), NULL, ngx_http_entra_mdm_variable,
      VARIABLE_ISS, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("entra_mdm_version"), NULL, ngx_http_entra_mdm_variable,
      VARIABLE_VERSION, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("entra_mdm_kid"), NULL, ngx_http_entra_mdm_variable,
      VARIABLE_KID, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("entra_mdm_expires"), NULL, ngx_http_entra_mdm_variable,
      VARIABLE_EXPIRES, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("entra_mdm_claim_"), NULL,
      ngx_http_entra_mdm_claim_variable, 0,
      NGX_HTTP_VAR_NOCACHEABLE|NGX_HTTP_VAR_PREFIX, 0 },

    { ngx_string("entra_mdm_context_"), NULL,
      ngx_http_entra_mdm_context_variable, 0,
      NGX_HTTP_VAR_NOCACHEABLE|NGX_HTTP_VAR_PREFIX, 0 },

      ngx_http_null_variable
};


ngx_int_t
ngx_http_entra_mdm_variables_add(ngx_conf_t *cf)
{
    ngx_http_variable_t  *var, *v;

    for (v = ngx_http_entra_mdm_variables; v->name.len; v++) {
        var = ngx_http_add_variable(cf, &v->name, v->flags);
        if (var == NULL) {
            return NGX_ERROR;
        }

        var->get_handler = v->get_handler;
        var->data = v->data;
    }

    return NGX_OK;
}


/*
 * What a token or a device says may end up in a header for the backend, where
 * a line break would begin another one: a value with a control character is
 * none at all.
 */

static void
ngx_http_entra_mdm_variable_set(ngx_http_variable_value_t *v,
    entra_str_t value)
{
    size_t  i;
    u_char  ch;

    for (i = 0; i < value.len; i++) {
        ch = (u_char) value.data[i];

        if (ch < 0x20 || ch == 0x7f) {
            v->not_found = 1;
            return;
        }
    }

    v->data = (u_char *) value.data;
    v->len = value.len;
    v->valid = 1;
    v->no_cacheable = 1;
    v->not_found = 0;
}


/*** the verdict ***/


static ngx_http_entra_mdm_ctx_t *
ngx_http_entra_mdm_decided(ngx_http_request_t *r)
{
    ngx_http_entra_mdm_ctx_t  *ctx;

    ctx = ngx_http_entra_mdm_ctx(r, 0);

    if (ctx == NULL || ctx->state < NGX_HTTP_ENTRA_MDM_ACCEPTED) {
        return NULL;
    }

    return ctx;
}


static ngx_int_t
ngx_http_entra_mdm_result_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    ngx_http_entra_mdm_ctx_t  *ctx;

    ctx = ngx_http_entra_mdm_decided(r);

    if (ctx == NULL) {
        v->not_found = 1;
        return NGX_OK;
    }

    ngx_http_entra_mdm_variable_set(v,
        ngx_http_entra_mdm_result(ctx->state - NGX_HTTP_ENTRA_MDM_ACCEPTED,
                                  ctx->reason));

    return NGX_OK;
}


static ngx_int_t
ngx_http_entra_mdm_action_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    ngx_http_entra_mdm_ctx_t  *ctx;

    ctx = ngx_http_entra_mdm_decided(r);

    if (ctx == NULL) {
        v->not_found = 1;
        return NGX_OK;
    }

    ngx_http_entra_mdm_variable_set(v,
        ngx_http_entra_mdm_actions[ctx->state - NGX_HTTP_ENTRA_MDM_ACCEPTED]);

    return NGX_OK;
}


/*** the claims ***/


/* the context, if the claims of the request may be read now */

static ngx_http_entra_mdm_ctx_t *
ngx_http_entra_mdm_readable(ngx_http_request_t *r)
{
    ngx_http_entra_mdm_ctx_t  *ctx;

    ctx = ngx_http_entra_mdm_decided(r);

    if (ctx == NULL || !ctx->verdict.verified) {
        return NULL;
    }

    /*
     * A subrequest may have an upstream of its own while main is answered, and
     * so may what post_action makes of main after that.
     */

    if (ctx->state != NGX_HTTP_ENTRA_MDM_ACCEPTED
        && (r != r->main || !r->header_sent || (r->post_action && !ctx->over)))
    {
        return NULL;
    }

    return ctx;
}


/* the one that matched; of a token that was not accepted, all of them */

static entra_str_t
ngx_http_entra_mdm_audience(ngx_http_request_t *r,
    ngx_http_entra_mdm_ctx_t *ctx)
{
    u_char                 *p, *start;
    size_t                  len;
    ngx_uint_t              i;
    const entra_claims_t   *claims;

    if (ctx->state == NGX_HTTP_ENTRA_MDM_ACCEPTED) {
        return ctx->verdict.identity.audience;
    }

    claims = &ctx->verdict.claims;

    for (i = 0, len = 0; i < claims->naud; i++) {
        len += claims->aud[i].len + 1;
    }

    if (len == 0) {
        return ENTRA_STR_NONE;
    }

    start = ngx_pnalloc(r->pool, len);
    if (start == NULL) {
        return ENTRA_STR_NONE;
    }

    for (i = 0, p = start; i < claims->naud; i++) {
        p = ngx_cpymem(p, claims->aud[i].data, claims->aud[i].len);
        *p++ = ',';
    }

    return (entra_str_t) { (char *) start, len - 1 };
}


static entra_str_t
ngx_http_entra_mdm_expires(ngx_http_request_t *r,
    const entra_claim_time_t *exp)
{
    u_char  *p, *start;

    if (exp->state != ENTRA_CLAIM_PRESENT
        || exp->value <= -1e15 || exp->value >= 1e15)
    {
        return ENTRA_STR_NONE;
    }

    start = ngx_pnalloc(r->pool, NGX_INT64_LEN);
    if (start == NULL) {
        return ENTRA_STR_NONE;
    }

    p = ngx_sprintf(start, "%L", (int64_t) exp->value);

    return (entra_str_t) { (char *) start, (size_t) (p - start) };
}


/* the user as the judgement takes it, of refused tokens too */

static entra_str_t
ngx_http_entra_mdm_user(ngx_http_entra_mdm_ctx_t *ctx)
{
    if (ctx->state == NGX_HTTP_ENTRA_MDM_ACCEPTED) {
        return ctx->verdict.identity.user;
    }

    return entra_policy_user_of(&ctx->verdict.claims);
}


static entra_str_t
ngx_http_entra_mdm_value(ngx_http_request_t *r, ngx_http_entra_mdm_ctx_t *ctx,
    ngx_http_entra_mdm_variable_e variable)
{
    const entra_claims_t  *claims;

    claims = &ctx->verdict.claims;

    /* a claim that is absent or of another type has no value */

    switch (variable) {

    case VARIABLE_UPN:
        return ngx_http_entra_mdm_user(ctx);

    case VARIABLE_TID:
        return claims->tid.value;

    case VARIABLE_OID:
        return claims->oid.value;

    case VARIABLE_DEVICE_ID:
        return claims->deviceid.value;

    case VARIABLE_AUD:
        return ngx_http_entra_mdm_audience(r, ctx);

    case VARIABLE_ISS:
        return claims->iss.value;

    case VARIABLE_VERSION:
        return claims->ver.value;

    case VARIABLE_KID:
        return ctx->verdict.kid;

    default: /* VARIABLE_EXPIRES */
        return ngx_http_entra_mdm_expires(r, &claims->exp);
    }
}


static ngx_int_t
ngx_http_entra_mdm_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    entra_str_t                value;
    ngx_http_entra_mdm_ctx_t  *ctx;

    ctx = ngx_http_entra_mdm_readable(r);

    value = (ctx == NULL) ? ENTRA_STR_NONE
                          : ngx_http_entra_mdm_value(r, ctx, data);

    if (value.len == 0) {
        v->not_found = 1;
        return NGX_OK;
    }

    ngx_http_entra_mdm_variable_set(v, value);

    return NGX_OK;
}


/* what stands after the prefix in the variable's name */

static entra_str_t
ngx_http_entra_mdm_name(uintptr_t data, size_t prefix)
{
    ngx_str_t  *name = (ngx_str_t *) data;

    return entra_str_from(ngx_http_entra_mdm_str(name), prefix);
}


static ngx_int_t
ngx_http_entra_mdm_claim_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    entra_str_t                name, value;
    ngx_http_entra_mdm_ctx_t  *ctx;

    ctx = ngx_http_entra_mdm_readable(r);
    name = ngx_http_entra_mdm_name(data, sizeof("entra_mdm_claim_") - 1);

    if (ctx == NULL
        || !entra_claims_get(&ctx->verdict.claims, name, &ctx->mem, &value))
    {
        v->not_found = 1;
        return NGX_OK;
    }

    ngx_http_entra_mdm_variable_set(v, value);

    return NGX_OK;
}


/* unsigned: for logs, whatever became of the request */

static ngx_int_t
ngx_http_entra_mdm_context_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    entra_str_t                name;
    entra_context_t           *item;
    ngx_http_entra_mdm_ctx_t  *ctx;

    v->not_found = 1;

    ctx = ngx_http_entra_mdm_decided(r);

    if (ctx == NULL) {
        return NGX_OK;
    }

    name = ngx_http_entra_mdm_name(data, sizeof("entra_mdm_context_") - 1);

    /* the last one of a name comes first, and counts in the backend as well */

    for (item = ctx->message.context; item; item = item->next) {
        if (entra_str_ieq(item->name, name)) {
            ngx_http_entra_mdm_variable_set(v, item->value);
            break;
        }
    }

    return NGX_OK;
}
