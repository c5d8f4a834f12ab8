/*
 * Where to connect to, and connecting.
 *
 *     URL ─► a host ─► its address ─────────────────────────► place
 *              ▲            │ Sentinel: ask it there
 *              │ no answer  ▼
 *              └────── the master's host ─► its address ────► place
 */

#include "ngx_http_entra_mdm_redis_connect.h"


static void ngx_http_entra_mdm_redis_find_next(
    ngx_http_entra_mdm_redis_where_t *where);
static void ngx_http_entra_mdm_redis_sentinel_ask(
    ngx_http_entra_mdm_redis_where_t *where);


/*** the end of a search ***/


static void
ngx_http_entra_mdm_redis_found(ngx_http_entra_mdm_redis_where_t *where)
{
    where->searching = 0;
    where->handler(where, NULL);
}


/* any of the Sentinels will do; the others of the hosts come the next time */

static void
ngx_http_entra_mdm_redis_not_found(ngx_http_entra_mdm_redis_where_t *where,
    const char *what, size_t len, const char *why)
{
    *ngx_snprintf((u_char *) where->why, sizeof(where->why) - 1, "%*s %s", len,
                  what, why)
        = '\0';

    if (where->redis->url.kind == ENTRA_REDIS_SENTINEL
        && ++where->asked < where->redis->hosts.nelts)
    {
        ngx_http_entra_mdm_redis_find_next(where);
        return;
    }

    where->searching = 0;
    where->handler(where, where->why);
}


static void
ngx_http_entra_mdm_redis_host_failed(ngx_http_entra_mdm_redis_where_t *where,
    const char *why)
{
    ngx_http_entra_mdm_redis_not_found(where, (char *) where->host.name.data,
                                       where->host.name.len, why);
}


/*** an address ***/


static ngx_uint_t
ngx_http_entra_mdm_redis_asking(ngx_http_entra_mdm_redis_where_t *where)
{
    return where->redis->url.kind == ENTRA_REDIS_SENTINEL
           && where->host.name.data != where->named;
}


static void
ngx_http_entra_mdm_redis_address(ngx_http_entra_mdm_redis_where_t *where,
    struct sockaddr *sockaddr, socklen_t socklen)
{
    size_t                             len;
    ngx_http_entra_mdm_redis_place_t  *place;

    place = &where->place;

    len = ngx_sock_ntop(sockaddr, socklen, (u_char *) place->ip,
                        NGX_SOCKADDR_STRLEN, 0);
    place->ip[len] = '\0';
    place->port = where->host.port;

    *ngx_snprintf((u_char *) place->text, sizeof(place->text) - 1,
                  sockaddr->sa_family == AF_INET ? "%s:%ui" : "[%s]:%ui",
                  place->ip, (ngx_uint_t) place->port)
        = '\0';

    if (ngx_http_entra_mdm_redis_asking(where)) {
        ngx_http_entra_mdm_redis_sentinel_ask(where);
        return;
    }

    ngx_http_entra_mdm_redis_found(where);
}


static void
ngx_http_entra_mdm_redis_known_address(ngx_http_entra_mdm_redis_where_t *where)
{
    ngx_addr_t  *addr;

    if (where->host.naddrs == 0) {
        ngx_http_entra_mdm_redis_host_failed(where, "cannot be resolved");
        return;
    }

    addr = &where->host.addrs[where->address++ % where->host.naddrs];

    ngx_http_entra_mdm_redis_address(where, addr->sockaddr, addr->socklen);
}


/* the addresses of the start will do where the resolver has nothing better */

static void
ngx_http_entra_mdm_redis_resolved(ngx_resolver_ctx_t *ctx)
{
    socklen_t                           socklen;
    ngx_sockaddr_t                      sockaddr;
    ngx_resolver_addr_t                *addr;
    ngx_http_entra_mdm_redis_where_t   *where;

    where = ctx->data;
    where->resolving = NULL;

    if (ctx->state || ctx->naddrs == 0) {
        ngx_resolve_name_done(ctx);
        ngx_http_entra_mdm_redis_known_address(where);
        return;
    }

    addr = &ctx->addrs[where->address++ % ctx->naddrs];
    socklen = addr->socklen;
    ngx_memcpy(&sockaddr, addr->sockaddr, socklen);

    ngx_resolve_name_done(ctx);

    ngx_http_entra_mdm_redis_address(where, &sockaddr.sockaddr, socklen);
}


