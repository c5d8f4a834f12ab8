/*
 * Sets out of batches.
 */

#include <stdlib.h>

#include "entra_gather.h"


void
entra_gather_init(entra_gather_t *gather)
{
    memset(gather, 0, sizeof(entra_gather_t));
}


void
entra_gather_free(entra_gather_t *gather)
{
    size_t  i;

    for (i = 0; i < gather->runs; i++) {
        free((void *) gather->run[i].ids);
    }

    free(gather->merged);

    entra_gather_init(gather);
}


/* room for n GUIDs and, behind them, how each was typed; NULL: no memory */

static entra_guid_t *
entra_gather_room(size_t n, uint32_t **upper)
{
    entra_guid_t  *ids;

    ids = malloc(n * (sizeof(entra_guid_t) + sizeof(uint32_t)));

    if (ids != NULL) {
        *upper = (uint32_t *) (void *) (ids + n);
    }

    return ids;
}


bool
entra_gather_add(entra_gather_t *gather, entra_typed_t *entries, size_t n)
{
    uint32_t      *upper;
    entra_guid_t  *ids;

    if (n == 0) {
        return true;
    }

    ids = entra_gather_room(n, &upper);
    if (ids == NULL) {
        return false;
    }

    gather->run[gather->runs++] = entra_set_build_typed(entries, n, ids,
                                                        upper);

    return true;
}


void
entra_gather_end(entra_gather_t *gather)
{
    gather->last = true;
}


/*
 * Like a binary counter: runs of about the same length are merged, so that
 * each GUID moves only as often as their number has digits.
 */

static bool
entra_gather_due(const entra_gather_t *gather)
{
    const entra_set_t  *last;

    if (gather->runs < 2) {
        return false;
    }

    last = &gather->run[gather->runs - 1];

    return gather->last || last[-1].count <= 2 * last->count;
}


static void
entra_gather_merge(entra_gather_t *gather, size_t n)
{
    int                 order;
    size_t              i, j;
    const entra_set_t  *a, *b;

    a = &gather->run[gather->runs - 2];
    b = &gather->run[gather->runs - 1];

    i = gather->taken[0];
    j = gather->taken[1];

    for (/* void */; n && (i < a->count || j < b->count); n--) {

        if (i == a->count) {
            order = 1;

        } else if (j == b->count) {
            order = -1;

        } else {
            order = memcmp(&a->ids[i], &b->ids[j], sizeof(entra_guid_t));
        }

        gather->merged[gather->count] = order <= 0 ? a->ids[i] : b->ids[j];
        gather->upper[gather->count++] = order <= 0 ? a->upper[i]
                                                    : b->upper[j];

        i += order <= 0;
        j += order >= 0;
    }

    gather->taken[0] = i;
    gather->taken[1] = j;
}


entra_gather_e
entra_gather_step(entra_gather_t *gather)
{
    entra_set_t  *a, *b;

    if (gather->merged == NULL && !entra_gather_due(gather)) {
        return ENTRA_GATHER_IDLE;
    }

    a = &gather->run[gather->runs - 2];
    b = &gather->run[gather->runs - 1];

    if (gather->merged == NULL) {
        gather->merged = entra_gather_room(a->count + b->count,
                                           &gather->upper);
        if (gather->merged == NULL) {
            return ENTRA_GATHER_NO_MEMORY;
        }

        gather->count = 0;
        gather->taken[0] = 0;
        gather->taken[1] = 0;
    }

    entra_gather_merge(gather, ENTRA_GATHER_STEP);

    if (gather->taken[0] < a->count || gather->taken[1] < b->count) {
        return ENTRA_GATHER_MORE;
    }

    free((void *) a->ids);
    free((void *) b->ids);

    *a = (entra_set_t) { .ids = gather->merged, .count = gather->count,
                         .upper = gather->upper };

    gather->merged = NULL;
    gather->runs--;

    return entra_gather_due(gather) ? ENTRA_GATHER_MORE : ENTRA_GATHER_IDLE;
}


entra_set_t
entra_gather_set(const entra_gather_t *gather)
{
    if (gather->runs == 0) {
        return (entra_set_t) { .count = 0 };
    }

    return gather->run[0];
}
