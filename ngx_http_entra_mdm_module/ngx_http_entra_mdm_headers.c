/*
 * Identity headers: named by the policies, taken off what clients send, set
 * on what was accepted.  A header of ours is told from a client's by its
 * name, which lies in the configuration's memory and nowhere else.
 */

#include "ngx_http_entra_mdm_module.h"

#include "entra_escape.h"


static ngx_str_t  ngx_http_entra_mdm_header_names[] = {
    ngx_string("UPN"),
    ngx_string("Tenant-ID"),
    ngx_string("Object-ID"),
    ngx_string("Device-ID"),
    ngx_string("Audience"),
    ngx_string("Token-Version"),
};


typedef enum {
    NGX_HTTP_ENTRA_MDM_NOT_IDENTITY = 0,
    NGX_HTTP_ENTRA_MDM_FOREIGN,         /* a client sent it */
    NGX_HTTP_ENTRA_MDM_OURS
} ngx_http_entra_mdm_header_e;


static ngx_int_t ngx_http_entra_mdm_header_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);


/*
 * $http_x_entra_upn and so on are ours as well: what nginx answers before any
 * phase has run, and logs, must not have a forged name either.  Not cacheable,
 * since the header comes later.
 */

static ngx_int_t
ngx_http_entra_mdm_header_variable_add(ngx_conf_t *cf, ngx_str_t *lowcase)
{
    size_t                i;
    ngx_str_t             name;
    ngx_http_variable_t  *var;

    name.len = sizeof("http_") - 1 + lowcase->len;

    name.data = ngx_pnalloc(cf->pool, name.len);
    if (name.data == NULL) {
        return NGX_ERROR;
    }

    ngx_sprintf(name.data, "http_%V", lowcase);

    for (i = 0; i < name.len; i++) {
        if (name.data[i] == '-') {
            name.data[i] = '_';
        }
    }

    var = ngx_http_add_variable(cf, &name, NGX_HTTP_VAR_CHANGEABLE
                                           |NGX_HTTP_VAR_NOCACHEABLE);
    if (var == NULL) {
        return NGX_ERROR;
    }

    var->get_handler = ngx_http_entra_mdm_header_variable;
    var->data = (uintptr_t) lowcase;

    return NGX_OK;
}


