/*
 * The location that "jwks request=" names.
 */

#ifndef NGX_HTTP_ENTRA_MDM_LOCATION_H
#define NGX_HTTP_ENTRA_MDM_LOCATION_H

#include "ngx_http_entra_mdm_keys.h"


/*
 * Finds the location of each policy's key set, once all are known; the first
 * server that has it is the one to ask.  NGX_ERROR: there is none, as the log
 * says; what looks unsafe or unwise is a warning.
 */
ngx_int_t ngx_http_entra_mdm_locations(ngx_conf_t *cf,
    ngx_http_entra_mdm_main_conf_t *emmcf);


#endif /* NGX_HTTP_ENTRA_MDM_LOCATION_H */
