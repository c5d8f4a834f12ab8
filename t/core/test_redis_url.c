/*
 * URLs of Redis.
 */

#include "entra_redis_url.h"
#include "guard.h"
#include "pool.h"


#define URL(text)  ENTRA_STR_INIT(text)


typedef struct {
    const char          *name;
    entra_str_t          text;
    entra_redis_kind_t   kind;
    bool                 tls;
    const char          *user;
    const char          *password;
    const char          *host;          /* "name port" of each, and a blank */
    const char          *rest;          /* master or path */
    unsigned             db;
} row_t;


static const row_t  rows[] = {
    { "a host", URL("redis://redis.example.com"),
      ENTRA_REDIS_SINGLE, false, "", "", "redis.example.com 6379 ", "", 0 },
    { "a port", URL("redis://10.0.0.1:6380"),
      ENTRA_REDIS_SINGLE, false, "", "", "10.0.0.1 6380 ", "", 0 },
    { "a database", URL("redis://h:1/15"),
      ENTRA_REDIS_SINGLE, false, "", "", "h 1 ", "", 15 },
    { "a slash and no database", URL("redis://h/"),
      ENTRA_REDIS_SINGLE, false, "", "", "h 6379 ", "", 0 },
    { "user and password", URL("redis://ann:secret@h:65535/2"),
      ENTRA_REDIS_SINGLE, false, "ann", "secret", "h 65535 ", "", 2 },
    { "a password only", URL("redis://:secret@h"),
      ENTRA_REDIS_SINGLE, false, "", "secret", "h 6379 ", "", 0 },
    { "a user only", URL("redis://ann@h"),
      ENTRA_REDIS_SINGLE, false, "ann", "", "h 6379 ", "", 0 },
    { "escapes", URL("redis://a%40n:p%2F%3a%25w@h"),
      ENTRA_REDIS_SINGLE, false, "a@n", "p/:%w", "h 6379 ", "", 0 },
    { "a colon and an @ in the password", URL("redis://a:p:q@r@h"),
      ENTRA_REDIS_SINGLE, false, "a", "p:q@r", "h 6379 ", "", 0 },
    { "IPv6", URL("redis://[::1]"),
      ENTRA_REDIS_SINGLE, false, "", "", "::1 6379 ", "", 0 },
    { "IPv6, port and all", URL("redis://:p@[fe80::1%eth0]:7000/1"),
      ENTRA_REDIS_SINGLE, false, "", "p", "fe80::1%eth0 7000 ", "", 1 },
    { "TLS", URL("rediss://h"),
      ENTRA_REDIS_SINGLE, true, "", "", "h 6379 ", "", 0 },
    { "a Unix socket", URL("unix:/run/redis.sock"),
      ENTRA_REDIS_UNIX, false, "", "", "", "/run/redis.sock", 0 },
    { "Sentinel", URL("redis-sentinel://a,b:26380/mymaster"),
      ENTRA_REDIS_SENTINEL, false, "", "", "a 26379 b 26380 ", "mymaster", 0 },
    { "Sentinel with a database", URL("redis-sentinel://a/m.1/3"),
      ENTRA_REDIS_SENTINEL, false, "", "", "a 26379 ", "m.1", 3 },
    { "a cluster", URL("redis-cluster://a:1,[::2]:3,c"),
      ENTRA_REDIS_CLUSTER, false, "", "", "a 1 ::2 3 c 6379 ", "", 0 },
    { "a cluster and a slash", URL("redis-cluster://a/"),
      ENTRA_REDIS_CLUSTER, false, "", "", "a 6379 ", "", 0 },
};


