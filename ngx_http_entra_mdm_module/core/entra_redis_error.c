/*
 * Errors of Redis.
 */

#include "entra_redis_error.h"


static const struct {
    entra_str_t          text;
    entra_redis_error_t  error;
} entra_redis_errors[] = {
    { ENTRA_STR_INIT("ASK "), ENTRA_REDIS_RETRY },
    { ENTRA_STR_INIT("TRYAGAIN"), ENTRA_REDIS_RETRY },
    { ENTRA_STR_INIT("CLUSTERDOWN"), ENTRA_REDIS_RETRY },
    { ENTRA_STR_INIT("LOADING"), ENTRA_REDIS_RETRY },
    { ENTRA_STR_INIT("MASTERDOWN"), ENTRA_REDIS_RETRY },
    { ENTRA_STR_INIT("READONLY"), ENTRA_REDIS_RETRY },
    { ENTRA_STR_INIT("BUSY"), ENTRA_REDIS_RETRY },
    { ENTRA_STR_INIT("WRONGTYPE"), ENTRA_REDIS_WRONGTYPE },
    { ENTRA_STR_INIT("NOPERM"), ENTRA_REDIS_DENIED },
    { ENTRA_STR_INIT("ERR unknown "), ENTRA_REDIS_UNKNOWN },
    { ENTRA_STR_INIT("ERR Unknown "), ENTRA_REDIS_UNKNOWN },
    { ENTRA_STR_INIT("ERR syntax error"), ENTRA_REDIS_UNKNOWN },
};


/* "MOVED 3999 127.0.0.1:6381": an IPv6 address comes without brackets */

static bool
entra_redis_moved(entra_str_t text, entra_redis_host_t *moved)
{
    size_t  i;

    for (i = 6; i < text.len && text.data[i] != ' '; i++) {
        /* the slot */
    }

    if (i == text.len) {
        return false;
    }

    text = entra_str_from(text, i + 1);

    for (i = text.len; i != 0 && text.data[i - 1] != ':'; i--) {
        /* back to the port */
    }

    if (i == 0) {
        return false;
    }

    moved->name = (entra_str_t) { text.data, i - 1 };
    moved->port = 0;

    for (/* void */; i < text.len; i++) {
        if (text.data[i] < '0' || text.data[i] > '9' || moved->port > 6553) {
            return false;
        }

        moved->port = moved->port * 10 + (unsigned) (text.data[i] - '0');
    }

    return moved->port != 0 && moved->port <= 65535;
}


entra_redis_error_t
entra_redis_error(entra_str_t text, entra_redis_host_t *moved)
{
    size_t  i;

    if (entra_str_starts(text, entra_lit("MOVED "))) {
        return entra_redis_moved(text, moved) ? ENTRA_REDIS_MOVED
                                              : ENTRA_REDIS_ERROR;
    }

    for (i = 0;
         i < sizeof(entra_redis_errors) / sizeof(entra_redis_errors[0]);
         i++)
    {
        if (entra_str_starts(text, entra_redis_errors[i].text)) {
            return entra_redis_errors[i].error;
        }
    }

    return ENTRA_REDIS_ERROR;
}
