/*
 * Activities of changes that nobody made through the API: what of the lists
 * the stream accounts for is in two sets of their own, and what differs from
 * them came from elsewhere.  All nodes look, and one of them writes.
 */

#ifndef NGX_HTTP_ENTRA_MDM_REDIS_ACCOUNT_H
#define NGX_HTTP_ENTRA_MDM_REDIS_ACCOUNT_H

#include "ngx_http_entra_mdm_redis_load.h"


#define NGX_HTTP_ENTRA_MDM_ACCOUNT_BATCH  100   /* of one transaction */


struct ngx_http_entra_mdm_account_s {

    /* set by the owner; the data of the connection is a load with this one */
    ngx_http_entra_mdm_policy_t         *policy;
    ngx_http_entra_mdm_redis_conn_t     *conn;
    ngx_log_t                           *log;

    ngx_uint_t                           busy;      /* unsigned  busy:1; */
    ngx_uint_t                           pending;   /* answers, of any round */
    ngx_uint_t                           refused;   /* unsigned  refused:1; */
    ngx_uint_t                           told;      /* that it is */
    ngx_uint_t                           too_large; /* told so */
    ngx_atomic_uint_t                    done;      /* lists' generation + 1 */

    /* what is compared, of that generation */
    ngx_pool_t                          *pool;
    entra_lists_t                        lists;
    ngx_atomic_uint_t                    generation;

    ngx_uint_t                           list;
    ngx_uint_t                           first;     /* never accounted for */
    char                                 cursor[32];
    entra_gather_t                       gather;

    /* differences of this round, and those that Redis confirms */
    ngx_uint_t                           n;
    ngx_uint_t                           asked;
    entra_typed_t                        batch[NGX_HTTP_ENTRA_MDM_ACCOUNT_BATCH];
    u_char                               added[NGX_HTTP_ENTRA_MDM_ACCOUNT_BATCH];
    u_char                               valid[NGX_HTTP_ENTRA_MDM_ACCOUNT_BATCH];
    entra_diff_t                         diff;      /* of many: no activities */

    /* the lists that were logged last, where Redis may not be written */
    ngx_pool_t                          *known_pool;
    entra_lists_t                        known;

    ngx_event_t                          work;
    ngx_event_t                          again;
};


/* once, on a zeroed struct */
void ngx_http_entra_mdm_account_init(ngx_http_entra_mdm_account_t *account);

/* what is in force is what Redis has: does it account for it? */
void ngx_http_entra_mdm_account_start(ngx_http_entra_mdm_account_t *account);

/* the connection is gone */
void ngx_http_entra_mdm_account_stop(ngx_http_entra_mdm_account_t *account);

/* gives back what stays over a connection */
void ngx_http_entra_mdm_account_free(ngx_http_entra_mdm_account_t *account);


#endif /* NGX_HTTP_ENTRA_MDM_REDIS_ACCOUNT_H */
