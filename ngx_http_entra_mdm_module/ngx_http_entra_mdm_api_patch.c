/*
 * A change of the lists, from the request to its answer; where it is made is
 * for ngx_http_entra_mdm_api_zone.c and ngx_http_entra_mdm_api_redis.c.
 */

#include "ngx_http_entra_mdm_api_patch.h"


static void ngx_http_entra_mdm_patch_body(ngx_http_request_t *r);


/*** If-Match ***/


/*
 * One entity tag of a list: "x", W/"x" or *.  A proxy on the way that
 * compresses makes a tag weak; ours is of the members, whatever the bytes.
 */

static ngx_uint_t
ngx_http_entra_mdm_tag_in(ngx_str_t *list, const u_char *tag, size_t len)
{
    u_char  *p, *last, *end;

    p = list->data;
    last = p + list->len;

    while (p < last) {

        if (*p == ' ' || *p == '\t' || *p == ',') {
            p++;
            continue;
        }

        if (*p == '*') {
            return 1;
        }

        if (last - p > 2 && p[0] == 'W' && p[1] == '/') {
            p += 2;
        }

        if (*p != '"') {
            return 0;
        }

        p++;

        end = ngx_strlchr(p, last, '"');
        if (end == NULL) {
            return 0;
        }

        if ((size_t) (end - p) == len && ngx_memcmp(p, tag, len) == 0) {
            return 1;
        }

        p = end + 1;
    }

    return 0;
}


ngx_int_t
ngx_http_entra_mdm_patch_match(ngx_http_entra_mdm_patch_t *patch)
{
    char              tag[ENTRA_CONFIG_TAG_LEN];
    ngx_table_elt_t  *h;

    h = patch->r->headers_in.if_match;

    if (h == NULL) {
        return NGX_OK;
    }

    if (!entra_config_tag(&patch->from, tag)) {
        return NGX_ERROR;
    }

#if (nginx_version >= 1023000)

    for ( /* void */ ; h; h = h->next) {
        if (ngx_http_entra_mdm_tag_in(&h->value, (u_char *) tag, sizeof(tag)))
        {
            return NGX_OK;
        }
    }

    return NGX_DECLINED;

#else

    return ngx_http_entra_mdm_tag_in(&h->value, (u_char *) tag, sizeof(tag))
           ? NGX_OK : NGX_DECLINED;

#endif
}


/*** a change ***/


static void *
ngx_http_entra_mdm_patch_alloc(void *data, size_t size)
{
    return ngx_palloc(data, size);
}


static void
ngx_http_entra_mdm_patch_free(ngx_http_entra_mdm_patch_t *patch)
{
    if (patch->event.timer_set) {
        ngx_del_timer(&patch->event);
    }

    if (patch->event.posted) {
        ngx_delete_posted_event(&patch->event);
    }

    if (patch->lists) {
        ngx_destroy_pool(patch->lists);
    }

    ngx_destroy_pool(patch->pool);
}


/* the request ends before the change has */

static void
ngx_http_entra_mdm_patch_cleanup(void *data)
{
    ngx_http_entra_mdm_patch_t **holder = data;

    ngx_http_entra_mdm_patch_t  *patch;

    patch = *holder;

    if (patch == NULL) {
        return;
    }

    *holder = NULL;
    patch->r = NULL;

    if (patch->store
        && ngx_http_entra_mdm_patch_redis_gone(patch) == NGX_AGAIN)
    {
        return;
    }

    ngx_http_entra_mdm_patch_free(patch);
}


static ngx_http_entra_mdm_patch_t **
ngx_http_entra_mdm_patch_holder(ngx_http_request_t *r)
{
    ngx_http_cleanup_t  *cln;

    for (cln = r->cleanup; cln; cln = cln->next) {
        if (cln->handler == ngx_http_entra_mdm_patch_cleanup) {
            return cln->data;
        }
    }

    return NULL;
}


void
ngx_http_entra_mdm_patch_done(ngx_http_entra_mdm_patch_t *patch, ngx_int_t rc)
{
    ngx_uint_t           own;
    ngx_connection_t    *c;
    ngx_http_request_t  *r;

    r = patch->r;
    own = patch->own;

    /* false alarm (null-dereference): a patch that has r is held by it */
    if (r != NULL) {
        *ngx_http_entra_mdm_patch_holder(r) = NULL;
    }

    ngx_http_entra_mdm_patch_free(patch);

    if (r == NULL) {
        return;
    }

    c = r->connection;

    ngx_http_set_log_request(c->log, r);

    ngx_http_finalize_request(r, rc);

    if (own) {
        ngx_http_run_posted_requests(c);
    }
}


static void
ngx_http_entra_mdm_patch_event(ngx_http_entra_mdm_patch_t *patch,
    ngx_event_handler_pt handler)
{
    patch->own = 1;

    patch->event.handler = handler;
    patch->event.data = patch;
    patch->event.log = patch->log;
}


