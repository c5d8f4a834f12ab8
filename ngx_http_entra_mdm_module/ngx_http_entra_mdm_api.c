/*
 * The management API's front: directives, then who may do what.  nginx has
 * authenticated the client before a request comes here.
 */

#include "ngx_http_entra_mdm_api.h"


#define READ    (NGX_HTTP_GET|NGX_HTTP_HEAD)
#define CHANGE  NGX_HTTP_PATCH


typedef struct {
    ngx_str_t     name;                 /* the path below the location */
    const char   *allow;
    ngx_uint_t    methods;
    ngx_int_t   (*read)(ngx_http_request_t *r);
    ngx_int_t   (*change)(ngx_http_request_t *r);
} ngx_http_entra_mdm_api_resource_t;


static ngx_http_entra_mdm_api_resource_t  ngx_http_entra_mdm_resources[] = {
    { ngx_string("config"), "GET, HEAD, PATCH", READ|CHANGE,
      ngx_http_entra_mdm_api_config_get, ngx_http_entra_mdm_api_config_patch },
    { ngx_string("activities"), "GET, HEAD", READ,
      ngx_http_entra_mdm_api_activities_get, NULL },
    { ngx_string("status"), "GET, HEAD", READ,
      ngx_http_entra_mdm_api_status_get, NULL },
    { ngx_null_string, NULL, 0, NULL, NULL }
};


static struct {
    ngx_str_t   name;
    ngx_uint_t  methods;
} ngx_http_entra_mdm_roles[] = {
    { ngx_string("admin"), READ|CHANGE },
    { ngx_string("gitops"), READ|CHANGE },
    { ngx_string("maintainer"), READ },
    { ngx_string("observer"), READ },
    { ngx_string("observer_plus"), READ },
    { ngx_null_string, 0 }
};


/*** directives ***/


static ngx_int_t ngx_http_entra_mdm_api_handler(ngx_http_request_t *r);


/* what is below it must be below it in every request that comes here */

static ngx_uint_t
ngx_http_entra_mdm_api_prefix(ngx_http_core_loc_conf_t *clcf)
{
#if (NGX_PCRE)
    if (clcf->regex) {
        return 0;
    }
#endif

    return !clcf->exact_match && !clcf->named;
}


char *
ngx_http_entra_mdm_api(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_entra_mdm_loc_conf_t *emlcf = conf;

    ngx_str_t                       *value;
    ngx_http_core_loc_conf_t        *clcf;
    ngx_http_entra_mdm_main_conf_t  *emmcf;

    if (emlcf->api != NULL) {
        return "is duplicate";
    }

    value = cf->args->elts;
    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    if (!ngx_http_entra_mdm_api_prefix(clcf)) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"entra_mdm_api\" cannot stand in location "
                           "\"%V\": its paths are below a prefix, such as "
                           "location /entra-mdm/api/", &clcf->name);
        return NGX_CONF_ERROR;
    }

    emmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_entra_mdm_module);

    emlcf->api = ngx_http_entra_mdm_policy_get(cf, emmcf, &value[1]);
    if (emlcf->api == NULL) {
        return NGX_CONF_ERROR;
    }

    emlcf->api_file = cf->conf_file->file.name;
    emlcf->api_line = cf->conf_file->line;

    emlcf->api->api = 1;
    emlcf->api->live = 1;

    clcf->handler = ngx_http_entra_mdm_api_handler;

    return NGX_CONF_OK;
}


/* a role that a client can choose is no role, and a name is none either */

static void
ngx_http_entra_mdm_api_check_chosen(ngx_conf_t *cf, ngx_str_t *value)
{
    size_t  i;

    static ngx_str_t  chosen[] = {
        ngx_string("$http_"), ngx_string("${http_"),
        ngx_string("$arg_"), ngx_string("${arg_"),
        ngx_string("$cookie_"), ngx_string("${cookie_"),
    };

    for (i = 0; i < sizeof(chosen) / sizeof(chosen[0]); i++) {
        if (ngx_strlcasestrn(value->data, value->data + value->len,
                             chosen[i].data, chosen[i].len - 1)
            != NULL)
        {
            ngx_conf_log_error(NGX_LOG_WARN, cf, 0,
                               "\"entra_mdm_api_role %V\" is what the client "
                               "says: use a variable that follows from its "
                               "authentication, such as one that "
                               "\"map $remote_user\" sets", value);
            return;
        }
    }
}


static void
ngx_http_entra_mdm_api_check_role(ngx_conf_t *cf,
    ngx_http_complex_value_t *role)
{
    if (role->lengths == NULL) {
        ngx_conf_log_error(NGX_LOG_WARN, cf, 0,
                           "\"entra_mdm_api_role %V\" is the role of "
                           "everybody: use a variable, such as one that "
                           "\"map $remote_user\" sets", &role->value);
        return;
    }

    ngx_http_entra_mdm_api_check_chosen(cf, &role->value);
}


