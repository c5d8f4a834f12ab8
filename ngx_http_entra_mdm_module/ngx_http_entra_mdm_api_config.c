/*
 * The lists, shown: the answer to GET config, and to a change.
 */

#include "ngx_http_entra_mdm_api_patch.h"


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
    const entra_lists_t *lists, ngx_atomic_uint_t tagged)
{
    if (tagged && policy->tagged == tagged) {
        return NGX_OK;
    }

    policy->tagged = 0;

    if (!entra_config_tag(lists, (char *) policy->tag)) {
        return NGX_ERROR;
    }

    policy->tagged = tagged;

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

    value = ngx_pnalloc(r->pool, sizeof(policy->tag) + 2);
    if (value == NULL) {
        return NGX_ERROR;
    }

    /* last: what is pushed is sent, be it with an error page */

    h = ngx_list_push(&r->headers_out.headers);
    if (h == NULL) {
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


ngx_int_t
ngx_http_entra_mdm_config_send(ngx_http_request_t *r,
    const entra_lists_t *lists, ngx_atomic_uint_t generation,
    ngx_atomic_uint_t tagged)
{
    size_t                          size;
    ngx_http_entra_mdm_text_t       text;
    ngx_http_entra_mdm_policy_t    *policy;
    ngx_http_entra_mdm_loc_conf_t  *emlcf;

    emlcf = ngx_http_get_module_loc_conf(r, ngx_http_entra_mdm_module);
    policy = emlcf->api;

    if (ngx_http_entra_mdm_config_tag(policy, lists, tagged) != NGX_OK
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
                            "\"source\":\"%s\"%s}\n",
                            generation, emlcf->api_gitops ? "true" : "false",
                            ngx_http_entra_mdm_api_source(policy),
                            ngx_http_entra_mdm_lists_in_force(policy)
                            ? "" : ",\"in_force\":false");

    return ngx_http_entra_mdm_api_send(r, NGX_HTTP_OK, &text);
}


ngx_int_t
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
    ngx_int_t                     rc;
    entra_lists_t                 lists;
    ngx_atomic_uint_t             generation, tagged;
    ngx_http_entra_mdm_policy_t  *policy;

    policy = ngx_http_entra_mdm_api_policy(r);

    rc = ngx_http_entra_mdm_lists_copy(policy, r->pool, ENTRA_CONFIG_MAX_IDS,
                                       &lists, &generation);

    if (rc == NGX_DECLINED) {
        return ngx_http_entra_mdm_config_too_large(r);
    }

    if (rc != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    tagged = generation + 1;

    if (policy->live_redis) {
        generation = ngx_http_entra_mdm_zone(policy)->feed.generation;
    }

    return ngx_http_entra_mdm_config_send(r, &lists, generation, tagged);
}
