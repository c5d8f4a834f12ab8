/*
 * Tokens seen before: the very same one and no other, for as long as it is
 * valid, within the bounds, and whatever memory there is.
 */

#include "entra_cache.h"
#include "entra_issuer.h"
#include "guard.h"
#include "token.h"


#define MAX_TOKEN  16384
#define LEEWAY     60
#define HEADER     "{\"typ\":\"JWT\",\"alg\":\"RS256\",\"kid\":\"%s\"}"


static pool_t         pool;             /* of one test */
static pool_t         request;          /* what is verified is from */
static pool_t         keep;             /* of the program */
static EVP_PKEY      *one, *two;
static entra_jwks_t  *both, *other;     /* of one and two; of two alone */


/*** caches, claims, tokens ***/


static entra_cache_t *
make_cache(const entra_jwks_t *jwks, size_t entries, size_t bytes)
{
    entra_cache_t       *cache;
    entra_cache_conf_t   conf;

    conf.jwks = jwks;
    conf.leeway = LEEWAY;
    conf.max_entries = entries;
    conf.max_bytes = bytes;

    cache = entra_cache_create(&conf);
    if (cache == NULL) {
        tap_bail("no cache");
    }

    return cache;
}


static entra_str_t
make_token(EVP_PKEY *key, const char *kid, const char *edits)
{
    return token_sign(&pool, key, pool_text(&pool, HEADER, kid),
                      token_json(&pool, TOKEN_CLAIMS_V1, edits));
}


/* a verdict of its own for each number */

static entra_verdict_t
make_verdict(unsigned n, size_t padding)
{
    char             *payload;
    entra_verdict_t   verdict;

    memset(&verdict, 0, sizeof(verdict));

    payload = pool_text(&pool, "{\"tid\":\"tid-%u\",\"upn\":\"\","
                        "\"aud\":[\"%u\",\"b\\n\"],\"exp\":%d,\"x\":\"%*s\"}",
                        n, n, TOKEN_NOW + 100, (int) padding, "");

    if (entra_claims_parse(entra_str(payload), &pool.mem, &verdict.claims)
        != ENTRA_OK)
    {
        tap_bail("claims of the test itself are malformed");
    }

    verdict.kid = entra_str(pool_text(&pool, "kid-%u", n));
    verdict.verified = true;

    return verdict;
}


static bool
same_str(const entra_claim_str_t *a, const entra_claim_str_t *b)
{
    return a->state == b->state && entra_str_eq(a->value, b->value)
           && (a->value.data == NULL) == (b->value.data == NULL);
}


static bool
same_time(const entra_claim_time_t *a, const entra_claim_time_t *b)
{
    return a->state == b->state && a->value == b->value;
}


static bool
same(const entra_verdict_t *got, const entra_verdict_t *want)
{
    size_t                  i;
    const entra_claims_t   *a, *b;

    a = &got->claims;
    b = &want->claims;

    if (a->aud_state != b->aud_state || a->naud != b->naud) {
        return false;
    }

    for (i = 0; i < a->naud; i++) {
        if (!entra_str_eq(a->aud[i], b->aud[i])) {
            return false;
        }
    }

    return got->verified && got->why == NULL && !got->nonce
           && got->identity.user.data == NULL
           && got->identity.audience.data == NULL
           && entra_str_eq(got->kid, want->kid)
           && same_str(&a->iss, &b->iss) && same_str(&a->tid, &b->tid)
           && same_str(&a->scp, &b->scp) && same_str(&a->upn, &b->upn)
           && same_str(&a->preferred_username, &b->preferred_username)
           && same_str(&a->oid, &b->oid) && same_str(&a->ver, &b->ver)
           && same_str(&a->deviceid, &b->deviceid)
           && same_time(&a->exp, &b->exp) && same_time(&a->nbf, &b->nbf)
           && same_time(&a->iat, &b->iat)
           && entra_str_eq(a->payload, b->payload);
}


static bool
empty(const entra_verdict_t *verdict)
{
    static const entra_verdict_t  none;

    return memcmp(verdict, &none, sizeof(none)) == 0;
}


/*** by digests made up: what no token could be made for ***/


