/*
 * A request body read without being touched: it may lie in buffers, in a
 * temporary file, or partly in both, and goes on to the backend as it came.
 */

#include "ngx_http_entra_mdm_module.h"


#define PIECE  16384


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

    body->offset += size;

    if (left == (off_t) size) {
        body->cl = body->cl->next;
        body->offset = 0;
    }

    while (body->cl != NULL && ngx_buf_size(body->cl->buf) == 0) {
        body->cl = body->cl->next;
    }

    return body->cl == NULL ? NGX_DONE : NGX_OK;
}
