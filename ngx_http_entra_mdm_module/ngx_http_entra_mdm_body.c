/*
 * A request body read without being touched: it may lie in buffers, in a
 * temporary file, or partly in both, and goes on to the backend as it came.
 * Of one that is too large no more than max_body is kept.
 */

#include "ngx_http_entra_mdm_module.h"


#define PIECE  16384


static ngx_int_t ngx_http_entra_mdm_body_filter(ngx_http_request_t *r,
    ngx_chain_t *in);


static ngx_http_request_body_filter_pt   ngx_http_next_request_body_filter;


void
ngx_http_entra_mdm_body_filter_init(void)
{
    ngx_http_next_request_body_filter = ngx_http_top_request_body_filter;
    ngx_http_top_request_body_filter = ngx_http_entra_mdm_body_filter;
}


/*
 * What was kept goes: no variable names its file, no upstream finds it, and a
 * file that client_body_in_file_only would leave behind is deleted here.  The
 * request's pool closes it.
 */

static void
ngx_http_entra_mdm_body_drop(ngx_http_request_t *r)
{
    ngx_temp_file_t          *tf;
    ngx_http_request_body_t  *rb;

    rb = r->request_body;
    tf = rb->temp_file;

    rb->bufs = NULL;
    rb->temp_file = NULL;

    if (tf == NULL || !tf->persistent || tf->file.fd == NGX_INVALID_FILE) {
        return;
    }

    if (ngx_delete_file(tf->file.name.data) == NGX_FILE_ERROR) {
        ngx_log_error(NGX_LOG_CRIT, r->connection->log, ngx_errno,
                      ngx_delete_file_n " \"%s\" failed",
                      tf->file.name.data);
    }
}


void
ngx_http_entra_mdm_body_stop(ngx_http_request_t *r)
{
    /* what is still to come is no next request */
    r->keepalive = 0;
    r->lingering_close = 1;

    r->read_event_handler = ngx_http_block_reading;

    if (r->connection->read->timer_set) {
        ngx_del_timer(r->connection->read);
    }

#if (NGX_HTTP_V2)
    if (r->stream) {
        r->stream->skip_data = 1;
    }
#endif

    /* it has counted what came, and upstream modules would announce that */
    r->headers_in.content_length_n = 0;

    ngx_http_entra_mdm_wake(r);
}


/*
 * A body without a Content-Length shows its size only as it comes.  Once it
 * is over max_body it is dropped and the gate woken to refuse it; so it is by
 * its first byte where there may be none.
 *
 * NGX_AGAIN makes every reader of nginx return at once, before it looks at
 * chains or buffers, and nothing of that body gets any further.
 */

static ngx_int_t
ngx_http_entra_mdm_body_filter(ngx_http_request_t *r, ngx_chain_t *in)
{
    off_t                                 max;
    ngx_chain_t                          *cl;
    ngx_http_entra_mdm_ctx_t             *ctx;
    const ngx_http_entra_mdm_loc_conf_t  *emlcf;

    ctx = ngx_http_get_module_ctx(r, ngx_http_entra_mdm_module);

    if (ctx != NULL && ctx->body_dropped) {
        return NGX_AGAIN;
    }

    if (ctx == NULL || ctx->state != NGX_HTTP_ENTRA_MDM_READING) {
        return ngx_http_next_request_body_filter(r, in);
    }

    emlcf = ngx_http_get_module_loc_conf(r, ngx_http_entra_mdm_module);

    if (emlcf->dry_run) {
        return ngx_http_next_request_body_filter(r, in);
    }

    for (cl = in; cl; cl = cl->next) {
        ctx->received += ngx_buf_size(cl->buf);
    }

    max = ctx->token == NGX_HTTP_ENTRA_MDM_BEARER
          ? 0 : (off_t) ctx->policy->max_body;

    if (ctx->received <= max) {
        return ngx_http_next_request_body_filter(r, in);
    }

    ctx->body_dropped = 1;

    ngx_http_entra_mdm_body_drop(r);
    ngx_http_entra_mdm_body_stop(r);

    return NGX_AGAIN;
}


off_t
ngx_http_entra_mdm_body_size(ngx_http_request_t *r)
{
    off_t         size;
    ngx_chain_t  *cl;

    size = 0;

    if (r->request_body != NULL) {
        for (cl = r->request_body->bufs; cl; cl = cl->next) {
            size += ngx_buf_size(cl->buf);
        }
    }

    return size;
}


void
ngx_http_entra_mdm_body_start(ngx_http_request_t *r,
    ngx_http_entra_mdm_body_t *body)
{
    body->cl = r->request_body ? r->request_body->bufs : NULL;
    body->offset = 0;
    body->buffer = NULL;
}


/* the request's own file, just written: in the page cache, as a rule */

static ngx_int_t
ngx_http_entra_mdm_body_file(ngx_http_request_t *r,
    ngx_http_entra_mdm_body_t *body, size_t size)
{
    ssize_t     n;
    ngx_buf_t  *b;

    b = body->cl->buf;

    if (body->buffer == NULL) {
        body->buffer = ngx_palloc(r->pool, PIECE);
        if (body->buffer == NULL) {
            return NGX_ERROR;
        }
    }

    n = ngx_read_file(b->file, body->buffer, size, b->file_pos + body->offset);

    return n == (ssize_t) size ? NGX_OK : NGX_ERROR;
}


ngx_int_t
ngx_http_entra_mdm_body_next(ngx_http_request_t *r,
    ngx_http_entra_mdm_body_t *body, entra_str_t *piece)
{
    off_t       left;
    size_t      size;
    ngx_buf_t  *b;

    *piece = ENTRA_STR_NONE;

    while (body->cl != NULL && ngx_buf_size(body->cl->buf) == 0) {
        body->cl = body->cl->next;
    }

    if (body->cl == NULL) {
        return NGX_DONE;
    }

    b = body->cl->buf;
    left = ngx_buf_size(b) - body->offset;
    size = (size_t) ngx_min(left, PIECE);

    if (ngx_buf_in_memory(b)) {
        *piece = (entra_str_t) { (char *) b->pos + body->offset, size };

    } else {
        if (ngx_http_entra_mdm_body_file(r, body, size) != NGX_OK) {
            return NGX_ERROR;
        }

        *piece = (entra_str_t) { (char *) body->buffer, size };
    }

    body->offset += (off_t) size;

    if (left == (off_t) size) {
        body->cl = body->cl->next;
        body->offset = 0;
    }

    while (body->cl != NULL && ngx_buf_size(body->cl->buf) == 0) {
        body->cl = body->cl->next;
    }

    return body->cl == NULL ? NGX_DONE : NGX_OK;
}
