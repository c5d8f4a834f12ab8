/*
 * Directives of a policy that say whom to accept.
 */

#include "ngx_http_entra_mdm_policy.h"

#include "entra_url.h"


#define MAX_LEEWAY  300                 /* what Entra's own library allows */


char *
ngx_http_entra_mdm_server_url(ngx_conf_t *cf,
    ngx_http_entra_mdm_block_t *block, ngx_str_t *value, ngx_uint_t n)
{
    ngx_uint_t    i;
    entra_str_t  *host;
    entra_url_t   url;

    for (i = 0; i < n; i++) {

        if (!entra_url_parse(ngx_http_entra_mdm_str(&value[i]), &url)
            || url.host.len == 0 || url.userinfo || url.fragment
            || (!entra_str_ieq(url.scheme, entra_lit("https"))
                && !entra_str_ieq(url.scheme, entra_lit("http"))))
        {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid value \"%V\" in \"server_url\" "
                               "directive: it must be a URL with a host, such "
                               "as https://fleet.example.com", &value[i]);
            return NGX_CONF_ERROR;
        }

        host = ngx_array_push(&block->hosts);
        if (host == NULL) {
            return NGX_CONF_ERROR;
        }

        *host = url.host;
    }

    return NGX_CONF_OK;
}


/* NGX_DECLINED: it is known; nothing but its 16 bytes counts */

static ngx_int_t
ngx_http_entra_mdm_guid_new(ngx_conf_t *cf, ngx_rbtree_t *known,
    entra_guid_t *id)
{
    uint32_t         hash;
    ngx_str_t        bytes;
    ngx_str_node_t  *node;

    bytes.data = (u_char *) id;
    bytes.len = sizeof(entra_guid_t);

    hash = ngx_murmur_hash2(bytes.data, bytes.len);

    if (ngx_str_rbtree_lookup(known, &bytes, hash) != NULL) {
        return NGX_DECLINED;
    }

    node = ngx_palloc(cf->temp_pool, sizeof(ngx_str_node_t));
    if (node == NULL) {
        return NGX_ERROR;
    }

    node->node.key = hash;
    node->str.len = bytes.len;
    node->str.data = ngx_pstrdup(cf->temp_pool, &bytes);

    if (node->str.data == NULL) {
        return NGX_ERROR;
    }

    ngx_rbtree_insert(known, &node->node);

    return NGX_OK;
}


static char *
ngx_http_entra_mdm_guids(ngx_conf_t *cf, ngx_array_t *list,
    ngx_rbtree_t *known, const char *name, ngx_str_t *value, ngx_uint_t n)
{
    ngx_int_t      rc;
    ngx_uint_t     i;
    entra_guid_t   id, *added;

    for (i = 0; i < n; i++) {

        if (!entra_guid_parse(ngx_http_entra_mdm_str(&value[i]), &id)) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid value \"%V\" in \"%s\" directive: it "
                               "must be a GUID, 8-4-4-4-12 hex digits without "
                               "blanks or braces", &value[i], name);
            return NGX_CONF_ERROR;
        }

        rc = ngx_http_entra_mdm_guid_new(cf, known, &id);

        if (rc == NGX_DECLINED) {
            ngx_conf_log_error(NGX_LOG_WARN, cf, 0,
                               "\"%V\" is repeated in \"%s\", once is enough",
                               &value[i], name);
            continue;
        }

        added = (rc == NGX_OK) ? ngx_array_push(list) : NULL;
        if (added == NULL) {
            return NGX_CONF_ERROR;
        }

        *added = id;
    }

    return NGX_CONF_OK;
}


char *
ngx_http_entra_mdm_client_id(ngx_conf_t *cf,
    ngx_http_entra_mdm_block_t *block, ngx_str_t *value, ngx_uint_t n)
{
    return ngx_http_entra_mdm_guids(cf, &block->client_ids,
                                    &block->client_known, "client_id",
                                    value, n);
}


char *
ngx_http_entra_mdm_tenant_id(ngx_conf_t *cf,
    ngx_http_entra_mdm_block_t *block, ngx_str_t *value, ngx_uint_t n)
{
    return ngx_http_entra_mdm_guids(cf, &block->tenant_ids,
                                    &block->tenant_known, "tenant_id",
                                    value, n);
}


char *
ngx_http_entra_mdm_cloud(ngx_conf_t *cf, ngx_http_entra_mdm_block_t *block,
    ngx_str_t *value, ngx_uint_t n)
{
    ngx_uint_t  i;

    static const char  *names[ENTRA_CLOUDS] = { "public", "usgov", "china" };

    for (i = 0; i < ENTRA_CLOUDS; i++) {
        if (ngx_strcmp(value->data, names[i]) == 0) {
            block->cloud = (entra_cloud_t) i;
            return NGX_CONF_OK;
        }
    }

    return "it must be public, usgov or china";
}


char *
ngx_http_entra_mdm_issuer(ngx_conf_t *cf, ngx_http_entra_mdm_block_t *block,
    ngx_str_t *value, ngx_uint_t n)
{
    ngx_uint_t    i;
    entra_str_t  *issuer;

    for (i = 0; i < n; i++) {

        if (value[i].len == 0) {
            return "an issuer cannot be empty";
        }

        issuer = ngx_array_push(&block->issuers);
        if (issuer == NULL) {
            return NGX_CONF_ERROR;
        }

        *issuer = ngx_http_entra_mdm_str(&value[i]);
    }

    return NGX_CONF_OK;
}


char *
ngx_http_entra_mdm_scope(ngx_conf_t *cf, ngx_http_entra_mdm_block_t *block,
    ngx_str_t *value, ngx_uint_t n)
{
    if (value->len == 0) {
        return "it must be the name of a scope, or off";
    }

    block->policy->rules.scope = (ngx_strcmp(value->data, "off") == 0)
                                 ? ENTRA_STR_NONE
                                 : ngx_http_entra_mdm_str(value);

    return NGX_CONF_OK;
}


char *
ngx_http_entra_mdm_leeway(ngx_conf_t *cf, ngx_http_entra_mdm_block_t *block,
    ngx_str_t *value, ngx_uint_t n)
{
    ngx_int_t  seconds;

    seconds = ngx_parse_time(value, 1);

    if (seconds == NGX_ERROR || seconds > MAX_LEEWAY) {
        return "it must be a time of at most 300s";
    }

    block->policy->rules.leeway = seconds;

    return NGX_CONF_OK;
}


char *
ngx_http_entra_mdm_require_upn(ngx_conf_t *cf,
    ngx_http_entra_mdm_block_t *block, ngx_str_t *value, ngx_uint_t n)
{
    if (ngx_strcasecmp(value->data, (u_char *) "on") == 0) {
        block->policy->rules.require_upn = true;
        return NGX_CONF_OK;
    }

    if (ngx_strcasecmp(value->data, (u_char *) "off") == 0) {
        return NGX_CONF_OK;
    }

    return "it must be on or off";
}


char *
ngx_http_entra_mdm_device_token(ngx_conf_t *cf,
    ngx_http_entra_mdm_block_t *block, ngx_str_t *value, ngx_uint_t n)
{
    if (ngx_strcmp(value->data, "pass") == 0) {
        block->policy->device_token_pass = 1;
        return NGX_CONF_OK;
    }

    if (ngx_strcmp(value->data, "deny") == 0) {
        return NGX_CONF_OK;
    }

    return "it must be deny or pass";
}
