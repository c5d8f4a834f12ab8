/*
 * What a Redis means by an error: its first word says so, and that of a
 * cluster's MOVED where to go instead.
 */

#ifndef ENTRA_REDIS_ERROR_H
#define ENTRA_REDIS_ERROR_H

#include "entra_redis_url.h"


typedef enum {
    ENTRA_REDIS_ERROR = 0,              /* nothing to be done about */
    ENTRA_REDIS_MOVED,                  /* the key lives elsewhere */
    ENTRA_REDIS_RETRY,                  /* will pass by itself */
    ENTRA_REDIS_WRONGTYPE,
    ENTRA_REDIS_DENIED,                 /* by an ACL */
    ENTRA_REDIS_UNKNOWN                 /* the server has no such command */
} entra_redis_error_t;


/*
 * With ENTRA_REDIS_MOVED, *moved is the node: a view into text, its name empty
 * where it is the host that answered.  A MOVED that cannot be read is
 * ENTRA_REDIS_ERROR.
 */
entra_redis_error_t entra_redis_error(entra_str_t text,
    entra_redis_host_t *moved);


#endif /* ENTRA_REDIS_ERROR_H */
