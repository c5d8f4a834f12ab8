/*
 * Sorting and searching GUIDs.
 */

#include <stdlib.h>

#include "entra_set.h"


static int
entra_set_compare(const void *one, const void *two)
{
    return memcmp(one, two, sizeof(entra_guid_t));
}


entra_set_t
entra_set_build(entra_guid_t *ids, size_t count)
{
    size_t  i, n;

    if (count == 0) {
        return (entra_set_t) { ids, 0 };
    }

    qsort(ids, count, sizeof(entra_guid_t), entra_set_compare);

    n = 1;

    for (i = 1; i < count; i++) {
        if (entra_set_compare(&ids[i], &ids[n - 1]) != 0) {
            ids[n++] = ids[i];
        }
    }

    return (entra_set_t) { ids, n };
}


bool
entra_set_has(const entra_set_t *set, const entra_guid_t *id)
{
    int     order;
    size_t  low, high, middle;

    low = 0;
    high = set->count;

    while (low < high) {
        middle = low + (high - low) / 2;
        order = entra_set_compare(id, &set->ids[middle]);

        if (order == 0) {
            return true;
        }

        if (order < 0) {
            high = middle;

        } else {
            low = middle + 1;
        }
    }

    return false;
}
