/*
 * The entra_mdm_policy block: what an administrator trusts.  One table of
 * directives; each value is checked where it stands, so that a message names
 * directive, value, file and line.
 */

#include "ngx_http_entra_mdm_state.h"


#define MAX_TOKEN      (1024 * 1024)
#define MAX_BODY       (1024 * 1024 * 1024)


typedef struct {
    ngx_str_t    name;
    ngx_uint_t   min;                   /* arguments */
    ngx_uint_t   max;
    ngx_uint_t   repeatable;            /* unsigned  repeatable:1; */
    char      *(*set)(ngx_conf_t *cf, ngx_http_entra_mdm_block_t *block,
                      ngx_str_t *value, ngx_uint_t n);
} ngx_http_entra_mdm_directive_t;


static char *ngx_http_entra_mdm_policy_directive(ngx_conf_t *cf,
    ngx_command_t *dummy, void *conf);

static char *ngx_http_entra_mdm_header_prefix(ngx_conf_t *cf,
    ngx_http_entra_mdm_block_t *block, ngx_str_t *value, ngx_uint_t n);
static char *ngx_http_entra_mdm_soap_fault_status(ngx_conf_t *cf,
    ngx_http_entra_mdm_block_t *block, ngx_str_t *value, ngx_uint_t n);
static char *ngx_http_entra_mdm_max_token(ngx_conf_t *cf,
    ngx_http_entra_mdm_block_t *block, ngx_str_t *value, ngx_uint_t n);
static char *ngx_http_entra_mdm_max_body(ngx_conf_t *cf,
    ngx_http_entra_mdm_block_t *block, ngx_str_t *value, ngx_uint_t n);
static char *ngx_http_entra_mdm_log_level(ngx_conf_t *cf,
    ngx_http_entra_mdm_block_t *block, ngx_str_t *value, ngx_uint_t n);


/* as many as nginx reads into one directive */
#define MANY  NGX_MAX_INT_T_VALUE

static ngx_http_entra_mdm_directive_t  ngx_http_entra_mdm_directives[] = {
    { ngx_string("server_url"), 1, MANY, 1, ngx_http_entra_mdm_server_url },
    { ngx_string("client_id"), 1, MANY, 1, ngx_http_entra_mdm_client_id },
    { ngx_string("tenant_id"), 1, MANY, 1, ngx_http_entra_mdm_tenant_id },
    { ngx_string("cloud"), 1, 1, 0, ngx_http_entra_mdm_cloud },
    { ngx_string("issuer"), 1, MANY, 1, ngx_http_entra_mdm_issuer },
    { ngx_string("scope"), 1, 1, 0, ngx_http_entra_mdm_scope },
    { ngx_string("leeway"), 1, 1, 0, ngx_http_entra_mdm_leeway },
    { ngx_string("require_upn"), 1, 1, 0, ngx_http_entra_mdm_require_upn },
    { ngx_string("device_token"), 1, 1, 0, ngx_http_entra_mdm_device_token },
    { ngx_string("jwks"), 1, 4, 0, ngx_http_entra_mdm_jwks },
    { ngx_string("zone"), 1, 1, 0, ngx_http_entra_mdm_zone_size },
    { ngx_string("redis"), 1, MANY, 0, ngx_http_entra_mdm_redis },
    { ngx_string("state"), 1, 1, 0, ngx_http_entra_mdm_state },
    { ngx_string("header_prefix"), 1, 1, 0, ngx_http_entra_mdm_header_prefix },
    { ngx_string("soap_fault_status"), 1, 1, 0,
      ngx_http_entra_mdm_soap_fault_status },
    { ngx_string("max_token"), 1, 1, 0, ngx_http_entra_mdm_max_token },
    { ngx_string("max_body"), 1, 1, 0, ngx_http_entra_mdm_max_body },
    { ngx_string("log_level"), 1, 1, 0, ngx_http_entra_mdm_log_level },
    { ngx_null_string, 0, 0, 0, NULL }
};


/* a header that begins with our prefix would be taken off honest requests */

