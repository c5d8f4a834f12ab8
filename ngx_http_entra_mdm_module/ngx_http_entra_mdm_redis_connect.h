/*
 * Where to connect to, and connecting: to the one Redis, to the master that a
 * Sentinel names, or to a node of a cluster.  Any worker may do so; nothing
 * here blocks.
 */

#ifndef NGX_HTTP_ENTRA_MDM_REDIS_CONNECT_H
#define NGX_HTTP_ENTRA_MDM_REDIS_CONNECT_H

#include "ngx_http_entra_mdm_redis.h"
#include "ngx_http_entra_mdm_redis_event.h"


/* an address: hiredis must never see a name, which it would block for */

typedef struct {
    char                               ip[NGX_SOCKADDR_STRLEN + 1];
    in_port_t                          port;
    char                               text[NGX_SOCKADDR_STRLEN + 16];
} ngx_http_entra_mdm_redis_place_t;


typedef struct ngx_http_entra_mdm_redis_where_s
    ngx_http_entra_mdm_redis_where_t;

/* why: NULL if where->place is to be tried, else why there is none */
typedef void (*ngx_http_entra_mdm_redis_where_pt)(
    ngx_http_entra_mdm_redis_where_t *where, const char *why);


/* one search after another; zeroed at first */

struct ngx_http_entra_mdm_redis_where_s {

    /* set by the owner */
    ngx_http_entra_mdm_redis_t         *redis;
    ngx_http_entra_mdm_redis_where_pt   handler;
    void                               *data;
    ngx_log_t                          *log;

    ngx_http_entra_mdm_redis_place_t    place;      /* the last one found */

    ngx_uint_t                          turn;       /* of the hosts */
    ngx_uint_t                          address;    /* turn of its addresses */
    ngx_uint_t                          asked;      /* Sentinels, this time */
    ngx_uint_t                          searching;  /* unsigned  :1; */
    ngx_uint_t                          moved;      /* unsigned  moved:1; */

    /* what is being resolved: a host of the URL, or one that was named */
    ngx_http_entra_mdm_redis_host_t     host;
    u_char                              named[256];
    ngx_resolver_ctx_t                 *resolving;

    ngx_http_entra_mdm_redis_conn_t     sentinel;
    char                                why[512];
};


/*
 * Finds the next place to try; each host and each of its addresses has its
 * turn.  The handler is called once, perhaps before this returns.
 */
void ngx_http_entra_mdm_redis_find(ngx_http_entra_mdm_redis_where_t *where);

/* the search, if there is one, ends without a word */
void ngx_http_entra_mdm_redis_find_cancel(
    ngx_http_entra_mdm_redis_where_t *where);

/*
 * The next search goes to the node that a cluster named.  NGX_ERROR: its name
 * is too long.
 */
ngx_int_t ngx_http_entra_mdm_redis_find_moved(
    ngx_http_entra_mdm_redis_where_t *where, const entra_redis_host_t *moved);

/*
 * Opens a connection there, logs in and selects the database; commands may be
 * sent at once.  conn's own fields are set by the caller.  NGX_ERROR:
 * conn->why says why.
 */
ngx_int_t ngx_http_entra_mdm_redis_open(ngx_http_entra_mdm_redis_conn_t *conn,
    ngx_http_entra_mdm_redis_t *redis,
    const ngx_http_entra_mdm_redis_place_t *place);


/*** ngx_http_entra_mdm_redis_tls.c ***/


/*
 * TLS on a connection that was just begun: NULL with the SSL, which is the
 * context's, in *ssl, or what went wrong.
 */
const char *ngx_http_entra_mdm_redis_tls_start(
    ngx_http_entra_mdm_redis_t *redis, redisContext *rc, void **ssl);


#endif /* NGX_HTTP_ENTRA_MDM_REDIS_CONNECT_H */
