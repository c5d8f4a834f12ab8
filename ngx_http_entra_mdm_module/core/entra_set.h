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
} entra_set_t;


/*
 * Sorts count GUIDs in place and drops repeated ones.  The set returned
 * points to ids, which stay the caller's.
 */
entra_set_t entra_set_build(entra_guid_t *ids, size_t count);

bool entra_set_has(const entra_set_t *set, const entra_guid_t *id);


#endif /* ENTRA_SET_H */
