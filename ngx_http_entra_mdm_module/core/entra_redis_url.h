/*
 * Where a Redis is, as an administrator writes it:
 *
 *     redis://[user:pass@]host[:port][/db]     rediss:// the same, with TLS
 *     unix:/path
 *     redis-sentinel://host[:port],.../master[/db]
 *     redis-cluster://host[:port],...
 *
 * User and password may have percent escapes; an IPv6 address stands in
 * brackets.
 */

#ifndef ENTRA_REDIS_URL_H
#define ENTRA_REDIS_URL_H

#include "entra_mem.h"


#define ENTRA_REDIS_HOSTS     16
#define ENTRA_REDIS_PORT      6379
#define ENTRA_REDIS_SENTINEL_PORT  26379
#define ENTRA_REDIS_MAX_DB    65535     /* Redis itself knows how many it has */
#define ENTRA_REDIS_MAX_PATH  107       /* of a Unix socket, less the NUL */


typedef enum {
    ENTRA_REDIS_SINGLE = 0,
    ENTRA_REDIS_UNIX,
    ENTRA_REDIS_SENTINEL,
    ENTRA_REDIS_CLUSTER
} entra_redis_kind_t;

typedef struct {
    entra_str_t         name;           /* or address, without brackets */
    unsigned            port;
} entra_redis_host_t;

typedef struct {
    entra_redis_kind_t  kind;
    bool                tls;
    entra_str_t         user;           /* empty: none */
    entra_str_t         password;       /* empty: none */
    entra_redis_host_t  host[ENTRA_REDIS_HOSTS];
    size_t              nhosts;
    entra_str_t         path;           /* of a Unix socket */
    entra_str_t         master;         /* as Sentinel knows it */
    unsigned            db;
} entra_redis_url_t;


/*
 * NULL, or what is wrong, as the end of a sentence.  Views in *url point into
 * text, but for user and password, which come from mem.
 */
const char *entra_redis_url_parse(entra_str_t text, entra_mem_t *mem,
    entra_redis_url_t *url);

/*
 * host[:port] or [address][:port], for the port where it names none; false:
 * not such a thing, and *why says what is wrong.
 */
bool entra_redis_host_parse(entra_str_t text, unsigned port,
    entra_redis_host_t *host, const char **why);


#endif /* ENTRA_REDIS_URL_H */