static void
test_collisions(void)
{
    bool             ok;
    unsigned         i;
    entra_cache_t   *cache;
    entra_digest_t   digest, near[32];
    entra_verdict_t  verdict, got;

    cache = make_cache(both, 64, 1 << 20);

    memset(&digest, 0x77, sizeof(digest));
    verdict = make_verdict(99, 0);
    entra_cache_add(cache, &digest, TOKEN_NOW, &verdict);

    for (i = 0; i < 32; i++) {
        near[i] = digest;
        near[i].bytes[i] ^= (unsigned char) (1u << (i % 8));

        ok = !entra_cache_find(cache, &near[i], TOKEN_NOW, &pool.mem, &got);
        tap_ok(ok && empty(&got), "a digest that differs in byte %u", i);
    }

    for (i = 0; i < 32; i++) {
        verdict = make_verdict(i, 0);
        entra_cache_add(cache, &near[i], TOKEN_NOW, &verdict);
    }

    for (ok = true, i = 0; i < 32; i++) {
        verdict = make_verdict(i, 0);
        ok = ok && entra_cache_find(cache, &near[i], TOKEN_NOW, &pool.mem,
                                    &got)
             && same(&got, &verdict);
    }

    tap_ok(ok, "many in one place: to each its own");

    verdict = make_verdict(99, 0);
    tap_ok(entra_cache_find(cache, &digest, TOKEN_NOW, &pool.mem, &got)
           && same(&got, &verdict), "and to the first");

    entra_cache_free(cache);
    pool_free(&pool);
}


static entra_digest_t
make_digest(unsigned n)
{
    entra_digest_t  digest;

    /* few places, long chains */
    memset(&digest, 0, sizeof(digest));
    digest.bytes[3] = (unsigned char) (n % 4);
    memcpy(&digest.bytes[28], &n, sizeof(n));

    return digest;
}


static bool
finds(entra_cache_t *cache, unsigned n, int64_t now)
{
    bool             found;
    entra_digest_t   digest;
    entra_verdict_t  got, want;

    digest = make_digest(n);
    found = entra_cache_find(cache, &digest, now, &pool.mem, &got);

    if (found) {
        want = make_verdict(n, 0);

        if (!entra_str_eq(got.kid, want.kid)
            || !entra_str_eq(got.claims.tid.value, want.claims.tid.value))
        {
            tap_bail("somebody else's claims");
        }
    }

    return found;
}


static void
adds(entra_cache_t *cache, unsigned n, size_t padding)
{
    entra_digest_t   digest;
    entra_verdict_t  verdict;

    digest = make_digest(n);
    verdict = make_verdict(n, padding);
    entra_cache_add(cache, &digest, TOKEN_NOW, &verdict);
}


static void
test_bounds(void)
{
    size_t          bytes;
    unsigned        i;
    entra_cache_t  *cache;

    cache = make_cache(both, 3, 1 << 20);

    adds(cache, 1, 0);
    bytes = entra_cache_bytes(cache);
    adds(cache, 1, 0);
    tap_ok(entra_cache_count(cache) == 1 && entra_cache_bytes(cache) == bytes,
           "added twice, kept once");

    adds(cache, 2, 0);
    adds(cache, 3, 0);
    tap_ok(finds(cache, 1, TOKEN_NOW), "the first is used again");
    adds(cache, 4, 0);

    tap_is_size(entra_cache_count(cache), 3, "no more than max_entries");
    tap_ok(!finds(cache, 2, TOKEN_NOW), "the longest unused has gone");
    tap_ok(finds(cache, 1, TOKEN_NOW) && finds(cache, 3, TOKEN_NOW)
           && finds(cache, 4, TOKEN_NOW), "the others are there");

    entra_cache_free(cache);

    cache = make_cache(both, 1000, 16 * 1024);

    for (i = 0; i < 200; i++) {
        adds(cache, i, i % 7 * 50);

        if (entra_cache_bytes(cache) > 16 * 1024 || !finds(cache, i, TOKEN_NOW))
        {
            break;
        }
    }

    tap_is_size(i, 200, "never more than max_bytes");
    tap_ok(entra_cache_count(cache) > 10, "but many");

    bytes = entra_cache_bytes(cache);
    adds(cache, 1000, 1024);
    tap_ok(!finds(cache, 1000, TOKEN_NOW) && entra_cache_bytes(cache) == bytes,
           "one that takes a large part of the room is not kept");

    entra_cache_free(cache);

    cache = make_cache(both, 1, 1 << 20);
    adds(cache, 1, 0);
    adds(cache, 2, 0);
    tap_ok(finds(cache, 2, TOKEN_NOW) && !finds(cache, 1, TOKEN_NOW),
           "room for one");

    entra_cache_free(cache);
    entra_cache_free(NULL);
    pool_free(&pool);
}


