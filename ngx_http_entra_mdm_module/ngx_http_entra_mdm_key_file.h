/*
 * "jwks file=": read at start and, by worker 0, when the file changes.
 */

#ifndef NGX_HTTP_ENTRA_MDM_KEY_FILE_H
#define NGX_HTTP_ENTRA_MDM_KEY_FILE_H

#include "ngx_http_entra_mdm_keys.h"


/*
 * Reads the file into keys->text; NGX_ERROR: it holds no key set, and the log
 * says why.
 */
ngx_int_t ngx_http_entra_mdm_key_file(ngx_conf_t *cf,
    ngx_http_entra_mdm_keys_t *keys);

/* worker 0 begins to look after the file, every keys->check seconds */
void ngx_http_entra_mdm_key_file_start(ngx_cycle_t *cycle,
    ngx_http_entra_mdm_policy_t *policy);
void ngx_http_entra_mdm_key_file_stop(ngx_http_entra_mdm_policy_t *policy);


#endif /* NGX_HTTP_ENTRA_MDM_KEY_FILE_H */