void
ngx_http_entra_mdm_patch_post(ngx_http_entra_mdm_patch_t *patch,
    ngx_event_handler_pt handler)
{
    ngx_http_entra_mdm_patch_event(patch, handler);

    ngx_post_event(&patch->event, &ngx_posted_events);
}


void
ngx_http_entra_mdm_patch_later(ngx_http_entra_mdm_patch_t *patch,
    ngx_event_handler_pt handler)
{
    ngx_http_entra_mdm_patch_event(patch, handler);

    ngx_add_timer(&patch->event, 1 + ngx_random() % 10);
}


ngx_int_t
ngx_http_entra_mdm_patch_apply(ngx_http_entra_mdm_patch_t *patch)
{
    size_t                 size;
    uint32_t              *upper;
    ngx_uint_t             i;
    entra_set_t           *to;
    entra_config_patch_t  *named;

    named = &patch->named;

    patch->to = patch->from;
    patch->changed = 0;

    for (i = 0; i < ENTRA_LISTS; i++) {

        if (!(named->lists & (1u << i))
            || entra_set_eq(&patch->from.list[i].ids, &named->list[i]))
        {
            continue;
        }

        to = &patch->to.list[i].ids;
        *to = named->list[i];

        /* of this try: the next one begins with what the client typed */

        if (to->count) {
            size = to->count * sizeof(uint32_t);

            upper = ngx_palloc(patch->lists, size);
            if (upper == NULL) {
                return NGX_ERROR;
            }

            ngx_memcpy(upper, to->upper, size);
            to->upper = upper;

            entra_set_keep_typed(to, upper, &patch->from.list[i].ids);
        }

        patch->changed |= 1u << i;
    }

    return NGX_OK;
}


/* with nobody to answer, nothing is said */

ngx_int_t
ngx_http_entra_mdm_patch_send(ngx_http_entra_mdm_patch_t *patch,
    const entra_lists_t *lists, ngx_atomic_uint_t generation)
{
    if (patch->r == NULL) {
        return NGX_OK;
    }

    /* in Redis, generations are not those of the zone */

    return ngx_http_entra_mdm_config_send(patch->r, lists, generation,
                                          patch->store ? 0 : generation + 1);
}


ngx_int_t
ngx_http_entra_mdm_patch_error(ngx_http_entra_mdm_patch_t *patch,
    ngx_uint_t status, const char *reason)
{
    if (patch->r == NULL) {
        return NGX_OK;
    }

    return ngx_http_entra_mdm_api_error(patch->r, status, "base", reason);
}


ngx_int_t
ngx_http_entra_mdm_patch_too_large(ngx_http_entra_mdm_patch_t *patch)
{
    if (patch->r == NULL) {
        return NGX_OK;
    }

    return ngx_http_entra_mdm_config_too_large(patch->r);
}


ngx_int_t
ngx_http_entra_mdm_patch_no_match(ngx_http_entra_mdm_patch_t *patch)
{
    return ngx_http_entra_mdm_patch_error(patch, NGX_HTTP_PRECONDITION_FAILED,
                                          "the lists have changed since "
                                          "(If-Match); nothing was changed");
}


ngx_int_t
ngx_http_entra_mdm_patch_no_room(ngx_http_entra_mdm_patch_t *patch)
{
    return ngx_http_entra_mdm_patch_error(patch,
                                          NGX_HTTP_INSUFFICIENT_STORAGE,
                                          "two copies of the lists do not fit "
                                          "the zone: raise \"zone\"; nothing "
                                          "was changed");
}


/*** its request ***/


ngx_int_t
ngx_http_entra_mdm_api_config_patch(ngx_http_request_t *r)
{
    ngx_int_t  rc;

    if (r->headers_in.content_length_n > NGX_HTTP_ENTRA_MDM_API_MAX_BODY) {
        return ngx_http_entra_mdm_api_error(r,
                                            NGX_HTTP_REQUEST_ENTITY_TOO_LARGE,
                                            "base",
                                            "the body is larger than 4m");
    }

    rc = ngx_http_read_client_request_body(r, ngx_http_entra_mdm_patch_body);

    return rc >= NGX_HTTP_SPECIAL_RESPONSE ? rc : NGX_DONE;
}


/* the request's own may be gone before the change is made */

static ngx_int_t
ngx_http_entra_mdm_patch_author(ngx_http_entra_mdm_patch_t *patch)
{
    ngx_http_entra_mdm_author_t  *author;

    author = &patch->author;

    if (ngx_http_entra_mdm_api_author(patch->r, author) != NGX_OK) {
        return NGX_ERROR;
    }

    entra_activity_text(patch->actor, sizeof(patch->actor),
                        ngx_http_entra_mdm_str(&author->actor));
    entra_activity_text(patch->role, sizeof(patch->role),
                        ngx_http_entra_mdm_str(&author->role));

    author->actor.data = (u_char *) patch->actor;
    author->actor.len = ngx_strlen(patch->actor);
    author->role.data = (u_char *) patch->role;
    author->role.len = ngx_strlen(patch->role);

    return NGX_OK;
}