/* some of 40 tokens, some more often: as a model of the simplest kind has it */

static void
test_at_random(void)
{
    bool            ok, found;
    size_t          i, at, n;
    unsigned        token, model[8];
    entra_cache_t  *cache;

    cache = make_cache(both, 8, 1 << 20);
    n = 0;
    ok = true;
    srand(1);

    for (i = 0; i < 5000 && ok; i++) {
        token = (unsigned) (rand() % 40 % (rand() % 40 + 1));

        for (at = 0; at < n && model[at] != token; at++) { /* void */ }

        found = finds(cache, token, TOKEN_NOW);
        ok = found == (at < n);

        if (!found) {
            adds(cache, token, 0);
            at = n < 8 ? n++ : 7;
        }

        memmove(&model[1], &model[0], at * sizeof(unsigned));
        model[0] = token;

        ok = ok && entra_cache_count(cache) == n;
        pool_free(&pool);
    }

    tap_is_size(i, 5000, "at random, as the model has it");

    entra_cache_free(cache);
}


static void
test_expiry(void)
{
    entra_cache_t    *cache;
    entra_digest_t    digest;
    entra_verdict_t   verdict;

    cache = make_cache(both, 8, 1 << 20);

    adds(cache, 1, 0);
    tap_ok(finds(cache, 1, TOKEN_NOW + 159), "the last second of exp + leeway");
    tap_ok(!finds(cache, 1, TOKEN_NOW + 160), "its end");
    tap_is_size(entra_cache_count(cache), 0, "nothing is left of it");
    tap_is_size(entra_cache_bytes(cache), 0, "not a byte");
    tap_ok(!finds(cache, 1, TOKEN_NOW), "a clock set back finds nothing");

    adds(cache, 1, 0);
    digest = make_digest(2);
    verdict = make_verdict(2, 0);
    verdict.claims.exp.value = TOKEN_NOW + 1000;
    entra_cache_add(cache, &digest, TOKEN_NOW + 200, &verdict);
    tap_is_size(entra_cache_count(cache), 1, "what has expired makes room");

    digest = make_digest(3);
    verdict = make_verdict(3, 0);
    entra_cache_add(cache, &digest, TOKEN_NOW + 160, &verdict);
    verdict.claims.exp.state = ENTRA_CLAIM_ABSENT;
    entra_cache_add(cache, &digest, TOKEN_NOW, &verdict);
    verdict.claims.exp.state = ENTRA_CLAIM_WRONG;
    entra_cache_add(cache, &digest, TOKEN_NOW, &verdict);
    tap_is_size(entra_cache_count(cache), 1,
                "neither what has expired nor what never does is kept");

    verdict = make_verdict(3, 0);
    verdict.verified = false;
    entra_cache_add(cache, &digest, TOKEN_NOW, &verdict);
    tap_is_size(entra_cache_count(cache), 1, "nor what did not verify");

    verdict.verified = true;
    verdict.claims.exp.value = TOKEN_NOW - 59.5;
    entra_cache_add(cache, &digest, TOKEN_NOW, &verdict);
    tap_ok(finds(cache, 3, TOKEN_NOW) && !finds(cache, 3, TOKEN_NOW + 1),
           "half a second");

    entra_cache_free(cache);
    pool_free(&pool);
}


/*** by tokens ***/


static entra_reason_t
verify(entra_cache_t *cache, entra_str_t token, bool *seen,
    entra_verdict_t *verdict)
{
    memset(verdict, 0x5a, sizeof(entra_verdict_t));

    return entra_cache_verify(cache, guard(token), MAX_TOKEN, TOKEN_NOW,
                              &request.mem, verdict, seen);
}


/*
 * Claims as rich as they can be, compared with those of a verification that
 * no cache had a part in.  What each request had is gone when the next comes,
 * and the cache is gone in the end.
 */

