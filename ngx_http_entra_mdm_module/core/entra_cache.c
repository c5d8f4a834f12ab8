/*
 * A hash table of entries, which also form a list from the one used last to
 * the one longest unused.  Each entry is one piece of memory.
 */

#include <openssl/crypto.h>
#include <stdlib.h>

#include "entra_cache.h"
#include "entra_jws.h"


typedef struct entra_cache_entry_s  entra_cache_entry_t;

struct entra_cache_entry_s {
    entra_cache_entry_t   *next;        /* in its bucket */
    entra_cache_entry_t   *newer;
    entra_cache_entry_t   *older;
    entra_digest_t         digest;
    double                 expires;
    size_t                 size;        /* of the whole piece */
    entra_str_t            kid;
    entra_claims_t         claims;
    /* and their bytes */
};


struct entra_cache_s {
    entra_cache_conf_t     conf;
    entra_digester_t      *digester;

    entra_cache_entry_t  **bucket;
    size_t                 nbuckets;    /* a power of two */
    entra_cache_entry_t   *newest;
    entra_cache_entry_t   *oldest;
    size_t                 count;
    size_t                 bytes;
};


/* one entry takes no more of the room than this part: others are to stay */
#define ENTRA_CACHE_SHARE  16


/*** entries in their places ***/


static entra_cache_entry_t **
entra_cache_bucket(entra_cache_t *cache, const entra_digest_t *digest)
{
    size_t  i, n;

    for (i = 0, n = 0; i < 4; i++) {
        n = n << 8 | digest->bytes[i];
    }

    return &cache->bucket[n & (cache->nbuckets - 1)];
}


static void
entra_cache_unlink(entra_cache_t *cache, entra_cache_entry_t *entry)
{
    if (entry->newer != NULL) {
        entry->newer->older = entry->older;

    } else {
        cache->newest = entry->older;
    }

    if (entry->older != NULL) {
        entry->older->newer = entry->newer;

    } else {
        cache->oldest = entry->newer;
    }
}


static void
entra_cache_link(entra_cache_t *cache, entra_cache_entry_t *entry)
{
    entry->newer = NULL;
    entry->older = cache->newest;

    if (cache->newest != NULL) {
        cache->newest->newer = entry;

    } else {
        cache->oldest = entry;
    }

    cache->newest = entry;
}


/* claims are somebody's name: nothing of them stays in freed memory */

static void
entra_cache_remove(entra_cache_t *cache, entra_cache_entry_t *entry)
{
    entra_cache_entry_t  **place;

    place = entra_cache_bucket(cache, &entry->digest);

    while (*place != entry) {
        place = &(*place)->next;
    }

    *place = entry->next;

    entra_cache_unlink(cache, entry);

    cache->count--;
    cache->bytes -= entry->size;

    OPENSSL_cleanse(entry, entry->size);
    free(entry);
}


/* not even the time it takes to compare is to tell of a digest */

static entra_cache_entry_t *
entra_cache_lookup(entra_cache_t *cache, const entra_digest_t *digest)
{
    entra_cache_entry_t  *entry;

    for (entry = *entra_cache_bucket(cache, digest);
         entry != NULL;
         entry = entry->next)
    {
        if (CRYPTO_memcmp(&entry->digest, digest, sizeof(entra_digest_t))
            == 0)
        {
            return entry;
        }
    }

    return NULL;
}


/* an end that has come, as the policy judges it */

static bool
entra_cache_expired(const entra_cache_entry_t *entry, int64_t now)
{
    return entry->expires <= (double) now;
}


static void
entra_cache_make_room(entra_cache_t *cache, size_t size, int64_t now)
{
    while (cache->oldest != NULL
           && (cache->count >= cache->conf.max_entries
               || cache->bytes + size > cache->conf.max_bytes
               || entra_cache_expired(cache->oldest, now)))
    {
        entra_cache_remove(cache, cache->oldest);
    }
}


/*** what is in them ***/


bool
entra_cache_find(entra_cache_t *cache, const entra_digest_t *digest,
    int64_t now, const entra_mem_t *mem, entra_verdict_t *verdict)
{
    void                 *piece;
    entra_cache_entry_t  *entry;

    memset(verdict, 0, sizeof(entra_verdict_t));

    entry = entra_cache_lookup(cache, digest);

    if (entry == NULL) {
        return false;
    }

    if (entra_cache_expired(entry, now)) {
        entra_cache_remove(cache, entry);
        return false;
    }

    piece = entra_alloc(mem, entra_claims_size(&entry->claims));

    if (piece == NULL || !entra_str_copy(mem, entry->kid, &verdict->kid)) {
        return false;
    }

    entra_claims_copy(&entry->claims, piece, &verdict->claims);
    verdict->verified = true;

    entra_cache_unlink(cache, entry);
    entra_cache_link(cache, entry);

    return true;
}


