/*
 * Live lists from Redis: what the "redis" directive says, and the feed, which
 * follows the lists of a policy for its whole node.
 */

#ifndef NGX_HTTP_ENTRA_MDM_REDIS_H
#define NGX_HTTP_ENTRA_MDM_REDIS_H

#include "ngx_http_entra_mdm_zone.h"

#include "entra_redis_url.h"


/* the keys of a policy; those of the lists are numbered as the lists are */

typedef enum {
    NGX_HTTP_ENTRA_MDM_REDIS_CLIENT_IDS = ENTRA_CLIENT_IDS,
    NGX_HTTP_ENTRA_MDM_REDIS_TENANT_IDS = ENTRA_TENANT_IDS,
    NGX_HTTP_ENTRA_MDM_REDIS_JWKS,
    NGX_HTTP_ENTRA_MDM_REDIS_GENERATION,
    NGX_HTTP_ENTRA_MDM_REDIS_ACTIVITIES,

    /* what of the lists the activities account for, numbered likewise */
    NGX_HTTP_ENTRA_MDM_REDIS_ACCOUNTED,
    NGX_HTTP_ENTRA_MDM_REDIS_ACCOUNTED_LAST =
        NGX_HTTP_ENTRA_MDM_REDIS_ACCOUNTED + ENTRA_LISTS - 1,

    NGX_HTTP_ENTRA_MDM_REDIS_KEYS
} ngx_http_entra_mdm_redis_key_e;


/* a host of the URL, and its addresses as they were at start */

typedef struct {
    ngx_str_t                          name;
    in_port_t                          port;
    ngx_uint_t                         literal;     /* unsigned  literal:1; */
    ngx_addr_t                        *addrs;
    ngx_uint_t                         naddrs;      /* 0: not resolved */
} ngx_http_entra_mdm_redis_host_t;


typedef struct ngx_http_entra_mdm_redis_feed_s  ngx_http_entra_mdm_redis_feed_t;


/* one "redis" directive; read-only once the configuration is loaded */

struct ngx_http_entra_mdm_redis_s {
    entra_redis_url_t                  url;
    ngx_str_t                          name;        /* for logs: no password */

    ngx_array_t                        hosts;
    ngx_http_core_loc_conf_t          *clcf;        /* of http{} */

    ngx_str_t                          prefix;
    ngx_str_t                          keys[NGX_HTTP_ENTRA_MDM_REDIS_KEYS];

    ngx_str_t                          user;        /* empty: the default one */
    ngx_str_t                          password;    /* empty: no AUTH */

    ngx_str_t                          tls_ca;
    ngx_str_t                          tls_cert;
    ngx_str_t                          tls_key;
    ngx_str_t                          tls_name;
    void                              *ssl_ctx;     /* or NULL: no TLS */

    ngx_msec_t                         poll;
    ngx_msec_t                         timeout;     /* of each command */
    time_t                             max_stale;   /* 0: off */

    ngx_http_entra_mdm_redis_feed_t   *feed;        /* of worker 0 */
};


/*** ngx_http_entra_mdm_redis_conf.c ***/


/*
 * Once all of http{} is read: resolves the hosts, which may block.  NGX_ERROR,
 * told in the log: none of them can be, and nothing else helps.
 */
ngx_int_t ngx_http_entra_mdm_redis_resolve(ngx_conf_t *cf,
    ngx_http_entra_mdm_policy_t *policy);

/* Whether http{} has a resolver */
ngx_uint_t ngx_http_entra_mdm_redis_resolver(
    const ngx_http_entra_mdm_redis_t *redis);


/*** ngx_http_entra_mdm_redis_tls.c ***/


/* the SSL_CTX of a rediss:// URL; NGX_ERROR: told in the log */
ngx_int_t ngx_http_entra_mdm_redis_tls_init(ngx_conf_t *cf,
    ngx_http_entra_mdm_redis_t *redis);


/*** ngx_http_entra_mdm_redis.c ***/


/*
 * Once a new configuration is sure to be used: lists that were left behind by
 * a configuration without live lists are forgotten.
 */
void ngx_http_entra_mdm_redis_init(ngx_http_entra_mdm_policy_t *policy);

/* the feed of worker 0 */
void ngx_http_entra_mdm_redis_start(ngx_http_entra_mdm_policy_t *policy,
    ngx_cycle_t *cycle);
void ngx_http_entra_mdm_redis_stop(ngx_http_entra_mdm_policy_t *policy);


#endif /* NGX_HTTP_ENTRA_MDM_REDIS_H */
