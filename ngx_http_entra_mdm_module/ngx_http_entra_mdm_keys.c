/*
 * The key set of a policy.
 */

#include "ngx_http_entra_mdm_keys.h"
#include "ngx_http_entra_mdm_lease.h"


static void
ngx_http_entra_mdm_keys_log_nameless(ngx_conf_t *cf, ngx_log_t *log,
    const entra_jwks_t *jwks, const ngx_str_t *name)
{
    static const char  text[] =
        "entra_mdm: %uz entries of \"%V\" may not be used: they have no kid";

    if (entra_jwks_nameless(jwks) == 0) {
        return;
    }

    if (cf != NULL) {
        ngx_conf_log_error(NGX_LOG_WARN, cf, 0, text,
                           entra_jwks_nameless(jwks), name);

    } else {
        ngx_log_error(NGX_LOG_WARN, log, 0, text, entra_jwks_nameless(jwks),
                      name);
    }
}


void
ngx_http_entra_mdm_keys_log_unusable(ngx_conf_t *cf, ngx_log_t *log,
    const entra_jwks_t *jwks, const ngx_str_t *name)
{
    size_t              i;
    entra_str_t         kid;
    const entra_key_t  *key;

    static const char  text[] =
        "entra_mdm: key \"%*s\" in \"%V\" may not be used: %s";

    for (i = 0; i < entra_jwks_count(jwks); i++) {
        key = entra_jwks_key(jwks, i);
        kid = entra_key_kid(key);

        if (entra_key_unusable(key) == NULL) {
            continue;
        }

        if (cf != NULL) {
            ngx_conf_log_error(NGX_LOG_WARN, cf, 0, text, kid.len, kid.data,
                               name, entra_key_unusable(key));

        } else {
            ngx_log_error(NGX_LOG_WARN, log, 0, text, kid.len, kid.data, name,
                          entra_key_unusable(key));
        }
    }

    ngx_http_entra_mdm_keys_log_nameless(cf, log, jwks, name);
}


/*** at start ***/


uint32_t
ngx_http_entra_mdm_keys_source(const ngx_http_entra_mdm_keys_t *keys)
{
    return ngx_crc32_long(keys->name.data, keys->name.len) + keys->from;
}


/* an old worker that is publishing gives up at its next piece */

static ngx_int_t
ngx_http_entra_mdm_keys_force(ngx_http_entra_mdm_policy_t *policy,
    const ngx_http_entra_mdm_change_t *change)
{
    ngx_int_t  rc;

    do {
        rc = ngx_http_entra_mdm_zone_publish(policy, change);
    } while (rc == NGX_AGAIN);

    return rc;
}


void
ngx_http_entra_mdm_keys_init(ngx_cycle_t *cycle,
    ngx_http_entra_mdm_policy_t *policy)
{
    ngx_uint_t                    same;
    ngx_http_entra_mdm_keys_t    *keys;
    ngx_http_entra_mdm_zone_t    *zone;
    ngx_http_entra_mdm_change_t   change;

    keys = policy->keys;
    zone = ngx_http_entra_mdm_zone(policy);

    keys->source = ngx_http_entra_mdm_keys_source(keys);

    /* from now on old workers begin no fetch */

    keys->config = ngx_atomic_fetch_add(&zone->keys_config, 1) + 1;

    same = zone->keys_source == keys->source;

    if (keys->from != NGX_HTTP_ENTRA_MDM_JWKS_FILE
        && (same || zone->keys_source == 0))
    {
        /* the set in force is of this source, or there is none */
        zone->keys_source = keys->source;
        return;
    }

    if (!same) {
        ngx_http_entra_mdm_lease_reset(policy);
    }

    zone->keys_source = keys->source;

    ngx_memzero(&change, sizeof(ngx_http_entra_mdm_change_t));

    change.keys = 1;
    change.text = ngx_http_entra_mdm_str(&keys->text);
    change.keys_fetched = keys->text.len ? ngx_time() : 0;

    if (ngx_http_entra_mdm_keys_force(policy, &change) == NGX_OK) {
        return;
    }

    ngx_log_error(NGX_LOG_ERR, cycle->log, 0,
                  "entra_mdm: key set \"%V\" of policy \"%V\" has %uz bytes "
                  "and does not fit its zone twice, beside the lists in "
                  "force: raise \"zone\" in %V:%ui; %s", &keys->name,
                  &policy->name, keys->text.len, &policy->file, policy->line,
                  same ? "the last good one stays" : "there are no keys");

    if (!same) {
        change.text = ENTRA_STR_NONE;
        change.keys_fetched = 0;
        (void) ngx_http_entra_mdm_keys_force(policy, &change);
    }
}


/*** in a worker ***/


time_t
ngx_http_entra_mdm_keys_age(ngx_http_entra_mdm_policy_t *policy)
{
    return ngx_http_entra_mdm_moment_age(
                             &ngx_http_entra_mdm_zone(policy)->keys_fetched);
}


/* a copy of the text in force, or NULL: out of memory, or there is none */

static char *
ngx_http_entra_mdm_keys_text(ngx_http_entra_mdm_policy_t *policy,
    ngx_atomic_uint_t *generation, size_t *len)
{
    char                           *text;
    ngx_http_entra_mdm_snapshot_t   snapshot;

    for ( ;; ) {
        ngx_http_entra_mdm_snapshot(policy, &snapshot);

        *generation = snapshot.keys_generation;
        *len = snapshot.keys.len;

        text = malloc(*len + 1);
        if (text == NULL) {
            return NULL;
        }

        ngx_memcpy(text, snapshot.keys.data, *len);

        if (ngx_http_entra_mdm_snapshot_current(policy, &snapshot)) {
            return text;
        }

        free(text);
    }
}


