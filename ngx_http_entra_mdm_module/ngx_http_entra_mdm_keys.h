/*
 * The key set of a policy: where it comes from, and what a worker has made of
 * it.
 */

#ifndef NGX_HTTP_ENTRA_MDM_KEYS_H
#define NGX_HTTP_ENTRA_MDM_KEYS_H

#include "ngx_http_entra_mdm_zone.h"


/*
 * What a worker keeps of tokens that have verified, for each policy: a token
 * of usual size takes some 2.5 KB.
 */
#define NGX_HTTP_ENTRA_MDM_CACHE_TOKENS  1024
#define NGX_HTTP_ENTRA_MDM_CACHE_BYTES   (4 * 1024 * 1024)

typedef enum {
    NGX_HTTP_ENTRA_MDM_JWKS_NONE = 0,
    NGX_HTTP_ENTRA_MDM_JWKS_FILE,
    NGX_HTTP_ENTRA_MDM_JWKS_REQUEST,
    NGX_HTTP_ENTRA_MDM_JWKS_REDIS
} ngx_http_entra_mdm_jwks_e;


struct ngx_http_entra_mdm_keys_s {
    ngx_http_entra_mdm_jwks_e     from;
    ngx_str_t                     name;         /* path or URI, or "redis" */
    ngx_str_t                     text;         /* of a file, at start */
    uint32_t                      source;       /* a hash of from and name */
    ngx_atomic_uint_t             config;       /* of the zone's keys_config */

    /* of a file: what has been read last, whatever came of it */
    time_t                        check;        /* every so many seconds */
    ngx_http_entra_mdm_stamp_t    stamp;
    uint32_t                      read;         /* a hash of the text */
    size_t                        read_len;
    uint32_t                      how;          /* it could not be read */
    ngx_event_t                   timer;
    unsigned                      settled:1;    /* a change would show */
    unsigned                      unreadable:1;

    /* of a request, in seconds */
    time_t                        refresh;
    time_t                        min_interval;
    time_t                        max_stale;

    /* where its location is */
    ngx_str_t                     uri;
    ngx_str_t                     args;
    ngx_http_conf_ctx_t          *server;

    /* this worker's own */
    entra_jwks_t                 *jwks;
    entra_cache_t                *cache;        /* of jwks, or NULL */
    ngx_atomic_uint_t             generation;   /* that jwks was made of */
    ngx_http_entra_mdm_fetch_t   *fetch;        /* under way, or NULL */
    ngx_event_t                   refresh_timer;        /* of worker 0 */
    ngx_queue_t                   waiting;      /* requests */
    ngx_event_t                   waiting_timer;
};


/* names the keys that may not be used; cf: at start, else NULL */
void ngx_http_entra_mdm_keys_log_unusable(ngx_conf_t *cf, ngx_log_t *log,
    const entra_jwks_t *jwks, const ngx_str_t *name);

/*
 * Once a new configuration is sure to be used: keys of another source are no
 * longer trusted, those of a file are in force.
 */
void ngx_http_entra_mdm_keys_init(ngx_cycle_t *cycle,
    ngx_http_entra_mdm_policy_t *policy);

/* tells keys of one source from those of another */
uint32_t ngx_http_entra_mdm_keys_source(const ngx_http_entra_mdm_keys_t *keys);

/*
 * The keys in force, built once a generation and worker.  NULL with
 * ENTRA_KEYS_UNAVAILABLE (there are none, or none fresh enough) or
 * ENTRA_INTERNAL (out of memory) in *reason.  Valid until the worker's next
 * event.
 */
const entra_jwks_t *ngx_http_entra_mdm_keys(
    ngx_http_entra_mdm_policy_t *policy, entra_reason_t *reason);

/*
 * A new text from the source of the keys, by an attempt to fetch or an epoch
 * of the feed, the other being 0.  Parsed first: NGX_ERROR, told in the log,
 * if it is no key set, and what is in force stays.  Else as
 * ngx_http_entra_mdm_zone_publish(); the time of the fetch counts as of now.
 */
ngx_int_t ngx_http_entra_mdm_keys_publish(ngx_http_entra_mdm_policy_t *policy,
    entra_str_t text, ngx_atomic_uint_t attempt, ngx_atomic_uint_t epoch,
    ngx_log_t *log);

/* forgets what this worker has made of the keys */
void ngx_http_entra_mdm_keys_free(ngx_http_entra_mdm_keys_t *keys);

/* seconds since the keys in force were last known to be right */
time_t ngx_http_entra_mdm_keys_age(ngx_http_entra_mdm_policy_t *policy);


#endif /* NGX_HTTP_ENTRA_MDM_KEYS_H */
