/*
 * Fetching a key set from a location of this nginx, by a request of the
 * module's own that belongs to no client.
 */

#ifndef NGX_HTTP_ENTRA_MDM_FETCH_H
#define NGX_HTTP_ENTRA_MDM_FETCH_H

#include "ngx_http_entra_mdm_keys.h"


/*
 * NGX_OK: a fetch is under way, in this worker or another.  NGX_DECLINED: none
 * is, and none may begin yet.  Whatever comes of a fetch of this worker's, it
 * calls ngx_http_entra_mdm_wait_end(); never from within this function.
 */
ngx_int_t ngx_http_entra_mdm_fetch(ngx_http_entra_mdm_policy_t *policy);

/* keeps the set fresh: what worker 0 does for its node */
void ngx_http_entra_mdm_fetch_start(ngx_http_entra_mdm_policy_t *policy);

/* gives up what is under way in this worker, which ends; for all workers */
void ngx_http_entra_mdm_fetch_stop(ngx_http_entra_mdm_keys_t *keys);


#endif /* NGX_HTTP_ENTRA_MDM_FETCH_H */
