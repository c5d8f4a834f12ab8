/*
 * What of a policy survives a restart, as text: its live lists, its key set,
 * and when they were last known to be right.  JSON that a human can read, and
 * write: one ID or key a line.
 */

#ifndef ENTRA_STATE_H
#define ENTRA_STATE_H

#include "entra_activity.h"


#define ENTRA_STATE_MAX    (64 * 1024 * 1024)   /* bytes, written and read */
#define ENTRA_STATE_ERROR  80


/* where the lists came from; in the file a word */

typedef enum {
    ENTRA_STATE_OWN = 0,                /* "state": this file, the API */
    ENTRA_STATE_REDIS,                  /* "redis" */
    ENTRA_STATE_LOST                    /* "lost": Redis has lost its data */
} entra_state_source_e;


typedef struct {
    entra_str_t           policy;       /* for the reader's eye */
    int64_t               saved;        /* times are seconds since 1970 */

    entra_lists_t         lists;        /* one not known is left out */
    int64_t               lists_updated;
    entra_state_source_e  lists_source;
    int64_t               redis_generation;     /* 0: none seen */

    entra_activity_t     *activities;   /* oldest first; NULL: none */
    size_t                nactivities;

    entra_str_t           jwks;         /* empty: no keys */
    entra_str_t           jwks_source;
    int64_t               jwks_fetched;
} entra_state_t;


/*
 * Reads what entra_state_write() wrote, or an administrator.  Members that
 * are missing are empty or 0, but for "version"; members of other names are
 * ignored, so that an older module reads a newer file.  Anything else is
 * taken strictly: a name twice, another type, an ID that is no GUID, text
 * behind the end.  Neither the keys nor the times are judged.
 *
 * false: error says why, and names the member.  On true the lists, activities,
 * jwks and jwks_source are allocated by malloc() until entra_state_free(); policy is
 * not set.
 */
bool entra_state_read(entra_str_t text, entra_state_t *state,
    char error[ENTRA_STATE_ERROR]);
void entra_state_free(entra_state_t *state);

/*
 * Writes into memory that the caller gives back with free().  policy and
 * jwks_source may have any bytes; NUL and those outside ASCII are read back as
 * other ones.  Of jwks its "keys" are kept; a set nested so deep that it could not
 * be read again is left out, as if there were none.
 *
 * false: error says why.
 */
bool entra_state_write(const entra_state_t *state, entra_str_t *text,
    char error[ENTRA_STATE_ERROR]);


#endif /* ENTRA_STATE_H */
