/*
 * The "redis" directive of a policy.  A password is never part of a message.
 */

#include "ngx_http_entra_mdm_redis.h"
#include "ngx_http_entra_mdm_policy.h"
#include "ngx_http_entra_mdm_file.h"


#define MAX_PASSWORD  4096
#define MIN_TIME      100               /* milliseconds */


typedef struct {
    ngx_str_t    name;
    size_t       offset;                /* in ngx_http_entra_mdm_redis_t */
    ngx_int_t  (*set)(ngx_conf_t *cf, ngx_http_entra_mdm_redis_t *redis,
                      void *field, ngx_str_t *value);
    const char  *must;
} ngx_http_entra_mdm_redis_option_t;


static ngx_int_t ngx_http_entra_mdm_redis_set_text(ngx_conf_t *cf,
    ngx_http_entra_mdm_redis_t *redis, void *field, ngx_str_t *value);
static ngx_int_t ngx_http_entra_mdm_redis_set_path(ngx_conf_t *cf,
    ngx_http_entra_mdm_redis_t *redis, void *field, ngx_str_t *value);
static ngx_int_t ngx_http_entra_mdm_redis_set_msec(ngx_conf_t *cf,
    ngx_http_entra_mdm_redis_t *redis, void *field, ngx_str_t *value);
static ngx_int_t ngx_http_entra_mdm_redis_set_stale(ngx_conf_t *cf,
    ngx_http_entra_mdm_redis_t *redis, void *field, ngx_str_t *value);
static ngx_int_t ngx_http_entra_mdm_redis_set_password(ngx_conf_t *cf,
    ngx_http_entra_mdm_redis_t *redis, void *field, ngx_str_t *value);


#define OPTION(name, field, set, must)                                        \
    { ngx_string(name), offsetof(ngx_http_entra_mdm_redis_t, field),          \
      ngx_http_entra_mdm_redis_set_##set, must }

static const ngx_http_entra_mdm_redis_option_t
    ngx_http_entra_mdm_redis_options[] =
{
    OPTION("prefix=", prefix, text, "it must be the start of a key"),
    OPTION("poll=", poll, msec, "it must be a time of 100ms or more"),
    OPTION("timeout=", timeout, msec, "it must be a time of 100ms or more"),
    OPTION("max_stale=", max_stale, stale,
           "it must be a time of 1s or more, or off"),
    OPTION("user=", user, text, "it must be the name of a user"),
    OPTION("password_file=", password, password, "it must be a path"),
    OPTION("tls_ca=", tls_ca, path, "it must be a path"),
    OPTION("tls_cert=", tls_cert, path, "it must be a path"),
    OPTION("tls_key=", tls_key, path, "it must be a path"),
    OPTION("tls_name=", tls_name, text, "it must be a host name"),
};

#define OPTIONS  (sizeof(ngx_http_entra_mdm_redis_options)                    \
                  / sizeof(ngx_http_entra_mdm_redis_options[0]))


/*** values of options ***/


static ngx_int_t
ngx_http_entra_mdm_redis_set_text(ngx_conf_t *cf,
    ngx_http_entra_mdm_redis_t *redis, void *field, ngx_str_t *value)
{
    *(ngx_str_t *) field = *value;

    return value->len ? NGX_OK : NGX_DECLINED;
}


static ngx_int_t
ngx_http_entra_mdm_redis_set_path(ngx_conf_t *cf,
    ngx_http_entra_mdm_redis_t *redis, void *field, ngx_str_t *value)
{
    if (value->len == 0) {
        return NGX_DECLINED;
    }

    *(ngx_str_t *) field = *value;

    return ngx_conf_full_name(cf->cycle, field, 1);
}


static ngx_int_t
ngx_http_entra_mdm_redis_set_msec(ngx_conf_t *cf,
    ngx_http_entra_mdm_redis_t *redis, void *field, ngx_str_t *value)
{
    ngx_int_t  msec;

    msec = ngx_parse_time(value, 0);

    if (msec == NGX_ERROR || msec < MIN_TIME) {
        return NGX_DECLINED;
    }

    *(ngx_msec_t *) field = msec;

    return NGX_OK;
}


