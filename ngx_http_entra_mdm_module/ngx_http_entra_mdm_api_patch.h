/*
 * A change of the lists under way, and the two places it may go to: the zone,
 * where that is the list, or Redis.
 */

#ifndef NGX_HTTP_ENTRA_MDM_API_PATCH_H
#define NGX_HTTP_ENTRA_MDM_API_PATCH_H

#include "ngx_http_entra_mdm_api.h"


typedef struct ngx_http_entra_mdm_patch_s  ngx_http_entra_mdm_patch_t;
typedef struct ngx_http_entra_mdm_store_s  ngx_http_entra_mdm_store_t;


/* in a pool of its own, since it may outlive its request */

struct ngx_http_entra_mdm_patch_s {
    ngx_http_request_t           *r;            /* NULL: the client has gone */
    ngx_pool_t                   *pool;
    ngx_http_entra_mdm_policy_t  *policy;
    ngx_http_entra_mdm_author_t   author;
    char                          actor[ENTRA_ACTIVITY_ACTOR + 1];
    char                          role[ENTRA_ACTIVITY_ROLE + 1];
    ngx_log_t                    *log;

    entra_mem_t                   mem;
    entra_config_patch_t          named;        /* what the client wants */

    /* of one try */
    ngx_pool_t                   *lists;
    entra_lists_t                 from;
    entra_lists_t                 to;
    ngx_uint_t                    changed;      /* bits */

    ngx_event_t                   event;
    ngx_uint_t                    own;          /* unsigned  own:1; */
    ngx_uint_t                    tries;

    ngx_http_entra_mdm_store_t   *store;        /* of Redis, or NULL */
};


/*** ngx_http_entra_mdm_api_config.c ***/


/*
 * The answer with these lists, or that they are too large for it; tagged is
 * the generation in the zone + 1, or 0 if the lists have none there.
 */
ngx_int_t ngx_http_entra_mdm_config_send(ngx_http_request_t *r,
    const entra_lists_t *lists, ngx_atomic_uint_t generation,
    ngx_atomic_uint_t tagged);
ngx_int_t ngx_http_entra_mdm_config_too_large(ngx_http_request_t *r);


/*** ngx_http_entra_mdm_api_patch.c ***/


/*
 * Whether If-Match allows a change of patch->from: NGX_OK, NGX_DECLINED, or
 * NGX_ERROR (no memory).
 */
ngx_int_t ngx_http_entra_mdm_patch_match(ngx_http_entra_mdm_patch_t *patch);

/*
 * patch->to and patch->changed out of patch->from.  Who was on a list stays as
 * typed: another spelling is no change.  NGX_ERROR: no memory.
 */
ngx_int_t ngx_http_entra_mdm_patch_apply(ngx_http_entra_mdm_patch_t *patch);

/* answers; what the request is to be finalized with */
ngx_int_t ngx_http_entra_mdm_patch_send(ngx_http_entra_mdm_patch_t *patch,
    const entra_lists_t *lists, ngx_atomic_uint_t generation);
ngx_int_t ngx_http_entra_mdm_patch_error(ngx_http_entra_mdm_patch_t *patch,
    ngx_uint_t status, const char *reason);

/* the errors that both stores have */
ngx_int_t ngx_http_entra_mdm_patch_too_large(
    ngx_http_entra_mdm_patch_t *patch);
ngx_int_t ngx_http_entra_mdm_patch_no_match(
    ngx_http_entra_mdm_patch_t *patch);
ngx_int_t ngx_http_entra_mdm_patch_no_room(ngx_http_entra_mdm_patch_t *patch);

/* calls handler after some milliseconds, not the same as for others */
void ngx_http_entra_mdm_patch_later(ngx_http_entra_mdm_patch_t *patch,
    ngx_event_handler_pt handler);

/* as soon as the request's handlers have returned */
void ngx_http_entra_mdm_patch_post(ngx_http_entra_mdm_patch_t *patch,
    ngx_event_handler_pt handler);

/*
 * It is over: finalizes the request, if there still is one, and frees the
 * patch.  In events of its own, which own says, what is left of the request is
 * run here as well; within a handler of the request, whoever called that goes
 * on with it, and does so himself.
 */
void ngx_http_entra_mdm_patch_done(ngx_http_entra_mdm_patch_t *patch,
    ngx_int_t rc);


/*
 * Both stores end with ngx_http_entra_mdm_patch_done(), perhaps before they
 * return.
 */

/* ngx_http_entra_mdm_api_zone.c */
void ngx_http_entra_mdm_patch_zone(ngx_http_entra_mdm_patch_t *patch);

/* ngx_http_entra_mdm_api_redis.c */
void ngx_http_entra_mdm_patch_redis(ngx_http_entra_mdm_patch_t *patch);

/* the client has gone: nothing more is begun; NGX_AGAIN: it goes on alone */
ngx_int_t ngx_http_entra_mdm_patch_redis_gone(
    ngx_http_entra_mdm_patch_t *patch);


#endif /* NGX_HTTP_ENTRA_MDM_API_PATCH_H */
