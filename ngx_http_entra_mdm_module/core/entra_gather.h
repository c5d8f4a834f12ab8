/*
 * A set of GUIDs out of batches that come one after the other, in any order
 * and perhaps repeated.  No step takes long, however many there are: a batch
 * is sorted by itself, and what is sorted is merged a bounded piece at a time.
 */

#ifndef ENTRA_GATHER_H
#define ENTRA_GATHER_H

#include "entra_set.h"


/* so many GUIDs are merged in one step: about half a millisecond */
#define ENTRA_GATHER_STEP  (32 * 1024)

#define ENTRA_GATHER_RUNS  64           /* each less than half the one before */


typedef struct {
    entra_set_t    run[ENTRA_GATHER_RUNS];
    size_t         runs;

    /* the last two runs while they are merged, else NULL */
    entra_guid_t  *merged;
    uint32_t      *upper;               /* how each was typed, behind them */
    size_t         count;
    size_t         taken[2];            /* of each */

    bool           last;                /* no more batches */
} entra_gather_t;


void entra_gather_init(entra_gather_t *gather);

/* gives all back; may be done at any time, and more than once */
void entra_gather_free(entra_gather_t *gather);

/*
 * One more batch, of entries that are sorted in place and copied; not while
 * there is work left.  Of a GUID in several spellings any one is kept.
 * false: out of memory, nothing was added.
 */
bool entra_gather_add(entra_gather_t *gather, entra_typed_t *entries,
    size_t n);

/* there are no more batches; not while there is work left */
void entra_gather_end(entra_gather_t *gather);

typedef enum {
    ENTRA_GATHER_IDLE = 0,              /* nothing to do */
    ENTRA_GATHER_MORE,                  /* there is work left */
    ENTRA_GATHER_NO_MEMORY              /* may be tried again */
} entra_gather_e;

/* a piece of the work */
entra_gather_e entra_gather_step(entra_gather_t *gather);

/* after the end, and idle: the set, which is the gather's */
entra_set_t entra_gather_set(const entra_gather_t *gather);


#endif /* ENTRA_GATHER_H */
