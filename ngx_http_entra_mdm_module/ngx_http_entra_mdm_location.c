/*
 * The location that serves a key set: where it is, and whether it is safe.
 */

#include "ngx_http_entra_mdm_location.h"


/*** finding it, as nginx would ***/


/* NGX_OK: it is for that URI alone; NGX_AGAIN: for those that begin so */

static ngx_int_t
ngx_http_entra_mdm_location_static(ngx_http_location_tree_node_t *node,
    const ngx_str_t *path, ngx_http_core_loc_conf_t **found)
{
    u_char     *uri;
    size_t      len, n;
    ngx_int_t   rc, best;

    uri = path->data;
    len = path->len;
    best = NGX_DECLINED;

    while (node != NULL) {

        n = ngx_min(len, (size_t) node->len);
        rc = ngx_filename_cmp(uri, node->name, n);

        if (rc != 0) {
            node = (rc < 0) ? node->left : node->right;
            continue;
        }

        if (len < (size_t) node->len) {
            node = node->left;
            continue;
        }

        if (len == (size_t) node->len) {
            *found = node->exact ? node->exact : node->inclusive;
            return node->exact ? NGX_OK : NGX_AGAIN;
        }

        if (node->inclusive == NULL) {
            node = node->right;
            continue;
        }

        *found = node->inclusive;
        best = NGX_AGAIN;

        node = node->tree;
        uri += n;
        len -= n;
    }

    return best;
}


static ngx_http_core_loc_conf_t *
ngx_http_entra_mdm_location_regex(ngx_http_core_loc_conf_t *outer,
    ngx_str_t *path)
{
#if (NGX_PCRE)

    int                         captures[3];
    ngx_http_core_loc_conf_t  **clcf;

    for (clcf = outer->regex_locations; clcf && *clcf; clcf++) {
        if (ngx_regex_exec((*clcf)->regex->regex, path, captures, 3) >= 0) {
            return *clcf;
        }
    }

#endif

    return NULL;
}


static ngx_int_t
ngx_http_entra_mdm_location_find(ngx_http_core_loc_conf_t *outer,
    ngx_str_t *path, ngx_http_core_loc_conf_t **found)
{
    ngx_int_t                  rc;
    ngx_http_core_loc_conf_t  *clcf;

    clcf = NULL;

    rc = ngx_http_entra_mdm_location_static(outer->static_locations, path,
                                            &clcf);

    if (clcf != NULL) {
        *found = clcf;
    }

    if (rc == NGX_AGAIN
        && ngx_http_entra_mdm_location_find(clcf, path, found) == NGX_OK)
    {
        return NGX_OK;
    }

    if (rc == NGX_OK
#if (NGX_PCRE)
        || (clcf != NULL && clcf->noregex)
#endif
       )
    {
        return rc;
    }

    clcf = ngx_http_entra_mdm_location_regex(outer, path);

    if (clcf != NULL) {
        *found = clcf;
        return NGX_AGAIN;
    }

    return rc;
}


/*
 * Every server has a "location /", as a rule: that it would answer means that
 * the one for the keys was forgotten.
 */

static ngx_int_t
ngx_http_entra_mdm_location_server(ngx_http_core_srv_conf_t *cscf,
    ngx_str_t *path, ngx_http_core_loc_conf_t **found)
{
    ngx_int_t  rc;

    rc = ngx_http_entra_mdm_location_find(
                  cscf->ctx->loc_conf[ngx_http_core_module.ctx_index], path,
                  found);

    if (rc == NGX_AGAIN && (*found)->name.len == 1
        && (*found)->name.data[0] == '/')
    {
        return NGX_DECLINED;
    }

    return rc;
}


/*** judging it ***/


static void
ngx_http_entra_mdm_location_warn(ngx_conf_t *cf,
    ngx_http_entra_mdm_policy_t *policy, const char *what)
{
    ngx_log_error(NGX_LOG_WARN, cf->log, 0,
                  "location \"%V\" of \"jwks request=\" %s: policy \"%V\" "
                  "in %V:%ui", &policy->keys->uri, what, &policy->name,
                  &policy->file, policy->line);
}


/* NULL: that module is not there, or the location is not its own */

static ngx_http_upstream_conf_t *
ngx_http_entra_mdm_location_proxy(ngx_conf_t *cf,
    ngx_http_core_loc_conf_t *clcf)
{
    ngx_uint_t      i;
    ngx_module_t   *module;

    if (clcf->handler == NULL) {
        return NULL;
    }

    for (i = 0; cf->cycle->modules[i]; i++) {
        module = cf->cycle->modules[i];

        if (ngx_strcmp(module->name, "ngx_http_proxy_module") == 0) {
            /* what nginx calls so begins with the upstream's configuration */
            return clcf->loc_conf[module->ctx_index];
        }
    }

    return NULL;
}


