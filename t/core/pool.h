/*
 * The allocator handed to the core: each piece a malloc() of its own, so that
 * a sanitizer sees its end, and all freed at once.  It can fail at will.
 */

#ifndef POOL_H
#define POOL_H

#include "entra_mem.h"
#include "tap.h"


#define POOL_MAX  4096


typedef struct {
    entra_mem_t   mem;
    void         *piece[POOL_MAX];
    size_t        count;
    size_t        bytes;
    size_t        calls;
    size_t        fail_at;              /* the n-th call fails; 0: none */
    bool          fail_on;              /* and all that follow */
} pool_t;


static inline void *
pool_alloc(void *data, size_t size)
{
    pool_t  *pool = data;

    pool->calls++;

    if (pool->fail_at
        && (pool->calls == pool->fail_at
            || (pool->fail_on && pool->calls > pool->fail_at)))
    {
        return NULL;
    }

    if (pool->count == POOL_MAX) {
        tap_bail("more than POOL_MAX pieces of memory");
    }

    pool->piece[pool->count] = malloc(size);

    if (pool->piece[pool->count] == NULL) {
        return NULL;
    }

    /* nobody may rely on zeroes */
    memset(pool->piece[pool->count], 0xa5, size);
    pool->bytes += size;

    return pool->piece[pool->count++];
}


static inline void
pool_init(pool_t *pool)
{
    memset(pool, 0, sizeof(pool_t));

    pool->mem.alloc = pool_alloc;
    pool->mem.data = pool;
}


static inline void
pool_free(pool_t *pool)
{
    size_t  i;

    for (i = 0; i < pool->count; i++) {
        free(pool->piece[i]);
    }

    pool_init(pool);
}


/* a formatted text in the pool */

__attribute__((format(printf, 2, 3)))
static inline char *
pool_text(pool_t *pool, const char *format, ...)
{
    int      len;
    char    *text;
    va_list  args;

    va_start(args, format);
    len = vsnprintf(NULL, 0, format, args);
    va_end(args);

    text = len < 0 ? NULL : pool_alloc(pool, (size_t) len + 1);
    if (text == NULL) {
        tap_bail("out of memory");
    }

    va_start(args, format);
    vsnprintf(text, (size_t) len + 1, format, args);
    va_end(args);

    return text;
}


#endif /* POOL_H */
