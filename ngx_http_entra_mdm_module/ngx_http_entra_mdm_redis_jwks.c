/*
 * Reading the key set of "jwks redis".
 */

#include "ngx_http_entra_mdm_redis_load.h"
#include "ngx_http_entra_mdm_keys.h"


static void
ngx_http_entra_mdm_redis_keys_bad(ngx_http_entra_mdm_redis_load_t *load)
{
    load->keys_good = 0;

    ngx_http_entra_mdm_redis_load_next(load);
}


static void
ngx_http_entra_mdm_redis_keys_read(ngx_http_entra_mdm_redis_conn_t *conn,
    redisReply *reply)
{
    int64_t                           bad;
    ngx_int_t                         rc;
    ngx_log_t                         log;
    entra_str_t                       text;
    ngx_http_entra_mdm_redis_load_t  *load;

    load = ngx_http_entra_mdm_redis_load_of(conn);

    if (reply->type == REDIS_REPLY_NIL) {
        /* gone in this moment: there is an invalidation to come */
        ngx_http_entra_mdm_redis_keys_bad(load);
        return;
    }

    if (reply->type != REDIS_REPLY_STRING) {
        ngx_http_entra_mdm_redis_load_error(load, reply);
        return;
    }

    text = (entra_str_t) { reply->str, reply->len };

    /* one that was no good is tried again, but that is told once */

    log = *load->log;
    bad = NGX_HTTP_ENTRA_MDM_REDIS_KEYS_BAD
          - (int64_t) ngx_crc32_long((u_char *) text.data, text.len);

    if (load->keys_told == bad) {
        log.log_level = NGX_LOG_EMERG;
    }

    rc = ngx_http_entra_mdm_keys_publish(load->policy, text, 0,
                                         load->policy->epoch, &log);

    if (rc == NGX_ABORT) {
        ngx_http_entra_mdm_redis_load_end(load,
                                NGX_HTTP_ENTRA_MDM_REDIS_SUPERSEDED, NULL);
        return;
    }

    if (rc == NGX_AGAIN) {
        /* somebody else was publishing */
        load->dirty |= 1u << NGX_HTTP_ENTRA_MDM_REDIS_JWKS;
    }

    load->keys_good = (rc == NGX_OK);
    load->keys_told = rc == NGX_ERROR || rc == NGX_DECLINED
                      ? bad : NGX_HTTP_ENTRA_MDM_REDIS_KEYS_GOOD;

    ngx_http_entra_mdm_redis_load_next(load);
}


/* its length first: who knows what somebody has put there */

static void
ngx_http_entra_mdm_redis_keys_length(ngx_http_entra_mdm_redis_conn_t *conn,
    redisReply *reply)
{
    ngx_str_t                         words[2];
    ngx_http_entra_mdm_redis_load_t  *load;

    load = ngx_http_entra_mdm_redis_load_of(conn);

    if (ngx_http_entra_mdm_redis_wrong_type(reply)) {

        if (load->keys_told != NGX_HTTP_ENTRA_MDM_REDIS_KEYS_WRONG) {
            ngx_http_entra_mdm_redis_log_wrong(load,
                                  NGX_HTTP_ENTRA_MDM_REDIS_JWKS, "String");
        }

        load->keys_told = NGX_HTTP_ENTRA_MDM_REDIS_KEYS_WRONG;

        ngx_http_entra_mdm_redis_keys_bad(load);
        return;
    }

    if (reply->type != REDIS_REPLY_INTEGER) {
        ngx_http_entra_mdm_redis_load_error(load, reply);
        return;
    }

    words[1] = load->policy->redis->keys[NGX_HTTP_ENTRA_MDM_REDIS_JWKS];

    if (reply->integer > 0 && reply->integer <= NGX_HTTP_ENTRA_MDM_MAX_JWKS) {
        ngx_str_set(&words[0], "GET");
        (void) ngx_http_entra_mdm_redis_load_send(load,
                              ngx_http_entra_mdm_redis_keys_read, words, 2);
        return;
    }

    if (load->keys_told == reply->integer) {
        /* said when it was found */

    } else if (reply->integer == 0) {
        ngx_log_error(NGX_LOG_ERR, load->log, 0,
                      "entra_mdm: policy \"%V\" has no key \"%V\" in Redis: "
                      "SET it to a key set; the last good one, if there is "
                      "one, stays in force",
                      &load->policy->name, &words[1]);

    } else {
        ngx_log_error(NGX_LOG_ERR, load->log, 0,
                      "entra_mdm: key \"%V\" of policy \"%V\" in Redis has %L "
                      "bytes, the limit is %d: the last good key set stays in "
                      "force", &words[1], &load->policy->name,
                      (int64_t) reply->integer, NGX_HTTP_ENTRA_MDM_MAX_JWKS);
    }

    load->keys_told = reply->integer;

    ngx_http_entra_mdm_redis_keys_bad(load);
}


void
ngx_http_entra_mdm_redis_keys_get(ngx_http_entra_mdm_redis_load_t *load)
{
    ngx_str_t  words[2];

    ngx_str_set(&words[0], "STRLEN");
    words[1] = load->policy->redis->keys[NGX_HTTP_ENTRA_MDM_REDIS_JWKS];

    (void) ngx_http_entra_mdm_redis_load_send(load,
                           ngx_http_entra_mdm_redis_keys_length, words, 2);
}
