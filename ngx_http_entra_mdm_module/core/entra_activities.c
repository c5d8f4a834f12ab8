/*
 * The ring of activities.
 */

#include <stdatomic.h>
#include <stddef.h>

#include "entra_activities.h"


/*
 * A process that is killed is cut off between two instructions: what matters
 * is the order in which the compiler lets it write.
 */

#define entra_activities_order()  atomic_signal_fence(memory_order_seq_cst)


size_t
entra_activities_size(size_t room)
{
    return offsetof(entra_activities_t, entry)
           + (room + 1) * sizeof(entra_activity_t);
}


void
entra_activities_init(entra_activities_t *activities, size_t room)
{
    activities->room = room;
    activities->last = 0;
    activities->first = 1;
}


size_t
entra_activities_count(const entra_activities_t *activities, uint64_t *first)
{
    uint64_t  last;

    last = activities->last;

    *first = activities->first;

    if (last >= activities->room && *first <= last - activities->room) {
        *first = last - activities->room + 1;
    }

    /* none where the first of a change that fills the ring was not finished */

    return *first > last ? 0 : (size_t) (last - *first + 1);
}


static void
entra_activities_put(entra_activities_t *activities, uint64_t id,
    const entra_activity_t *from)
{
    entra_activity_t  *entry;

    entry = &activities->entry[id % (activities->room + 1)];

    *entry = *from;
    entry->id = id;

    entra_activities_order();
    activities->last = id;
    entra_activities_order();
}


size_t
entra_activities_collect(entra_activity_t *activity, size_t room,
    unsigned lists, const entra_set_t *from, const entra_set_t *to,
    const entra_activity_t *model)
{
    bool                 added;
    size_t               n, skip;
    unsigned             i;
    uint32_t             upper;
    entra_diff_t         diff;
    const entra_guid_t  *guid;

    n = 0;

    for (i = 0; i < ENTRA_LISTS; i++) {
        if (lists & (1u << i)) {
            n += entra_set_differences(&from[i], &to[i]);
        }
    }

    skip = n > room ? n - room : 0;

    for (i = 0; i < ENTRA_LISTS; i++) {

        if (!(lists & (1u << i))) {
            continue;
        }

        diff = (entra_diff_t) { &from[i], &to[i], 0, 0 };

        while ((guid = entra_diff_next(&diff, &added, &upper)) != NULL) {

            if (skip) {
                skip--;
                continue;
            }

            *activity = *model;
            activity->guid = *guid;
            activity->upper = upper;
            activity->list = (uint8_t) i;
            activity->added = added;
            activity++;
        }
    }

    return n;
}


void
entra_activities_add(entra_activities_t *activities,
    const entra_activity_t *from, size_t n)
{
    size_t    i, skip;
    uint64_t  id;

    id = activities->last + 1;

    if (id < activities->first) {
        id = activities->first;
    }

    skip = n > activities->room ? n - activities->room : 0;

    if (skip) {
        activities->first = id + skip;
        entra_activities_order();
    }

    for (i = 0; i < n - skip; i++) {
        entra_activities_put(activities, id + skip + i, &from[i]);
    }
}


void
entra_activities_restore(entra_activities_t *activities,
    const entra_activity_t *from, size_t n)
{
    size_t    skip;
    uint64_t  last;

    if (activities->last || n == 0) {
        return;
    }

    /* numbered anew from the newest backwards, in case some are missing */

    last = from[n - 1].id > n ? from[n - 1].id : n;
    skip = n > activities->room ? n - activities->room : 0;

    activities->first = last - (n - skip) + 1;
    entra_activities_order();

    for ( /* void */ ; skip < n; skip++) {
        entra_activities_put(activities, last - n + skip + 1, &from[skip]);
    }
}
