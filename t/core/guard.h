/*
 * Inputs placed against the end of their mapping: the next byte belongs to
 * nobody, so that reading it ends the test.
 */

#ifndef GUARD_H
#define GUARD_H

#include <sys/mman.h>
#include <unistd.h>

#include "tap.h"


#define GUARD_ROOM  ((size_t) 4 << 20)


/*
 * A copy of text, up to GUARD_ROOM bytes, that the next call overwrites; an
 * empty text is the very end.
 */

static inline entra_str_t
guard(entra_str_t text)
{
    char  *at;

    static char  *end;

    if (end == NULL) {
        size_t  page = (size_t) sysconf(_SC_PAGESIZE);

        end = mmap(NULL, GUARD_ROOM + page, PROT_READ|PROT_WRITE,
                   MAP_PRIVATE|MAP_ANONYMOUS, -1, 0);

        if (end == MAP_FAILED) {
            tap_bail("mmap() failed");
        }

        end += GUARD_ROOM;

        if (mprotect(end, page, PROT_NONE) != 0) {
            tap_bail("mprotect() failed");
        }
    }

    if (text.len > GUARD_ROOM) {
        tap_bail("a text larger than GUARD_ROOM");
    }

    at = end - text.len;

    if (text.len) {
        memmove(at, text.data, text.len);
    }

    return (entra_str_t) { at, text.len };
}


#endif /* GUARD_H */
