/*
 * Activities: who put which ID on a list, or took it off, and when.  The
 * latest are in the zone, each is a notice in error.log; what keeps them
 * longer is Redis or the state file.
 */

#ifndef NGX_HTTP_ENTRA_MDM_ACTIVITIES_H
#define NGX_HTTP_ENTRA_MDM_ACTIVITIES_H

#include "ngx_http_entra_mdm_zone.h"


/* as many as a zone has: 200, or 1000 if it is large */
#define NGX_HTTP_ENTRA_MDM_ACTIVITIES       200
#define NGX_HTTP_ENTRA_MDM_ACTIVITIES_MORE  1000

#define NGX_HTTP_ENTRA_MDM_ACTIVITIES_SIZE                                    \
    ((NGX_HTTP_ENTRA_MDM_ACTIVITIES_MORE - NGX_HTTP_ENTRA_MDM_ACTIVITIES)     \
     * sizeof(ngx_http_entra_mdm_activity_t))


typedef entra_activity_t  ngx_http_entra_mdm_activity_t;


/* who made a change */

struct ngx_http_entra_mdm_author_s {
    ngx_str_t                     actor;
    ngx_str_t                     role;
};


/* at the birth of a zone; NULL: it is too small */
ngx_http_entra_mdm_activities_t *ngx_http_entra_mdm_activities_create(
    ngx_slab_pool_t *shpool);

/*
 * Has the change, when it is published, bring its activities into the ring:
 * by whom, and what the lists were.  They are in memory of the pool.
 * NGX_ERROR: there is none.
 */
ngx_int_t ngx_http_entra_mdm_activities_collect(
    ngx_http_entra_mdm_policy_t *policy, ngx_pool_t *pool,
    ngx_http_entra_mdm_change_t *change, const entra_set_t *was,
    const ngx_http_entra_mdm_author_t *author);

/* the notices in error.log, bit by bit, so that a long list holds up nobody */
void ngx_http_entra_mdm_activities_log(ngx_http_entra_mdm_policy_t *policy,
    ngx_uint_t lists, const entra_set_t *from, const entra_set_t *to,
    const ngx_http_entra_mdm_author_t *author);

/* writes in error.log what is left of them; when a worker ends */
void ngx_http_entra_mdm_activities_flush(void);

/*
 * Up to n of those in the zone, newest first, after skip newer ones.  Returns
 * how many were written; *total is how many there are.
 */
ngx_uint_t ngx_http_entra_mdm_activities_read(
    ngx_http_entra_mdm_policy_t *policy, ngx_uint_t skip,
    ngx_http_entra_mdm_activity_t *to, ngx_uint_t n, ngx_uint_t *total);

/* those of another zone of the policy; NGX_ERROR: no memory */
ngx_int_t ngx_http_entra_mdm_activities_take_over(
    ngx_http_entra_mdm_policy_t *policy, ngx_http_entra_mdm_policy_t *old);

/*
 * A copy of all, oldest first, to be given back with free(); a thread may
 * call it.  *last is the ID of the newest, or 0.  NULL: no memory.
 */
ngx_http_entra_mdm_activity_t *ngx_http_entra_mdm_activities_copy(
    ngx_http_entra_mdm_policy_t *policy, size_t *n, uint64_t *last);

/*
 * Puts n activities, oldest first and with their IDs, into a zone that has
 * none yet: what a state file kept.
 */
void ngx_http_entra_mdm_activities_restore(
    ngx_http_entra_mdm_policy_t *policy,
    const ngx_http_entra_mdm_activity_t *from, ngx_uint_t n);


#endif /* NGX_HTTP_ENTRA_MDM_ACTIVITIES_H */
