/*
 * What one worker does for its whole node: it follows Redis, keeps the keys
 * fresh and writes the state.  Worker 0 does it, and its successor after a
 * reload or when it dies.
 */

#ifndef NGX_HTTP_ENTRA_MDM_NODE_H
#define NGX_HTTP_ENTRA_MDM_NODE_H

#include "ngx_http_entra_mdm_module.h"


/* init_process and exit_process of the module */
ngx_int_t ngx_http_entra_mdm_node_start(ngx_cycle_t *cycle);
void ngx_http_entra_mdm_node_stop(ngx_cycle_t *cycle);

/* a new cycle is sure to be used; calls both where no process is new */
ngx_int_t ngx_http_entra_mdm_node_reload(ngx_cycle_t *cycle);


#endif /* NGX_HTTP_ENTRA_MDM_NODE_H */
