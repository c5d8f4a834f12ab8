/*
 * Directives of locations, their inheritance, and the phases the module
 * takes part in.  What a policy holds is in ngx_http_entra_mdm_policy.c; what
 * happens to a request starts in ngx_http_entra_mdm_access.c.
 */

#include "ngx_http_entra_mdm_api.h"
#include "ngx_http_entra_mdm_location.h"
#include "ngx_http_entra_mdm_metrics.h"
#include "ngx_http_entra_mdm_node.h"
#include "ngx_http_entra_mdm_redis.h"
#include "ngx_http_entra_mdm_state.h"

#include "entra_version.h"


static void *ngx_http_entra_mdm_create_main_conf(ngx_conf_t *cf);
static char *ngx_http_entra_mdm_init_main_conf(ngx_conf_t *cf, void *conf);
static void *ngx_http_entra_mdm_create_loc_conf(ngx_conf_t *cf);
static char *ngx_http_entra_mdm_merge_loc_conf(ngx_conf_t *cf, void *parent,
    void *child);
static char *ngx_http_entra_mdm(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static ngx_int_t ngx_http_entra_mdm_init(ngx_conf_t *cf);
static ngx_int_t ngx_http_entra_mdm_init_module(ngx_cycle_t *cycle);


static ngx_command_t  ngx_http_entra_mdm_commands[] = {

    { ngx_string("entra_mdm_policy"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_BLOCK|NGX_CONF_TAKE1,
      ngx_http_entra_mdm_policy_block,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("entra_mdm"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE12,
      ngx_http_entra_mdm,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("entra_mdm_dry_run"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_FLAG,
      ngx_conf_set_flag_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_entra_mdm_loc_conf_t, dry_run),
      NULL },

    { ngx_string("entra_mdm_tou_redirect"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_FLAG,
      ngx_conf_set_flag_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_entra_mdm_loc_conf_t, tou_redirect),
      NULL },

    { ngx_string("entra_mdm_api"),
      NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_http_entra_mdm_api,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("entra_mdm_api_role"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE12,
      ngx_http_entra_mdm_api_role,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_entra_mdm_loc_conf_t, api_role),
      NULL },

    { ngx_string("entra_mdm_api_gitops"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_FLAG,
      ngx_conf_set_flag_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_entra_mdm_loc_conf_t, api_gitops),
      NULL },

    { ngx_string("entra_mdm_metrics"),
      NGX_HTTP_LOC_CONF|NGX_CONF_NOARGS,
      ngx_http_entra_mdm_metrics,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

      ngx_null_command
};


static ngx_http_module_t  ngx_http_entra_mdm_module_ctx = {
    ngx_http_entra_mdm_variables_add,      /* preconfiguration */
    ngx_http_entra_mdm_init,               /* postconfiguration */

    ngx_http_entra_mdm_create_main_conf,   /* create main configuration */
    ngx_http_entra_mdm_init_main_conf,     /* init main configuration */

    NULL,                                  /* create server configuration */
    NULL,                                  /* merge server configuration */

    ngx_http_entra_mdm_create_loc_conf,    /* create location configuration */
    ngx_http_entra_mdm_merge_loc_conf      /* merge location configuration */
};


ngx_module_t  ngx_http_entra_mdm_module = {
    NGX_MODULE_V1,
    &ngx_http_entra_mdm_module_ctx,        /* module context */
    ngx_http_entra_mdm_commands,           /* module directives */
    NGX_HTTP_MODULE,                       /* module type */
    NULL,                                  /* init master */
    ngx_http_entra_mdm_init_module,        /* init module */
    ngx_http_entra_mdm_node_start,         /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    ngx_http_entra_mdm_node_stop,          /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


static void *
ngx_http_entra_mdm_create_main_conf(ngx_conf_t *cf)
{
    ngx_http_entra_mdm_main_conf_t  *emmcf;

    emmcf = ngx_pcalloc(cf->pool, sizeof(ngx_http_entra_mdm_main_conf_t));
    if (emmcf == NULL) {
        return NULL;
    }

    if (ngx_array_init(&emmcf->policies, cf->pool, 1,
                       sizeof(ngx_http_entra_mdm_policy_t *))
        != NGX_OK)
    {
        return NULL;
    }

    return emmcf;
}


static char *
ngx_http_entra_mdm_init_main_conf(ngx_conf_t *cf, void *conf)
{
    ngx_http_entra_mdm_main_conf_t *emmcf = conf;

    ngx_str_t                       name;
    ngx_uint_t                      i;
    ngx_http_core_loc_conf_t       *clcf;
    ngx_http_entra_mdm_policy_t   **policy;
    ngx_http_entra_mdm_loc_conf_t  *emlcf;

    policy = emmcf->policies.elts;

    for (i = 0; i < emmcf->policies.nelts; i++) {
        if (!policy[i]->defined) {
            ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                          "unknown policy \"%V\" in \"%s\", define it "
                          "with \"entra_mdm_policy %V { ... }\" in http{} "
                          "in %V:%ui", &policy[i]->name,
                          policy[i]->api ? "entra_mdm_api" : "entra_mdm",
                          &policy[i]->name,
                          &policy[i]->file, policy[i]->line);
            return NGX_CONF_ERROR;
        }

        ngx_http_entra_mdm_policy_check(cf, policy[i]);

        if (ngx_http_entra_mdm_redis_resolve(cf, policy[i]) != NGX_OK) {
            return NGX_CONF_ERROR;
        }
    }

    if (ngx_http_entra_mdm_state_directories(cf, emmcf) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    ngx_str_set(&name, "request_id");

    emmcf->request_id = ngx_http_get_variable_index(cf, &name);
    if (emmcf->request_id == NGX_ERROR) {
        return NGX_CONF_ERROR;
    }

    /* nothing merges the http level: remember its error pages here */

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);
    emlcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_entra_mdm_module);
    emlcf->error_pages = clcf->error_pages;

    return NGX_CONF_OK;
}


static void *
ngx_http_entra_mdm_create_loc_conf(ngx_conf_t *cf)
{
    ngx_http_entra_mdm_loc_conf_t  *emlcf;

    emlcf = ngx_pcalloc(cf->pool, sizeof(ngx_http_entra_mdm_loc_conf_t));
    if (emlcf == NULL) {
        return NULL;
    }

    emlcf->policy = NGX_CONF_UNSET_PTR;
    emlcf->dry_run = NGX_CONF_UNSET;
    emlcf->tou_redirect = NGX_CONF_UNSET;
    emlcf->api_gitops = NGX_CONF_UNSET;

    return emlcf;
}


/*
 * An error page replaces a SOAP fault only where it was written for that very
 * location.  The core's configuration is merged before ours, so an inherited
 * array is the one its parent has; "if" and "limit_except" are part of the
 * location they stand in.
 */

static ngx_uint_t
ngx_http_entra_mdm_own_error_page(ngx_http_core_loc_conf_t *clcf,
    ngx_http_entra_mdm_loc_conf_t *prev)
{
    if (clcf->error_pages == prev->error_pages) {
        return (clcf->noname || clcf->lmt_excpt) ? prev->own_error_page : 0;
    }

    return clcf->name.len || clcf->noname || clcf->lmt_excpt;
}


/* what an administrator may not have meant, told once per location */

static void
ngx_http_entra_mdm_check_location(ngx_conf_t *cf,
    ngx_http_core_loc_conf_t *clcf, ngx_http_entra_mdm_loc_conf_t *conf)
{
    ngx_http_entra_mdm_policy_t  *policy;

    policy = conf->policy;

    /* a server's own level counts only where it has no locations */

    if (policy == NULL || clcf->noname || clcf->lmt_excpt
        || (clcf->name.len == 0 && clcf->locations != NULL))
    {
        return;
    }

    if (conf->dry_run) {
        policy->dry_run_locations++;
    }

    if (conf->token != NGX_HTTP_ENTRA_MDM_BEARER
        && clcf->client_max_body_size
        && clcf->client_max_body_size < (off_t) policy->max_body)
    {
        ngx_log_error(NGX_LOG_WARN, cf->log, 0,
                      "location \"%V\" allows bodies of %O bytes "
                      "(\"client_max_body_size\"), \"max_body\" of policy "
                      "\"%V\" %uz: nginx's own 413 comes first; "
                      "raise the one or lower the other in %V:%ui",
                      &clcf->name, clcf->client_max_body_size, &policy->name,
                      policy->max_body, &conf->file, conf->line);
    }
}


static char *
ngx_http_entra_mdm_merge_loc_conf(ngx_conf_t *cf, void *parent, void *child)
{
    ngx_http_entra_mdm_loc_conf_t *prev = parent;
    ngx_http_entra_mdm_loc_conf_t *conf = child;

    ngx_http_core_loc_conf_t  *clcf;

    if (ngx_http_entra_mdm_api_merge(cf, prev, conf) != NGX_OK
        || ngx_http_entra_mdm_metrics_merge(cf, prev, conf) != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    if (conf->policy == NGX_CONF_UNSET_PTR) {
        conf->policy = prev->api || prev->metrics ? prev->gate : prev->policy;

        if (conf->policy == NGX_CONF_UNSET_PTR) {
            conf->policy = NULL;
        }

        conf->token = prev->token;
        conf->file = prev->file;
        conf->line = prev->line;
    }

    conf->gate = conf->policy;

    if (conf->api || conf->metrics) {
        /* neither an administrator nor Prometheus has an enrollment token */
        conf->policy = NULL;
    }

    ngx_conf_merge_value(conf->dry_run, prev->dry_run, 0);
    ngx_conf_merge_value(conf->tou_redirect, prev->tou_redirect, 0);

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    conf->error_pages = clcf->error_pages;
    conf->own_error_page = ngx_http_entra_mdm_own_error_page(clcf, prev);

    ngx_http_entra_mdm_check_location(cf, clcf, conf);

    return NGX_CONF_OK;
}


/* entra_mdm POLICY [token=auto|bearer|soap] | off */

static char *
ngx_http_entra_mdm(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_entra_mdm_loc_conf_t *emlcf = conf;

    ngx_str_t                       *value;
    ngx_uint_t                       i;
    ngx_http_entra_mdm_main_conf_t  *emmcf;

    static const struct {
        ngx_str_t                    text;
        ngx_http_entra_mdm_token_e   token;
    } tokens[] = {
        { ngx_string("token=auto"), NGX_HTTP_ENTRA_MDM_AUTO },
        { ngx_string("token=bearer"), NGX_HTTP_ENTRA_MDM_BEARER },
        { ngx_string("token=soap"), NGX_HTTP_ENTRA_MDM_SOAP },
    };

    if (emlcf->policy != NGX_CONF_UNSET_PTR) {
        return "is duplicate";
    }

    value = cf->args->elts;

    emlcf->file = cf->conf_file->file.name;
    emlcf->line = cf->conf_file->line;

    if (ngx_strcmp(value[1].data, "off") == 0) {

        if (cf->args->nelts > 2) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "\"entra_mdm off\" takes no parameter, "
                               "not \"%V\"", &value[2]);
            return NGX_CONF_ERROR;
        }

        emlcf->policy = NULL;
        return NGX_CONF_OK;
    }

    emmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_entra_mdm_module);

    emlcf->policy = ngx_http_entra_mdm_policy_get(cf, emmcf, &value[1]);
    if (emlcf->policy == NULL) {
        return NGX_CONF_ERROR;
    }

    if (cf->args->nelts == 2) {
        return NGX_CONF_OK;
    }

    for (i = 0; i < sizeof(tokens) / sizeof(tokens[0]); i++) {
        if (ngx_strcmp(value[2].data, tokens[i].text.data) == 0) {
            emlcf->token = tokens[i].token;
            return NGX_CONF_OK;
        }
    }

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "invalid parameter \"%V\" in \"entra_mdm\", it must be "
                       "\"token=auto\", \"token=bearer\" or \"token=soap\"",
                       &value[2]);

    return NGX_CONF_ERROR;
}