static ngx_http_entra_mdm_patch_t *
ngx_http_entra_mdm_patch_create(ngx_http_request_t *r)
{
    ngx_log_t                    *log;
    ngx_pool_t                   *pool;
    ngx_http_cleanup_t           *cln;
    ngx_http_entra_mdm_patch_t   *patch, **holder;

    cln = ngx_http_cleanup_add(r, sizeof(ngx_http_entra_mdm_patch_t *));
    if (cln == NULL) {
        return NULL;
    }

    log = ngx_cycle->log;

    pool = ngx_create_pool(ngx_pagesize, log);
    if (pool == NULL) {
        return NULL;
    }

    patch = ngx_pcalloc(pool, sizeof(ngx_http_entra_mdm_patch_t));
    if (patch == NULL) {
        ngx_destroy_pool(pool);
        return NULL;
    }

    patch->r = r;
    patch->log = log;
    patch->pool = pool;
    patch->lists = ngx_create_pool(ngx_pagesize, log);
    patch->policy = ngx_http_entra_mdm_api_policy(r);
    patch->mem.alloc = ngx_http_entra_mdm_patch_alloc;
    patch->mem.data = pool;

    if (patch->lists == NULL
        || ngx_http_entra_mdm_patch_author(patch) != NGX_OK)
    {
        ngx_http_entra_mdm_patch_free(patch);
        return NULL;
    }

    holder = cln->data;
    *holder = patch;

    cln->handler = ngx_http_entra_mdm_patch_cleanup;

    return patch;
}


static ngx_int_t
ngx_http_entra_mdm_patch_text(ngx_http_request_t *r, entra_str_t *text)
{
    char                       *p;
    ngx_int_t                   rc;
    entra_str_t                 piece;
    ngx_http_entra_mdm_body_t   body;

    p = ngx_palloc(r->pool, ngx_http_entra_mdm_body_size(r) + 1);
    if (p == NULL) {
        return NGX_ERROR;
    }

    *text = (entra_str_t) { p, 0 };

    ngx_http_entra_mdm_body_start(r, &body);

    do {
        rc = ngx_http_entra_mdm_body_next(r, &body, &piece);
        if (rc == NGX_ERROR) {
            return NGX_ERROR;
        }

        if (piece.len) {
            ngx_memcpy(p + text->len, piece.data, piece.len);
            text->len += piece.len;
        }

    } while (rc == NGX_OK);

    return NGX_OK;
}


/* NGX_DECLINED: what is to be said is in *rc */

static ngx_int_t
ngx_http_entra_mdm_patch_read(ngx_http_entra_mdm_patch_t *patch,
    ngx_int_t *rc)
{
    ngx_uint_t           status;
    entra_str_t          text;
    ngx_http_request_t  *r;

    r = patch->r;
    *rc = NGX_HTTP_INTERNAL_SERVER_ERROR;

    if (ngx_http_entra_mdm_body_size(r) > NGX_HTTP_ENTRA_MDM_API_MAX_BODY) {
        *rc = ngx_http_entra_mdm_patch_error(patch,
                                            NGX_HTTP_REQUEST_ENTITY_TOO_LARGE,
                                            "the body is larger than 4m");
        return NGX_DECLINED;
    }

    if (ngx_http_entra_mdm_patch_text(r, &text) != NGX_OK) {
        return NGX_DECLINED;
    }

    switch (entra_config_parse(text, &patch->mem, &patch->named)) {

    case ENTRA_CONFIG_OK:
        return NGX_OK;

    case ENTRA_CONFIG_NOT_JSON:
        status = NGX_HTTP_BAD_REQUEST;
        break;

    case ENTRA_CONFIG_INVALID:
        status = 422;
        break;

    case ENTRA_CONFIG_TOO_LARGE:
        status = NGX_HTTP_REQUEST_ENTITY_TOO_LARGE;
        break;

    default:
        return NGX_DECLINED;
    }

    *rc = ngx_http_entra_mdm_api_errors(r, status, patch->named.errors,
                                        patch->named.nerrors);

    return NGX_DECLINED;
}


/*
 * Called at once or later.  Until the request is finalized a second time,
 * which is for patch_done(), it stays.
 */

static void
ngx_http_entra_mdm_patch_body(ngx_http_request_t *r)
{
    ngx_int_t                    rc;
    ngx_http_entra_mdm_patch_t  *patch;

    patch = ngx_http_entra_mdm_patch_create(r);

    if (patch == NULL) {
        ngx_http_finalize_request(r, NGX_HTTP_INTERNAL_SERVER_ERROR);
        return;
    }

    if (ngx_http_entra_mdm_patch_read(patch, &rc) != NGX_OK) {
        ngx_http_entra_mdm_patch_done(patch, rc);
        return;
    }

    /* a client that goes is noticed while others are waited for */

    r->read_event_handler = ngx_http_test_reading;
    r->write_event_handler = ngx_http_request_empty_handler;

    if (patch->policy->live_redis) {
        ngx_http_entra_mdm_patch_redis(patch);
        return;
    }

    ngx_http_entra_mdm_patch_zone(patch);
}
