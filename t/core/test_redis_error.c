/*
 * Errors of Redis, as servers from 5 to 8 word them.
 */

#include "entra_redis_error.h"
#include "guard.h"


#define TEXT(text)  ENTRA_STR_INIT(text)
#define NOWHERE     NULL, 0


static const struct {
    entra_str_t           text;
    entra_redis_error_t   error;
    const char           *host;
    unsigned              port;
} rows[] = {
    { TEXT("MOVED 3999 127.0.0.1:6381"), ENTRA_REDIS_MOVED, "127.0.0.1",
      6381 },
    { TEXT("MOVED 0 ::1:65535"), ENTRA_REDIS_MOVED, "::1", 65535 },
    { TEXT("MOVED 0 redis-1.example.com:1"), ENTRA_REDIS_MOVED,
      "redis-1.example.com", 1 },
    { TEXT("MOVED 1 :6381"), ENTRA_REDIS_MOVED, "", 6381 },
    { TEXT("MOVED 1 h:0"), ENTRA_REDIS_ERROR, NOWHERE },
    { TEXT("MOVED 1 h:65536"), ENTRA_REDIS_ERROR, NOWHERE },
    { TEXT("MOVED 1 h:99999999999999999999"), ENTRA_REDIS_ERROR, NOWHERE },
    { TEXT("MOVED 1 h:"), ENTRA_REDIS_ERROR, NOWHERE },
    { TEXT("MOVED 1 h:1x"), ENTRA_REDIS_ERROR, NOWHERE },
    { TEXT("MOVED 1 h"), ENTRA_REDIS_ERROR, NOWHERE },
    { TEXT("MOVED 1"), ENTRA_REDIS_ERROR, NOWHERE },
    { TEXT("MOVED "), ENTRA_REDIS_ERROR, NOWHERE },
    { TEXT("MOVED"), ENTRA_REDIS_ERROR, NOWHERE },
    { TEXT("ASK 3999 127.0.0.1:6381"), ENTRA_REDIS_RETRY, NOWHERE },
    { TEXT("TRYAGAIN Multiple keys request during rehashing of slot"),
      ENTRA_REDIS_RETRY, NOWHERE },
    { TEXT("CLUSTERDOWN Hash slot not served"), ENTRA_REDIS_RETRY, NOWHERE },
    { TEXT("LOADING Redis is loading the dataset in memory"),
      ENTRA_REDIS_RETRY, NOWHERE },
    { TEXT("MASTERDOWN Link with MASTER is down and replica-serve-stale-data"
           " is set to 'no'."), ENTRA_REDIS_RETRY, NOWHERE },
    { TEXT("READONLY You can't write against a read only replica."),
      ENTRA_REDIS_RETRY, NOWHERE },
    { TEXT("BUSY Redis is busy running a script."), ENTRA_REDIS_RETRY,
      NOWHERE },
    { TEXT("WRONGTYPE Operation against a key holding the wrong kind of"
           " value"), ENTRA_REDIS_WRONGTYPE, NOWHERE },
    { TEXT("NOPERM this user has no permissions to run the 'client' command"),
      ENTRA_REDIS_DENIED, NOWHERE },
    { TEXT("ERR unknown command `client`, with args beginning with: "),
      ENTRA_REDIS_UNKNOWN, NOWHERE },
    { TEXT("ERR Unknown subcommand or wrong number of arguments for"
           " 'TRACKING'. Try CLIENT HELP"), ENTRA_REDIS_UNKNOWN, NOWHERE },
    { TEXT("ERR syntax error"), ENTRA_REDIS_UNKNOWN, NOWHERE },
    { TEXT("ERR invalid password"), ENTRA_REDIS_ERROR, NOWHERE },
    { TEXT("NOAUTH Authentication required."), ENTRA_REDIS_ERROR, NOWHERE },
    { TEXT("ASKING"), ENTRA_REDIS_ERROR, NOWHERE },
    { TEXT(""), ENTRA_REDIS_ERROR, NOWHERE },
};


int
main(void)
{
    bool                  ok;
    size_t                i;
    entra_redis_error_t   error;
    entra_redis_host_t    moved;

    for (i = 0; i < tap_count(rows); i++) {
        memset(&moved, 0x5a, sizeof(moved));
        error = entra_redis_error(guard(rows[i].text), &moved);
        ok = error == rows[i].error;

        if (rows[i].host != NULL) {
            ok = ok && moved.port == rows[i].port
                 && entra_str_eq(moved.name, entra_str(rows[i].host));
        }

        tap_ok(ok, "%s", rows[i].text.data);
    }

    return tap_done();
}
