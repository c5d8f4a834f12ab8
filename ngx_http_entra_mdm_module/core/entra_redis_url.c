/*
 * Redis URLs.
 */

#include "entra_redis_url.h"


#define NOT_FOUND  ((size_t) -1)


static const struct {
    entra_str_t         text;
    entra_redis_kind_t  kind;
    bool                tls;
} entra_redis_schemes[] = {
    { ENTRA_STR_INIT("redis://"), ENTRA_REDIS_SINGLE, false },
    { ENTRA_STR_INIT("rediss://"), ENTRA_REDIS_SINGLE, true },
    { ENTRA_STR_INIT("unix:"), ENTRA_REDIS_UNIX, false },
    { ENTRA_STR_INIT("redis-sentinel://"), ENTRA_REDIS_SENTINEL, false },
    { ENTRA_STR_INIT("redis-cluster://"), ENTRA_REDIS_CLUSTER, false },
};


static size_t
entra_redis_find(entra_str_t s, char c)
{
    size_t  i;

    for (i = 0; i < s.len; i++) {
        if (s.data[i] == c) {
            return i;
        }
    }

    return NOT_FOUND;
}


/* up to that byte, which *rest is after; all of it where there is none */

static entra_str_t
entra_redis_cut(entra_str_t s, char c, entra_str_t *rest)
{
    size_t  i;

    i = entra_redis_find(s, c);

    if (i == NOT_FOUND) {
        *rest = ENTRA_STR_NONE;
        return s;
    }

    *rest = entra_str_from(s, i + 1);

    return (entra_str_t) { s.data, i };
}


/* digits only, at most max */

static bool
entra_redis_number(entra_str_t s, unsigned max, unsigned *number)
{
    size_t    i;
    unsigned  n;

    n = 0;

    for (i = 0; i < s.len; i++) {
        if (s.data[i] < '0' || s.data[i] > '9') {
            return false;
        }

        n = n * 10 + (unsigned) (s.data[i] - '0');

        if (n > max) {
            return false;
        }
    }

    *number = n;

    return s.len != 0;
}


/*** hosts ***/


static bool
entra_redis_host_byte(char c, bool bracketed)
{
    char  lower;

    lower = entra_lower(c);

    if ((lower >= 'a' && lower <= 'z') || (c >= '0' && c <= '9')
        || c == '.' || c == '-' || c == '_')
    {
        return true;
    }

    /* an IPv6 address, with its zone perhaps */

    return bracketed && (c == ':' || c == '%');
}


static bool
entra_redis_host_split(entra_str_t text, entra_str_t *name, entra_str_t *port,
    bool *bracketed)
{
    *bracketed = text.len != 0 && text.data[0] == '[';

    if (!*bracketed) {
        *name = entra_redis_cut(text, ':', port);
        return true;
    }

    *name = entra_redis_cut(entra_str_from(text, 1), ']', port);

    if (name->len == text.len - 1) {
        /* no end of it */
        return false;
    }

    if (port->len == 0) {
        *port = ENTRA_STR_NONE;
        return true;
    }

    if (port->data[0] != ':') {
        return false;
    }

    *port = entra_str_from(*port, 1);

    return true;
}


bool
entra_redis_host_parse(entra_str_t text, unsigned port,
    entra_redis_host_t *host, const char **why)
{
    bool         bracketed;
    size_t       i;
    entra_str_t  number;

    if (!entra_redis_host_split(text, &host->name, &number, &bracketed)) {
        *why = "an IPv6 address needs its closing bracket, and after that a "
               "port or nothing";
        return false;
    }

    if (!bracketed && entra_redis_find(number, ':') != NOT_FOUND) {
        *why = "an IPv6 address must stand in brackets";
        return false;
    }

    if (host->name.len == 0) {
        *why = "it must have a host";
        return false;
    }

    for (i = 0; i < host->name.len; i++) {
        if (!entra_redis_host_byte(host->name.data[i], bracketed)) {
            *why = "a host has letters, digits, \".\", \"-\" and \"_\"";
            return false;
        }
    }

    host->port = port;

    if (number.data != NULL
        && (!entra_redis_number(number, 65535, &host->port)
            || host->port == 0))
    {
        *why = "a port is a number from 1 to 65535";
        return false;
    }

    return true;
}


static const char *
entra_redis_hosts(entra_str_t text, entra_redis_url_t *url)
{
    unsigned      port;
    const char   *why;
    entra_str_t   rest;

    port = url->kind == ENTRA_REDIS_SENTINEL ? ENTRA_REDIS_SENTINEL_PORT
                                             : ENTRA_REDIS_PORT;
    rest = text;

    do {
        if (url->nhosts == ENTRA_REDIS_HOSTS) {
            return "it may have 16 hosts at most";
        }

        text = entra_redis_cut(rest, ',', &rest);

        if (!entra_redis_host_parse(text, port, &url->host[url->nhosts++],
                                    &why))
        {
            return why;
        }

        if (rest.data != NULL && url->kind == ENTRA_REDIS_SINGLE) {
            return "it may have one host; several are for redis-sentinel:// "
                   "and redis-cluster://";
        }

    } while (rest.data != NULL);

    return NULL;
}


/*** user and password ***/


static int
entra_redis_hex(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }

    c = entra_lower(c);

    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}


