/*
 * Directives of a policy that say where its keys and live lists come from and
 * where they are kept.
 */

#include "ngx_http_entra_mdm_key_file.h"
#include "ngx_http_entra_mdm_policy.h"


#define MAX_CHECK  (24 * 3600)


/*** keys ***/


static ngx_int_t
ngx_http_entra_mdm_jwks_file(ngx_conf_t *cf, ngx_http_entra_mdm_keys_t *keys,
    ngx_str_t *value, ngx_uint_t n)
{
    ngx_str_t  text;

    keys->check = 60;

    if (n) {
        text.data = value->data + sizeof("check=") - 1;
        text.len = value->len - (sizeof("check=") - 1);

        if (n > 1 || ngx_strncmp(value->data, "check=", 6) != 0) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid parameter \"%V\" in \"jwks\", a file "
                               "takes only \"check=\" and a time",
                               &value[n - 1]);
            return NGX_ERROR;
        }

        keys->check = ngx_parse_time(&text, 1);

        if (keys->check == (time_t) NGX_ERROR || keys->check < 1
            || keys->check > MAX_CHECK)
        {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid value \"%V\" in \"jwks\", it must be "
                               "a time from 1s to 1d", value);
            return NGX_ERROR;
        }
    }

    if (ngx_conf_full_name(cf->cycle, &keys->name, 1) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_http_entra_mdm_key_file(cf, keys);
}


static ngx_int_t
ngx_http_entra_mdm_jwks_times(ngx_conf_t *cf, ngx_http_entra_mdm_keys_t *keys,
    ngx_str_t *value, ngx_uint_t n)
{
    time_t      *time;
    ngx_str_t    text;
    ngx_uint_t   i, j, seen;

    static const struct {
        ngx_str_t  name;
        size_t     offset;
    } times[] = {
        { ngx_string("refresh="),
          offsetof(ngx_http_entra_mdm_keys_t, refresh) },
        { ngx_string("min_interval="),
          offsetof(ngx_http_entra_mdm_keys_t, min_interval) },
        { ngx_string("max_stale="),
          offsetof(ngx_http_entra_mdm_keys_t, max_stale) },
    };

    keys->refresh = 3600;
    keys->min_interval = 60;
    keys->max_stale = 24 * 3600;

    seen = 0;

    for (i = 0; i < n; i++) {

        for (j = 0; j < 3; j++) {
            if (ngx_strncmp(value[i].data, times[j].name.data,
                            times[j].name.len) == 0)
            {
                break;
            }
        }

        if (j == 3) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid parameter \"%V\" in \"jwks\", it must "
                               "be \"refresh=\", \"min_interval=\" or "
                               "\"max_stale=\" and a time", &value[i]);
            return NGX_ERROR;
        }

        if (seen & (1u << j)) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "parameter \"%V\" is repeated in \"jwks\"",
                               &times[j].name);
            return NGX_ERROR;
        }

        seen |= 1u << j;

        text.data = value[i].data + times[j].name.len;
        text.len = value[i].len - times[j].name.len;

        time = (time_t *) ((u_char *) keys + times[j].offset);
        *time = ngx_parse_time(&text, 1);

        if (*time == (time_t) NGX_ERROR || *time < 1) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid value \"%V\" in \"jwks\", it must be "
                               "a time of 1s or more", &value[i]);
            return NGX_ERROR;
        }
    }

    if (keys->min_interval > keys->refresh
        || keys->refresh > keys->max_stale)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"min_interval\" (%T s) of \"jwks\" must not be "
                           "over \"refresh\" (%T s), nor that over "
                           "\"max_stale\" (%T s)", keys->min_interval,
                           keys->refresh, keys->max_stale);
        return NGX_ERROR;
    }

    return NGX_OK;
}


static void
ngx_http_entra_mdm_jwks_cleanup(void *data)
{
    ngx_http_entra_mdm_keys_free(data);
}


/* file=PATH [check=TIME] | request=URI [TIMES] | redis */