static ngx_int_t
ngx_http_entra_mdm_redis_set_stale(ngx_conf_t *cf,
    ngx_http_entra_mdm_redis_t *redis, void *field, ngx_str_t *value)
{
    ngx_int_t  seconds;

    if (value->len == 3 && ngx_strncmp(value->data, "off", 3) == 0) {
        return NGX_OK;
    }

    seconds = ngx_parse_time(value, 1);

    if (seconds == NGX_ERROR || seconds < 1) {
        return NGX_DECLINED;
    }

    *(time_t *) field = seconds;

    return NGX_OK;
}


static ngx_int_t
ngx_http_entra_mdm_redis_set_password(ngx_conf_t *cf,
    ngx_http_entra_mdm_redis_t *redis, void *field, ngx_str_t *value)
{
    ngx_int_t                   rc;
    ngx_str_t                   path, *password;
    ngx_http_entra_mdm_file_t   file;

    rc = ngx_http_entra_mdm_redis_set_path(cf, redis, &path, value);
    if (rc != NGX_OK) {
        return rc;
    }

    rc = ngx_http_entra_mdm_file_read(&path, MAX_PASSWORD, 0, &file);
    if (rc != NGX_OK) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, file.err,
                           "\"%V\" of \"password_file\" in \"redis\" %s",
                           &path, file.why);
        return NGX_ERROR;
    }

    /* an editor ends the last line */

    if (file.text.len && file.text.data[file.text.len - 1] == '\n') {
        file.text.len--;
    }

    if (file.text.len && file.text.data[file.text.len - 1] == '\r') {
        file.text.len--;
    }

    password = field;
    password->len = file.text.len;
    password->data = ngx_pnalloc(cf->pool, file.text.len + 1);

    if (password->data != NULL) {
        ngx_memcpy(password->data, file.text.data, file.text.len);
    }

    ngx_memzero((void *) file.text.data, file.text.len);
    ngx_free((void *) file.text.data);

    if (password->data == NULL) {
        return NGX_ERROR;
    }

    if (password->len == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%V\" of \"password_file\" in \"redis\" is empty",
                           &path);
        return NGX_ERROR;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_entra_mdm_redis_option(ngx_conf_t *cf,
    ngx_http_entra_mdm_redis_t *redis, ngx_str_t *arg, ngx_uint_t *seen)
{
    ngx_int_t                                 rc;
    ngx_str_t                                 value;
    ngx_uint_t                                i;
    const ngx_http_entra_mdm_redis_option_t  *option;

    option = ngx_http_entra_mdm_redis_options;

    for (i = 0; i < OPTIONS; i++, option++) {
        if (ngx_strncmp(arg->data, option->name.data, option->name.len) == 0) {
            break;
        }
    }

    if (i == OPTIONS) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid parameter \"%V\" in \"redis\": it knows "
                           "\"prefix=\", \"poll=\", \"timeout=\", "
                           "\"max_stale=\", \"user=\", \"password_file=\", "
                           "\"tls_ca=\", \"tls_cert=\", \"tls_key=\" and "
                           "\"tls_name=\"", arg);
        return NGX_ERROR;
    }

    if (*seen & (1u << i)) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "parameter \"%V\" is repeated in \"redis\"",
                           &option->name);
        return NGX_ERROR;
    }

    *seen |= 1u << i;

    value.data = arg->data + option->name.len;
    value.len = arg->len - option->name.len;

    rc = option->set(cf, redis, (u_char *) redis + option->offset, &value);

    if (rc == NGX_DECLINED) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid parameter \"%V\" in \"redis\": %s", arg,
                           option->must);
    }

    return rc == NGX_OK ? NGX_OK : NGX_ERROR;
}


/*** the URL ***/


static void *
ngx_http_entra_mdm_redis_alloc(void *data, size_t size)
{
    return ngx_pnalloc(data, size);
}


