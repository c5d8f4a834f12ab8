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


bool
entra_gather_add(entra_gather_t *gather, entra_guid_t *ids, size_t n)
{
    entra_set_t    batch;
    entra_guid_t  *copy;

    if (n == 0) {
        return true;
    }

    batch = entra_set_build(ids, n);

    copy = malloc(batch.count * sizeof(entra_guid_t));
    if (copy == NULL) {
        return false;
    }

    memcpy(copy, batch.ids, batch.count * sizeof(entra_guid_t));

    batch.ids = copy;
    gather->run[gather->runs++] = batch;

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

        gather->merged[gather->count++] = order <= 0 ? a->ids[i] : b->ids[j];

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
        gather->merged = malloc((a->count + b->count) * sizeof(entra_guid_t));
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

    *a = (entra_set_t) { gather->merged, gather->count };

    gather->merged = NULL;
    gather->runs--;

    return entra_gather_due(gather) ? ENTRA_GATHER_MORE : ENTRA_GATHER_IDLE;
}


entra_set_t
entra_gather_set(const entra_gather_t *gather)
{
    if (gather->runs == 0) {
        return (entra_set_t) { NULL, 0 };
    }

    return gather->run[0];
}