static void
test_again(void)
{
    bool              seen;
    size_t            i;
    entra_str_t       token, value;
    entra_cache_t    *cache;
    entra_verdict_t   expected, verdict;

    cache = make_cache(both, 8, 1 << 20);

    token = make_token(one, "one", "aud=[\"a\",\"\",\"b\\u00e9\"]|oid=5"
                       "|preferred_username=\"\\\"quoted\\\"\"|ver=\"\""
                       "|exp=1800003600.5|deviceid=null|groups=[1,{\"a\":2}]");

    tap_is_reason(entra_verify(token, MAX_TOKEN, both, &pool.mem, &expected),
                  ENTRA_OK, "without a cache");

    for (i = 0; i < 3; i++) {
        pool_free(&request);

        tap_is_reason(verify(cache, token, &seen, &verdict), ENTRA_OK,
                      i ? "again" : "for the first time");
        tap_ok(seen == (i > 0), "seen before, or not");
        tap_ok(same(&verdict, &expected), "all of its claims");
    }

    tap_is_size(entra_cache_count(cache), 1, "it is kept once");

    entra_cache_free(cache);

    tap_ok(same(&verdict, &expected), "they outlive the cache");
    tap_ok(entra_claims_get(&verdict.claims, entra_lit("Groups"),
                            &request.mem, &value)
           && entra_str_eq(value, entra_lit("[1,{\"a\":2}]")),
           "any other claim too");

    pool_free(&request);
    pool_free(&pool);
}


static void
test_refused(void)
{
    bool              seen;
    char             *text;
    size_t            i, wrong, good;
    entra_str_t       token, signature;
    entra_cache_t    *cache;
    entra_verdict_t   verdict;

    cache = make_cache(both, 8, 1 << 20);
    token = make_token(one, "one", "");

    (void) verify(cache, token, &seen, &verdict);
    (void) verify(cache, token, &seen, &verdict);
    tap_ok(seen, "a token that is known");

    /* every character of it another one, every length a shorter one */

    text = pool_text(&pool, "%s", token.data);
    wrong = 0;

    for (i = 0; i < token.len; i++) {
        text[i] = text[i] == 'A' ? 'Q' : 'A';

        wrong += verify(cache, (entra_str_t) { text, token.len }, &seen,
                        &verdict) == ENTRA_OK || seen || verdict.verified;
        wrong += verify(cache, (entra_str_t) { text, i }, &seen, &verdict)
                 == ENTRA_OK || seen || verdict.verified;

        text[i] = token.data[i];

        pool_free(&request);
    }

    tap_is_size(wrong, 0, "no other one is taken for it");
    tap_is_size(entra_cache_count(cache), 1, "nothing refused is kept");

    (void) verify(cache, entra_str(pool_text(&pool, "%s.", text)), &seen,
                  &verdict);
    tap_ok(!seen && !verdict.verified, "nor a longer one");

    /* the signature of one with the payload of another */

    signature = entra_str(strrchr(token.data, '.') + 1);
    text = pool_text(&pool, "%s",
                     make_token(one, "one", "upn=\"eve@example.com\"").data);
    strcpy(strrchr(text, '.') + 1, signature.data);

    good = 0;

    for (i = 0; i < 2; i++) {
        good += verify(cache, entra_str(text), &seen, &verdict)
                == ENTRA_SIGNATURE_INVALID && !seen;
    }

    tap_is_size(good, 2, "another payload with its signature, twice");

    tap_is_reason(entra_cache_verify(cache, token, token.len - 1, TOKEN_NOW,
                                     &request.mem, &verdict, &seen),
                  ENTRA_TOKEN_MALFORMED, "known, but longer than max_len");

    entra_cache_free(cache);
    pool_free(&request);
    pool_free(&pool);
}


static void
test_keys(void)
{
    bool              seen;
    entra_str_t       token;
    entra_cache_t    *before, *after;
    entra_verdict_t   verdict;

    before = make_cache(both, 8, 1 << 20);
    token = make_token(one, "one", "");

    (void) verify(before, token, &seen, &verdict);
    tap_is_reason(verify(before, token, &seen, &verdict), ENTRA_OK,
                  "under a set that has its key");
    tap_ok(seen, "seen before");

    after = make_cache(other, 8, 1 << 20);
    tap_is_reason(verify(after, token, &seen, &verdict), ENTRA_KEY_UNKNOWN,
                  "under a set without it");
    tap_ok(!seen, "not seen before");
    tap_is_size(entra_cache_count(after), 0, "and not kept");

    tap_is_reason(verify(after, make_token(two, "two", ""), &seen, &verdict),
                  ENTRA_OK, "a token of the key that is there");

    entra_cache_free(before);
    entra_cache_free(after);
    pool_free(&request);
    pool_free(&pool);
}


/* what is kept is claims, not a verdict on them */