char *
ngx_http_entra_mdm_jwks(ngx_conf_t *cf, ngx_http_entra_mdm_block_t *block,
    ngx_str_t *value, ngx_uint_t n)
{
    ngx_int_t                   rc;
    ngx_pool_cleanup_t         *cln;
    ngx_http_entra_mdm_keys_t  *keys;

    static char  must[] = "it must be file=PATH, request=URI or redis";

    cln = ngx_pool_cleanup_add(cf->pool, sizeof(ngx_http_entra_mdm_keys_t));
    if (cln == NULL) {
        return NGX_CONF_ERROR;
    }

    keys = cln->data;
    ngx_memzero(keys, sizeof(ngx_http_entra_mdm_keys_t));

    cln->handler = ngx_http_entra_mdm_jwks_cleanup;

    block->policy->keys = keys;

    keys->name = value[0];

    ngx_queue_init(&keys->waiting);

    if (ngx_strncmp(value->data, "request=", 8) == 0) {
        keys->from = NGX_HTTP_ENTRA_MDM_JWKS_REQUEST;
        keys->name.data += 8;
        keys->name.len -= 8;

        if (keys->name.len == 0 || keys->name.data[0] != '/') {
            return "it must be request= and the URI of a location, "
                   "such as request=/_entra/jwks";
        }

        rc = ngx_http_entra_mdm_jwks_times(cf, keys, &value[1], n - 1);

        return rc == NGX_OK ? NGX_CONF_OK : NGX_CONF_ERROR;
    }

    if (ngx_strcmp(value->data, "redis") == 0) {

        if (n > 1) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "\"jwks redis\" takes no parameter, not "
                               "\"%V\"", &value[1]);
            return NGX_CONF_ERROR;
        }

        keys->from = NGX_HTTP_ENTRA_MDM_JWKS_REDIS;
        return NGX_CONF_OK;
    }

    if (ngx_strncmp(value->data, "file=", 5) != 0 || value->len == 5) {
        return must;
    }

    keys->from = NGX_HTTP_ENTRA_MDM_JWKS_FILE;
    keys->name.data += 5;
    keys->name.len -= 5;

    rc = ngx_http_entra_mdm_jwks_file(cf, keys, &value[1], n - 1);

    return rc == NGX_OK ? NGX_CONF_OK : NGX_CONF_ERROR;
}


/*** memory ***/


char *
ngx_http_entra_mdm_zone_size(ngx_conf_t *cf,
    ngx_http_entra_mdm_block_t *block, ngx_str_t *value, ngx_uint_t n)
{
    ssize_t  size;

    size = ngx_parse_size(value);

    if (size == NGX_ERROR) {
        return "it must be a size, such as 2m";
    }

    block->zone_size = size;

    return NGX_CONF_OK;
}


ngx_int_t
ngx_http_entra_mdm_sources_done(ngx_conf_t *cf,
    ngx_http_entra_mdm_block_t *block)
{
    entra_set_t                   none[ENTRA_LISTS];
    ngx_http_entra_mdm_policy_t  *policy;

    policy = block->policy;

    if (policy->keys == NULL) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "policy \"%V\" has no \"jwks\": say where its signing "
                      "keys come from, for example \"jwks file=keys.json\", "
                      "in %V:%ui", &policy->name, &policy->file, policy->line);
        return NGX_ERROR;
    }

    if (policy->keys->from == NGX_HTTP_ENTRA_MDM_JWKS_REDIS
        && !policy->live_redis)
    {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "\"jwks redis\" of policy \"%V\" needs \"redis\" as "
                      "well, to say which one, in %V:%ui",
                      &policy->name, &policy->file, policy->line);
        return NGX_ERROR;
    }

    if (policy->keys->from == NGX_HTTP_ENTRA_MDM_JWKS_REDIS) {
        policy->keys->max_stale = policy->live_max_stale;
    }

    ngx_memzero(none, sizeof(none));

    if (ngx_http_entra_mdm_zone_fits(policy, block->zone_size, none,
                                     policy->keys->text.len, cf->log)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_entra_mdm_zone_add(cf, policy, block->zone_size);
}