static const struct {
    entra_str_t   text;
    const char   *says;
} refused[] = {
    { URL(""), "begin with redis://" },
    { URL("h:6379"), "begin with redis://" },
    { URL("http://h"), "begin with redis://" },
    { URL("redis:h"), "begin with redis://" },
    { URL("REDIS://h"), "begin with redis://" },
    { URL("redis://"), "must have a host" },
    { URL("redis:///0"), "must have a host" },
    { URL("redis://:6379"), "must have a host" },
    { URL("redis://a:b@"), "must have a host" },
    { URL("redis://[]"), "must have a host" },
    { URL("redis://h:"), "port is a number" },
    { URL("redis://h:0"), "port is a number" },
    { URL("redis://h:65536"), "port is a number" },
    { URL("redis://h:99999999999999999999"), "port is a number" },
    { URL("redis://h:6379x"), "port is a number" },
    { URL("redis://h:-1"), "port is a number" },
    { URL("redis://[::1]:"), "port is a number" },
    { URL("redis://::1"), "in brackets" },
    { URL("redis://fe80::1:6379"), "in brackets" },
    { URL("redis://[::1"), "closing bracket" },
    { URL("redis://[::1]6379"), "closing bracket" },
    { URL("redis://h h"), "letters, digits" },
    { URL("redis://h\\x"), "letters, digits" },
    { URL("redis://h%41"), "letters, digits" },
    { URL("redis://h\n"), "control character" },
    { URL("redis://a:b\0c@h"), "control character" },
    { URL("redis://h/x"), "database is a number" },
    { URL("redis://h/-1"), "database is a number" },
    { URL("redis://h/65536"), "database is a number" },
    { URL("redis://h/0/1"), "database is a number" },
    { URL("redis://a,b"), "may have one host" },
    { URL("redis://a,"), "may have one host" },
    { URL("redis://h?db=1"), "options follow it after a blank" },
    { URL("redis://h/0#x"), "options follow it after a blank" },
    { URL("redis://a:b#c@h"), "options follow it after a blank" },
    { URL("redis://a:@h"), "password is empty" },
    { URL("redis://:@h"), "password is empty" },
    { URL("redis://@h"), "neither user nor password" },
    { URL("redis://a:%@h"), "written %25" },
    { URL("redis://a:%4@h"), "written %25" },
    { URL("redis://a:%4x@h"), "written %25" },
    { URL("redis://%zz:b@h"), "written %25" },
    { URL("unix:"), "absolute path" },
    { URL("unix:redis.sock"), "absolute path" },
    { URL("unix:/123456789012345678901234567890123456789012345678901234567890"
          "12345678901234567890123456789012345678901234567"), "107 bytes" },
    { URL("redis-sentinel://a"), "name of the master must follow" },
    { URL("redis-sentinel://a/"), "name of the master must follow" },
    { URL("redis-sentinel://a//1"), "name of the master must follow" },
    { URL("redis-sentinel:///m"), "must have a host" },
    { URL("redis-sentinel://a,,b/m"), "must have a host" },
    { URL("redis-sentinel://a,/m"), "must have a host" },
    { URL("redis-sentinel://a/m/x"), "database is a number" },
    { URL("redis-sentinel://a/m m"), "visible characters" },
    { URL("redis-sentinel://u:p@a/m"), "\"password_file=\"" },
    { URL("redis-cluster://u:p@a"), "\"password_file=\"" },
    { URL("redis-cluster://a/0"), "cluster has no databases" },
    { URL("redis-cluster://a,b/1"), "cluster has no databases" },
    { URL("redis-cluster://1,2,3,4,5,6,7,8,9,a,b,c,d,e,f,g,h"),
      "16 hosts at most" },
};


static pool_t  pool;


static void
test_rows(void)
{
    char                 hosts[256], *p;
    size_t               i, k;
    const char          *why;
    const row_t         *row;
    entra_redis_url_t    url;

    for (i = 0; i < tap_count(rows); i++) {
        row = &rows[i];

        memset(&url, 0x5a, sizeof(url));
        why = entra_redis_url_parse(guard(row->text), &pool.mem, &url);

        hosts[0] = '\0';

        for (k = 0, p = hosts; why == NULL && k < url.nhosts; k++) {
            p += sprintf(p, "%.*s %u ", (int) url.host[k].name.len,
                         url.host[k].name.data, url.host[k].port);
        }

        tap_ok(why == NULL && url.kind == row->kind && url.tls == row->tls
               && entra_str_eq(url.user, entra_str(row->user))
               && entra_str_eq(url.password, entra_str(row->password))
               && strcmp(hosts, row->host) == 0
               && entra_str_eq(url.kind == ENTRA_REDIS_UNIX ? url.path
                                                            : url.master,
                               entra_str(row->rest))
               && url.db == row->db,
               "%s: %s", row->name, row->text.data);

        if (why != NULL) {
            tap_diag("%s", why);
        }

        pool_free(&pool);
    }
}


static void
test_refused(void)
{
    size_t              i;
    const char         *why;
    entra_redis_url_t   url;

    for (i = 0; i < tap_count(refused); i++) {
        why = entra_redis_url_parse(guard(refused[i].text), &pool.mem, &url);

        if (!tap_ok(why != NULL && strstr(why, refused[i].says) != NULL,
                    "%s: %s", refused[i].text.data, refused[i].says))
        {
            tap_diag("got: %s", why ? why : "(accepted)");
        }

        pool_free(&pool);
    }
}


static void
test_no_memory(void)
{
    size_t              n;
    const char         *why;
    entra_redis_url_t   url;

    for (n = 1; n <= 2; n++) {
        pool.fail_at = n;
        pool.calls = 0;
        why = entra_redis_url_parse(entra_lit("redis://a:b@h"), &pool.mem,
                                    &url);
        tap_is_text(why, "there is no memory for it", "out of memory");
        pool_free(&pool);
    }

    pool.fail_at = 0;
}


int
main(void)
{
    pool_init(&pool);

    test_rows();
    test_refused();
    test_no_memory();

    return tap_done();
}
