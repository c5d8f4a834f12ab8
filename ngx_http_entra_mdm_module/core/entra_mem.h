/*
 * The allocator a caller hands in: an nginx pool, malloc(), or one that fails
 * at the n-th call.  What the core takes from it is never given back piece by
 * piece; the caller frees all of it at once when the request ends.
 */

#ifndef ENTRA_MEM_H
#define ENTRA_MEM_H

#include "entra_str.h"


typedef struct {
    void  *(*alloc)(void *data, size_t size);    /* NULL: out of memory */
    void    *data;
} entra_mem_t;


static inline void *
entra_alloc(const entra_mem_t *mem, size_t size)
{
    return mem->alloc(mem->data, size ? size : 1);
}


/* copies the bytes; *to is set only on success, false: out of memory */

static inline bool
entra_str_copy(const entra_mem_t *mem, entra_str_t from, entra_str_t *to)
{
    char  *p;

    p = entra_alloc(mem, from.len);
    if (p == NULL) {
        return false;
    }

    if (from.len) {
        memcpy(p, from.data, from.len);
    }

    *to = (entra_str_t) { p, from.len };

    return true;
}


#endif /* ENTRA_MEM_H */