static void
ngx_http_entra_mdm_redis_resolve_name(ngx_http_entra_mdm_redis_where_t *where)
{
    ngx_resolver_ctx_t        *ctx;
    ngx_http_core_loc_conf_t  *clcf;

    clcf = where->redis->clcf;

    ctx = ngx_resolve_start(clcf->resolver, NULL);

    if (ctx == NULL || ctx == NGX_NO_RESOLVER) {
        ngx_http_entra_mdm_redis_known_address(where);
        return;
    }

    ctx->name = where->host.name;
    ctx->handler = ngx_http_entra_mdm_redis_resolved;
    ctx->data = where;
    ctx->cancelable = 1;

    /* http{} itself is not merged: unless it is set there, it is not set */

    ctx->timeout = clcf->resolver_timeout != NGX_CONF_UNSET_MSEC
                   ? clcf->resolver_timeout : where->redis->timeout;

    where->resolving = ctx;

    if (ngx_resolve_name(ctx) != NGX_OK) {
        where->resolving = NULL;
        ngx_http_entra_mdm_redis_known_address(where);
    }
}


static void
ngx_http_entra_mdm_redis_find_host(ngx_http_entra_mdm_redis_where_t *where)
{
    if (where->host.literal
        || !ngx_http_entra_mdm_redis_resolver(where->redis))
    {
        ngx_http_entra_mdm_redis_known_address(where);
        return;
    }

    ngx_http_entra_mdm_redis_resolve_name(where);
}


/*** a host that somebody named: an address, or a name ***/


static ngx_int_t
ngx_http_entra_mdm_redis_named(ngx_http_entra_mdm_redis_where_t *where,
    const char *name, size_t len, in_port_t port)
{
    if (len == 0 || len > sizeof(where->named)) {
        return NGX_ERROR;
    }

    ngx_memmove(where->named, name, len);
    ngx_memzero(&where->host, sizeof(ngx_http_entra_mdm_redis_host_t));

    where->host.name.data = where->named;
    where->host.name.len = len;
    where->host.port = port;

    return NGX_OK;
}


static void
ngx_http_entra_mdm_redis_find_named(ngx_http_entra_mdm_redis_where_t *where)
{
    ngx_str_t             *name;
    struct sockaddr_in     sin;
#if (NGX_HAVE_INET6)
    struct sockaddr_in6    sin6;
#endif

    name = &where->host.name;

    ngx_memzero(&sin, sizeof(struct sockaddr_in));

    sin.sin_family = AF_INET;
    sin.sin_addr.s_addr = ngx_inet_addr(name->data, name->len);

    if (sin.sin_addr.s_addr != INADDR_NONE) {
        ngx_http_entra_mdm_redis_address(where, (struct sockaddr *) &sin,
                                         sizeof(struct sockaddr_in));
        return;
    }

#if (NGX_HAVE_INET6)

    ngx_memzero(&sin6, sizeof(struct sockaddr_in6));

    sin6.sin6_family = AF_INET6;

    if (ngx_inet6_addr(name->data, name->len, sin6.sin6_addr.s6_addr)
        == NGX_OK)
    {
        ngx_http_entra_mdm_redis_address(where, (struct sockaddr *) &sin6,
                                         sizeof(struct sockaddr_in6));
        return;
    }

#endif

    ngx_http_entra_mdm_redis_find_host(where);
}


/*** Sentinel ***/


static void
ngx_http_entra_mdm_redis_sentinel_closed(ngx_http_entra_mdm_redis_conn_t *conn,
    const char *why)
{
    ngx_http_entra_mdm_redis_where_t *where = conn->data;

    if (why == NULL) {
        where->searching = 0;
        where->handler(where, "nginx shuts down");
        return;
    }

    ngx_http_entra_mdm_redis_not_found(where, where->place.text,
                                       ngx_strlen(where->place.text), why);
}


