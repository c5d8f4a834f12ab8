/*
 * An entra_mdm_policy block while it is read.
 */

#ifndef NGX_HTTP_ENTRA_MDM_POLICY_H
#define NGX_HTTP_ENTRA_MDM_POLICY_H

#include "ngx_http_entra_mdm_keys.h"

#include "entra_issuer.h"


/* what a block gathers before it becomes a policy */

typedef struct {
    ngx_http_entra_mdm_policy_t  *policy;

    ngx_array_t                   hosts;        /* entra_str_t */
    ngx_array_t                   issuers;      /* entra_str_t */
    ngx_array_t                   client_ids;   /* entra_guid_t */
    ngx_array_t                   tenant_ids;   /* entra_guid_t */

    /* the same, to find repeated ones */
    ngx_rbtree_t                  client_known;
    ngx_rbtree_t                  tenant_known;
    ngx_rbtree_node_t             sentinel;

    ngx_str_t                     header_prefix;
    size_t                        zone_size;
    entra_cloud_t                 cloud;
    uint32_t                      seen;         /* bit by table row */
} ngx_http_entra_mdm_block_t;


/*
 * Setters take the n values of a directive, and return NGX_CONF_OK, or
 * NGX_CONF_ERROR if they have logged why, or a sentence on what is wrong with
 * the first value.
 */

/* ngx_http_entra_mdm_rules.c */

char *ngx_http_entra_mdm_server_url(ngx_conf_t *cf,
    ngx_http_entra_mdm_block_t *block, ngx_str_t *value, ngx_uint_t n);
char *ngx_http_entra_mdm_client_id(ngx_conf_t *cf,
    ngx_http_entra_mdm_block_t *block, ngx_str_t *value, ngx_uint_t n);
char *ngx_http_entra_mdm_tenant_id(ngx_conf_t *cf,
    ngx_http_entra_mdm_block_t *block, ngx_str_t *value, ngx_uint_t n);
char *ngx_http_entra_mdm_cloud(ngx_conf_t *cf,
    ngx_http_entra_mdm_block_t *block, ngx_str_t *value, ngx_uint_t n);
char *ngx_http_entra_mdm_issuer(ngx_conf_t *cf,
    ngx_http_entra_mdm_block_t *block, ngx_str_t *value, ngx_uint_t n);
char *ngx_http_entra_mdm_scope(ngx_conf_t *cf,
    ngx_http_entra_mdm_block_t *block, ngx_str_t *value, ngx_uint_t n);
char *ngx_http_entra_mdm_leeway(ngx_conf_t *cf,
    ngx_http_entra_mdm_block_t *block, ngx_str_t *value, ngx_uint_t n);
char *ngx_http_entra_mdm_require_upn(ngx_conf_t *cf,
    ngx_http_entra_mdm_block_t *block, ngx_str_t *value, ngx_uint_t n);
char *ngx_http_entra_mdm_device_token(ngx_conf_t *cf,
    ngx_http_entra_mdm_block_t *block, ngx_str_t *value, ngx_uint_t n);

/* ngx_http_entra_mdm_sources.c */

char *ngx_http_entra_mdm_jwks(ngx_conf_t *cf,
    ngx_http_entra_mdm_block_t *block, ngx_str_t *value, ngx_uint_t n);
char *ngx_http_entra_mdm_zone_size(ngx_conf_t *cf,
    ngx_http_entra_mdm_block_t *block, ngx_str_t *value, ngx_uint_t n);

/* once the block is complete; NGX_ERROR: logged */
ngx_int_t ngx_http_entra_mdm_sources_done(ngx_conf_t *cf,
    ngx_http_entra_mdm_block_t *block);

/* ngx_http_entra_mdm_redis_conf.c */

char *ngx_http_entra_mdm_redis(ngx_conf_t *cf,
    ngx_http_entra_mdm_block_t *block, ngx_str_t *value, ngx_uint_t n);


#endif /* NGX_HTTP_ENTRA_MDM_POLICY_H */
