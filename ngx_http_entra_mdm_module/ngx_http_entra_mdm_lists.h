/*
 * The live lists of a policy: client and tenant IDs that change while nginx
 * runs, beside those in its configuration.
 */

#ifndef NGX_HTTP_ENTRA_MDM_LISTS_H
#define NGX_HTTP_ENTRA_MDM_LISTS_H

#include "ngx_http_entra_mdm_zone.h"


/* "client_ids", "tenant_ids" */
extern const ngx_str_t  ngx_http_entra_mdm_list_names[ENTRA_LISTS];


/*
 * What of a snapshot may be judged by: NULL if the policy has no live lists;
 * a list is not known that was never loaded, or is past max_stale of "redis".
 */
const entra_lists_t *ngx_http_entra_mdm_lists_live(
    ngx_http_entra_mdm_policy_t *policy,
    ngx_http_entra_mdm_snapshot_t *snapshot);

/*
 * 0: one of the live lists is not known, so that a token may be refused for
 * want of it.
 */
ngx_uint_t ngx_http_entra_mdm_lists_in_force(
    ngx_http_entra_mdm_policy_t *policy);

/*
 * The first n IDs in force, configured ones first, into ids; *total is how
 * many there are.  Returns how many were written.
 */
size_t ngx_http_entra_mdm_lists_first(ngx_http_entra_mdm_policy_t *policy,
    entra_lists_e which, entra_guid_t *ids, size_t n, size_t *total);

/* copies a set, typed as it is, into memory of the pool */
ngx_int_t ngx_http_entra_mdm_set_copy(ngx_pool_t *pool,
    const entra_set_t *from, entra_set_t *to);

/*
 * Copies the live lists into memory of the pool, and tells their generation;
 * one that was never loaded is empty.
 *
 *   NGX_OK        copied
 *   NGX_DECLINED  one has more than max IDs
 *   NGX_ERROR     out of memory
 */
ngx_int_t ngx_http_entra_mdm_lists_copy(ngx_http_entra_mdm_policy_t *policy,
    ngx_pool_t *pool, size_t max, entra_lists_t *lists,
    ngx_atomic_uint_t *generation);

/*
 * ngx_http_entra_mdm_zone_publish() that says what changed at level notice,
 * and at level error what does not fit.
 */
ngx_int_t ngx_http_entra_mdm_lists_publish(ngx_http_entra_mdm_policy_t *policy,
    const ngx_http_entra_mdm_change_t *change, ngx_log_t *log);


#endif /* NGX_HTTP_ENTRA_MDM_LISTS_H */