static const char *
entra_redis_unescape(entra_str_t from, entra_mem_t *mem, entra_str_t *to)
{
    int     high, low;
    char   *p;
    size_t  i;

    p = entra_alloc(mem, from.len);
    if (p == NULL) {
        return "there is no memory for it";
    }

    *to = (entra_str_t) { p, 0 };

    for (i = 0; i < from.len; i++) {

        if (from.data[i] != '%') {
            p[to->len++] = from.data[i];
            continue;
        }

        if (from.len - i < 3) {
            return "a \"%\" in user or password must be written %25";
        }

        high = entra_redis_hex(from.data[++i]);
        low = entra_redis_hex(from.data[++i]);

        if (high < 0 || low < 0) {
            return "a \"%\" in user or password must be written %25";
        }

        p[to->len++] = (char) (high << 4 | low);
    }

    return NULL;
}


/* before the last "@": a password may have one, unescaped */

static const char *
entra_redis_userinfo(entra_str_t *text, entra_mem_t *mem,
    entra_redis_url_t *url)
{
    size_t        i;
    const char   *why;
    entra_str_t   info, user, password;

    for (i = text->len; i != 0 && text->data[i - 1] != '@'; i--) {
        /* void */
    }

    if (i == 0) {
        return NULL;
    }

    if (url->kind != ENTRA_REDIS_SINGLE) {
        return "user and password go into \"user=\" and \"password_file=\"";
    }

    info = (entra_str_t) { text->data, i - 1 };
    *text = entra_str_from(*text, i);

    user = entra_redis_cut(info, ':', &password);

    why = entra_redis_unescape(user, mem, &url->user);

    if (why == NULL && password.data != NULL) {

        if (password.len == 0) {
            return "its password is empty";
        }

        why = entra_redis_unescape(password, mem, &url->password);
    }

    if (why == NULL && url->user.len == 0 && password.data == NULL) {
        return "there is neither user nor password before its \"@\"";
    }

    return why;
}


/*** the whole ***/


static const char *
entra_redis_db(entra_str_t text, entra_redis_url_t *url)
{
    if (text.len == 0) {
        return NULL;
    }

    return entra_redis_number(text, ENTRA_REDIS_MAX_DB, &url->db)
           ? NULL : "a database is a number from 0 to 65535";
}


/* after the hosts: [/db], or /master[/db], or nothing */

static const char *
entra_redis_tail(entra_str_t tail, entra_redis_url_t *url)
{
    size_t  i;

    if (url->kind == ENTRA_REDIS_CLUSTER) {
        return tail.len ? "a cluster has no databases: nothing may follow the "
                          "hosts" : NULL;
    }

    if (url->kind == ENTRA_REDIS_SINGLE) {
        return entra_redis_db(tail, url);
    }

    url->master = entra_redis_cut(tail, '/', &tail);

    if (url->master.len == 0) {
        return "the name of the master must follow the hosts, such as "
               "redis-sentinel://host:26379/mymaster";
    }

    /* false alarm (NullDereference): its length was just asked for */
    for (i = 0; i < url->master.len; i++) {
        if (url->master.data[i] <= ' ' || url->master.data[i] > '~') {
            return "the name of a master has visible characters only";
        }
    }

    return entra_redis_db(tail, url);
}


static const char *
entra_redis_unix(entra_str_t text, entra_redis_url_t *url)
{
    if (text.len == 0 || text.data[0] != '/') {
        return "unix: and an absolute path, such as unix:/run/redis.sock";
    }

    if (text.len > ENTRA_REDIS_MAX_PATH) {
        return "the path of a Unix socket may have 107 bytes";
    }

    url->path = text;

    return NULL;
}


const char *
entra_redis_url_parse(entra_str_t text, entra_mem_t *mem,
    entra_redis_url_t *url)
{
    size_t        i, n;
    const char   *why;
    entra_str_t   tail;

    memset(url, 0, sizeof(entra_redis_url_t));

    for (i = 0; i < text.len; i++) {
        if ((unsigned char) text.data[i] < ' ' || text.data[i] == 0x7f) {
            return "it has a control character";
        }
    }

    n = sizeof(entra_redis_schemes) / sizeof(entra_redis_schemes[0]);

    for (i = 0; i < n; i++) {
        if (entra_str_starts(text, entra_redis_schemes[i].text)) {
            break;
        }
    }

    if (i == n) {
        return "it must begin with redis://, rediss://, unix:, "
               "redis-sentinel:// or redis-cluster://";
    }

    url->kind = entra_redis_schemes[i].kind;
    url->tls = entra_redis_schemes[i].tls;

    text = entra_str_from(text, entra_redis_schemes[i].text.len);

    if (url->kind == ENTRA_REDIS_UNIX) {
        return entra_redis_unix(text, url);
    }

    if (entra_redis_find(text, '?') != NOT_FOUND
        || entra_redis_find(text, '#') != NOT_FOUND)
    {
        return "options follow it after a blank, and \"?\" or \"#\" in a "
               "password are written %3F and %23";
    }

    why = entra_redis_userinfo(&text, mem, url);
    if (why != NULL) {
        return why;
    }

    text = entra_redis_cut(text, '/', &tail);

    why = entra_redis_hosts(text, url);
    if (why != NULL) {
        return why;
    }

    return entra_redis_tail(tail, url);
}