static void
ngx_http_entra_mdm_location_check(ngx_conf_t *cf,
    ngx_http_entra_mdm_policy_t *policy, ngx_http_core_loc_conf_t *clcf)
{
    ngx_http_upstream_conf_t  *ucf;

    if (!clcf->internal) {
        ngx_http_entra_mdm_location_warn(cf, policy,
                              "is open to clients: say \"internal\" in it");
    }

    ucf = ngx_http_entra_mdm_location_proxy(cf, clcf);

    if (ucf == NULL) {
        return;
    }

#if (NGX_HTTP_SSL)

    if (ucf->ssl != NULL && ucf->ssl->ctx != NULL && ucf->ssl_verify != 1) {

        /* with a variable in it, nobody knows yet whether it is https */

        ngx_http_entra_mdm_location_warn(cf, policy,
                  ucf->upstream != NULL
                  ? "takes signing keys from whoever answers: say "
                    "\"proxy_ssl_verify on\" and "
                    "\"proxy_ssl_trusted_certificate\" in it"
                  : "takes signing keys from whoever answers, if it asks over "
                    "TLS: say \"proxy_ssl_verify on\" and "
                    "\"proxy_ssl_trusted_certificate\" in it");
    }

#endif

#if (NGX_HTTP_CACHE)

    if (ucf->cache == 1) {
        ngx_http_entra_mdm_location_warn(cf, policy,
                  "has a cache, which would answer with the old keys when they "
                  "change: say \"proxy_cache off\" in it");
    }

#endif
}


/*** all policies ***/


static void
ngx_http_entra_mdm_location_split(ngx_http_entra_mdm_keys_t *keys)
{
    u_char  *p, *end;

    keys->uri = keys->name;
    ngx_str_null(&keys->args);

    end = keys->name.data + keys->name.len;
    p = ngx_strlchr(keys->name.data, end, '?');

    if (p != NULL) {
        keys->uri.len = p - keys->name.data;
        keys->args.data = p + 1;
        keys->args.len = end - p - 1;
    }
}


static ngx_int_t
ngx_http_entra_mdm_location(ngx_conf_t *cf,
    ngx_http_core_main_conf_t *cmcf, ngx_http_entra_mdm_policy_t *policy)
{
    ngx_int_t                    rc, best;
    ngx_uint_t                   i;
    ngx_http_core_loc_conf_t    *clcf, *found;
    ngx_http_core_srv_conf_t   **cscfp;
    ngx_http_entra_mdm_keys_t   *keys;

    keys = policy->keys;
    cscfp = cmcf->servers.elts;

    best = NGX_DECLINED;
    found = NULL;

    ngx_http_entra_mdm_location_split(keys);

    for (i = 0; i < cmcf->servers.nelts && best != NGX_OK; i++) {

        rc = ngx_http_entra_mdm_location_server(cscfp[i], &keys->uri, &clcf);

        if (rc == NGX_OK || (rc == NGX_AGAIN && best == NGX_DECLINED)) {
            best = rc;
            found = clcf;
            keys->server = cscfp[i]->ctx;
        }
    }

    if (best == NGX_DECLINED) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "no server has a location for \"jwks request=%V\" of "
                      "policy \"%V\": write \"location = %V { internal; ... "
                      "}\" or include entra-mdm/jwks-public.conf, -usgov or "
                      "-china (it has /_entra/jwks) in a server, "
                      "in %V:%ui", &keys->name, &policy->name, &keys->uri,
                      &policy->file, policy->line);
        return NGX_ERROR;
    }

    if (best == NGX_OK) {
        ngx_http_entra_mdm_location_check(cf, policy, found);

    } else {
        ngx_http_entra_mdm_location_warn(cf, policy,
                  "is not checked, since it is no \"location =\": see that it "
                  "is internal, verifies TLS, and has no cache");
    }

    /* the answer is kept in memory whole; by default it may have a page */

    if (found->subrequest_output_buffer_size < NGX_HTTP_ENTRA_MDM_MAX_JWKS) {
        found->subrequest_output_buffer_size = NGX_HTTP_ENTRA_MDM_MAX_JWKS;
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_entra_mdm_locations(ngx_conf_t *cf,
    ngx_http_entra_mdm_main_conf_t *emmcf)
{
    ngx_uint_t                     i;
    ngx_http_core_main_conf_t     *cmcf;
    ngx_http_entra_mdm_policy_t  **policy;

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);
    policy = emmcf->policies.elts;

    for (i = 0; i < emmcf->policies.nelts; i++) {

        if (policy[i]->keys->from == NGX_HTTP_ENTRA_MDM_JWKS_REQUEST
            && ngx_http_entra_mdm_location(cf, cmcf, policy[i]) != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}
