/*
 * Requests that wait for a fetch of the keys that would decide them.
 */

#ifndef NGX_HTTP_ENTRA_MDM_WAIT_H
#define NGX_HTTP_ENTRA_MDM_WAIT_H

#include "ngx_http_entra_mdm_keys.h"


#define NGX_HTTP_ENTRA_MDM_WAIT_TIME   5000     /* milliseconds, at most */
#define NGX_HTTP_ENTRA_MDM_WAIT_COUNT  512      /* requests of a worker */


/*
 * NGX_OK: a fetch is under way, and the request waits for its end, once in
 * its life; the phases then run again, and whatever was found out before is
 * to be found out anew.  NGX_DECLINED: it is to be decided now.
 */
ngx_int_t ngx_http_entra_mdm_wait(ngx_http_request_t *r,
    ngx_http_entra_mdm_ctx_t *ctx);

/*
 * What a request that waits does with an event: NGX_AGAIN, it waits on, or
 * NGX_OK, it is over; NGX_ERROR: and the connection is not usable any more.
 */
ngx_int_t ngx_http_entra_mdm_wait_over(ngx_http_request_t *r,
    ngx_http_entra_mdm_ctx_t *ctx);

/* a fetch of this worker's has ended: wakes all who wait for this policy */
void ngx_http_entra_mdm_wait_end(ngx_http_entra_mdm_policy_t *policy);


#endif /* NGX_HTTP_ENTRA_MDM_WAIT_H */