static entra_cache_entry_t *
entra_cache_entry(const entra_verdict_t *verdict, size_t claims, size_t size)
{
    char                 *piece;
    entra_cache_entry_t  *entry;

    entry = malloc(size);
    if (entry == NULL) {
        return NULL;
    }

    piece = (char *) (entry + 1);

    entra_claims_copy(&verdict->claims, piece, &entry->claims);

    entry->kid = (entra_str_t) { piece + claims, verdict->kid.len };

    if (verdict->kid.len) {
        memcpy(piece + claims, verdict->kid.data, verdict->kid.len);
    }

    return entry;
}


void
entra_cache_add(entra_cache_t *cache, const entra_digest_t *digest,
    int64_t now, const entra_verdict_t *verdict)
{
    size_t                 claims, size;
    double                 expires;
    entra_cache_entry_t   *entry, **place;

    if (!verdict->verified || verdict->claims.exp.state != ENTRA_CLAIM_PRESENT
        || entra_cache_lookup(cache, digest) != NULL)
    {
        return;
    }

    expires = verdict->claims.exp.value + (double) cache->conf.leeway;

    claims = entra_claims_size(&verdict->claims);
    size = sizeof(entra_cache_entry_t) + claims + verdict->kid.len;

    if (expires <= (double) now
        || size > cache->conf.max_bytes / ENTRA_CACHE_SHARE)
    {
        return;
    }

    entra_cache_make_room(cache, size, now);

    entry = entra_cache_entry(verdict, claims, size);
    if (entry == NULL) {
        return;
    }

    entry->digest = *digest;
    entry->expires = expires;
    entry->size = size;

    place = entra_cache_bucket(cache, digest);
    entry->next = *place;
    *place = entry;

    entra_cache_link(cache, entry);

    cache->count++;
    cache->bytes += size;
}


/*** verifying ***/


entra_reason_t
entra_cache_verify(entra_cache_t *cache, entra_str_t token, size_t max_len,
    int64_t now, const entra_mem_t *mem, entra_verdict_t *verdict, bool *seen)
{
    size_t          signing_len;
    entra_digest_t  digest, signing_digest;
    entra_reason_t  reason;

    *seen = false;

    /* what is no token is not worth a digest; what is too long has none */

    signing_len = token.len <= max_len ? entra_jws_signing_len(token) : 0;

    if (signing_len == 0
        || !entra_digest_both(cache->digester, token, signing_len, &digest,
                              &signing_digest))
    {
        return entra_verify(token, max_len, cache->conf.jwks, mem, verdict);
    }

    if (entra_cache_find(cache, &digest, now, mem, verdict)) {
        *seen = true;
        return ENTRA_OK;
    }

    reason = entra_verify_digest(token, max_len, cache->conf.jwks,
                                 &signing_digest, mem, verdict);

    if (reason == ENTRA_OK) {
        entra_cache_add(cache, &digest, now, verdict);
    }

    return reason;
}


/*** the cache itself ***/


entra_cache_t *
entra_cache_create(const entra_cache_conf_t *conf)
{
    entra_cache_t  *cache;

    cache = calloc(1, sizeof(entra_cache_t));
    if (cache == NULL) {
        return NULL;
    }

    cache->conf = *conf;
    cache->nbuckets = 1;

    while (cache->nbuckets < conf->max_entries) {
        cache->nbuckets *= 2;
    }

    cache->bucket = calloc(cache->nbuckets, sizeof(entra_cache_entry_t *));
    cache->digester = entra_digester_create();

    if (cache->bucket == NULL || cache->digester == NULL) {
        entra_cache_free(cache);
        return NULL;
    }

    return cache;
}


void
entra_cache_free(entra_cache_t *cache)
{
    if (cache == NULL) {
        return;
    }

    while (cache->oldest != NULL) {
        entra_cache_remove(cache, cache->oldest);
    }

    entra_digester_free(cache->digester);
    free(cache->bucket);
    free(cache);
}


size_t
entra_cache_count(const entra_cache_t *cache)
{
    return cache->count;
}


size_t
entra_cache_bytes(const entra_cache_t *cache)
{
    return cache->bytes;
}
