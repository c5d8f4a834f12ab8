/*
 * The latest refusals of tokens whose signature verified: what the API's
 * status shows an administrator who wonders why a device is not let in.
 */

#ifndef NGX_HTTP_ENTRA_MDM_REFUSALS_H
#define NGX_HTTP_ENTRA_MDM_REFUSALS_H

#include "ngx_http_entra_mdm_zone.h"


#define NGX_HTTP_ENTRA_MDM_REFUSALS  50


typedef struct {
    int64_t                       time;         /* seconds since 1970 */
    uint8_t                       action;       /* state from ACCEPTED on */
    uint8_t                       reason;
    uint8_t                       tenant_len;
    uint8_t                       id_len;
    uint16_t                      audiences_len;
    uint16_t                      more;         /* audiences left out */
    char                          tenant[40];
    char                          id[40];       /* $request_id */
    char                          audiences[256];       /* a NUL after each */
} ngx_http_entra_mdm_refusal_t;


/* at the birth of a zone; NULL: it is too small */
ngx_http_entra_mdm_refusals_t *ngx_http_entra_mdm_refusals_create(
    ngx_slab_pool_t *shpool);

/* keeps that of a verified token */
void ngx_http_entra_mdm_refusals_add(ngx_http_request_t *r,
    ngx_http_entra_mdm_ctx_t *ctx);

/* all of them, newest first; returns how many */
ngx_uint_t ngx_http_entra_mdm_refusals_read(
    ngx_http_entra_mdm_policy_t *policy,
    ngx_http_entra_mdm_refusal_t to[NGX_HTTP_ENTRA_MDM_REFUSALS]);


#endif /* NGX_HTTP_ENTRA_MDM_REFUSALS_H */