static ngx_str_t  ngx_http_entra_mdm_standard_headers[] = {
    ngx_string("accept-charset"),
    ngx_string("accept-encoding"),
    ngx_string("access-control-request-headers"),
    ngx_string("alt-used"),
    ngx_string("cache-control"),
    ngx_string("content-length"),
    ngx_string("cxh-host"),
    ngx_string("early-data"),
    ngx_string("http2-settings"),
    ngx_string("if-match"),
    ngx_string("if-modified-since"),
    ngx_string("if-none-match"),
    ngx_string("if-unmodified-since"),
    ngx_string("keep-alive"),
    ngx_string("last-event-id"),
    ngx_string("max-forwards"),
    ngx_string("proxy-authorization"),
    ngx_string("sec-ch-ua"),
    ngx_string("sec-fetch-site"),
    ngx_string("sec-websocket-key"),
    ngx_string("soap-action"),
    ngx_string("transfer-encoding"),
    ngx_string("upgrade-insecure-requests"),
    ngx_string("user-agent"),
    ngx_string("x-accel-redirect"),
    ngx_string("x-forwarded-for"),
    ngx_string("x-http-method-override"),
    ngx_string("x-original-url"),
    ngx_string("x-real-ip"),
    ngx_string("x-request-id"),
    ngx_string("x-requested-with"),
    ngx_null_string
};


/*** the block ***/


ngx_http_entra_mdm_policy_t *
ngx_http_entra_mdm_policy_get(ngx_conf_t *cf,
    ngx_http_entra_mdm_main_conf_t *emmcf, ngx_str_t *name)
{
    ngx_uint_t                     i;
    ngx_http_entra_mdm_policy_t  **policies, **pushed, *policy;

    policies = emmcf->policies.elts;

    for (i = 0; i < emmcf->policies.nelts; i++) {
        if (policies[i]->name.len == name->len
            && ngx_strncmp(policies[i]->name.data, name->data, name->len) == 0)
        {
            return policies[i];
        }
    }

    policy = ngx_pcalloc(cf->pool, sizeof(ngx_http_entra_mdm_policy_t));
    pushed = ngx_array_push(&emmcf->policies);

    if (policy == NULL || pushed == NULL) {
        return NULL;
    }

    policy->name = *name;
    policy->file = cf->conf_file->file.name;
    policy->line = cf->conf_file->line;

    *pushed = policy;

    return policy;
}


