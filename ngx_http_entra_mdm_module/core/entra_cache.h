/*
 * Tokens seen before: one that has verified under a set of keys needs no
 * second verification under the same set.  What is kept of it are its claims,
 * nothing of what was judged of them: judging is always done afresh.
 *
 * A token is told from all others by the SHA-256 of every byte of it, so its
 * claims come back for nothing but the very same token; nobody can make
 * another one of that digest.  A cache is born with a set of keys and ends
 * with it: what a key that is gone has signed is unknown to the next one.
 * Only what has verified gets in, so to fill it takes tokens of a trusted
 * signer, and gains no more than to make others' tokens be verified again.
 */

#ifndef ENTRA_CACHE_H
#define ENTRA_CACHE_H

#include "entra_verify.h"


typedef struct entra_cache_s  entra_cache_t;


typedef struct {
    const entra_jwks_t  *jwks;          /* outlives the cache */
    int64_t              leeway;        /* as the policy's, in seconds */
    size_t               max_entries;
    size_t               max_bytes;     /* of all entries together */
} entra_cache_conf_t;


/* allocated with malloc(); NULL: out of memory; free takes NULL too */
entra_cache_t *entra_cache_create(const entra_cache_conf_t *conf);
void entra_cache_free(entra_cache_t *cache);

/*
 * As entra_verify() by the keys of the cache.  *seen tells that the token had
 * verified before.  What verifies is kept until its exp plus leeway has come,
 * or the room is needed for others, the longest unused first.  The verdict
 * has nothing in common with the cache, and outlives it.
 */
entra_reason_t entra_cache_verify(entra_cache_t *cache, entra_str_t token,
    size_t max_len, int64_t now, const entra_mem_t *mem,
    entra_verdict_t *verdict, bool *seen);

/* entries, and the bytes they take */
size_t entra_cache_count(const entra_cache_t *cache);
size_t entra_cache_bytes(const entra_cache_t *cache);


/*** its parts, for tests ***/


/* what was added by that digest, unless it has expired; copied to mem */
bool entra_cache_find(entra_cache_t *cache, const entra_digest_t *digest,
    int64_t now, const entra_mem_t *mem, entra_verdict_t *verdict);

/* of a verdict that is verified; may come to nothing */
void entra_cache_add(entra_cache_t *cache, const entra_digest_t *digest,
    int64_t now, const entra_verdict_t *verdict);


#endif /* ENTRA_CACHE_H */
