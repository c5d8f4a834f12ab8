/*
 * Answers of the management API and the metrics: JSON as a rule, never
 * cached, of a known length.
 */

#include "ngx_http_entra_mdm_api.h"

#include "entra_escape.h"


#define FORMATTED  512


/*** text ***/


void
ngx_http_entra_mdm_text_init(ngx_http_entra_mdm_text_t *text, ngx_pool_t *pool,
    size_t size)
{
    text->pool = pool;
    text->start = ngx_pnalloc(pool, size);
    text->pos = text->start;
    text->end = text->start + size;
    text->failed = (text->start == NULL);

    if (text->failed) {
        text->end = NULL;
    }
}


static ngx_int_t
ngx_http_entra_mdm_text_room(ngx_http_entra_mdm_text_t *text, size_t room)
{
    u_char  *p;
    size_t   size, used;

    if (text->failed) {
        return NGX_ERROR;
    }

    if ((size_t) (text->end - text->pos) >= room) {
        return NGX_OK;
    }

    used = text->pos - text->start;
    size = 2 * (text->end - text->start) + room;

    p = ngx_pnalloc(text->pool, size);
    if (p == NULL) {
        text->failed = 1;
        return NGX_ERROR;
    }

    ngx_memcpy(p, text->start, used);
    ngx_pfree(text->pool, text->start);

    text->start = p;
    text->pos = p + used;
    text->end = p + size;

    return NGX_OK;
}


void
ngx_http_entra_mdm_text(ngx_http_entra_mdm_text_t *text, const char *format,
    ...)
{
    va_list  args;

    if (ngx_http_entra_mdm_text_room(text, FORMATTED) != NGX_OK) {
        return;
    }

    va_start(args, format);
    text->pos = ngx_vslprintf(text->pos, text->end, format, args);
    va_end(args);
}


void
ngx_http_entra_mdm_text_string(ngx_http_entra_mdm_text_t *text,
    entra_str_t value)
{
    if (ngx_http_entra_mdm_text_room(text, value.len * ENTRA_ESCAPE_MAX + 2)
        != NGX_OK)
    {
        return;
    }

    *text->pos++ = '"';
    text->pos = (u_char *) entra_escape_json(value, (char *) text->pos);
    *text->pos++ = '"';
}


void
ngx_http_entra_mdm_text_label(ngx_http_entra_mdm_text_t *text,
    entra_str_t value)
{
    if (ngx_http_entra_mdm_text_room(text, value.len * ENTRA_ESCAPE_MAX + 2)
        != NGX_OK)
    {
        return;
    }

    *text->pos++ = '"';
    text->pos = (u_char *) entra_escape_label(value, (char *) text->pos);
    *text->pos++ = '"';
}


void
ngx_http_entra_mdm_text_time(ngx_http_entra_mdm_text_t *text, int64_t seconds)
{
    ngx_tm_t  tm;

    ngx_gmtime((time_t) seconds, &tm);

    ngx_http_entra_mdm_text(text, "\"%4d-%02d-%02dT%02d:%02d:%02dZ\"",
                            tm.ngx_tm_year, tm.ngx_tm_mon, tm.ngx_tm_mday,
                            tm.ngx_tm_hour, tm.ngx_tm_min, tm.ngx_tm_sec);
}


void
ngx_http_entra_mdm_text_ids(ngx_http_entra_mdm_text_t *text,
    const entra_set_t *ids)
{
    size_t   i;
    u_char  *p;

    if (ngx_http_entra_mdm_text_room(text, ids->count * (ENTRA_GUID_LEN + 3)
                                           + 2)
        != NGX_OK)
    {
        return;
    }

    p = text->pos;
    *p++ = '[';

    for (i = 0; i < ids->count; i++) {

        if (i) {
            *p++ = ',';
        }

        *p++ = '"';
        p = (u_char *) entra_guid_write_typed(&ids->ids[i],
                                              entra_set_upper(ids, i),
                                              (char *) p);
        *p++ = '"';
    }

    *p++ = ']';
    text->pos = p;
}


/*** answers ***/


