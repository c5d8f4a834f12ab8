/*
 * The lists, shown and changed.
 */

#include "ngx_http_entra_mdm_api.h"


#define TRIES  200                      /* with a few milliseconds between */


/* a change under way; in the pool of its request */

typedef struct {
    ngx_http_request_t           *r;
    ngx_http_entra_mdm_policy_t  *policy;
    ngx_http_entra_mdm_author_t   author;
    entra_config_patch_t          patch;
    entra_mem_t                   mem;

    ngx_pool_t                   *pool;         /* of one try */

    ngx_event_t                   event;
    ngx_uint_t                    tries;
} ngx_http_entra_mdm_patch_t;


static void ngx_http_entra_mdm_patch_body(ngx_http_request_t *r);
static ngx_int_t ngx_http_entra_mdm_patch_zone(
    ngx_http_entra_mdm_patch_t *patch);


/*** showing ***/


const char *
ngx_http_entra_mdm_api_source(ngx_http_entra_mdm_policy_t *policy)
{
    switch (ngx_http_entra_mdm_zone(policy)->source) {

    case NGX_HTTP_ENTRA_MDM_FROM_REDIS:
        return policy->live_redis ? "redis" : "state";

    case NGX_HTTP_ENTRA_MDM_FROM_LOST:
        return policy->live_redis ? "lost" : "state";

    default:
        return "state";
    }
}


/* this worker keeps that of the latest generation it was asked for */

static ngx_int_t
ngx_http_entra_mdm_config_tag(ngx_http_entra_mdm_policy_t *policy,
    const entra_lists_t *lists, ngx_atomic_uint_t generation)
{
    if (policy->tagged == generation + 1) {
        return NGX_OK;
    }

    policy->tagged = 0;

    if (!entra_config_tag(lists, (char *) policy->tag)) {
        return NGX_ERROR;
    }

    policy->tagged = generation + 1;

    return NGX_OK;
}


static void
ngx_http_entra_mdm_config_lists(ngx_http_entra_mdm_text_t *text,
    const entra_set_t *client_ids, const entra_set_t *tenant_ids)
{
    ngx_http_entra_mdm_text(text, "{\"windows_entra_client_ids\":");
    ngx_http_entra_mdm_text_ids(text, client_ids);
    ngx_http_entra_mdm_text(text, ",\"windows_entra_tenant_ids\":");
    ngx_http_entra_mdm_text_ids(text, tenant_ids);
    ngx_http_entra_mdm_text(text, "}");
}


static ngx_int_t
ngx_http_entra_mdm_config_etag(ngx_http_request_t *r,
    ngx_http_entra_mdm_policy_t *policy)
{
    u_char           *value;
    ngx_table_elt_t  *h;

    h = ngx_list_push(&r->headers_out.headers);
    value = ngx_pnalloc(r->pool, sizeof(policy->tag) + 2);

    if (h == NULL || value == NULL) {
        return NGX_ERROR;
    }

    ngx_memzero(h, sizeof(ngx_table_elt_t));

    value[0] = '"';
    ngx_memcpy(&value[1], policy->tag, sizeof(policy->tag));
    value[sizeof(policy->tag) + 1] = '"';

    h->hash = 1;
    ngx_str_set(&h->key, "ETag");
    h->value.data = value;
    h->value.len = sizeof(policy->tag) + 2;

    r->headers_out.etag = h;

    return NGX_OK;
}