/* "actor=VALUE"; NULL: the log has it */

static ngx_http_complex_value_t *
ngx_http_entra_mdm_api_actor(ngx_conf_t *cf, ngx_str_t parameter)
{
    ngx_str_t                          value;
    ngx_http_complex_value_t          *actor;
    ngx_http_compile_complex_value_t   ccv;

    value = parameter;

    if (value.len <= 6 || ngx_strncmp(value.data, "actor=", 6) != 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid parameter \"%V\": the second is "
                           "\"actor=VALUE\", such as "
                           "actor=$ssl_client_s_dn", &parameter);
        return NULL;
    }

    value.data += 6;
    value.len -= 6;

    actor = ngx_palloc(cf->pool, sizeof(ngx_http_complex_value_t));
    if (actor == NULL) {
        return NULL;
    }

    ngx_memzero(&ccv, sizeof(ngx_http_compile_complex_value_t));

    ccv.cf = cf;
    ccv.value = &value;
    ccv.complex_value = actor;

    if (ngx_http_compile_complex_value(&ccv) != NGX_OK) {
        return NULL;
    }

    ngx_http_entra_mdm_api_check_chosen(cf, &actor->value);

    return actor;
}


char *
ngx_http_entra_mdm_api_role(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_entra_mdm_loc_conf_t *emlcf = conf;

    char       *rv;
    ngx_str_t  *value;

    rv = ngx_http_set_complex_value_slot(cf, cmd, conf);

    if (rv != NGX_CONF_OK) {
        return rv;
    }

    ngx_http_entra_mdm_api_check_role(cf, emlcf->api_role);

    value = cf->args->elts;

    if (cf->args->nelts == 3) {
        emlcf->api_actor = ngx_http_entra_mdm_api_actor(cf, value[2]);

        if (emlcf->api_actor == NULL) {
            return NGX_CONF_ERROR;
        }
    }

    return NGX_CONF_OK;
}


ngx_int_t
ngx_http_entra_mdm_api_merge(ngx_conf_t *cf,
    ngx_http_entra_mdm_loc_conf_t *prev, ngx_http_entra_mdm_loc_conf_t *conf)
{
    ngx_http_core_loc_conf_t  *clcf;

    ngx_conf_merge_value(conf->api_gitops, prev->api_gitops, 0);

    if (conf->api_role == NULL) {
        conf->api_role = prev->api_role;
        conf->api_actor = prev->api_actor;
    }

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    if (prev->api != NULL && (clcf->noname || clcf->lmt_excpt)) {

        /* "if" and "limit_except" are part of the location they stand in */

        conf->api = prev->api;
        conf->api_file = prev->api_file;
        conf->api_line = prev->api_line;

        if (clcf->lmt_excpt && clcf->handler == NULL) {
            clcf->handler = ngx_http_entra_mdm_api_handler;
        }
    }

    if (conf->api == NULL) {
        return NGX_OK;
    }

    if (conf->policy != NGX_CONF_UNSET_PTR && conf->policy != NULL) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "\"entra_mdm %V\" and \"entra_mdm_api\" cannot stand "
                      "in one location: an administrator has no enrollment "
                      "token, in %V:%ui", &conf->policy->name,
                      &conf->api_file, conf->api_line);
        return NGX_ERROR;
    }

    if (conf->api_role == NULL) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "\"entra_mdm_api\" needs \"entra_mdm_api_role\", which "
                      "says who may read and who may change the lists, "
                      "in %V:%ui", &conf->api_file, conf->api_line);
        return NGX_ERROR;
    }

    if (clcf->satisfy == NGX_HTTP_SATISFY_ANY && !clcf->noname
        && !clcf->lmt_excpt)
    {
        ngx_log_error(NGX_LOG_WARN, cf->log, 0,
                      "\"satisfy any\" beside \"entra_mdm_api\": whoever "
                      "another rule lets in need not know a password and may "
                      "claim to be any $remote_user; use \"satisfy all\" "
                      "in %V:%ui", &conf->api_file, conf->api_line);
    }

    return NGX_OK;
}


/*** who may ***/


/*
 * nginx leaves out the access rules for subrequests, and turns the method
 * into GET on error pages: what was allowed there is not what was asked here.
 */

static ngx_uint_t
ngx_http_entra_mdm_api_direct(ngx_http_request_t *r)
{
    return r == r->main
           && r->request_line.len > r->method_name.len
           && ngx_strncmp(r->request_line.data, r->method_name.data,
                          r->method_name.len) == 0
           && r->request_line.data[r->method_name.len] == ' ';
}


/* NULL: there is no such thing */