static ngx_int_t
ngx_http_entra_mdm_block_init(ngx_conf_t *cf,
    ngx_http_entra_mdm_block_t *block, ngx_http_entra_mdm_policy_t *policy)
{
    ngx_memzero(block, sizeof(ngx_http_entra_mdm_block_t));

    block->policy = policy;
    block->zone_size = 2 * 1024 * 1024;
    ngx_str_set(&block->header_prefix, "X-Entra-");

    ngx_rbtree_init(&block->client_known, &block->sentinel,
                    ngx_str_rbtree_insert_value);
    ngx_rbtree_init(&block->tenant_known, &block->sentinel,
                    ngx_str_rbtree_insert_value);

    policy->rules.scope = entra_lit("mdm_delegation");
    policy->rules.leeway = 60;
    policy->max_token = 16 * 1024;
    policy->max_body = 2 * 1024 * 1024;
    policy->log_level = NGX_LOG_WARN;

    if (ngx_array_init(&block->hosts, cf->pool, 1, sizeof(entra_str_t))
        != NGX_OK
        || ngx_array_init(&block->issuers, cf->pool, 2, sizeof(entra_str_t))
        != NGX_OK
        || ngx_array_init(&block->client_ids, cf->pool, 4,
                          sizeof(entra_guid_t))
        != NGX_OK
        || ngx_array_init(&block->tenant_ids, cf->pool, 4,
                          sizeof(entra_guid_t))
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_entra_mdm_block_done(ngx_conf_t *cf,
    ngx_http_entra_mdm_block_t *block)
{
    entra_policy_t               *rules;
    ngx_http_entra_mdm_policy_t  *policy;

    policy = block->policy;
    rules = &policy->rules;

    rules->hosts = block->hosts.elts;
    rules->nhosts = block->hosts.nelts;

    if (block->issuers.nelts) {
        rules->issuers = block->issuers.elts;
        rules->nissuers = block->issuers.nelts;

    } else {
        rules->issuers = entra_issuer_cloud(block->cloud, &rules->nissuers);
    }

    rules->client_ids = entra_set_build(block->client_ids.elts,
                                        block->client_ids.nelts);
    rules->tenant_ids = entra_set_build(block->tenant_ids.elts,
                                        block->tenant_ids.nelts);

    if (ngx_http_entra_mdm_sources_done(cf, block) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_http_entra_mdm_headers_name(cf, policy, &block->header_prefix);
}


/* lists that may fill while nginx runs leave nothing to warn of */

void
ngx_http_entra_mdm_policy_check(ngx_conf_t *cf,
    ngx_http_entra_mdm_policy_t *policy)
{
    entra_policy_t  *rules;

    rules = &policy->rules;

    if (policy->api && !policy->live_redis && policy->state == NULL) {
        ngx_log_error(NGX_LOG_WARN, cf->log, 0,
                      "policy \"%V\" is changed by \"entra_mdm_api\" and "
                      "has neither \"state\" nor \"redis\": the changes will "
                      "not survive a restart, in %V:%ui",
                      &policy->name, &policy->file, policy->line);
    }

    if (policy->live) {
        return;
    }

    if (rules->tenant_ids.count == 0) {
        ngx_log_error(NGX_LOG_WARN, cf->log, 0,
                      "policy \"%V\" can accept nobody: it has no "
                      "\"tenant_id\" in %V:%ui",
                      &policy->name, &policy->file, policy->line);

    } else if (rules->client_ids.count == 0 && rules->nhosts == 0) {
        ngx_log_error(NGX_LOG_WARN, cf->log, 0,
                      "policy \"%V\" can accept nobody: it has neither "
                      "\"client_id\" (for v2 tokens) nor \"server_url\" "
                      "(for v1 tokens) in %V:%ui",
                      &policy->name, &policy->file, policy->line);
    }
}


char *
ngx_http_entra_mdm_policy_block(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_entra_mdm_main_conf_t *emmcf = conf;

    char                         *rv;
    ngx_str_t                    *value;
    ngx_conf_t                    saved;
    ngx_http_entra_mdm_block_t    block;
    ngx_http_entra_mdm_policy_t  *policy;

    value = cf->args->elts;

    if (value[1].len == 0 || ngx_strcmp(value[1].data, "off") == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "a policy cannot have the name \"%V\"", &value[1]);
        return NGX_CONF_ERROR;
    }

    policy = ngx_http_entra_mdm_policy_get(cf, emmcf, &value[1]);
    if (policy == NULL) {
        return NGX_CONF_ERROR;
    }

    if (policy->defined) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "duplicate policy \"%V\", first defined in %V:%ui",
                           &policy->name, &policy->file, policy->line);
        return NGX_CONF_ERROR;
    }

    policy->defined = 1;
    policy->file = cf->conf_file->file.name;
    policy->line = cf->conf_file->line;

    if (ngx_http_entra_mdm_block_init(cf, &block, policy) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    /* false alarm (autoVariables): cf is put back before block goes */
    saved = *cf;
    cf->handler = ngx_http_entra_mdm_policy_directive;
    cf->handler_conf = (void *) &block;

    rv = ngx_conf_parse(cf, NULL);

    *cf = saved;

    if (rv != NGX_CONF_OK) {
        return rv;
    }

    if (ngx_http_entra_mdm_block_done(cf, &block) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_entra_mdm_policy_directive(ngx_conf_t *cf, ngx_command_t *dummy,
    void *conf)
{
    ngx_http_entra_mdm_block_t *block = conf;

    char                            *rv;
    ngx_str_t                       *value;
    ngx_uint_t                       i, n;
    ngx_http_entra_mdm_directive_t  *d;

    value = cf->args->elts;
    n = cf->args->nelts - 1;

    if (ngx_strcmp(value[0].data, "include") == 0 && n == 1) {
        return ngx_conf_include(cf, dummy, conf);
    }

    for (i = 0, d = ngx_http_entra_mdm_directives; d->name.len; i++, d++) {
        if (ngx_strcmp(value[0].data, d->name.data) == 0) {
            break;
        }
    }

    if (d->name.len == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "unknown directive \"%V\" in \"entra_mdm_policy\"",
                           &value[0]);
        return NGX_CONF_ERROR;
    }

    if (n < d->min || n > d->max) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid number of arguments in \"%V\" directive: "
                           "it takes %s", &value[0],
                           d->max == 1 ? "one value" : "one value or more");
        return NGX_CONF_ERROR;
    }

    if (!d->repeatable && (block->seen & (1u << i))) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%V\" directive is duplicate in policy \"%V\"",
                           &value[0], &block->policy->name);
        return NGX_CONF_ERROR;
    }

    block->seen |= 1u << i;

    rv = d->set(cf, block, &value[1], n);

    if (rv != NGX_CONF_OK && rv != NGX_CONF_ERROR) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid value \"%V\" in \"%V\" directive: %s",
                           &value[1], &value[0], rv);
        return NGX_CONF_ERROR;
    }

    return rv;
}