static ngx_int_t
ngx_http_entra_mdm_config_send(ngx_http_request_t *r,
    const entra_lists_t *lists, ngx_atomic_uint_t generation)
{
    size_t                          size;
    ngx_http_entra_mdm_text_t       text;
    ngx_http_entra_mdm_policy_t    *policy;
    ngx_http_entra_mdm_loc_conf_t  *emlcf;

    emlcf = ngx_http_get_module_loc_conf(r, ngx_http_entra_mdm_module);
    policy = emlcf->api;

    if (ngx_http_entra_mdm_config_tag(policy, lists, generation) != NGX_OK
        || ngx_http_entra_mdm_config_etag(r, policy) != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    /* all at once, each with its quotes and a comma */

    size = 8192 + (ENTRA_GUID_LEN + 3)
                  * (lists->list[ENTRA_CLIENT_IDS].ids.count
                     + lists->list[ENTRA_TENANT_IDS].ids.count
                     + policy->rules.client_ids.count
                     + policy->rules.tenant_ids.count);

    ngx_http_entra_mdm_text_init(&text, r->pool, size);

    ngx_http_entra_mdm_text(&text, "{\"mdm\":");
    ngx_http_entra_mdm_config_lists(&text, &lists->list[ENTRA_CLIENT_IDS].ids,
                                    &lists->list[ENTRA_TENANT_IDS].ids);
    ngx_http_entra_mdm_text(&text, ",\"static\":");
    ngx_http_entra_mdm_config_lists(&text, &policy->rules.client_ids,
                                    &policy->rules.tenant_ids);
    ngx_http_entra_mdm_text(&text, ",\"generation\":%uA,\"gitops_mode\":%s,"
                            "\"source\":\"%s\"}\n", generation,
                            emlcf->api_gitops ? "true" : "false",
                            ngx_http_entra_mdm_api_source(policy));

    return ngx_http_entra_mdm_api_send(r, NGX_HTTP_OK, &text);
}


static ngx_int_t
ngx_http_entra_mdm_config_too_large(ngx_http_request_t *r)
{
    return ngx_http_entra_mdm_api_error(r, NGX_HTTP_REQUEST_ENTITY_TOO_LARGE,
                                        "mdm", "a list in force has more than "
                                        "25000 IDs; larger lists are for "
                                        "Redis");
}


ngx_int_t
ngx_http_entra_mdm_api_config_get(ngx_http_request_t *r)
{
    entra_lists_t      lists;
    ngx_atomic_uint_t  generation;

    switch (ngx_http_entra_mdm_lists_copy(ngx_http_entra_mdm_api_policy(r),
                                          r->pool, ENTRA_CONFIG_MAX_IDS,
                                          &lists, &generation))
    {
    case NGX_OK:
        return ngx_http_entra_mdm_config_send(r, &lists, generation);

    case NGX_DECLINED:
        return ngx_http_entra_mdm_config_too_large(r);

    default:
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }
}


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


/* by the lists of this moment; without the header everything matches */

static ngx_int_t
ngx_http_entra_mdm_patch_match(ngx_http_entra_mdm_patch_t *patch,
    const entra_lists_t *lists)
{
    char              tag[ENTRA_CONFIG_TAG_LEN];
    ngx_table_elt_t  *h;

    h = patch->r->headers_in.if_match;

    if (h == NULL) {
        return NGX_OK;
    }

    if (!entra_config_tag(lists, tag)) {
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


/*** changing: the request ***/


/*
 * The body handler is called at once or later; until the request is finalized
 * a second time, which is for whoever answers, it stays.
 */

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


static void *
ngx_http_entra_mdm_patch_alloc(void *data, size_t size)
{
    return ngx_palloc(data, size);
}


static void
ngx_http_entra_mdm_patch_cleanup(void *data)
{
    ngx_http_entra_mdm_patch_t *patch = data;

    if (patch->event.timer_set) {
        ngx_del_timer(&patch->event);
    }

    if (patch->pool) {
        ngx_destroy_pool(patch->pool);
        patch->pool = NULL;
    }
}


static ngx_http_entra_mdm_patch_t *
ngx_http_entra_mdm_patch_create(ngx_http_request_t *r)
{
    ngx_http_cleanup_t          *cln;
    ngx_http_entra_mdm_patch_t  *patch;

    cln = ngx_http_cleanup_add(r, sizeof(ngx_http_entra_mdm_patch_t));
    if (cln == NULL) {
        return NULL;
    }

    patch = cln->data;
    ngx_memzero(patch, sizeof(ngx_http_entra_mdm_patch_t));

    patch->r = r;
    patch->policy = ngx_http_entra_mdm_api_policy(r);
    patch->mem.alloc = ngx_http_entra_mdm_patch_alloc;
    patch->mem.data = r->pool;

    if (ngx_http_entra_mdm_api_author(r, &patch->author) != NGX_OK) {
        return NULL;
    }

    patch->pool = ngx_create_pool(ngx_pagesize, r->connection->log);
    cln->handler = ngx_http_entra_mdm_patch_cleanup;

    return patch->pool ? patch : NULL;
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


/* NGX_OK: it is in patch->patch; else the answer has been given */

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
        *rc = ngx_http_entra_mdm_api_error(r,
                                           NGX_HTTP_REQUEST_ENTITY_TOO_LARGE,
                                           "base",
                                           "the body is larger than 4m");
        return NGX_DECLINED;
    }

    if (ngx_http_entra_mdm_patch_text(r, &text) != NGX_OK) {
        return NGX_DECLINED;
    }

    switch (entra_config_parse(text, &patch->mem, &patch->patch)) {

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

    *rc = ngx_http_entra_mdm_api_errors(r, status, patch->patch.errors,
                                        patch->patch.nerrors);

    return NGX_DECLINED;
}


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

    if (ngx_http_entra_mdm_patch_read(patch, &rc) == NGX_OK) {
        rc = ngx_http_entra_mdm_patch_zone(patch);
    }

    if (rc != NGX_AGAIN) {
        ngx_http_finalize_request(r, rc);
    }
}


/*** changing: the zone ***/


static void
ngx_http_entra_mdm_patch_timer(ngx_event_t *ev)
{
    ngx_int_t                    rc;
    ngx_connection_t            *c;
    ngx_http_request_t          *r;
    ngx_http_entra_mdm_patch_t  *patch;

    patch = ev->data;
    r = patch->r;
    c = r->connection;

    ngx_http_set_log_request(c->log, r);

    rc = ngx_http_entra_mdm_patch_zone(patch);

    if (rc != NGX_AGAIN) {
        ngx_http_finalize_request(r, rc);
    }

    ngx_http_run_posted_requests(c);
}


/* another worker is at it: a moment later, not at the same time as others */

static ngx_int_t
ngx_http_entra_mdm_patch_again(ngx_http_entra_mdm_patch_t *patch)
{
    ngx_http_request_t  *r;

    r = patch->r;

    if (++patch->tries == TRIES) {
        return ngx_http_entra_mdm_api_error(r, NGX_HTTP_SERVICE_UNAVAILABLE,
                                            "base", "the lists change too "
                                            "often; nothing was changed");
    }

    r->read_event_handler = ngx_http_test_reading;
    r->write_event_handler = ngx_http_request_empty_handler;

    patch->event.handler = ngx_http_entra_mdm_patch_timer;
    patch->event.data = patch;
    patch->event.log = r->connection->log;

    ngx_add_timer(&patch->event, 1 + ngx_random() % 10);

    return NGX_AGAIN;
}


/*
 * The lists as they will be.  Who was on one stays as typed: another spelling
 * is no change.
 */

static void
ngx_http_entra_mdm_patch_apply(ngx_http_entra_mdm_patch_t *patch,
    const entra_lists_t *from, entra_lists_t *to, ngx_uint_t *changed)
{
    ngx_uint_t             i;
    entra_config_patch_t  *named;

    named = &patch->patch;

    *to = *from;
    *changed = 0;

    for (i = 0; i < ENTRA_LISTS; i++) {

        if (!(named->lists & (1u << i))
            || entra_set_eq(&from->list[i].ids, &named->list[i]))
        {
            continue;
        }

        entra_set_keep_typed(&named->list[i], named->upper[i],
                             &from->list[i].ids);

        to->list[i].ids = named->list[i];
        *changed |= 1u << i;
    }
}


static ngx_int_t
ngx_http_entra_mdm_patch_publish(ngx_http_entra_mdm_patch_t *patch,
    const entra_lists_t *from, const entra_lists_t *to, ngx_uint_t changed,
    ngx_atomic_uint_t generation)
{
    ngx_int_t                     rc;
    ngx_uint_t                    i;
    entra_set_t                   was[ENTRA_LISTS];
    ngx_http_entra_mdm_change_t   change;

    ngx_memzero(&change, sizeof(ngx_http_entra_mdm_change_t));

    for (i = 0; i < ENTRA_LISTS; i++) {
        was[i] = from->list[i].ids;
        change.list[i] = to->list[i].ids;
    }

    change.lists = changed;
    change.source = NGX_HTTP_ENTRA_MDM_FROM_STATE;
    change.expects = 1;
    change.expected = generation;

    rc = ngx_http_entra_mdm_lists_publish(patch->policy, &change,
                                          patch->r->connection->log);

    if (rc == NGX_OK) {
        ngx_http_entra_mdm_activities_note(patch->policy, changed, was,
                                           change.list, &patch->author);
    }

    return rc;
}


/* what to finalize the request with, or NGX_AGAIN */

static ngx_int_t
ngx_http_entra_mdm_patch_zone(ngx_http_entra_mdm_patch_t *patch)
{
    ngx_int_t            rc;
    ngx_uint_t           changed;
    entra_lists_t        from, to;
    ngx_atomic_uint_t    generation;
    ngx_http_request_t  *r;

    r = patch->r;

    ngx_reset_pool(patch->pool);

    rc = ngx_http_entra_mdm_lists_copy(patch->policy, patch->pool,
                                       ENTRA_CONFIG_MAX_IDS, &from,
                                       &generation);

    if (rc == NGX_DECLINED) {
        return ngx_http_entra_mdm_config_too_large(r);
    }

    if (rc == NGX_OK) {
        rc = ngx_http_entra_mdm_patch_match(patch, &from);
    }

    if (rc == NGX_DECLINED) {
        return ngx_http_entra_mdm_api_error(r, NGX_HTTP_PRECONDITION_FAILED,
                                            "base", "the lists have changed "
                                            "since (If-Match); nothing was "
                                            "changed");
    }

    if (rc != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ngx_http_entra_mdm_patch_apply(patch, &from, &to, &changed);

    if (!changed) {
        return ngx_http_entra_mdm_config_send(r, &from, generation);
    }

    switch (ngx_http_entra_mdm_patch_publish(patch, &from, &to, changed,
                                             generation))
    {
    case NGX_OK:
        return ngx_http_entra_mdm_config_send(r, &to, generation + 1);

    case NGX_DECLINED:
        return ngx_http_entra_mdm_api_error(r, NGX_HTTP_INSUFFICIENT_STORAGE,
                                            "mdm", "two copies of the lists "
                                            "do not fit the zone: raise "
                                            "\"zone\"; nothing was changed");

    default:
        return ngx_http_entra_mdm_patch_again(patch);
    }
}
