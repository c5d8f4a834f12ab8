/*
 * Sets of GUIDs out of batches.
 */

#include <time.h>

#include "entra_gather.h"
#include "tap.h"


#define BATCH  1000


static entra_guid_t
number(uint32_t n)
{
    entra_guid_t  guid;

    memset(&guid, 0, sizeof(guid));

    guid.bytes[0] = (uint8_t) (n >> 16);
    guid.bytes[7] = (uint8_t) (n >> 8);
    guid.bytes[15] = (uint8_t) n;

    return guid;
}


/* typed in a way of its own */

static entra_typed_t
typed(uint32_t n)
{
    entra_typed_t  entry;

    entry.id = number(n);
    entry.upper = n * 5;
    entry.order = 0;

    return entry;
}


static double
milliseconds(void)
{
    struct timespec  now;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);

    return (double) now.tv_sec * 1e3 + (double) now.tv_nsec / 1e6;
}


static void
work(entra_gather_t *gather, size_t *steps)
{
    while (entra_gather_step(gather) == ENTRA_GATHER_MORE) {
        (*steps)++;
    }
}


/* in the order of no sort, and some of them again */

static void
gather_numbers(entra_gather_t *gather, uint32_t count, size_t *steps)
{
    size_t         n;
    uint32_t       i;
    entra_typed_t  batch[BATCH];

    n = 0;

    for (i = 0; i < count + count / 7; i++) {
        batch[n++] = typed((uint32_t) ((uint64_t) i * 7919
                                       % (count ? count : 1)));

        if (n == BATCH) {
            if (!entra_gather_add(gather, batch, n)) {
                tap_bail("out of memory");
            }

            work(gather, steps);
            n = 0;
        }
    }

    if (!entra_gather_add(gather, batch, n)) {
        tap_bail("out of memory");
    }

    work(gather, steps);
    entra_gather_end(gather);
    work(gather, steps);
}


static void
test_count(uint32_t count)
{
    bool             ok;
    size_t           steps;
    uint32_t         i;
    entra_set_t      set;
    entra_guid_t     id;
    entra_gather_t   gather;

    steps = 0;

    entra_gather_init(&gather);
    gather_numbers(&gather, count, &steps);

    set = entra_gather_set(&gather);
    ok = set.count == count;

    for (i = 0; ok && i < count; i++) {
        id = number(i);
        ok = memcmp(&set.ids[i], &id, sizeof(id)) == 0
             && set.upper[i] == i * 5;
    }

    tap_ok(ok, "%u GUIDs, each once, in order and as typed", (unsigned) count);
    tap_diag("%zu steps", steps);

    entra_gather_free(&gather);
}


static void
test_steps(void)
{
    bool             more;
    double           start, took, longest;
    uint32_t         i;
    entra_typed_t    one, *all;
    entra_gather_t   gather;

    entra_gather_init(&gather);

    one = typed(1);
    tap_ok(entra_gather_step(&gather) == ENTRA_GATHER_IDLE,
           "without a batch there is nothing to do");
    tap_ok(entra_gather_add(&gather, &one, 0)
           && entra_gather_set(&gather).count == 0, "a batch of none");

    longest = 0;
    gather_numbers(&gather, 300000, &(size_t) { 0 });

    all = malloc(300000 * sizeof(entra_typed_t));
    if (all == NULL) {
        tap_bail("out of memory");
    }

    for (i = 0; i < 300000; i++) {
        all[i] = typed(i);
    }

    entra_gather_add(&gather, all, 300000);
    free(all);

    do {
        start = milliseconds();
        more = entra_gather_step(&gather) == ENTRA_GATHER_MORE;
        took = milliseconds() - start;

        longest = took > longest ? took : longest;
    } while (more);

    tap_is_size(entra_gather_set(&gather).count, 300000,
                "a run merged with itself is that run");

    /* unsanitized it is a tenth of that; this finds an unbounded one */
    tap_ok(longest < 40, "no step of a large merge is long");
    tap_diag("the longest of 600,000 took %.2f ms", longest);

    entra_gather_free(&gather);
    entra_gather_free(&gather);
    tap_is_size(entra_gather_set(&gather).count, 0, "freed, it is empty");
}


/* given up in the middle */

static void
test_freed(void)
{
    size_t           i;
    entra_typed_t    ids[BATCH];
    entra_gather_t   gather;

    entra_gather_init(&gather);

    for (i = 0; i < BATCH; i++) {
        ids[i] = typed((uint32_t) i);
    }

    for (i = 0; i < 64; i++) {
        ids[0] = typed((uint32_t) i * 65537);

        if (!entra_gather_add(&gather, ids, BATCH)) {
            tap_bail("out of memory");
        }

        if (i < 63) {
            work(&gather, &(size_t) { 0 });
        }
    }

    (void) entra_gather_step(&gather);
    tap_ok(gather.runs > 0, "there is something to give back");
    entra_gather_free(&gather);
    tap_ok(gather.runs == 0 && gather.merged == NULL, "all is given back");
}


int
main(void)
{
    static const uint32_t  counts[] = {
        0, 1, 2, 999, 1000, 1001, 2000, 12345, 100000
    };

    size_t  i;

    for (i = 0; i < tap_count(counts); i++) {
        test_count(counts[i]);
    }

    test_steps();
    test_freed();

    return tap_done();
}