static void
test_judged_afresh(void)
{
    bool               seen;
    const char        *why;
    entra_str_t        token;
    entra_guid_t       tenant, client;
    entra_cache_t     *cache;
    entra_policy_t     policy;
    entra_verdict_t    verdict;
    entra_identity_t   identity;

    cache = make_cache(both, 8, 1 << 20);
    token = make_token(one, "one", "aud=\"" TOKEN_CLIENT "\"");

    memset(&policy, 0, sizeof(policy));

    if (!entra_guid_parse(entra_lit(TOKEN_TID), &tenant)
        || !entra_guid_parse(entra_lit(TOKEN_CLIENT), &client))
    {
        tap_bail("not a GUID");
    }

    policy.issuers = entra_issuer_cloud(ENTRA_CLOUD_PUBLIC, &policy.nissuers);
    policy.tenant_ids = entra_set_build(&tenant, 1);
    policy.client_ids = entra_set_build(&client, 1);
    policy.leeway = LEEWAY;

    (void) verify(cache, token, &seen, &verdict);
    (void) verify(cache, token, &seen, &verdict);

    tap_is_reason(entra_policy_judge(&policy, NULL, &verdict.claims, TOKEN_NOW,
                                     &identity, &why),
                  ENTRA_OK, "seen before, and accepted");
    tap_ok(seen && entra_str_eq(identity.user, entra_lit("ann@example.com")),
           "by its user");

    policy.tenant_ids.count = 0;
    tap_is_reason(entra_policy_judge(&policy, NULL, &verdict.claims, TOKEN_NOW,
                                     &identity, &why),
                  ENTRA_TENANT_NOT_ALLOWED, "its tenant has gone");

    policy.tenant_ids.count = 1;
    tap_is_reason(entra_policy_judge(&policy, NULL, &verdict.claims,
                                     TOKEN_NOW + 3660, &identity, &why),
                  ENTRA_TOKEN_EXPIRED, "it has expired");

    entra_cache_free(cache);
    pool_free(&request);
    pool_free(&pool);
}


/* the n-th piece for a request cannot be had */

static void
test_no_memory(void)
{
    bool              seen, on;
    size_t            n, calls;
    entra_str_t       token;
    entra_cache_t    *cache;
    entra_reason_t    reason;
    entra_verdict_t   verdict;

    token = token_sign(&keep, one, pool_text(&keep, HEADER, "one"),
                       token_json(&keep, TOKEN_CLAIMS_V1, ""));

    for (on = false; /* void */; on = true) {
        for (n = 1; /* void */; n++) {
            cache = make_cache(both, 8, 1 << 20);

            if (verify(cache, token, &seen, &verdict) != ENTRA_OK) {
                tap_bail("a token of the test itself does not verify");
            }

            pool_free(&request);
            request.fail_at = n;
            request.fail_on = on;

            reason = verify(cache, token, &seen, &verdict);
            calls = request.calls;

            tap_ok(reason == ENTRA_OK
                   ? verdict.verified
                     && entra_str_eq(verdict.kid, entra_lit("one"))
                     && entra_str_eq(verdict.claims.tid.value,
                                     entra_lit(TOKEN_TID))
                   : reason == ENTRA_INTERNAL && !verdict.verified && !seen,
                   "without the %zu. piece%s: all or nothing", n,
                   on ? " and those that follow" : "");

            pool_free(&request);
            entra_cache_free(cache);

            if (calls < n) {
                break;
            }
        }

        if (on) {
            break;
        }
    }

    tap_ok(n > 2, "there were pieces");
}


int
main(void)
{
    char        *first, *second;
    const char  *error;

    pool_init(&pool);
    pool_init(&request);
    pool_init(&keep);

    one = token_key(2048);
    two = token_key(2048);

    first = token_jwk(&pool, one, "one", "");
    second = token_jwk(&pool, two, "two", "");

    both = entra_jwks_parse(entra_str(pool_text(&pool, "{\"keys\":[%s,%s]}",
                                                first, second)), &error);
    other = entra_jwks_parse(entra_str(pool_text(&pool, "{\"keys\":[%s]}",
                                                 second)), &error);
    pool_free(&pool);

    if (both == NULL || other == NULL) {
        tap_bail(error);
    }

    test_collisions();
    test_bounds();
    test_at_random();
    test_expiry();
    test_again();
    test_refused();
    test_keys();
    test_judged_afresh();
    test_no_memory();

    entra_jwks_free(both);
    entra_jwks_free(other);
    EVP_PKEY_free(one);
    EVP_PKEY_free(two);
    pool_free(&keep);

    return tap_done();
}
