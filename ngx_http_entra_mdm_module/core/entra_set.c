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
        return (entra_set_t) { .ids = ids };
    }

    qsort(ids, count, sizeof(entra_guid_t), entra_set_compare);

    n = 1;

    for (i = 1; i < count; i++) {
        if (entra_set_compare(&ids[i], &ids[n - 1]) != 0) {
            ids[n++] = ids[i];
        }
    }

    return (entra_set_t) { .ids = ids, .count = n };
}


/* entries of one GUID stay in the order they came in */

static int
entra_set_compare_typed(const void *one, const void *two)
{
    int                   order;
    const entra_typed_t  *a = one;
    const entra_typed_t  *b = two;

    order = entra_set_compare(&a->id, &b->id);

    if (order != 0) {
        return order;
    }

    return a->order < b->order ? -1 : a->order > b->order;
}


entra_set_t
entra_set_build_typed(entra_typed_t *entries, size_t count, entra_guid_t *ids,
    uint32_t *upper)
{
    size_t  i, n;

    for (i = 0; i < count; i++) {
        entries[i].order = (uint32_t) i;
    }

    if (count) {
        qsort(entries, count, sizeof(entra_typed_t), entra_set_compare_typed);
    }

    n = 0;

    for (i = 0; i < count; i++) {

        if (n && entra_set_compare(&entries[i].id, &ids[n - 1]) == 0) {
            continue;
        }

        ids[n] = entries[i].id;
        upper[n++] = entries[i].upper;
    }

    return (entra_set_t) { .ids = ids, .count = n, .upper = upper };
}


bool
entra_set_packs(const entra_set_t *set)
{
    size_t  i;

    if (set->upper == NULL) {
        return true;
    }

    for (i = 0; i < set->count; i++) {
        if (!entra_guid_packs(&set->ids[i], set->upper[i])) {
            return false;
        }
    }

    return true;
}


void
entra_set_typed(const entra_set_t *set, uint32_t *upper)
{
    size_t  i;

    for (i = 0; i < set->count; i++) {
        upper[i] = entra_set_upper(set, i);
    }
}


void
entra_set_keep_typed(const entra_set_t *set, uint32_t *upper,
    const entra_set_t *old)
{
    int     order;
    size_t  i, j;

    for (i = 0, j = 0; i < set->count && j < old->count; /* void */) {

        order = entra_set_compare(&set->ids[i], &old->ids[j]);

        if (order == 0) {
            upper[i] = entra_set_upper(old, j);
        }

        i += order <= 0;
        j += order >= 0;
    }
}


bool
entra_set_eq(const entra_set_t *one, const entra_set_t *two)
{
    return one->count == two->count
           && (one->count == 0
               || memcmp(one->ids, two->ids,
                         one->count * sizeof(entra_guid_t)) == 0);
}


const entra_guid_t *
entra_diff_next(entra_diff_t *diff, bool *added, uint32_t *upper)
{
    int                 order;
    const entra_set_t  *from, *to;

    from = diff->from;
    to = diff->to;

    while (diff->i < from->count || diff->j < to->count) {

        if (diff->i == from->count) {
            order = 1;

        } else if (diff->j == to->count) {
            order = -1;

        } else {
            order = entra_set_compare(&from->ids[diff->i], &to->ids[diff->j]);
        }

        if (order < 0) {
            *added = false;
            *upper = entra_set_upper(from, diff->i);
            return &from->ids[diff->i++];
        }

        if (order > 0) {
            *added = true;
            *upper = entra_set_upper(to, diff->j);
            return &to->ids[diff->j++];
        }

        diff->i++;
        diff->j++;
    }

    return NULL;
}


size_t
entra_set_differences(const entra_set_t *from, const entra_set_t *to)
{
    bool          added;
    size_t        n;
    uint32_t      upper;
    entra_diff_t  diff;

    diff = (entra_diff_t) { from, to, 0, 0 };

    for (n = 0; entra_diff_next(&diff, &added, &upper) != NULL; n++) {
        /* void */
    }

    return n;
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
