/*
 * Activities of changes that nobody made through the API: what of the lists
 * the stream accounts for is in two sets of their own, and what differs from
 * them came from elsewhere.  All nodes look, and one of them writes.
 */

#ifndef NGX_HTTP_ENTRA_MDM_REDIS_ACCOUNT_H
#define NGX_HTTP_ENTRA_MDM_REDIS_ACCOUNT_H

#include "ngx_http_entra_mdm_redis_load.h"
#include "ngx_http_entra_mdm_redis_session.h"


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
    char                                 cursor[ENTRA_REDIS_CURSOR + 1];
    entra_gather_t                       gather;

    /* differences of this round, and those that Redis confirms */
    ngx_uint_t                           n;
    ngx_uint_t                           asked;
    entra_typed_t                        batch[
                                           NGX_HTTP_ENTRA_MDM_ACCOUNT_BATCH];
    u_char                               added[
                                           NGX_HTTP_ENTRA_MDM_ACCOUNT_BATCH];
    u_char                               valid[
                                           NGX_HTTP_ENTRA_MDM_ACCOUNT_BATCH];
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


/*** between its two files ***/


/* is in an accounted set from the beginning, so that it exists */
extern const ngx_str_t  ngx_http_entra_mdm_account_mark;

extern const ngx_http_entra_mdm_author_t  ngx_http_entra_mdm_account_author;

/* called once by the handler of each answer */
ngx_http_entra_mdm_account_t *ngx_http_entra_mdm_account_of(
    ngx_http_entra_mdm_redis_conn_t *conn);

void ngx_http_entra_mdm_account_send(ngx_http_entra_mdm_account_t *account,
    ngx_http_entra_mdm_redis_reply_pt handler, const ngx_str_t *words,
    ngx_uint_t n);

ngx_str_t *ngx_http_entra_mdm_account_key(
    ngx_http_entra_mdm_account_t *account);

/* begins with account->list, once more or anew */
void ngx_http_entra_mdm_account_list(ngx_http_entra_mdm_account_t *account);

/* gives up: for a moment or because of an error of Redis */
void ngx_http_entra_mdm_account_clear(ngx_http_entra_mdm_account_t *account);
void ngx_http_entra_mdm_account_later(ngx_http_entra_mdm_account_t *account);
void ngx_http_entra_mdm_account_refused(ngx_http_entra_mdm_account_t *account,
    const redisReply *reply);

/* an answer that matters only if it is an error */
void ngx_http_entra_mdm_account_ignored(ngx_http_entra_mdm_redis_conn_t *conn,
    redisReply *reply);

/* writes account->diff without activities, and goes on with the next list */
void ngx_http_entra_mdm_account_work(ngx_event_t *ev);

/* asks whether account->batch is so in Redis, and writes what is */
void ngx_http_entra_mdm_account_confirm(ngx_http_entra_mdm_account_t *account);

/* nothing is to be done for this list */
void ngx_http_entra_mdm_account_leave(ngx_http_entra_mdm_account_t *account);


#endif /* NGX_HTTP_ENTRA_MDM_REDIS_ACCOUNT_H */
