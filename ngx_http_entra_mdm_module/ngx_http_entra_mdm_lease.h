/*
 * The right to fetch a policy's key set: one attempt at a time on a node, and
 * no two within min_interval of each other, whatever became of the first.
 * It is kept in the zone, and a worker that dies takes it with it only for as
 * long as the others need to notice.
 */

#ifndef NGX_HTTP_ENTRA_MDM_LEASE_H
#define NGX_HTTP_ENTRA_MDM_LEASE_H

#include "ngx_http_entra_mdm_keys.h"


#define NGX_HTTP_ENTRA_MDM_FETCH_TIME  10000    /* milliseconds, at most */
#define NGX_HTTP_ENTRA_MDM_LEASE_TIME  12000


/*
 *   NGX_OK        it is this worker's; *attempt is its number
 *   NGX_BUSY      a worker has it
 *   NGX_DECLINED  the last attempt is too recent, or this worker is from
 *                 before a reload
 */
ngx_int_t ngx_http_entra_mdm_lease_take(ngx_http_entra_mdm_policy_t *policy,
    ngx_uint_t *attempt);

/* is that attempt still the one under way? */
ngx_uint_t ngx_http_entra_mdm_lease_has(ngx_http_entra_mdm_policy_t *policy,
    ngx_uint_t attempt);

/*
 * The attempt has ended: error is why it failed, or NULL if its keys are in
 * force.  Nothing happens if the lease has passed to another.
 */
void ngx_http_entra_mdm_lease_end(ngx_http_entra_mdm_policy_t *policy,
    ngx_uint_t attempt, const ngx_str_t *error);

/* the attempt was given up before its time: another may begin at once */
void ngx_http_entra_mdm_lease_give_back(ngx_http_entra_mdm_policy_t *policy,
    ngx_uint_t attempt);

/* whoever has it has it no more; a new source of keys begins at once */
void ngx_http_entra_mdm_lease_reset(ngx_http_entra_mdm_policy_t *policy);

/*
 * Milliseconds until the next attempt is due without anybody asking: after
 * refresh or, while attempts fail, min_interval, doubled each time.
 */
ngx_msec_t ngx_http_entra_mdm_lease_due(ngx_http_entra_mdm_policy_t *policy);

/* why the last attempt failed, into buffer; "" if it did not */
ngx_str_t ngx_http_entra_mdm_lease_error(ngx_http_entra_mdm_policy_t *policy,
    u_char buffer[NGX_HTTP_ENTRA_MDM_MAX_ERROR]);


#endif /* NGX_HTTP_ENTRA_MDM_LEASE_H */
