/*
 * An immutable set of GUIDs: one flat sorted array, which may lie in the heap,
 * a pool or shared memory.  A lookup is a binary search; nothing is allocated.
 */

#ifndef ENTRA_SET_H
#define ENTRA_SET_H

#include "entra_guid.h"


typedef struct {
    const entra_guid_t  *ids;           /* ascending, each once */
    size_t               count;

    /*
     * how each was typed, see entra_guid_upper(); if that is NULL, packed by
     * entra_guid_pack(); if that is NULL, in lower case
     */
    const uint32_t      *upper;
    const uint8_t       *packed;
} entra_set_t;


/* one ID of a set to be built, and how it was typed */

typedef struct {
    entra_guid_t         id;
    uint32_t             upper;
    uint32_t             order;         /* of the set's making */
} entra_typed_t;


/*
 * Sorts count GUIDs in place and drops repeated ones.  The set returned
 * points to ids, which stay the caller's.
 */
entra_set_t entra_set_build(entra_guid_t *ids, size_t count);

/*
 * The same with spellings: of a repeated GUID the first one is kept.  ids and
 * upper have room for count entries and are the caller's; entries is sorted.
 */
entra_set_t entra_set_build_typed(entra_typed_t *entries, size_t count,
    entra_guid_t *ids, uint32_t *upper);

/* members that old has too are written in upper as they are typed there */
void entra_set_keep_typed(const entra_set_t *set, uint32_t *upper,
    const entra_set_t *old);

bool entra_set_has(const entra_set_t *set, const entra_guid_t *id);

/* the same members, whatever their spelling */
bool entra_set_eq(const entra_set_t *one, const entra_set_t *two);

static inline uint32_t
entra_set_upper(const entra_set_t *set, size_t i)
{
    if (set->upper != NULL) {
        return set->upper[i];
    }

    return set->packed == NULL ? 0
           : entra_guid_unpack(&set->ids[i],
                               &set->packed[i * ENTRA_GUID_PACKED]);
}

/* whether the spelling of every one can be packed */
bool entra_set_packs(const entra_set_t *set);

/* writes how each was typed */
void entra_set_typed(const entra_set_t *set, uint32_t *upper);


/* what two sets differ by, in ascending order */

typedef struct {
    const entra_set_t   *from;
    const entra_set_t   *to;
    size_t               i;
    size_t               j;
} entra_diff_t;


/*
 * The next difference, of a struct with only from and to set: *added is true
 * for a member of to alone, false for one of from.  NULL: no more.
 */
const entra_guid_t *entra_diff_next(entra_diff_t *diff, bool *added,
    uint32_t *upper);

/* how many there are */
size_t entra_set_differences(const entra_set_t *from, const entra_set_t *to);


#endif /* ENTRA_SET_H */