/* what may be shown of a URL: all but user and password, to the last "@" */

static ngx_int_t
ngx_http_entra_mdm_redis_show(ngx_conf_t *cf, ngx_str_t *url, ngx_str_t *name)
{
    u_char  *p, *info, *at;

    name->data = ngx_pnalloc(cf->pool, url->len);
    if (name->data == NULL) {
        return NGX_ERROR;
    }

    info = ngx_strnstr(url->data, "://", url->len);
    info = info ? info + 3 : url->data;
    at = info;

    for (p = info; p < url->data + url->len; p++) {
        if (*p == '@') {
            at = p + 1;
        }
    }

    p = ngx_cpymem(name->data, url->data, info - url->data);
    p = ngx_cpymem(p, at, url->data + url->len - at);

    name->len = p - name->data;

    return NGX_OK;
}


static ngx_int_t
ngx_http_entra_mdm_redis_hosts(ngx_conf_t *cf,
    ngx_http_entra_mdm_redis_t *redis)
{
    size_t                            i;
    ngx_addr_t                        addr;
    ngx_http_entra_mdm_redis_host_t  *host;

    if (ngx_array_init(&redis->hosts, cf->pool, redis->url.nhosts + 1,
                       sizeof(ngx_http_entra_mdm_redis_host_t))
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    for (i = 0; i < redis->url.nhosts; i++) {
        host = ngx_array_push(&redis->hosts);
        if (host == NULL) {
            return NGX_ERROR;
        }

        ngx_memzero(host, sizeof(ngx_http_entra_mdm_redis_host_t));

        host->name.data = (u_char *) redis->url.host[i].name.data;
        host->name.len = redis->url.host[i].name.len;
        host->port = (in_port_t) redis->url.host[i].port;

        switch (ngx_parse_addr(cf->pool, &addr, host->name.data,
                               host->name.len))
        {

        case NGX_ERROR:
            return NGX_ERROR;

        case NGX_DECLINED:
            continue;
        }

        host->literal = 1;
        host->naddrs = 1;
        host->addrs = ngx_pcalloc(cf->pool, sizeof(ngx_addr_t));
        if (host->addrs == NULL) {
            return NGX_ERROR;
        }

        *host->addrs = addr;
        ngx_inet_set_port(host->addrs->sockaddr, host->port);
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_entra_mdm_redis_url(ngx_conf_t *cf, ngx_http_entra_mdm_redis_t *redis,
    ngx_str_t *text)
{
    const char   *why;
    entra_mem_t   mem;

    if (ngx_http_entra_mdm_redis_show(cf, text, &redis->name) != NGX_OK) {
        return NGX_ERROR;
    }

    mem.alloc = ngx_http_entra_mdm_redis_alloc;
    mem.data = cf->pool;

    why = entra_redis_url_parse(ngx_http_entra_mdm_str(text), &mem,
                                &redis->url);
    if (why) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid value \"%V\" in \"redis\" directive: %s",
                           &redis->name, why);
        return NGX_ERROR;
    }

    redis->user.data = (u_char *) redis->url.user.data;
    redis->user.len = redis->url.user.len;
    redis->password.data = (u_char *) redis->url.password.data;
    redis->password.len = redis->url.password.len;

    return ngx_http_entra_mdm_redis_hosts(cf, redis);
}


/*** what must fit together ***/


static ngx_uint_t
ngx_http_entra_mdm_redis_seen(ngx_uint_t seen, const char *name)
{
    ngx_uint_t  i;

    for (i = 0; i < OPTIONS; i++) {
        if (ngx_strcmp(ngx_http_entra_mdm_redis_options[i].name.data, name)
            == 0)
        {
            return (seen >> i) & 1;
        }
    }

    return 0;
}


/* Redis Cluster hashes what stands in the first braces, unless it is empty */

static ngx_uint_t
ngx_http_entra_mdm_redis_one_slot(ngx_str_t *prefix)
{
    u_char  *open, *close, *last;

    last = prefix->data + prefix->len;

    open = ngx_strlchr(prefix->data, last, '{');
    if (open == NULL) {
        return 0;
    }

    close = ngx_strlchr(open, last, '}');

    return close != NULL && close > open + 1;
}


static const char *
ngx_http_entra_mdm_redis_contradiction(ngx_http_entra_mdm_redis_t *redis,
    ngx_uint_t seen)
{
    if (ngx_http_entra_mdm_redis_seen(seen, "user=") && redis->url.user.len) {
        return "\"user=\" and a user in the URL: one is enough";
    }

    if (ngx_http_entra_mdm_redis_seen(seen, "password_file=")
        && redis->url.password.len)
    {
        return "\"password_file=\" and a password in the URL: one is enough";
    }

    if (redis->user.len && redis->password.len == 0) {
        return "a user needs a password: in the URL, or by \"password_file=\"";
    }

    if ((redis->tls_cert.len != 0) != (redis->tls_key.len != 0)) {
        return "\"tls_cert=\" and \"tls_key=\" need each other";
    }

    if (!redis->url.tls
        && (redis->tls_ca.len || redis->tls_cert.len || redis->tls_name.len))
    {
        return "\"tls_...\" parameters are for rediss:// URLs";
    }

    if (redis->url.kind == ENTRA_REDIS_CLUSTER
        && !ngx_http_entra_mdm_redis_one_slot(&redis->prefix))
    {
        return "in a cluster \"prefix=\" needs a part in braces, such as "
               "{fleet}:, which keeps all keys in one slot";
    }

#if !(NGX_ENTRA_HAVE_REDIS_TLS)

    if (redis->url.tls) {
        return "the hiredis that this module was built with has no TLS, which "
               "rediss:// needs: build it with hiredis 1.0 or later and "
               "hiredis_ssl";
    }

#endif

    return NULL;
}


static ngx_int_t
ngx_http_entra_mdm_redis_names(ngx_conf_t *cf,
    ngx_http_entra_mdm_policy_t *policy)
{
    u_char                      *p;
    ngx_str_t                   *key;
    ngx_uint_t                   i;
    ngx_http_entra_mdm_redis_t  *redis;

    static const ngx_str_t  names[NGX_HTTP_ENTRA_MDM_REDIS_KEYS] = {
        ngx_string("client_ids"),
        ngx_string("tenant_ids"),
        ngx_string("jwks"),
        ngx_string("generation"),
        ngx_string("activities"),
        ngx_string("accounted_client_ids"),
        ngx_string("accounted_tenant_ids")
    };

    redis = policy->redis;

    if (redis->prefix.len == 0) {
        p = ngx_pnalloc(cf->pool, sizeof("entra_mdm:{}:") + policy->name.len);
        if (p == NULL) {
            return NGX_ERROR;
        }

        redis->prefix.data = p;
        redis->prefix.len = ngx_sprintf(p, "entra_mdm:{%V}:", &policy->name)
                            - p;
    }

    for (i = 0; i < NGX_HTTP_ENTRA_MDM_REDIS_KEYS; i++) {
        key = &redis->keys[i];

        key->len = redis->prefix.len + names[i].len;
        key->data = ngx_pnalloc(cf->pool, key->len);

        if (key->data == NULL) {
            return NGX_ERROR;
        }

        ngx_sprintf(key->data, "%V%V", &redis->prefix, &names[i]);
    }

    return NGX_OK;
}


/* URL [prefix=] [poll=] [timeout=] [max_stale=] [user=] ... */

char *
ngx_http_entra_mdm_redis(ngx_conf_t *cf, ngx_http_entra_mdm_block_t *block,
    ngx_str_t *value, ngx_uint_t n)
{
    ngx_uint_t                    i, seen;
    const char                   *why;
    ngx_http_entra_mdm_redis_t   *redis;
    ngx_http_entra_mdm_policy_t  *policy;

    redis = ngx_pcalloc(cf->pool, sizeof(ngx_http_entra_mdm_redis_t));
    if (redis == NULL) {
        return NGX_CONF_ERROR;
    }

    redis->poll = 30000;
    redis->timeout = 2000;

    policy = block->policy;
    policy->redis = redis;

    if (ngx_http_entra_mdm_redis_url(cf, redis, &value[0]) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    seen = 0;

    for (i = 1; i < n; i++) {
        if (ngx_http_entra_mdm_redis_option(cf, redis, &value[i], &seen)
            != NGX_OK)
        {
            return NGX_CONF_ERROR;
        }
    }

    if (ngx_http_entra_mdm_redis_names(cf, policy) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    why = ngx_http_entra_mdm_redis_contradiction(redis, seen);
    if (why) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid \"redis\" directive with \"%V\": %s",
                           &redis->name, why);
        return NGX_CONF_ERROR;
    }

    redis->clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    policy->live = 1;
    policy->live_redis = 1;
    policy->live_max_stale = redis->max_stale;

#if (NGX_ENTRA_HAVE_REDIS_TLS)

    if (redis->url.tls
        && ngx_http_entra_mdm_redis_tls_init(cf, redis) != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

#endif

    return NGX_CONF_OK;
}


/*** names ***/


/* http{} without one gets a dummy that has no name servers */

ngx_uint_t
ngx_http_entra_mdm_redis_resolver(const ngx_http_entra_mdm_redis_t *redis)
{
    return redis->clcf->resolver != NULL
           && redis->clcf->resolver->connections.nelts != 0;
}


static ngx_int_t
ngx_http_entra_mdm_redis_resolve_host(ngx_conf_t *cf,
    ngx_http_entra_mdm_policy_t *policy,
    ngx_http_entra_mdm_redis_host_t *host)
{
    ngx_url_t  u;

    ngx_memzero(&u, sizeof(ngx_url_t));

    u.url = host->name;
    u.host = host->name;
    u.port = host->port;

    if (ngx_inet_resolve_host(cf->pool, &u) == NGX_OK) {
        host->addrs = u.addrs;
        host->naddrs = u.naddrs;
        return NGX_OK;
    }

    if (u.err == NULL) {
        return NGX_ERROR;
    }

    ngx_log_error(NGX_LOG_WARN, cf->log, 0,
                  "host \"%V\" of \"redis\" cannot be resolved now%s in %V:%ui",
                  &host->name,
                  ngx_http_entra_mdm_redis_resolver(policy->redis)
                  ? ", it will be tried again"
                  : ", and not again without a \"resolver\" in http{}",
                  &policy->file, policy->line);

    return NGX_DECLINED;
}


ngx_int_t
ngx_http_entra_mdm_redis_resolve(ngx_conf_t *cf,
    ngx_http_entra_mdm_policy_t *policy)
{
    ngx_int_t                         rc;
    ngx_uint_t                        i, resolved;
    ngx_http_entra_mdm_redis_t       *redis;
    ngx_http_entra_mdm_redis_host_t  *host;

    redis = policy->redis;

    if (redis == NULL || redis->url.kind == ENTRA_REDIS_UNIX) {
        return NGX_OK;
    }

    resolved = 0;
    host = redis->hosts.elts;

    for (i = 0; i < redis->hosts.nelts; i++) {

        if (!host[i].literal) {
            rc = ngx_http_entra_mdm_redis_resolve_host(cf, policy, &host[i]);
            if (rc == NGX_ERROR) {
                return NGX_ERROR;
            }
        }

        resolved += host[i].naddrs != 0;
    }

    if (resolved || policy->state != NULL
        || ngx_http_entra_mdm_redis_resolver(redis))
    {
        return NGX_OK;
    }

    ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                  "no host of \"redis\" \"%V\" can be resolved: mend its name, "
                  "or give http{} a \"resolver\", or the policy a \"state\" to "
                  "start with in %V:%ui",
                  &redis->name, &policy->file, policy->line);

    return NGX_ERROR;
}