static void
ngx_http_entra_mdm_redis_sentinel_answer(ngx_http_entra_mdm_redis_conn_t *conn,
    redisReply *reply)
{
    ngx_http_entra_mdm_redis_where_t *where = conn->data;

    entra_redis_host_t  master;

    if (reply->type == REDIS_REPLY_ERROR) {
        ngx_http_entra_mdm_redis_abandon(conn,
                    ngx_http_entra_mdm_redis_text(reply->str, reply->len));
        return;
    }

    if (reply->type == REDIS_REPLY_NIL) {
        ngx_http_entra_mdm_redis_abandon(conn,
                                         "(Sentinel) knows no such master");
        return;
    }

    if (!entra_redis_master(reply, &master)
        || ngx_http_entra_mdm_redis_named(where, master.name.data,
                                          master.name.len,
                                          (in_port_t) master.port)
           != NGX_OK)
    {
        ngx_http_entra_mdm_redis_abandon(conn,
                                         "(Sentinel) names no address");
        return;
    }

    ngx_http_entra_mdm_redis_close(conn);
    ngx_http_entra_mdm_redis_find_named(where);
}


static void
ngx_http_entra_mdm_redis_sentinel_ask(ngx_http_entra_mdm_redis_where_t *where)
{
    redisContext                     *rc;
    ngx_http_entra_mdm_redis_conn_t  *conn;

    ngx_str_t  words[3] = {
        ngx_string("SENTINEL"),
        ngx_string("get-master-addr-by-name")
    };

    words[2].data = (u_char *) where->redis->url.master.data;
    words[2].len = where->redis->url.master.len;

    conn = &where->sentinel;

    conn->timeout = where->redis->timeout;
    conn->closed = ngx_http_entra_mdm_redis_sentinel_closed;
    conn->data = where;
    conn->log = where->log;

    /* user, password and database are those of the master */

    rc = redisConnectNonBlock(where->place.ip, where->place.port);

    if (rc == NULL) {
        ngx_http_entra_mdm_redis_sentinel_closed(conn, "no memory");
        return;
    }

    if (rc->err) {
        ngx_cpystrn((u_char *) conn->why, (u_char *) rc->errstr,
                    sizeof(conn->why));
        redisFree(rc);
        ngx_http_entra_mdm_redis_sentinel_closed(conn, conn->why);
        return;
    }

    if (ngx_http_entra_mdm_redis_attach(conn, rc, NULL) != NGX_OK) {
        ngx_http_entra_mdm_redis_sentinel_closed(conn, conn->why);
        return;
    }

    if (ngx_http_entra_mdm_redis_send(conn,
                                      ngx_http_entra_mdm_redis_sentinel_answer,
                                      words, 3)
        != NGX_OK)
    {
        ngx_http_entra_mdm_redis_abandon(conn, "cannot be asked");
    }
}


/*** a search ***/


static void
ngx_http_entra_mdm_redis_find_next(ngx_http_entra_mdm_redis_where_t *where)
{
    ngx_array_t                      *hosts;
    ngx_http_entra_mdm_redis_host_t  *host;

    hosts = &where->redis->hosts;
    host = hosts->elts;

    where->host = host[where->turn++ % hosts->nelts];

    ngx_http_entra_mdm_redis_find_host(where);
}


void
ngx_http_entra_mdm_redis_find(ngx_http_entra_mdm_redis_where_t *where)
{
    ngx_http_entra_mdm_redis_find_cancel(where);

    where->searching = 1;
    where->asked = 0;

    if (where->redis->url.kind == ENTRA_REDIS_UNIX) {
        where->place.ip[0] = '\0';
        ngx_cpystrn((u_char *) where->place.text,
                    (u_char *) where->redis->name.data,
                    ngx_min(sizeof(where->place.text),
                            where->redis->name.len + 1));
        ngx_http_entra_mdm_redis_found(where);
        return;
    }

    if (where->moved) {
        /* once: if that fails, the hosts of the URL know better */
        where->moved = 0;
        ngx_http_entra_mdm_redis_find_named(where);
        return;
    }

    ngx_http_entra_mdm_redis_find_next(where);
}


void
ngx_http_entra_mdm_redis_find_cancel(ngx_http_entra_mdm_redis_where_t *where)
{
    ngx_resolver_ctx_t  *ctx;

    ctx = where->resolving;

    if (ctx != NULL) {
        where->resolving = NULL;
        ngx_resolve_name_done(ctx);
    }

    ngx_http_entra_mdm_redis_close(&where->sentinel);

    where->searching = 0;
}


