/*
 * A key set in a file.  It may be replaced by rename, written anew in place,
 * or be a symbolic link that is switched: what counts is another content
 * that is a key set; until there is one, the last good one stays.
 */

#include "ngx_http_entra_mdm_key_file.h"


/* a file changed as recently may change again without a trace */
#define UNSETTLED  2                    /* seconds */


/* *stamp was taken before the text was read */

static void
ngx_http_entra_mdm_key_file_seen(ngx_http_entra_mdm_keys_t *keys,
    const ngx_http_entra_mdm_stamp_t *stamp, entra_str_t text)
{
    keys->stamp = *stamp;
    keys->settled = ngx_time() - stamp->sec >= UNSETTLED;
    keys->read = ngx_crc32_long((u_char *) text.data, text.len);
    keys->read_len = text.len;
}


/*** at start ***/


ngx_int_t
ngx_http_entra_mdm_key_file(ngx_conf_t *cf, ngx_http_entra_mdm_keys_t *keys)
{
    ngx_int_t                    rc;
    const char                  *error;
    entra_jwks_t                *jwks;
    ngx_http_entra_mdm_file_t    file;
    ngx_http_entra_mdm_stamp_t   stamp;

    (void) ngx_http_entra_mdm_file_stamp(&keys->name, 0, &stamp);

    rc = ngx_http_entra_mdm_file_read(&keys->name, NGX_HTTP_ENTRA_MDM_MAX_JWKS,
                                      0, &file);
    if (rc != NGX_OK) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, file.err,
                           "the key set \"%V\" of \"jwks\" %s", &keys->name,
                           file.why);
        return NGX_ERROR;
    }

    ngx_http_entra_mdm_key_file_seen(keys, &stamp, file.text);

    keys->text.data = ngx_pnalloc(cf->pool, file.text.len);
    keys->text.len = file.text.len;

    if (keys->text.data == NULL) {
        free((void *) file.text.data);
        return NGX_ERROR;
    }

    ngx_memcpy(keys->text.data, file.text.data, file.text.len);

    free((void *) file.text.data);

    jwks = entra_jwks_parse(ngx_http_entra_mdm_str(&keys->text), &error);

    if (jwks == NULL) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%V\" of \"jwks\" is not a key set: %s",
                           &keys->name, error);
        return NGX_ERROR;
    }

    ngx_http_entra_mdm_keys_log_unusable(cf, NULL, jwks, &keys->name);

    entra_jwks_free(jwks);

    return NGX_OK;
}


/*** in worker 0 ***/


/* told once, and again when it fails in another way */

static void
ngx_http_entra_mdm_key_file_failed(ngx_http_entra_mdm_policy_t *policy,
    ngx_err_t err, const char *why, ngx_log_t *log)
{
    uint32_t                    how;
    ngx_http_entra_mdm_keys_t  *keys;

    keys = policy->keys;
    how = ngx_crc32_short((u_char *) why, ngx_strlen(why)) + err;

    if (keys->unreadable && keys->how == how) {
        return;
    }

    keys->unreadable = 1;
    keys->how = how;

    ngx_log_error(NGX_LOG_ERR, log, err,
                  "entra_mdm: the key set \"%V\" of policy \"%V\" %s; the "
                  "last good one stays in force", &keys->name, &policy->name,
                  why);
}


static ngx_int_t
ngx_http_entra_mdm_key_file_publish(ngx_http_entra_mdm_policy_t *policy,
    const ngx_http_entra_mdm_stamp_t *stamp, entra_str_t text, ngx_log_t *log)
{
    ngx_int_t                   rc;
    ngx_http_entra_mdm_keys_t  *keys;

    keys = policy->keys;

    if (keys->unreadable) {
        keys->unreadable = 0;
        ngx_log_error(NGX_LOG_NOTICE, log, 0,
                      "entra_mdm: the key set \"%V\" of policy \"%V\" can be "
                      "read again", &keys->name, &policy->name);
    }

    if (text.len == keys->read_len
        && ngx_crc32_long((u_char *) text.data, text.len) == keys->read)
    {
        /* the text is the one that was taken, or refused, before */
        rc = NGX_OK;

    } else {
        rc = ngx_http_entra_mdm_keys_publish(policy, text, 0, policy->epoch,
                                             log);
    }

    if (rc != NGX_AGAIN) {
        ngx_http_entra_mdm_key_file_seen(keys, stamp, text);
    }

    return rc;
}


/*
 * NGX_AGAIN: to be done once more in a moment.  A small file, like others that
 * nginx reads in its workers, and only where it has changed.
 */

static ngx_int_t
ngx_http_entra_mdm_key_file_look(ngx_http_entra_mdm_policy_t *policy,
    ngx_log_t *log)
{
    ngx_int_t                    rc;
    ngx_http_entra_mdm_file_t    file;
    ngx_http_entra_mdm_keys_t   *keys;
    ngx_http_entra_mdm_stamp_t   stamp;

    keys = policy->keys;

    rc = ngx_http_entra_mdm_file_stamp(&keys->name, 0, &stamp);

    if (rc == NGX_OK && !keys->unreadable && keys->settled
        && ngx_http_entra_mdm_stamp_eq(&stamp, &keys->stamp))
    {
        return NGX_OK;
    }

    rc = ngx_http_entra_mdm_file_read(&keys->name, NGX_HTTP_ENTRA_MDM_MAX_JWKS,
                                      0, &file);
    if (rc != NGX_OK) {
        ngx_http_entra_mdm_key_file_failed(policy, file.err, file.why, log);
        return NGX_OK;
    }

    rc = ngx_http_entra_mdm_key_file_publish(policy, &stamp, file.text, log);

    free((void *) file.text.data);

    return rc;
}


static void
ngx_http_entra_mdm_key_file_check(ngx_event_t *ev)
{
    ngx_int_t                     rc;
    ngx_http_entra_mdm_policy_t  *policy;

    policy = ev->data;

    if (policy->epoch != ngx_http_entra_mdm_zone(policy)->feed_epoch) {
        /* a later worker 0 looks after it, or after another file */
        return;
    }

    rc = ngx_http_entra_mdm_key_file_look(policy, ev->log);

    ngx_add_timer(ev, rc == NGX_AGAIN ? 100
                                      : (ngx_msec_t) policy->keys->check
                                        * 1000);
}


void
ngx_http_entra_mdm_key_file_start(ngx_cycle_t *cycle,
    ngx_http_entra_mdm_policy_t *policy)
{
    ngx_event_t  *ev;

    ev = &policy->keys->timer;

    ev->handler = ngx_http_entra_mdm_key_file_check;
    ev->data = policy;
    ev->log = cycle->log;
    ev->cancelable = 1;

    /* it may have changed since the master has read it */

    ngx_add_timer(ev, 1);
}


void
ngx_http_entra_mdm_key_file_stop(ngx_http_entra_mdm_policy_t *policy)
{
    if (policy->keys->timer.timer_set) {
        ngx_del_timer(&policy->keys->timer);
    }
}