ngx_int_t
ngx_http_entra_mdm_headers_name(ngx_conf_t *cf,
    ngx_http_entra_mdm_policy_t *policy, ngx_str_t *prefix)
{
    u_char      *p;
    ngx_str_t   *name;
    ngx_uint_t   i;

    for (i = 0; i < NGX_HTTP_ENTRA_MDM_HEADERS; i++) {
        name = &policy->headers[i];

        name->len = prefix->len + ngx_http_entra_mdm_header_names[i].len;
        name->data = ngx_pnalloc(cf->pool, 2 * name->len);

        if (name->data == NULL) {
            return NGX_ERROR;
        }

        p = ngx_cpymem(name->data, prefix->data, prefix->len);
        p = ngx_cpymem(p, ngx_http_entra_mdm_header_names[i].data,
                       ngx_http_entra_mdm_header_names[i].len);

        policy->lowcase[i].data = p;
        policy->lowcase[i].len = name->len;

        ngx_strlow(p, name->data, name->len);

        if (ngx_http_entra_mdm_header_variable_add(cf, &policy->lowcase[i])
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


/*
 * FastCGI and its kin map "-" to "_", some backends other bytes too: a name
 * that reads like ours once every byte but letters and digits is "-" is ours
 * to take off.
 */

static ngx_uint_t
ngx_http_entra_mdm_header_like(ngx_str_t *key, ngx_str_t *lowcase)
{
    u_char  ch;
    size_t  i;

    if (key->len != lowcase->len) {
        return 0;
    }

    for (i = 0; i < key->len; i++) {
        ch = ngx_tolower(key->data[i]);

        if ((ch < 'a' || ch > 'z') && (ch < '0' || ch > '9')) {
            ch = '-';
        }

        if (ch != lowcase->data[i]) {
            return 0;
        }
    }

    return 1;
}


static ngx_http_entra_mdm_header_e
ngx_http_entra_mdm_header_kind(ngx_http_entra_mdm_main_conf_t *emmcf,
    ngx_table_elt_t *h)
{
    ngx_uint_t                     i, j;
    ngx_http_entra_mdm_policy_t  **policy;

    policy = emmcf->policies.elts;

    for (i = 0; i < emmcf->policies.nelts; i++) {
        for (j = 0; j < NGX_HTTP_ENTRA_MDM_HEADERS; j++) {

            if (h->key.data == policy[i]->headers[j].data) {
                return NGX_HTTP_ENTRA_MDM_OURS;
            }
        }
    }

    for (i = 0; i < emmcf->policies.nelts; i++) {
        for (j = 0; j < NGX_HTTP_ENTRA_MDM_HEADERS; j++) {

            if (ngx_http_entra_mdm_header_like(&h->key,
                                               &policy[i]->lowcase[j]))
            {
                return NGX_HTTP_ENTRA_MDM_FOREIGN;
            }
        }
    }

    return NGX_HTTP_ENTRA_MDM_NOT_IDENTITY;
}


static ngx_int_t
ngx_http_entra_mdm_header_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    ngx_str_t *lowcase = (ngx_str_t *) data;

    ngx_uint_t                       i;
    ngx_list_part_t                 *part;
    ngx_table_elt_t                 *h;
    ngx_http_entra_mdm_main_conf_t  *emmcf;

    emmcf = ngx_http_get_module_main_conf(r, ngx_http_entra_mdm_module);

    for (part = &r->headers_in.headers.part; part; part = part->next) {
        h = part->elts;

        for (i = 0; i < part->nelts; i++) {

            /* policies may share a prefix: the name decides, not whose */

            if (ngx_http_entra_mdm_header_kind(emmcf, &h[i])
                == NGX_HTTP_ENTRA_MDM_OURS
                && ngx_http_entra_mdm_header_like(&h[i].key, lowcase))
            {
                v->data = h[i].value.data;
                v->len = h[i].value.len;
                v->valid = 1;
                v->no_cacheable = 1;
                v->not_found = 0;

                return NGX_OK;
            }
        }
    }

    v->not_found = 1;

    return NGX_OK;
}


/* is there a header of at least this kind? */

static ngx_uint_t
ngx_http_entra_mdm_headers_find(ngx_http_request_t *r,
    ngx_http_entra_mdm_main_conf_t *emmcf, ngx_uint_t ours)
{
    ngx_uint_t                    i;
    ngx_list_part_t              *part;
    ngx_table_elt_t              *h;
    ngx_http_entra_mdm_header_e   kind;

    for (part = &r->headers_in.headers.part; part; part = part->next) {
        h = part->elts;

        for (i = 0; i < part->nelts; i++) {
            kind = ngx_http_entra_mdm_header_kind(emmcf, &h[i]);

            if (kind == NGX_HTTP_ENTRA_MDM_FOREIGN
                || (ours && kind == NGX_HTTP_ENTRA_MDM_OURS))
            {
                return 1;
            }
        }
    }

    return 0;
}


/*
 * Request headers cannot be removed one by one: upstream modules do not look
 * at a cleared hash, and a subrequest's list ends in its parent's memory.  A
 * new list with the survivors takes the old one's place; typed pointers go on
 * pointing to the old elements, whose strings are the same.
 */

static ngx_int_t
ngx_http_entra_mdm_headers_rebuild(ngx_http_request_t *r,
    ngx_http_entra_mdm_main_conf_t *emmcf, ngx_uint_t keep_ours,
    ngx_table_elt_t *add, ngx_uint_t nadd)
{
    ngx_uint_t                    i, n;
    ngx_list_t                    headers;
    ngx_list_part_t              *part;
    ngx_table_elt_t              *h, *copy;
    ngx_http_entra_mdm_header_e   kind;

    n = nadd;

    for (part = &r->headers_in.headers.part; part; part = part->next) {
        n += part->nelts;
    }

    if (ngx_list_init(&headers, r->pool, n ? n : 1, sizeof(ngx_table_elt_t))
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    for (part = &r->headers_in.headers.part; part; part = part->next) {
        h = part->elts;

        for (i = 0; i < part->nelts; i++) {
            kind = ngx_http_entra_mdm_header_kind(emmcf, &h[i]);

            if (kind == NGX_HTTP_ENTRA_MDM_FOREIGN
                || (kind == NGX_HTTP_ENTRA_MDM_OURS && !keep_ours))
            {
                continue;
            }

            copy = ngx_list_push(&headers);
            if (copy == NULL) {
                return NGX_ERROR;
            }

            *copy = h[i];
        }
    }

    for (i = 0; i < nadd; i++) {
        copy = ngx_list_push(&headers);
        if (copy == NULL) {
            return NGX_ERROR;
        }

        *copy = add[i];
    }

    r->headers_in.headers = headers;

    /* one part: the list's end is inside the list itself */
    r->headers_in.headers.last = &r->headers_in.headers.part;

#if (nginx_version >= 1023000)
    /* headers of one name are linked anew when a variable asks for them */
    r->headers_in.multi_linked = 0;
#endif

    return NGX_OK;
}


ngx_uint_t
ngx_http_entra_mdm_headers_count(ngx_http_request_t *r, ngx_str_t *lowcase)
{
    ngx_uint_t        i, n;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h;

    n = 0;

    for (part = &r->headers_in.headers.part; part; part = part->next) {
        h = part->elts;

        for (i = 0; i < part->nelts; i++) {
            if (ngx_http_entra_mdm_header_like(&h[i].key, lowcase)) {
                n++;
            }
        }
    }

    return n;
}


ngx_int_t
ngx_http_entra_mdm_headers_handler(ngx_http_request_t *r)
{
    ngx_http_entra_mdm_main_conf_t  *emmcf;

    emmcf = ngx_http_get_module_main_conf(r, ngx_http_entra_mdm_module);

    if (!ngx_http_entra_mdm_headers_find(r, emmcf, 0)) {
        return NGX_DECLINED;
    }

    if (ngx_http_entra_mdm_headers_rebuild(r, emmcf, 1, NULL, 0) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return NGX_DECLINED;
}


static ngx_int_t
ngx_http_entra_mdm_header_set(ngx_http_request_t *r, ngx_table_elt_t *h,
    ngx_str_t *name, ngx_str_t *lowcase, entra_str_t value)
{
    u_char  *p;

    p = ngx_pnalloc(r->pool, value.len * ENTRA_ESCAPE_MAX + 1);
    if (p == NULL) {
        return NGX_ERROR;
    }

    ngx_memzero(h, sizeof(ngx_table_elt_t));

    h->hash = ngx_hash_key(lowcase->data, lowcase->len);
    h->key = *name;
    h->lowcase_key = lowcase->data;
    h->value.data = p;
    h->value.len = (u_char *) entra_escape_header(value, (char *) p) - p;

    p[h->value.len] = '\0';

    return NGX_OK;
}


ngx_int_t
ngx_http_entra_mdm_headers_set(ngx_http_request_t *r,
    ngx_http_entra_mdm_ctx_t *ctx)
{
    entra_str_t                      values[NGX_HTTP_ENTRA_MDM_HEADERS];
    ngx_uint_t                       i, n;
    ngx_table_elt_t                  add[NGX_HTTP_ENTRA_MDM_HEADERS];
    const entra_claims_t            *claims;
    ngx_http_entra_mdm_main_conf_t  *emmcf;

    emmcf = ngx_http_get_module_main_conf(r, ngx_http_entra_mdm_module);

    if (ctx->state != NGX_HTTP_ENTRA_MDM_ACCEPTED) {

        if (!ngx_http_entra_mdm_headers_find(r, emmcf, 1)) {
            return NGX_OK;
        }

        return ngx_http_entra_mdm_headers_rebuild(r, emmcf, 0, NULL, 0);
    }

    claims = &ctx->verdict.claims;

    /* a claim that is absent or of another type has no value */

    values[0] = ctx->verdict.identity.user;
    values[1] = claims->tid.value;
    values[2] = claims->oid.value;
    values[3] = claims->deviceid.value;
    values[4] = ctx->verdict.identity.audience;
    values[5] = claims->ver.value;

    n = 0;

    for (i = 0; i < NGX_HTTP_ENTRA_MDM_HEADERS; i++) {

        if (values[i].len == 0) {
            continue;
        }

        if (ngx_http_entra_mdm_header_set(r, &add[n++], &ctx->policy->headers[i],
                                          &ctx->policy->lowcase[i], values[i])
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return ngx_http_entra_mdm_headers_rebuild(r, emmcf, 0, add, n);
}