static ngx_http_entra_mdm_api_resource_t *
ngx_http_entra_mdm_api_resource(ngx_http_request_t *r)
{
    ngx_str_t                           path;
    ngx_http_core_loc_conf_t           *clcf;
    ngx_http_entra_mdm_api_resource_t  *resource;

    clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);

    path = r->uri;

    if (path.len < clcf->name.len) {
        return NULL;
    }

    path.data += clcf->name.len;
    path.len -= clcf->name.len;

    if (clcf->name.len == 0 || clcf->name.data[clcf->name.len - 1] != '/') {

        if (path.len == 0 || path.data[0] != '/') {
            return NULL;
        }

        path.data++;
        path.len--;
    }

    for (resource = ngx_http_entra_mdm_resources; resource->name.len;
         resource++)
    {
        if (path.len == resource->name.len
            && ngx_strncmp(path.data, resource->name.data, path.len) == 0)
        {
            return resource;
        }
    }

    return NULL;
}


static ngx_uint_t
ngx_http_entra_mdm_api_methods(const ngx_str_t *role)
{
    ngx_uint_t  i;

    for (i = 0; ngx_http_entra_mdm_roles[i].name.len; i++) {
        if (role->len == ngx_http_entra_mdm_roles[i].name.len
            && ngx_strncmp(role->data, ngx_http_entra_mdm_roles[i].name.data,
                           role->len) == 0)
        {
            return ngx_http_entra_mdm_roles[i].methods;
        }
    }

    return 0;
}


ngx_int_t
ngx_http_entra_mdm_api_author(ngx_http_request_t *r,
    ngx_http_entra_mdm_author_t *author)
{
    ngx_http_entra_mdm_loc_conf_t  *emlcf;

    emlcf = ngx_http_get_module_loc_conf(r, ngx_http_entra_mdm_module);

    if (ngx_http_complex_value(r, emlcf->api_role, &author->role) != NGX_OK) {
        return NGX_ERROR;
    }

    if (emlcf->api_actor != NULL) {

        if (ngx_http_complex_value(r, emlcf->api_actor, &author->actor)
            != NGX_OK)
        {
            return NGX_ERROR;
        }

    } else {

        if (ngx_http_auth_basic_user(r) == NGX_ERROR) {
            return NGX_ERROR;
        }

        author->actor = r->headers_in.user;
    }

    if (author->actor.len == 0) {
        author->actor = author->role;
    }

    return NGX_OK;
}


/*
 * Cross-site requests.  A page of another site cannot send application/json
 * without asking first, and nobody answers; but a browser also says where a
 * request comes from.  TLS may end before us, so "https" is no other site
 * than our own "http".
 */

static ngx_str_t
ngx_http_entra_mdm_api_host(ngx_http_request_t *r)
{
    ngx_str_t  host;

    if (r->headers_in.host != NULL) {
        return r->headers_in.host->value;
    }

    ngx_str_null(&host);

    if (r->http_version >= NGX_HTTP_VERSION_20 && r->host_end) {
        /* ":authority", of which HTTP/3 makes no Host */
        host.data = r->host_start;
        host.len = r->host_end - r->host_start;
    }

    return host;
}


static ngx_uint_t
ngx_http_entra_mdm_api_own_origin(ngx_http_request_t *r, ngx_str_t *origin)
{
    ngx_str_t   rest, host;
    ngx_uint_t  https;

#if (NGX_HTTP_SSL)
    https = r->connection->ssl != NULL;
#else
    https = 0;
#endif

    rest = *origin;

    if (rest.len > 8 && ngx_strncasecmp(rest.data, (u_char *) "https://", 8)
                        == 0)
    {
        rest.data += 8;
        rest.len -= 8;

    } else if (!https && rest.len > 7
               && ngx_strncasecmp(rest.data, (u_char *) "http://", 7) == 0)
    {
        rest.data += 7;
        rest.len -= 7;

    } else {
        return 0;
    }

    host = ngx_http_entra_mdm_api_host(r);

    return host.len == rest.len
           && ngx_strncasecmp(host.data, rest.data, rest.len) == 0;
}


static ngx_uint_t
ngx_http_entra_mdm_api_is(ngx_table_elt_t *h, const char *lowcase)
{
    return h->key.len == ngx_strlen(lowcase)
           && ngx_strncasecmp(h->key.data, (u_char *) lowcase, h->key.len)
              == 0;
}


/* NULL: it comes from nowhere else */