static ngx_int_t
ngx_http_entra_mdm_handler_add(ngx_http_core_main_conf_t *cmcf,
    ngx_http_phases phase, ngx_http_handler_pt handler)
{
    ngx_http_handler_pt  *h;

    h = ngx_array_push(&cmcf->phases[phase].handlers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    *h = handler;

    return NGX_OK;
}


static ngx_int_t
ngx_http_entra_mdm_handler_first(ngx_http_core_main_conf_t *cmcf,
    ngx_http_phases phase, ngx_http_handler_pt handler)
{
    ngx_array_t          *handlers;
    ngx_http_handler_pt  *h;

    if (ngx_http_entra_mdm_handler_add(cmcf, phase, handler) != NGX_OK) {
        return NGX_ERROR;
    }

    handlers = &cmcf->phases[phase].handlers;
    h = handlers->elts;

    ngx_memmove(&h[1], &h[0],
                (handlers->nelts - 1) * sizeof(ngx_http_handler_pt));
    h[0] = handler;

    return NGX_OK;
}


static ngx_int_t
ngx_http_entra_mdm_init(ngx_conf_t *cf)
{
    ngx_uint_t                       i;
    ngx_http_core_main_conf_t       *cmcf;
    ngx_http_entra_mdm_main_conf_t  *emmcf;

    static const ngx_http_phases  phases[] = {
        NGX_HTTP_POST_READ_PHASE,
        NGX_HTTP_SERVER_REWRITE_PHASE,
        NGX_HTTP_REWRITE_PHASE,
        NGX_HTTP_PREACCESS_PHASE
    };

    emmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_entra_mdm_module);

    if (emmcf->policies.nelts == 0) {
        return NGX_OK;
    }

    if (ngx_http_entra_mdm_locations(cf, emmcf) != NGX_OK) {
        return NGX_ERROR;
    }

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);

    /*
     * What clients send under our header names is taken off before anything
     * reads it.  Error pages of requests that nginx itself refused start at
     * server rewrite, named locations at rewrite; preaccess is the one phase
     * that every way to a content handler passes.
     */

    for (i = 0; i < sizeof(phases) / sizeof(phases[0]); i++) {
        if (ngx_http_entra_mdm_handler_add(cmcf, phases[i],
                                           ngx_http_entra_mdm_headers_handler)
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    /*
     * Handlers of a phase run from the last to the first: put in front, the
     * gate runs after nginx's own access rules and so sees, with "satisfy
     * any", only what none of them has granted.  Those of the log phase run
     * from the first to the last: ours is to be done before logs are written.
     */

    if (ngx_http_entra_mdm_handler_add(cmcf, NGX_HTTP_PREACCESS_PHASE,
                                       ngx_http_entra_mdm_subrequest_handler)
        != NGX_OK
        || ngx_http_entra_mdm_handler_first(cmcf, NGX_HTTP_ACCESS_PHASE,
                                            ngx_http_entra_mdm_access_handler)
           != NGX_OK
        || ngx_http_entra_mdm_handler_first(cmcf, NGX_HTTP_LOG_PHASE,
                                            ngx_http_entra_mdm_log_handler)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    ngx_http_entra_mdm_body_filter_init();

    return NGX_OK;
}


static ngx_int_t
ngx_http_entra_mdm_init_module(ngx_cycle_t *cycle)
{
    ngx_uint_t                       i, left;
    ngx_http_entra_mdm_policy_t    **policy;
    ngx_http_entra_mdm_main_conf_t  *emmcf;

    emmcf = ngx_http_cycle_get_module_main_conf(cycle,
                                                ngx_http_entra_mdm_module);

    if (emmcf == NULL) {
        /* no http{} */
        return NGX_OK;
    }

    policy = emmcf->policies.elts;

    if (!ngx_test_config) {
        /* at a reload as well: the file may be another by then */
        ngx_log_error(NGX_LOG_NOTICE, cycle->log, 0,
                      "entra_mdm: ngx_http_entra_mdm_module %s, %ui policies",
                      ENTRA_VERSION, emmcf->policies.nelts);
    }

    if (emmcf->policies.nelts) {
        ngx_http_entra_mdm_count_init();
    }

    for (i = 0; i < emmcf->policies.nelts; i++) {

        ngx_http_entra_mdm_zone_done(policy[i]);

        left = ngx_http_entra_mdm_zone(policy[i])->lists_left;

        ngx_http_entra_mdm_keys_init(cycle, policy[i]);
        ngx_http_entra_mdm_redis_init(policy[i]);

        if (left && policy[i]->state) {
            ngx_http_entra_mdm_state_adopt(policy[i], cycle->log);
        }

        if (policy[i]->dry_run_locations) {
            ngx_log_error(NGX_LOG_WARN, cycle->log, 0,
                          "entra_mdm: policy \"%V\" refuses nobody in %ui "
                          "location(s): \"entra_mdm_dry_run\" is on",
                          &policy[i]->name, policy[i]->dry_run_locations);
        }
    }

    return ngx_http_entra_mdm_node_reload(cycle);
}
