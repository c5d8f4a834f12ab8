/*
 * One short connection for a few commands, which any worker may open.  Each
 * step may take the timeout of "redis"; all together, wherever they lead, what
 * ngx_http_entra_mdm_session_time() says.
 */

#ifndef NGX_HTTP_ENTRA_MDM_REDIS_SESSION_H
#define NGX_HTTP_ENTRA_MDM_REDIS_SESSION_H

#include "ngx_http_entra_mdm_activities.h"
#include "ngx_http_entra_mdm_redis_connect.h"


typedef struct ngx_http_entra_mdm_session_s  ngx_http_entra_mdm_session_t;

/*
 * Commands may be sent.  Called again, for another place, where this one did
 * not answer at all, or a cluster has the keys elsewhere.
 */
typedef void (*ngx_http_entra_mdm_session_ready_pt)(
    ngx_http_entra_mdm_session_t *session);

/* it is closed: there is no Redis to be had, or the connection broke */
typedef void (*ngx_http_entra_mdm_session_failed_pt)(
    ngx_http_entra_mdm_session_t *session, const char *why);


/* zeroed at first; connections have it as their data */

struct ngx_http_entra_mdm_session_s {

    /* set by the owner */
    ngx_http_entra_mdm_redis_t            *redis;
    ngx_http_entra_mdm_session_ready_pt    ready;
    ngx_http_entra_mdm_session_failed_pt   failed;
    void                                  *data;
    ngx_log_t                             *log;

    ngx_http_entra_mdm_redis_where_t       where;
    ngx_http_entra_mdm_redis_conn_t        conn;
    ngx_event_t                            deadline;
    ngx_uint_t                             tries;   /* of places */
    ngx_uint_t                             moves;
    ngx_uint_t                             answered;    /* unsigned  :1; */
};


static ngx_inline ngx_msec_t
ngx_http_entra_mdm_session_time(const ngx_http_entra_mdm_redis_t *redis)
{
    return 3 * redis->timeout + 1000;
}

/* handlers may be called before this returns */
void ngx_http_entra_mdm_session_open(ngx_http_entra_mdm_session_t *session);

/* nothing is called any more */
void ngx_http_entra_mdm_session_close(ngx_http_entra_mdm_session_t *session);

/* a command; if it cannot be sent, session->failed was called: NGX_ERROR */
ngx_int_t ngx_http_entra_mdm_session_send(
    ngx_http_entra_mdm_session_t *session,
    ngx_http_entra_mdm_redis_reply_pt handler, const ngx_str_t *words,
    ngx_uint_t n);

/*
 * For every answer before anything was changed: NGX_DECLINED, it is an error
 * that is the owner's to handle; NGX_AGAIN, one that leads elsewhere, where
 * the session begins anew; NGX_OK, no error.
 */
ngx_int_t ngx_http_entra_mdm_session_answer(
    ngx_http_entra_mdm_session_t *session, const redisReply *reply);


/* the words of an XADD; guid has ENTRA_GUID_LEN bytes */

#define NGX_HTTP_ENTRA_MDM_REDIS_XADD  14

void ngx_http_entra_mdm_redis_activity(ngx_http_entra_mdm_redis_t *redis,
    ngx_str_t words[NGX_HTTP_ENTRA_MDM_REDIS_XADD], ngx_uint_t list,
    ngx_uint_t added, char *guid, const ngx_http_entra_mdm_author_t *author);


#endif /* NGX_HTTP_ENTRA_MDM_REDIS_SESSION_H */
