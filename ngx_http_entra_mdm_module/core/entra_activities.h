/*
 * A ring of activities in memory that several processes share.  Whoever calls
 * these has locked it.  One that is killed meanwhile leaves no half of an
 * activity where it can be read, and no more of them than the ring keeps.
 */

#ifndef ENTRA_ACTIVITIES_H
#define ENTRA_ACTIVITIES_H

#include "entra_activity.h"


typedef struct {
    size_t            room;             /* as many are kept */
    uint64_t          last;             /* ID of the newest, or 0 */
    uint64_t          first;            /* older ones were never here */
    entra_activity_t  entry[1];         /* room + 1; ID n is in n % (room + 1),
                                           and the next one's is free */
} entra_activities_t;


/* of a ring with that room; before its first use it is zeros */
size_t entra_activities_size(size_t room);
void entra_activities_init(entra_activities_t *activities, size_t room);

/* how many there are; the oldest has the ID *first */
size_t entra_activities_count(const entra_activities_t *activities,
    uint64_t *first);

static inline const entra_activity_t *
entra_activities_get(const entra_activities_t *activities, uint64_t id)
{
    return &activities->entry[id % (activities->room + 1)];
}

/*
 * Writes into activity how the lists named (bits) have changed, without IDs;
 * of more than room only the last.  time, actor and role are those of model.
 * Returns how many there are in all.  Touches no ring, so nothing is locked.
 */
size_t entra_activities_collect(entra_activity_t *activity, size_t room,
    unsigned lists, const entra_set_t *from, const entra_set_t *to,
    const entra_activity_t *model);

/* adds n that were collected with the ring's room */
void entra_activities_add(entra_activities_t *activities,
    const entra_activity_t *from, size_t n);

/*
 * Puts n activities, oldest first and with their IDs, into a ring that has
 * none yet.
 */
void entra_activities_restore(entra_activities_t *activities,
    const entra_activity_t *from, size_t n);


#endif /* ENTRA_ACTIVITIES_H */