/* the cache first: it knows nothing but these keys */

void
ngx_http_entra_mdm_keys_free(ngx_http_entra_mdm_keys_t *keys)
{
    entra_cache_free(keys->cache);
    entra_jwks_free(keys->jwks);

    keys->cache = NULL;
    keys->jwks = NULL;
    keys->generation = 0;
}


/* without memory for it, every token is verified */

static entra_cache_t *
ngx_http_entra_mdm_keys_cache(ngx_http_entra_mdm_policy_t *policy)
{
    entra_cache_conf_t  conf;

    conf.jwks = policy->keys->jwks;
    conf.leeway = policy->rules.leeway;
    conf.max_entries = NGX_HTTP_ENTRA_MDM_CACHE_TOKENS;
    conf.max_bytes = NGX_HTTP_ENTRA_MDM_CACHE_BYTES;

    return entra_cache_create(&conf);
}


static ngx_int_t
ngx_http_entra_mdm_keys_build(ngx_http_entra_mdm_policy_t *policy)
{
    char                       *text;
    size_t                      len;
    const char                 *error;
    ngx_atomic_uint_t           generation;
    ngx_http_entra_mdm_keys_t  *keys;

    keys = policy->keys;

    ngx_http_entra_mdm_keys_free(keys);

    text = ngx_http_entra_mdm_keys_text(policy, &generation, &len);
    if (text == NULL) {
        return NGX_ERROR;
    }

    if (len) {
        keys->jwks = entra_jwks_parse((entra_str_t) { text, len }, &error);

        if (keys->jwks == NULL) {
            /* it was a key set when it was published: no memory */
            ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                          "entra_mdm: the keys of policy \"%V\" cannot be "
                          "built: %s", &policy->name, error);
            free(text);
            return NGX_ERROR;
        }

        keys->cache = ngx_http_entra_mdm_keys_cache(policy);
    }

    free(text);

    keys->generation = generation;

    return NGX_OK;
}


const entra_jwks_t *
ngx_http_entra_mdm_keys(ngx_http_entra_mdm_policy_t *policy,
    entra_reason_t *reason)
{
    ngx_http_entra_mdm_keys_t      *keys;
    ngx_http_entra_mdm_snapshot_t   snapshot;

    keys = policy->keys;

    ngx_http_entra_mdm_snapshot(policy, &snapshot);

    if (keys->generation != snapshot.keys_generation
        && ngx_http_entra_mdm_keys_build(policy) != NGX_OK)
    {
        *reason = ENTRA_INTERNAL;
        return NULL;
    }

    if (keys->jwks == NULL
        || (keys->max_stale
            && ngx_http_entra_mdm_keys_age(policy) > keys->max_stale))
    {
        *reason = ENTRA_KEYS_UNAVAILABLE;
        return NULL;
    }

    return keys->jwks;
}


ngx_int_t
ngx_http_entra_mdm_keys_publish(ngx_http_entra_mdm_policy_t *policy,
    entra_str_t text, ngx_atomic_uint_t attempt, ngx_atomic_uint_t epoch,
    ngx_log_t *log)
{
    ngx_int_t                       rc;
    const char                     *error;
    entra_jwks_t                   *jwks;
    ngx_atomic_uint_t               generation;
    ngx_http_entra_mdm_change_t     change;
    ngx_http_entra_mdm_snapshot_t   snapshot;

    if (text.len > NGX_HTTP_ENTRA_MDM_MAX_JWKS) {
        ngx_log_error(NGX_LOG_ERR, log, 0,
                      "entra_mdm: key set \"%V\" of policy \"%V\" has %uz "
                      "bytes, the limit is %d; the last good one stays",
                      &policy->keys->name, &policy->name, text.len,
                      NGX_HTTP_ENTRA_MDM_MAX_JWKS);
        return NGX_ERROR;
    }

    jwks = entra_jwks_parse(text, &error);

    if (jwks == NULL) {
        ngx_log_error(NGX_LOG_ERR, log, 0,
                      "entra_mdm: \"%V\" gave policy \"%V\" no key set: %s; "
                      "the last good one stays", &policy->keys->name,
                      &policy->name, error);
        return NGX_ERROR;
    }

    ngx_memzero(&change, sizeof(ngx_http_entra_mdm_change_t));

    change.keys = 1;
    change.text = text;
    change.keys_fetched = ngx_time();
    change.keys_source = policy->keys->source;
    change.attempt = attempt;
    change.epoch = epoch;

    if (attempt == 0) {
        /* what was under way before a reload may be done, but not begun */
        change.keys_config = policy->keys->config;
    }

    ngx_http_entra_mdm_snapshot(policy, &snapshot);
    generation = snapshot.keys_generation;

    rc = ngx_http_entra_mdm_zone_publish(policy, &change);

    if (rc == NGX_OK) {
        ngx_http_entra_mdm_snapshot(policy, &snapshot);

        if (snapshot.keys_generation != generation) {
            ngx_log_error(NGX_LOG_NOTICE, log, 0,
                          "entra_mdm: key set \"%V\" of policy \"%V\" has %uz "
                          "keys", &policy->keys->name, &policy->name,
                          entra_jwks_usable(jwks));
            ngx_http_entra_mdm_keys_log_unusable(NULL, log, jwks,
                                                 &policy->keys->name);
        }

    } else if (rc == NGX_DECLINED) {
        ngx_log_error(NGX_LOG_ERR, log, 0,
                      "entra_mdm: key set \"%V\" of policy \"%V\" has %uz "
                      "bytes and does not fit its zone twice: raise \"zone\"; "
                      "the last good one stays", &policy->keys->name,
                      &policy->name, text.len);
    }

    entra_jwks_free(jwks);

    return rc;
}