ngx_int_t
ngx_http_entra_mdm_redis_find_moved(ngx_http_entra_mdm_redis_where_t *where,
    const entra_redis_host_t *moved)
{
    entra_str_t  name;

    name = moved->name;

    if (name.len == 0) {
        /* the same host, another port */
        name = entra_str(where->place.ip);
    }

    if (ngx_http_entra_mdm_redis_named(where, name.data, name.len,
                                       (in_port_t) moved->port)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    where->moved = 1;

    return NGX_OK;
}


/*** connecting ***/


/*
 * A server without AUTH repeats what it was sent: "ERR unknown command 'AUTH',
 * with args beginning with: 'user' 'pass", cut anywhere.
 */

static size_t
ngx_http_entra_mdm_redis_safe(ngx_http_entra_mdm_redis_conn_t *conn,
    redisReply *reply)
{
    u_char  *args;

    args = ngx_strnstr((u_char *) reply->str, "with args", reply->len);

    if (args != NULL) {
        return args - (u_char *) reply->str;
    }

    if (conn->secret->len
        && memmem(reply->str, reply->len, conn->secret->data,
                  conn->secret->len)
           != NULL)
    {
        return 0;
    }

    return reply->len;
}


static void
ngx_http_entra_mdm_redis_greeted(ngx_http_entra_mdm_redis_conn_t *conn,
    redisReply *reply)
{
    char    why[sizeof(conn->why)];
    size_t  len;

    if (reply->type != REDIS_REPLY_ERROR) {
        return;
    }

    len = ngx_http_entra_mdm_redis_safe(conn, reply);

    *ngx_snprintf((u_char *) why, sizeof(why) - 1, "login or database: %s",
                  len ? ngx_http_entra_mdm_redis_text(reply->str, len)
                      : "an error that repeats the password")
        = '\0';

    ngx_http_entra_mdm_redis_abandon(conn, why);
}


static ngx_int_t
ngx_http_entra_mdm_redis_greet(ngx_http_entra_mdm_redis_conn_t *conn,
    ngx_http_entra_mdm_redis_t *redis)
{
    u_char      db[NGX_INT_T_LEN];
    ngx_uint_t  n;
    ngx_str_t   words[3];

    if (redis->password.len) {
        n = 0;
        ngx_str_set(&words[n], "AUTH");
        n++;

        if (redis->user.len) {
            words[n++] = redis->user;
        }

        words[n++] = redis->password;

        if (ngx_http_entra_mdm_redis_send(conn,
                                          ngx_http_entra_mdm_redis_greeted,
                                          words, n)
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    if (redis->url.db == 0) {
        return NGX_OK;
    }

    ngx_str_set(&words[0], "SELECT");
    words[1].data = db;
    words[1].len = ngx_sprintf(db, "%ui", (ngx_uint_t) redis->url.db) - db;

    return ngx_http_entra_mdm_redis_send(conn,
                                         ngx_http_entra_mdm_redis_greeted,
                                         words, 2);
}


ngx_int_t
ngx_http_entra_mdm_redis_open(ngx_http_entra_mdm_redis_conn_t *conn,
    ngx_http_entra_mdm_redis_t *redis,
    const ngx_http_entra_mdm_redis_place_t *place)
{
    void          *ssl;
    const char    *why;
    redisContext  *rc;

    ssl = NULL;

    rc = place->ip[0] ? redisConnectNonBlock(place->ip, place->port)
                      : redisConnectUnixNonBlock(redis->url.path.data);

    why = (rc == NULL) ? "no memory" : rc->err ? rc->errstr : NULL;

#if (NGX_ENTRA_HAVE_REDIS_TLS)

    if (why == NULL && redis->ssl_ctx != NULL) {
        why = ngx_http_entra_mdm_redis_tls_start(redis, rc, &ssl);
    }

#endif

    if (why != NULL) {
        ngx_cpystrn((u_char *) conn->why, (u_char *) why, sizeof(conn->why));

        if (rc != NULL) {
            redisFree(rc);
        }

        return NGX_ERROR;
    }

    if (ngx_http_entra_mdm_redis_attach(conn, rc, ssl) != NGX_OK) {
        return NGX_ERROR;
    }

    conn->secret = &redis->password;

    if (ngx_http_entra_mdm_redis_greet(conn, redis) != NGX_OK) {
        ngx_http_entra_mdm_redis_close(conn);
        ngx_cpystrn((u_char *) conn->why, (u_char *) "nothing can be sent",
                    sizeof(conn->why));
        return NGX_ERROR;
    }

    return NGX_OK;
}
