/*
 * URLs of Redis: what was read and is written again from its parts is read the
 * same, and no part has a byte that ends a line or a word.
 */

#include "entra_redis_url.h"
#include "fuzz.h"


static const char *const  schemes[] = {
    "redis://", "unix:", "redis-sentinel://", "redis-cluster://"
};


static bool
fuzz_visible(entra_str_t text)
{
    size_t  i;

    for (i = 0; i < text.len; i++) {
        if ((unsigned char) text.data[i] < ' ' || text.data[i] == 0x7f) {
            return false;
        }
    }

    return true;
}


static void
fuzz_host(const entra_redis_host_t *host)
{
    size_t  i;

    fuzz_claim(host->name.len != 0);
    fuzz_claim(host->port >= 1 && host->port <= 65535);

    for (i = 0; i < host->name.len; i++) {
        fuzz_claim(strchr("abcdefghijklmnopqrstuvwxyz0123456789.-_:%",
                          entra_lower(host->name.data[i])) != NULL);
    }
}


static void
fuzz_parts(entra_str_t text, const entra_redis_url_t *url)
{
    size_t  i;

    fuzz_claim(fuzz_visible(text));
    fuzz_claim(url->nhosts <= ENTRA_REDIS_HOSTS);
    fuzz_claim(url->db <= ENTRA_REDIS_MAX_DB);

    for (i = 0; i < url->nhosts; i++) {
        fuzz_claim(fuzz_within(url->host[i].name, text));
        fuzz_host(&url->host[i]);
    }

    fuzz_claim(fuzz_within(url->path, text) && fuzz_within(url->master, text));
    fuzz_claim(!url->tls || url->kind == ENTRA_REDIS_SINGLE);
    fuzz_claim((url->user.len == 0 && url->password.len == 0)
               || url->kind == ENTRA_REDIS_SINGLE);
    fuzz_claim((url->path.len != 0) == (url->kind == ENTRA_REDIS_UNIX));
    fuzz_claim((url->nhosts == 0) == (url->kind == ENTRA_REDIS_UNIX));
    fuzz_claim(url->nhosts <= 1 || url->kind >= ENTRA_REDIS_SENTINEL);
    fuzz_claim((url->master.len != 0) == (url->kind == ENTRA_REDIS_SENTINEL));
    fuzz_claim(url->path.len == 0
               || (url->path.data[0] == '/'
                   && url->path.len <= ENTRA_REDIS_MAX_PATH));
}


/*** writing it again ***/


/* every byte of it escaped */

static char *
fuzz_put_escaped(char *p, entra_str_t text)
{
    size_t  i;

    for (i = 0; i < text.len; i++) {
        p += sprintf(p, "%%%02x", (unsigned char) text.data[i]);
    }

    return p;
}


static entra_str_t
fuzz_write(pool_t *pool, const entra_redis_url_t *url, size_t len)
{
    char        *text, *p;
    bool         brackets;
    size_t       i;
    entra_str_t  name;

    /* a port of each, and three bytes for one of the rest */
    text = pool_alloc(pool, 3 * len + 16 * ENTRA_REDIS_HOSTS + 64);

    p = stpcpy(text, url->tls ? "rediss://" : schemes[url->kind]);

    if (url->user.len || url->password.len) {
        p = fuzz_put_escaped(p, url->user);

        if (url->password.len) {
            *p++ = ':';
            p = fuzz_put_escaped(p, url->password);
        }

        *p++ = '@';
    }

    for (i = 0; i < url->nhosts; i++) {
        name = url->host[i].name;
        brackets = memchr(name.data, ':', name.len) != NULL
                   || memchr(name.data, '%', name.len) != NULL;

        p += sprintf(p, "%s%s%.*s%s:%u", i ? "," : "", brackets ? "[" : "",
                     (int) name.len, name.data, brackets ? "]" : "",
                     url->host[i].port);
    }

    p += sprintf(p, "%.*s", (int) url->path.len,
                 url->path.len ? url->path.data : "");

    if (url->master.len) {
        p += sprintf(p, "/%.*s", (int) url->master.len, url->master.data);
    }

    if (url->db) {
        p += sprintf(p, "/%u", url->db);
    }

    return (entra_str_t) { text, (size_t) (p - text) };
}


static void
fuzz_same(const entra_redis_url_t *a, const entra_redis_url_t *b)
{
    size_t  i;

    fuzz_claim(a->kind == b->kind && a->tls == b->tls && a->db == b->db);
    fuzz_claim(entra_str_eq(a->user, b->user));
    fuzz_claim(entra_str_eq(a->password, b->password));
    fuzz_claim(entra_str_eq(a->path, b->path));
    fuzz_claim(entra_str_eq(a->master, b->master));
    fuzz_claim(a->nhosts == b->nhosts);

    for (i = 0; i < a->nhosts; i++) {
        fuzz_claim(entra_str_eq(a->host[i].name, b->host[i].name));
        fuzz_claim(a->host[i].port == b->host[i].port);
    }
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    pool_t               pool;
    const char          *why;
    entra_str_t          text;
    entra_redis_url_t    url, again;
    entra_redis_host_t   host;

    if (size > 4096) {
        return 0;
    }

    pool_init(&pool);
    text = fuzz_copy(&pool, data, size);

    why = entra_redis_url_parse(text, &pool.mem, &url);

    if (why == NULL) {
        fuzz_parts(text, &url);
        why = entra_redis_url_parse(fuzz_write(&pool, &url, size), &pool.mem,
                                    &again);
        fuzz_claim(why == NULL);
        fuzz_same(&url, &again);

    } else {
        fuzz_claim(*why != '\0');
    }

    why = NULL;

    if (entra_redis_host_parse(text, 1, &host, &why)) {
        fuzz_claim(fuzz_within(host.name, text));
        fuzz_host(&host);

    } else {
        fuzz_claim(why != NULL);
    }

    pool_free(&pool);

    return 0;
}