ngx_int_t
ngx_http_entra_mdm_api_header(ngx_http_request_t *r, const char *name,
    const char *value)
{
    ngx_table_elt_t  *h;

    h = ngx_list_push(&r->headers_out.headers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    ngx_memzero(h, sizeof(ngx_table_elt_t));

    h->hash = 1;
    h->key.data = (u_char *) name;
    h->key.len = ngx_strlen(name);
    h->value.data = (u_char *) value;
    h->value.len = ngx_strlen(value);

    return NGX_OK;
}


static ngx_int_t
ngx_http_entra_mdm_api_headers(ngx_http_request_t *r, ngx_uint_t status,
    const ngx_str_t *type, size_t len)
{
    u_char  *parameters;

    /* where the length is another, nginx adds no charset of its own */

    parameters = ngx_strlchr(type->data, type->data + type->len, ';');

    r->headers_out.content_type = *type;
    r->headers_out.content_type_len = parameters
                                      ? (size_t) (parameters - type->data)
                                      : type->len;
    r->headers_out.content_type_lowcase = NULL;

    r->headers_out.status = status;
    r->headers_out.content_length_n = (off_t) len;

    if (status == 422) {
        /* nginx has no words for it */
        ngx_str_set(&r->headers_out.status_line, "422 Unprocessable Entity");
    }

    if (status != NGX_HTTP_OK || r->method == NGX_HTTP_PATCH) {
        /* nginx would answer 412 to the If-Match of a change made */
        r->disable_not_modified = 1;
    }

#if (NGX_HTTP_GZIP)
    r->gzip_tested = 1;
    r->gzip_ok = 0;
#endif

    if (ngx_http_entra_mdm_api_header(r, "Cache-Control", "no-store")
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_entra_mdm_api_header(r, "X-Content-Type-Options",
                                         "nosniff");
}


ngx_int_t
ngx_http_entra_mdm_api_send(ngx_http_request_t *r, ngx_uint_t status,
    ngx_http_entra_mdm_text_t *text)
{
    static const ngx_str_t  json = ngx_string("application/json");

    return ngx_http_entra_mdm_api_send_type(r, status, &json, text);
}


ngx_int_t
ngx_http_entra_mdm_api_send_type(ngx_http_request_t *r, ngx_uint_t status,
    const ngx_str_t *type, ngx_http_entra_mdm_text_t *text)
{
    ngx_int_t     rc;
    ngx_buf_t    *b;
    ngx_chain_t   out;

    b = ngx_calloc_buf(r->pool);

    if (b == NULL || text->failed) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    b->pos = text->start;
    b->last = text->pos;
    b->memory = 1;
    b->last_buf = 1;

    out.buf = b;
    out.next = NULL;

    if (r->request_body == NULL) {

        /* no "100 Continue" for a body that is not wanted */
        r->expect_tested = 1;

        if (ngx_http_discard_request_body(r) != NGX_OK) {
            r->keepalive = 0;
        }
    }

    if (ngx_http_entra_mdm_api_headers(r, status, type,
                                       text->pos - text->start)
        != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    rc = ngx_http_send_header(r);

    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
        return rc;
    }

    return ngx_http_output_filter(r, &out);
}


static const char *
ngx_http_entra_mdm_api_message(ngx_uint_t status)
{
    switch (status) {

    case NGX_HTTP_FORBIDDEN:
        return "Permission Denied";

    case NGX_HTTP_NOT_FOUND:
        return "Resource Not Found";

    case NGX_HTTP_NOT_ALLOWED:
        return "Method Not Allowed";

    case NGX_HTTP_PRECONDITION_FAILED:
        return "Precondition Failed";

    case NGX_HTTP_REQUEST_ENTITY_TOO_LARGE:
        return "Too Large";

    case NGX_HTTP_UNSUPPORTED_MEDIA_TYPE:
        return "Unsupported Media Type";

    case 422:
        return "Validation Failed";

    case NGX_HTTP_SERVICE_UNAVAILABLE:
        return "Service Unavailable";

    case NGX_HTTP_INSUFFICIENT_STORAGE:
        return "Insufficient Storage";

    default:
        return "Bad Request";
    }
}


ngx_int_t
ngx_http_entra_mdm_api_errors(ngx_http_request_t *r, ngx_uint_t status,
    const entra_config_error_t *errors, size_t n)
{
    size_t                     i;
    ngx_http_entra_mdm_text_t  text;

    ngx_http_entra_mdm_text_init(&text, r->pool, 2 * FORMATTED);

    ngx_http_entra_mdm_text(&text, "{\"message\":\"%s\",\"errors\":[",
                            ngx_http_entra_mdm_api_message(status));

    for (i = 0; i < n; i++) {
        ngx_http_entra_mdm_text(&text, "%s{\"name\":", i ? "," : "");
        ngx_http_entra_mdm_text_string(&text, errors[i].name);
        ngx_http_entra_mdm_text(&text, ",\"reason\":");
        ngx_http_entra_mdm_text_string(&text, errors[i].reason);
        ngx_http_entra_mdm_text(&text, "}");
    }

    ngx_http_entra_mdm_text(&text, "]}\n");

    return ngx_http_entra_mdm_api_send(r, status, &text);
}


ngx_int_t
ngx_http_entra_mdm_api_error(ngx_http_request_t *r, ngx_uint_t status,
    const char *name, const char *reason)
{
    entra_config_error_t  error;

    error.name = entra_str(name);
    error.reason = entra_str(reason);

    return ngx_http_entra_mdm_api_errors(r, status, &error, 1);
}
