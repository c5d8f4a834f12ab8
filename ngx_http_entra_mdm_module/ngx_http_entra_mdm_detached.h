/*
 * A request of the module's own to a location of this nginx, which belongs to
 * no client: none can abort it, wait on it, or put a header into it.
 */

#ifndef NGX_HTTP_ENTRA_MDM_DETACHED_H
#define NGX_HTTP_ENTRA_MDM_DETACHED_H

#include "ngx_http_entra_mdm_module.h"


typedef struct ngx_http_entra_mdm_detached_s  ngx_http_entra_mdm_detached_t;

typedef void (*ngx_http_entra_mdm_detached_pt)(
    ngx_http_entra_mdm_detached_t *detached);


/* the first part is the caller's to fill in, zeros for the rest */

struct ngx_http_entra_mdm_detached_s {
    ngx_http_conf_ctx_t             *server;    /* that has the location */
    ngx_str_t                        name;      /* URI and arguments */
    ngx_str_t                        uri;
    ngx_str_t                        args;
    const ngx_str_t                 *policy;    /* whose request it is */

    /* it has come to an end; by an event of its own */
    ngx_http_entra_mdm_detached_pt   done;

    /* the worker is to quit, at once if it has waited long enough */
    ngx_http_entra_mdm_detached_pt   closing;
    ngx_uint_t                       at_once;   /* unsigned  at_once:1; */

    /* what has come of it */
    ngx_uint_t                       answered;  /* unsigned  answered:1; */
    ngx_int_t                        rc;
    ngx_http_request_t              *sr;

    ngx_connection_t                *connection;
    ngx_http_request_t              *request;   /* the main one */
    ngx_event_t                      event;
    ngx_log_t                        log;
    ngx_http_log_ctx_t               log_ctx;
    ngx_http_connection_t            hc;
    ngx_http_addr_conf_t             addr_conf;
    struct sockaddr                  sockaddr;
};


/*
 * Starts it, by an event, since whoever asks for it may be in the middle of
 * another request.  *detached is part of something allocated from pool, which
 * is freed with the request.  NGX_ERROR: no memory or no connection, and the
 * pool is gone.
 */
ngx_int_t ngx_http_entra_mdm_detached_start(
    ngx_http_entra_mdm_detached_t *detached, ngx_pool_t *pool);

/*
 * Ends whatever of it still goes on and frees it with its pool.  NGX_AGAIN: a
 * thread works on it, call again.  Not to be called from within the request,
 * that is from anything but an event.
 */
ngx_int_t ngx_http_entra_mdm_detached_free(
    ngx_http_entra_mdm_detached_t *detached);


#endif /* NGX_HTTP_ENTRA_MDM_DETACHED_H */