static const char *
ngx_http_entra_mdm_api_cross_site(ngx_http_request_t *r)
{
    ngx_uint_t        i;
    ngx_str_t        *value;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h;

    part = &r->headers_in.headers.part;
    h = part->elts;

    for (i = 0; /* void */; i++) {

        if (i >= part->nelts) {
            if (part->next == NULL) {
                return NULL;
            }

            part = part->next;
            h = part->elts;
            i = 0;
        }

        value = &h[i].value;

        if (ngx_http_entra_mdm_api_is(&h[i], "sec-fetch-site")
            && !(value->len == 11
                 && ngx_strncmp(value->data, "same-origin", 11) == 0)
            && !(value->len == 4 && ngx_strncmp(value->data, "none", 4) == 0))
        {
            return "a request from another site (Sec-Fetch-Site) changes "
                   "nothing";
        }

        if (ngx_http_entra_mdm_api_is(&h[i], "origin")
            && !ngx_http_entra_mdm_api_own_origin(r, value))
        {
            return "a request from another site (Origin) changes nothing";
        }
    }
}


/* parameters may follow, such as a charset */

static ngx_uint_t
ngx_http_entra_mdm_api_is_json(ngx_http_request_t *r)
{
    size_t      len;
    ngx_str_t  *type;

    len = sizeof("application/json") - 1;

    if (r->headers_in.content_type == NULL) {
        return 0;
    }

    type = &r->headers_in.content_type->value;

    return type->len >= len
           && ngx_strncasecmp(type->data, (u_char *) "application/json", len)
              == 0
           && (type->len == len || type->data[len] == ';'
               || type->data[len] == ' ' || type->data[len] == '\t');
}


ngx_uint_t
ngx_http_entra_mdm_api_may_change(ngx_http_request_t *r,
    const ngx_str_t *role)
{
    ngx_http_entra_mdm_loc_conf_t  *emlcf;

    emlcf = ngx_http_get_module_loc_conf(r, ngx_http_entra_mdm_module);

    if (!(ngx_http_entra_mdm_api_methods(role) & CHANGE)) {
        return 0;
    }

    return !emlcf->api_gitops
           || (role->len == 6 && ngx_strncmp(role->data, "gitops", 6) == 0);
}


static ngx_int_t
ngx_http_entra_mdm_api_change(ngx_http_request_t *r,
    ngx_http_entra_mdm_api_resource_t *resource, const ngx_str_t *role)
{
    const char  *why;

    if (!(ngx_http_entra_mdm_api_methods(role) & CHANGE)) {
        return ngx_http_entra_mdm_api_error(r, NGX_HTTP_FORBIDDEN, "base",
                                            "this role may read, not change");
    }

    if (!ngx_http_entra_mdm_api_may_change(r, role)) {
        return ngx_http_entra_mdm_api_error(r, NGX_HTTP_FORBIDDEN, "base",
                                            "in GitOps mode only the role "
                                            "gitops may change the lists");
    }

    why = ngx_http_entra_mdm_api_cross_site(r);

    if (why != NULL) {
        return ngx_http_entra_mdm_api_error(r, NGX_HTTP_FORBIDDEN, "base",
                                            why);
    }

    if (!ngx_http_entra_mdm_api_is_json(r)) {
        return ngx_http_entra_mdm_api_error(r,
                                            NGX_HTTP_UNSUPPORTED_MEDIA_TYPE,
                                            "base", "the Content-Type must be "
                                            "application/json");
    }

    return resource->change(r);
}


static ngx_int_t
ngx_http_entra_mdm_api_handler(ngx_http_request_t *r)
{
    ngx_http_entra_mdm_author_t         author;
    ngx_http_entra_mdm_api_resource_t  *resource;

    if (r != r->main) {
        return NGX_HTTP_FORBIDDEN;
    }

    if (!ngx_http_entra_mdm_api_direct(r)) {
        return ngx_http_entra_mdm_api_error(r, NGX_HTTP_FORBIDDEN, "base",
                                            "the method of this request has "
                                            "been rewritten");
    }

    if (ngx_http_entra_mdm_api_author(r, &author) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (ngx_http_entra_mdm_api_methods(&author.role) == 0) {
        return ngx_http_entra_mdm_api_error(r, NGX_HTTP_FORBIDDEN, "base",
                                            "no role that may read");
    }

    resource = ngx_http_entra_mdm_api_resource(r);

    if (resource == NULL) {
        return ngx_http_entra_mdm_api_error(r, NGX_HTTP_NOT_FOUND, "base",
                                            "there are config, activities and "
                                            "status");
    }

    if (!(r->method & resource->methods)) {

        if (ngx_http_entra_mdm_api_header(r, "Allow", resource->allow)
            != NGX_OK)
        {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        return ngx_http_entra_mdm_api_error(r, NGX_HTTP_NOT_ALLOWED, "base",
                                            "this method is not known here");
    }

    if (r->method & CHANGE) {
        return ngx_http_entra_mdm_api_change(r, resource, &author.role);
    }

    return resource->read(r);
}