/*** limits ***/


static char *
ngx_http_entra_mdm_max_token(ngx_conf_t *cf,
    ngx_http_entra_mdm_block_t *block, ngx_str_t *value, ngx_uint_t n)
{
    ssize_t  size;

    size = ngx_parse_size(value);

    if (size == NGX_ERROR || size == 0 || size > MAX_TOKEN) {
        return "it must be a size of at most 1m";
    }

    block->policy->max_token = size;

    return NGX_CONF_OK;
}


static char *
ngx_http_entra_mdm_max_body(ngx_conf_t *cf, ngx_http_entra_mdm_block_t *block,
    ngx_str_t *value, ngx_uint_t n)
{
    ssize_t  size;

    size = ngx_parse_size(value);

    if (size == NGX_ERROR || size == 0 || size > MAX_BODY) {
        return "it must be a size of at most 1024m";
    }

    block->policy->max_body = size;

    return NGX_CONF_OK;
}


/*** what goes out ***/


static ngx_uint_t
ngx_http_entra_mdm_prefix_clashes(ngx_str_t *prefix)
{
    ngx_str_t  *header;

    for (header = ngx_http_entra_mdm_standard_headers; header->len; header++) {
        if (header->len > prefix->len
            && ngx_strncasecmp(header->data, prefix->data, prefix->len) == 0)
        {
            return 1;
        }
    }

    return 0;
}


static char *
ngx_http_entra_mdm_header_prefix(ngx_conf_t *cf,
    ngx_http_entra_mdm_block_t *block, ngx_str_t *value, ngx_uint_t n)
{
    u_char      ch;
    ngx_uint_t  i, letters;

    letters = 0;

    for (i = 0; i < value->len; i++) {
        ch = ngx_tolower(value->data[i]);

        if (ch >= 'a' && ch <= 'z') {
            letters++;
            continue;
        }

        if ((ch < '0' || ch > '9') && ch != '-') {
            return "it may have letters, digits and \"-\"";
        }
    }

    if (letters == 0 || value->data[0] == '-'
        || value->data[value->len - 1] != '-')
    {
        return "it must begin with a letter or digit, have a letter, and end "
               "in \"-\", such as X-Entra-";
    }

    if (ngx_http_entra_mdm_prefix_clashes(value)) {
        return "it is the start of a standard header";
    }

    block->header_prefix = *value;

    return NGX_CONF_OK;
}


static char *
ngx_http_entra_mdm_soap_fault_status(ngx_conf_t *cf,
    ngx_http_entra_mdm_block_t *block, ngx_str_t *value, ngx_uint_t n)
{
    ngx_int_t  status;

    if (ngx_strcmp(value->data, "auto") == 0) {
        return NGX_CONF_OK;
    }

    status = ngx_atoi(value->data, value->len);

    /* to nginx, these do not mean what is sent */

    if ((status != 200 && (status < 400 || status > 599))
        || status == NGX_HTTP_REQUEST_TIME_OUT
        || status == NGX_HTTP_CLOSE
        || (status >= NGX_HTTP_NGINX_CODES && status < 500))
    {
        return "it must be auto, 200, or a status from 400 to 599 other than "
               "408, 444 and 494 to 499";
    }

    block->policy->soap_fault_status = status;

    return NGX_CONF_OK;
}


static char *
ngx_http_entra_mdm_log_level(ngx_conf_t *cf,
    ngx_http_entra_mdm_block_t *block, ngx_str_t *value, ngx_uint_t n)
{
    ngx_uint_t  i;

    static const struct {
        const char  *name;
        ngx_uint_t   level;
    } levels[] = {
        { "info", NGX_LOG_INFO },
        { "notice", NGX_LOG_NOTICE },
        { "warn", NGX_LOG_WARN },
        { "error", NGX_LOG_ERR },
    };

    for (i = 0; i < sizeof(levels) / sizeof(levels[0]); i++) {
        if (ngx_strcmp(value->data, levels[i].name) == 0) {
            block->policy->log_level = levels[i].level;
            return NGX_CONF_OK;
        }
    }

    return "it must be info, notice, warn or error";
}
