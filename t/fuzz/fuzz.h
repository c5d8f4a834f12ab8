/*
 * What the fuzzers share: each takes bytes from anywhere, hands them to the
 * core, and ends the run where the core breaks a promise of its headers.
 */

#ifndef FUZZ_H
#define FUZZ_H

#include "pool.h"


/* libFuzzer's entry, and that of AFL++ in its place */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


/* a promise kept, or the end of the run with what was promised */

#define fuzz_claim(what)                                                      \
    do {                                                                      \
        if (!(what)) {                                                        \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #what);\
            abort();                                                          \
        }                                                                     \
    } while (0)


/*
 * A copy that ends where its memory ends, so that reading past it is seen;
 * without bytes it is a view of nothing.
 */

static inline entra_str_t
fuzz_copy(pool_t *pool, const uint8_t *data, size_t size)
{
    char  *copy;

    if (size == 0) {
        return ENTRA_STR_NONE;
    }

    copy = pool_alloc(pool, size);
    if (copy == NULL) {
        tap_bail("out of memory");
    }

    memcpy(copy, data, size);

    return (entra_str_t) { copy, size };
}


/* a view that lies within another, or is empty */

static inline bool
fuzz_within(entra_str_t view, entra_str_t whole)
{
    return view.len == 0
           || (view.data >= whole.data
               && view.data + view.len <= whole.data + whole.len);
}


#endif /* FUZZ_H */
