/*
 * malloc() itself, replaced for the program that includes this: the n-th
 * allocation fails, n rising until all goes well, those of the core and those
 * of jansson, expat and OpenSSL alike; and what was not given back is known.
 */

#ifndef HEAP_H
#define HEAP_H

#include <dlfcn.h>                      /* dladdr() takes _GNU_SOURCE */
#include <errno.h>
#include <jansson.h>
#include <openssl/crypto.h>

#include "tap.h"


/*** the allocator ***/


void *__libc_malloc(size_t size);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t size);
void *__libc_memalign(size_t alignment, size_t size);
void __libc_free(void *p);


#define OUTSTANDING_MAX  65536

static struct {
    bool         on;                    /* counting */
    size_t       calls;
    size_t       fail_at;               /* 0: none */
    bool         fail_on;               /* and all that follow */
    size_t       failed;
    size_t       spared;
    bool         foreign;               /* a library newer than known failed */
    const void  *jansson;               /* where it is loaded */
    size_t       older;                 /* given back from an earlier run */
    size_t       count;
    void        *outstanding[OUTSTANDING_MAX];
} heap;


/*
 * Two kinds are spared, since nobody outside can mend them.  jansson takes no
 * notice when the buffer of its scanner cannot grow: it drops the byte, then
 * trips over its own assertions or reads what lies behind; these are known by
 * a size that is a power of two.  OpenSSL, where it cannot copy the name of an
 * algorithm, makes the algorithm anew and keeps it twice.
 */

static bool
heap_spared(size_t size, const void *caller)
{
    Dl_info  info;

    if (dladdr(caller, &info) == 0) {
        return false;
    }

    if (info.dli_fbase == heap.jansson) {
        return size >= 32 && (size & (size - 1)) == 0;
    }

    return info.dli_sname != NULL
           && strcmp(info.dli_sname, "CRYPTO_strndup") == 0;
}


/*
 * OpenSSL 3.0 gives back what it took when an allocation of its own fails;
 * later ones forget a block here and there, which is not ours to find.
 */

static bool
heap_foreign(const void *caller)
{
    Dl_info  info;

    return OpenSSL_version_num() >= 0x30100000L
           && dladdr(caller, &info) != 0
           && strstr(info.dli_fname, "libcrypto") != NULL;
}


static bool
heap_fails(size_t size, const void *caller)
{
    if (!heap.on) {
        return false;
    }

    heap.calls++;

    if (heap.fail_at == 0 || heap.calls < heap.fail_at
        || (heap.calls > heap.fail_at && !heap.fail_on))
    {
        return false;
    }

    if (heap_spared(size, caller)) {
        heap.spared++;
        return false;
    }

    heap.failed++;
    heap.foreign |= heap_foreign(caller);
    errno = ENOMEM;

    return true;
}


static void *
heap_add(void *p)
{
    if (heap.on && p != NULL) {
        if (heap.count == OUTSTANDING_MAX) {
            abort();
        }

        heap.outstanding[heap.count++] = p;
    }

    return p;
}


/* most are freed soon after they were made */

static void
heap_remove(void *p)
{
    size_t  i;

    if (!heap.on || p == NULL) {
        return;
    }

    for (i = heap.count; i--; /* void */) {
        if (heap.outstanding[i] == p) {
            heap.outstanding[i] = heap.outstanding[--heap.count];
            return;
        }
    }

    heap.older++;
}


void *
malloc(size_t size)
{
    if (heap_fails(size, __builtin_return_address(0))) {
        return NULL;
    }

    return heap_add(__libc_malloc(size));
}


void *
calloc(size_t n, size_t size)
{
    if (heap_fails(n * size, __builtin_return_address(0))) {
        return NULL;
    }

    return heap_add(__libc_calloc(n, size));
}


void *
realloc(void *p, size_t size)
{
    if (heap_fails(size, __builtin_return_address(0))) {
        return NULL;
    }

    heap_remove(p);

    return heap_add(__libc_realloc(p, size));
}


int
posix_memalign(void **p, size_t alignment, size_t size)
{
    if (heap_fails(size, __builtin_return_address(0))) {
        return ENOMEM;
    }

    *p = heap_add(__libc_memalign(alignment, size));

    return *p == NULL ? ENOMEM : 0;
}


void *
aligned_alloc(size_t alignment, size_t size)
{
    if (heap_fails(size, __builtin_return_address(0))) {
        return NULL;
    }

    return heap_add(__libc_memalign(alignment, size));
}


void
free(void *p)
{
    heap_remove(p);
    __libc_free(p);
}


/*** running ***/


/* before anything else of these */

static void
heap_init(void)
{
    Dl_info  info;

    if (dladdr((const void *) (uintptr_t) json_object_get, &info) == 0) {
        tap_bail("where is jansson?");
    }

    heap.jansson = info.dli_fbase;
}


typedef enum {
    RESULT_RIGHT = 0,                   /* all that there is to know */
    RESULT_REFUSED,                     /* for want of memory */
    RESULT_MISLED,                      /* refused, but a library said why */
    RESULT_WRONG                        /* anything else */
} result_t;

typedef result_t (*run_pt)(void);


static result_t
heap_run(run_pt run, size_t n, bool on)
{
    result_t  result;

    heap.calls = 0;
    heap.failed = 0;
    heap.spared = 0;
    heap.foreign = false;
    heap.older = 0;
    heap.count = 0;
    heap.fail_at = n;
    heap.fail_on = on;

    heap.on = true;
    result = run();
    heap.on = false;

    return result;
}


/*
 * More is kept than was given back.  What OpenSSL keeps for its next error is
 * no leak: later ones put the next in its place, and each is run twice, of
 * which the second time counts.
 */

static bool
heap_leaks(void)
{
    return heap.count > heap.older;
}


static void
exhaust(const char *name, run_pt run)
{
    size_t    n, times[RESULT_WRONG + 1], leaks, spared, first;
    unsigned  on;
    result_t  result;

    for (n = 0; n < 20; n++) {
        result = heap_run(run, 0, false);
    }

    if (!tap_ok(result == RESULT_RIGHT && !heap_leaks(),
                "%s: with memory enough", name))
    {
        tap_diag("result %u, %zu not given back, %zu of earlier runs",
                 (unsigned) result, heap.count, heap.older);
        return;
    }

    for (on = 0; on < 2; on++) {
        memset(times, 0, sizeof(times));
        leaks = 0;
        spared = 0;
        first = 0;

        for (n = 1; /* void */ ; n++) {
            (void) heap_run(run, n, on);
            result = heap_run(run, n, on);

            if (heap.calls < n) {
                break;
            }

            times[result]++;
            leaks += heap_leaks() && !heap.foreign;
            spared += heap.spared != 0;

            if (first == 0 && (result == RESULT_WRONG || heap_leaks())) {
                first = n;
            }
        }

        tap_ok(times[RESULT_WRONG] == 0, "%s: %s: right or refused", name,
               on ? "no memory from there on" : "one allocation fails");
        tap_ok(leaks == 0, "%s: %s: all given back", name,
               on ? "no memory from there on" : "one allocation fails");

        if (first) {
            tap_diag("first at allocation %zu", first);
        }

        tap_diag("%zu allocations: %zu right all the same, %zu refused, %zu"
                 " for what a library said instead, %zu wrong; %zu spared",
                 n - 1, times[RESULT_RIGHT], times[RESULT_REFUSED],
                 times[RESULT_MISLED], times[RESULT_WRONG], spared);

        result = heap_run(run, 0, false);
        tap_ok(result == RESULT_RIGHT, "%s: afterwards all is well", name);
    }
}


#endif /* HEAP_H */
