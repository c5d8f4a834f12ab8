/*
 * A short connection: found, opened, and with Sentinel asked for its role.
 */

#include "ngx_http_entra_mdm_redis_session.h"

#include "entra_redis_error.h"


#define MAX_TRIES  4
#define MAX_MOVES  5


static void
ngx_http_entra_mdm_session_fail(ngx_http_entra_mdm_session_t *session,
    const char *why)
{
    char  text[512];

    /* why may be a part of what is closed now */

    ngx_cpystrn((u_char *) text, (u_char *) why, sizeof(text));

    ngx_http_entra_mdm_session_close(session);

    session->failed(session, text);
}


/* each address once, if there are not too many */

static ngx_uint_t
ngx_http_entra_mdm_session_places(ngx_http_entra_mdm_redis_t *redis)
{
    ngx_uint_t                        i, n;
    ngx_http_entra_mdm_redis_host_t  *host;

    n = 0;
    host = redis->hosts.elts;

    for (i = 0; i < redis->hosts.nelts; i++) {
        n += ngx_max(host[i].naddrs, 1);
    }

    return ngx_min(n, MAX_TRIES);
}


/* the next place, while none has answered */

static void
ngx_http_entra_mdm_session_next(ngx_http_entra_mdm_session_t *session,
    const char *why)
{
    if (session->answered
        || ++session->tries
           >= ngx_http_entra_mdm_session_places(session->redis))
    {
        ngx_http_entra_mdm_session_fail(session, why);
        return;
    }

    ngx_http_entra_mdm_redis_close(&session->conn);
    ngx_http_entra_mdm_redis_find(&session->where);
}


static void
ngx_http_entra_mdm_session_closed(ngx_http_entra_mdm_redis_conn_t *conn,
    const char *why)
{
    ngx_http_entra_mdm_session_next(conn->data,
                                    why ? why : "nginx shuts down");
}


static void
ngx_http_entra_mdm_session_role(ngx_http_entra_mdm_redis_conn_t *conn,
    redisReply *reply)
{
    ngx_http_entra_mdm_session_t  *session;

    session = conn->data;

    if (!entra_redis_is_master(reply)) {
        ngx_http_entra_mdm_session_next(session,
                                        "Sentinel named it, but it is no "
                                        "master");
        return;
    }

    session->ready(session);
}


static void
ngx_http_entra_mdm_session_found(ngx_http_entra_mdm_redis_where_t *where,
    const char *why)
{
    ngx_str_t                      words[1];
    ngx_http_entra_mdm_session_t  *session;

    session = where->data;

    if (why != NULL) {
        ngx_http_entra_mdm_session_next(session, why);
        return;
    }

    if (ngx_http_entra_mdm_redis_open(&session->conn, session->redis,
                                      &where->place)
        != NGX_OK)
    {
        ngx_http_entra_mdm_session_next(session, session->conn.why);
        return;
    }

    /* a worker that is to go waits for it: it is soon over */

    session->conn.c->idle = 0;
    session->conn.timer.cancelable = 0;

    if (session->redis->url.kind != ENTRA_REDIS_SENTINEL) {
        session->ready(session);
        return;
    }

    ngx_str_set(&words[0], "ROLE");

    (void) ngx_http_entra_mdm_session_send(session,
                                           ngx_http_entra_mdm_session_role,
                                           words, 1);
}


static void
ngx_http_entra_mdm_session_deadline(ngx_event_t *ev)
{
    ngx_http_entra_mdm_session_t *session = ev->data;

    char  text[64];

    *ngx_snprintf((u_char *) text, sizeof(text) - 1,
                  "it takes longer than %M ms in all",
                  ngx_http_entra_mdm_session_time(session->redis))
        = '\0';

    ngx_http_entra_mdm_session_fail(session, text);
}


void
ngx_http_entra_mdm_session_open(ngx_http_entra_mdm_session_t *session)
{
    session->deadline.handler = ngx_http_entra_mdm_session_deadline;
    session->deadline.data = session;
    session->deadline.log = session->log;

    ngx_add_timer(&session->deadline,
                  ngx_http_entra_mdm_session_time(session->redis));

    session->where.redis = session->redis;
    session->where.handler = ngx_http_entra_mdm_session_found;
    session->where.data = session;
    session->where.log = session->log;

    session->conn.timeout = session->redis->timeout;
    session->conn.closed = ngx_http_entra_mdm_session_closed;
    session->conn.data = session;
    session->conn.log = session->log;

    ngx_http_entra_mdm_redis_find(&session->where);
}


void
ngx_http_entra_mdm_session_close(ngx_http_entra_mdm_session_t *session)
{
    ngx_http_entra_mdm_redis_find_cancel(&session->where);
    ngx_http_entra_mdm_redis_close(&session->conn);

    if (session->deadline.timer_set) {
        ngx_del_timer(&session->deadline);
    }
}


ngx_int_t
ngx_http_entra_mdm_session_send(ngx_http_entra_mdm_session_t *session,
    ngx_http_entra_mdm_redis_reply_pt handler, const ngx_str_t *words,
    ngx_uint_t n)
{
    if (ngx_http_entra_mdm_redis_send(&session->conn, handler, words, n)
        == NGX_OK)
    {
        return NGX_OK;
    }

    session->answered = 1;
    ngx_http_entra_mdm_session_fail(session, "nothing can be sent");

    return NGX_ERROR;
}


ngx_int_t
ngx_http_entra_mdm_session_answer(ngx_http_entra_mdm_session_t *session,
    const redisReply *reply)
{
    entra_str_t         text;
    entra_redis_host_t  moved;

    session->answered = 1;

    if (reply->type != REDIS_REPLY_ERROR) {
        return NGX_OK;
    }

    text = (entra_str_t) { reply->str, reply->len };

    if (session->redis->url.kind != ENTRA_REDIS_CLUSTER
        || entra_redis_error(text, &moved) != ENTRA_REDIS_MOVED
        || session->moves == MAX_MOVES
        || ngx_http_entra_mdm_redis_find_moved(&session->where, &moved)
           != NGX_OK)
    {
        return NGX_DECLINED;
    }

    session->moves++;
    session->answered = 0;

    ngx_http_entra_mdm_redis_close(&session->conn);
    ngx_http_entra_mdm_redis_find(&session->where);

    return NGX_AGAIN;
}


void
ngx_http_entra_mdm_redis_activity(ngx_http_entra_mdm_redis_t *redis,
    ngx_str_t words[NGX_HTTP_ENTRA_MDM_REDIS_XADD], ngx_uint_t list,
    ngx_uint_t added, char *guid, const ngx_http_entra_mdm_author_t *author)
{
    ngx_str_set(&words[0], "XADD");
    words[1] = redis->keys[NGX_HTTP_ENTRA_MDM_REDIS_ACTIVITIES];
    ngx_str_set(&words[2], "MAXLEN");
    ngx_str_set(&words[3], "~");
    ngx_str_set(&words[4], "10000");
    ngx_str_set(&words[5], "*");
    ngx_str_set(&words[6], "type");
    words[7].data = (u_char *) entra_activity_types[list][added];
    words[7].len = ngx_strlen(words[7].data);
    words[8].data = (u_char *) entra_activity_details[list];
    words[8].len = ngx_strlen(words[8].data);
    words[9].data = (u_char *) guid;
    words[9].len = ENTRA_GUID_LEN;
    ngx_str_set(&words[10], "actor");
    words[11] = author->actor;
    ngx_str_set(&words[12], "role");
    words[13] = author->role;
}
