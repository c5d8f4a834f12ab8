/*
 * Refusals, each in the form its client understands: a SOAP fault, an RFC
 * 6750 challenge, or the redirect of the Terms-of-Use protocol.
 */

#include "ngx_http_entra_mdm_module.h"

#include "entra_fault.h"
#include "entra_tou.h"


#define RETRY_AFTER  "30"               /* seconds */


static ngx_int_t ngx_http_entra_mdm_retry_after(ngx_http_request_t *r,
    ngx_http_entra_mdm_ctx_t *ctx);
static ngx_int_t ngx_http_entra_mdm_refuse_soap(ngx_http_request_t *r,
    const ngx_http_entra_mdm_loc_conf_t *emlcf, ngx_http_entra_mdm_ctx_t *ctx);
static ngx_int_t ngx_http_entra_mdm_refuse_bearer(ngx_http_request_t *r,
    const ngx_http_entra_mdm_loc_conf_t *emlcf, ngx_http_entra_mdm_ctx_t *ctx);


ngx_int_t
ngx_http_entra_mdm_refuse(ngx_http_request_t *r,
    const ngx_http_entra_mdm_loc_conf_t *emlcf, ngx_http_entra_mdm_ctx_t *ctx)
{
    /*
     * Under "satisfy any" the gate runs last: nobody has granted, and this
     * refusal is the answer, not the one an earlier rule left behind.
     */

    r->access_code = 0;

    if (ngx_http_entra_mdm_retry_after(r, ctx) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (ctx->token == NGX_HTTP_ENTRA_MDM_SOAP) {
        return ngx_http_entra_mdm_refuse_soap(r, emlcf, ctx);
    }

    return ngx_http_entra_mdm_refuse_bearer(r, emlcf, ctx);
}


/*** headers ***/


static ngx_table_elt_t *
ngx_http_entra_mdm_add_header(ngx_http_request_t *r, const char *name,
    ngx_str_t *value)
{
    ngx_table_elt_t  *h;

    h = ngx_list_push(&r->headers_out.headers);
    if (h == NULL) {
        return NULL;
    }

    ngx_memzero(h, sizeof(ngx_table_elt_t));

    h->hash = 1;
    h->key.data = (u_char *) name;
    h->key.len = ngx_strlen(name);
    h->value = *value;

    return h;
}


/*
 * RFC 9110 10.2.3: for what passes by itself, and once for a refusal that is
 * repeated after an error page.
 */

static ngx_int_t
ngx_http_entra_mdm_retry_after(ngx_http_request_t *r,
    ngx_http_entra_mdm_ctx_t *ctx)
{
    static ngx_str_t  seconds = ngx_string(RETRY_AFTER);

    if ((ctx->reason != ENTRA_KEYS_UNAVAILABLE
         && ctx->reason != ENTRA_LISTS_UNAVAILABLE)
        || ctx->retry_after != NULL)
    {
        return NGX_OK;
    }

    ctx->retry_after = ngx_http_entra_mdm_add_header(r, "Retry-After",
                                                     &seconds);

    return ctx->retry_after ? NGX_OK : NGX_ERROR;
}


/*** SOAP ***/


/*
 * Windows takes one message with a Content-Length, and no coding of it.
 * Filters that compress, convert or edit, and take the length away, choose
 * answers by the type that nginx knows of: of a fault it knows none.
 */

static ngx_int_t
ngx_http_entra_mdm_fault_headers(ngx_http_request_t *r, ngx_uint_t status,
    size_t len)
{
    static ngx_str_t  type = ngx_string("application/soap+xml; charset=utf-8");

    if (ngx_http_entra_mdm_add_header(r, "Content-Type", &type) == NULL) {
        return NGX_ERROR;
    }

    ngx_str_null(&r->headers_out.content_type);
    ngx_str_null(&r->headers_out.charset);

    r->headers_out.content_type_len = 0;
    r->headers_out.content_type_lowcase = NULL;

    r->headers_out.status = status;
    r->headers_out.content_length_n = (off_t) len;

    r->allow_ranges = 0;
    r->disable_not_modified = 1;

#if (NGX_HTTP_GZIP)
    r->gzip_tested = 1;
    r->gzip_ok = 0;
#endif

    return NGX_OK;
}


static ngx_int_t
ngx_http_entra_mdm_fault_send(ngx_http_request_t *r, ngx_uint_t status,
    entra_str_t *document)
{
    ngx_int_t     rc;
    ngx_buf_t    *b;
    ngx_chain_t   out;

    b = ngx_calloc_buf(r->pool);
    if (b == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    b->pos = (u_char *) document->data;
    b->last = b->pos + document->len;
    b->memory = 1;
    b->last_buf = 1;

    out.buf = b;
    out.next = NULL;

    /* no "100 Continue" for a body nobody wants any more */
    r->expect_tested = 1;

    if (ngx_http_discard_request_body(r) != NGX_OK) {
        r->keepalive = 0;
    }

    if (ngx_http_entra_mdm_fault_headers(r, status, document->len) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    rc = ngx_http_send_header(r);

    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
        return rc;
    }

    return ngx_http_output_filter(r, &out);
}


/* an error page for this very status, written for this very location */

static ngx_uint_t
ngx_http_entra_mdm_error_page(ngx_http_request_t *r,
    const ngx_http_entra_mdm_loc_conf_t *emlcf, ngx_uint_t status)
{
    ngx_uint_t                 i;
    ngx_http_err_page_t       *page;
    ngx_http_core_loc_conf_t  *clcf;

    clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);

    if (!emlcf->own_error_page
        || (r->error_page && !clcf->recursive_error_pages))
    {
        return 0;
    }

    page = emlcf->error_pages->elts;

    for (i = 0; i < emlcf->error_pages->nelts; i++) {
        if ((ngx_uint_t) page[i].status == status) {
            return 1;
        }
    }

    return 0;
}


static ngx_int_t
ngx_http_entra_mdm_refuse_soap(ngx_http_request_t *r,
    const ngx_http_entra_mdm_loc_conf_t *emlcf, ngx_http_entra_mdm_ctx_t *ctx)
{
    ngx_uint_t     status;
    entra_str_t    document;
    entra_fault_t  fault;

    status = ctx->policy->soap_fault_status;

    if (status == 0) {
        status = entra_reason_soap_status(ctx->reason);
    }

    if (ngx_http_entra_mdm_error_page(r, emlcf, status)) {
        return (ngx_int_t) status;
    }

    fault.reason = ctx->reason;
    fault.message_id = ctx->message.message_id;
    fault.action = ctx->message.action;
    fault.trace_id = ngx_http_entra_mdm_request_id(r);
    fault.why = ctx->why == entra_why_graph ? entra_why_graph : NULL;

    if (!entra_fault_write(&fault, &ctx->mem, &document)) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    /*
     * What the filters return is not the verdict: NGX_OK would grant access.
     * The request ends here.
     */

    ngx_http_finalize_request(r,
                          ngx_http_entra_mdm_fault_send(r, status, &document));

    return NGX_DONE;
}


/*** bearer ***/


/*
 * RFC 6750 3: without an error code where no token was presented.  The texts
 * are ours and hold no quote.
 */

static ngx_int_t
ngx_http_entra_mdm_challenge(ngx_http_request_t *r,
    ngx_http_entra_mdm_ctx_t *ctx)
{
    u_char                     *p;
    size_t                      len;
    ngx_str_t                   value;
    entra_str_t                 error;
    const char                 *why;
    const entra_reason_info_t  *info;

    info = entra_reason_info(ctx->reason);
    error = entra_reason_bearer_error(ctx->reason);

    if (error.len == 0) {

        if (ctx->reason != ENTRA_NO_TOKEN) {
            return NGX_OK;
        }

        ngx_str_set(&value, "Bearer");

    } else {
        why = ctx->why == entra_why_graph ? entra_why_graph : "";

        len = sizeof("Bearer error=\"\", error_description=\" ()\"") - 1
              + error.len + info->text.len + ngx_strlen(why);

        p = ngx_pnalloc(r->pool, len);
        if (p == NULL) {
            return NGX_ERROR;
        }

        value.data = p;

        p = ngx_sprintf(p, "Bearer error=\"%*s\", error_description=\"%*s",
                        error.len, error.data,
                        info->text.len, info->text.data);

        if (*why) {
            p = ngx_sprintf(p, " (%s)", why);
        }

        *p++ = '"';

        value.len = p - value.data;
    }

    if (ctx->challenge != NULL) {
        /* refused before an error page led here */
        ctx->challenge->hash = 0;
    }

    ctx->challenge = ngx_http_entra_mdm_add_header(r, "WWW-Authenticate",
                                                   &value);

    /* the typed pointer: nginx clears it where another rule grants */
    r->headers_out.www_authenticate = ctx->challenge;

    return ctx->challenge ? NGX_OK : NGX_ERROR;
}


static ngx_int_t
ngx_http_entra_mdm_redirect(ngx_http_request_t *r,
    ngx_http_entra_mdm_ctx_t *ctx)
{
    ngx_str_t        value;
    entra_str_t      location;
    entra_policy_t  *rules;

    rules = &ctx->policy->rules;

    if (!entra_tou_redirect(ngx_http_entra_mdm_str(&r->args), rules->hosts,
                            rules->nhosts, ctx->reason, &ctx->mem, &location))
    {
        return NGX_DECLINED;
    }

    value.data = (u_char *) location.data;
    value.len = location.len;

    ngx_http_clear_location(r);

    r->headers_out.location = ngx_http_entra_mdm_add_header(r, "Location",
                                                            &value);
    if (r->headers_out.location == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return NGX_HTTP_MOVED_TEMPORARILY;
}


static ngx_int_t
ngx_http_entra_mdm_refuse_bearer(ngx_http_request_t *r,
    const ngx_http_entra_mdm_loc_conf_t *emlcf, ngx_http_entra_mdm_ctx_t *ctx)
{
    ngx_int_t  rc;

    if (emlcf->tou_redirect) {
        rc = ngx_http_entra_mdm_redirect(r, ctx);

        if (rc != NGX_DECLINED) {
            return rc;
        }
    }

    if (ngx_http_entra_mdm_challenge(r, ctx) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return entra_reason_info(ctx->reason)->status;
}
