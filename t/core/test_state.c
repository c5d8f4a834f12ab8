/*
 * The state of a policy: files of whole documents, then what is written.
 *
 * data/state/valid/NAME.json is taken, and is NAME.out when written again;
 * data/state/invalid/NAME.json is not, for the reason in NAME.error.
 */

#include <time.h>

#include "entra_state.h"
#include "files.h"
#include "guard.h"


#define MANY  100000


static pool_t  pool;


static entra_str_t
companion(const char *folder, const char *name, const char *ending)
{
    int  stem;

    stem = (int) (strrchr(name, '.') - name);

    return files_read(&pool, pool_text(&pool, "%s/%.*s%s", folder, stem, name,
                                       ending));
}


/*** files ***/


static void
valid_file(const char *folder, const char *name)
{
    char            error[ENTRA_STATE_ERROR];
    entra_str_t     text;
    entra_state_t   state;

    strcpy(error, "");

    if (!tap_ok(entra_state_read(guard(companion(folder, name, ".json")),
                                 &state, error), "%s: taken", name))
    {
        tap_diag("got: %s", error);
        pool_free(&pool);
        return;
    }

    if (tap_ok(entra_state_write(&state, &text, error), "%s: written", name)) {
        tap_is_str(text, companion(folder, name, ".out"), name);
        free((void *) (uintptr_t) text.data);
    }

    entra_state_free(&state);
    pool_free(&pool);
}


static void
invalid_file(const char *folder, const char *name)
{
    char            error[ENTRA_STATE_ERROR];
    entra_str_t     want;
    entra_state_t   state;

    want = companion(folder, name, ".error");

    if (want.len == 0) {
        tap_bail("an invalid state without its .error file");
    }

    strcpy(error, "");

    tap_ok(!entra_state_read(guard(companion(folder, name, ".json")), &state,
                             error), "%s: refused", name);
    tap_is_str(entra_str(error), (entra_str_t) { want.data, want.len - 1 },
               name);

    pool_free(&pool);
}


/* cut anywhere, a state is none: nobody takes half a list for the whole */

static void
test_cut(void)
{
    bool           taken;
    char           error[ENTRA_STATE_ERROR];
    size_t         len;
    entra_str_t    text;
    entra_state_t  state;

    text = files_read(&pool, "data/state/valid/as-written.json");
    taken = false;

    /* the last byte is but a line feed */

    for (len = 0; len < text.len - 1; len++) {
        taken |= entra_state_read(guard((entra_str_t) { text.data, len }),
                                  &state, error);
    }

    tap_ok(text.len > 0 && !taken, "a state cut anywhere is refused");

    pool_free(&pool);
}


/*** members ***/


static void
test_members(void)
{
    char           error[ENTRA_STATE_ERROR];
    entra_str_t    text;
    entra_guid_t   id;
    entra_state_t  state;

    text = files_read(&pool, "data/state/valid/as-written.json");

    if (!entra_state_read(text, &state, error)
        || !entra_guid_parse(entra_lit("1b1b1111-2222-3333-4444-5555555555c1"),
                             &id))
    {
        tap_bail("a state that is taken elsewhere");
    }

    tap_ok(state.saved == 1790000005, "saved");
    tap_ok(state.lists.list[ENTRA_CLIENT_IDS].known
           && entra_set_has(&state.lists.list[ENTRA_CLIENT_IDS].ids, &id),
           "client_ids");
    tap_ok(state.lists.list[ENTRA_TENANT_IDS].known
           && !entra_set_has(&state.lists.list[ENTRA_TENANT_IDS].ids, &id),
           "tenant_ids");
    tap_ok(state.lists_updated == 1790000000, "lists_updated");
    tap_ok(state.lists_source == ENTRA_STATE_LOST, "lists_source");
    tap_ok(state.redis_generation == 42, "redis_generation");
    tap_is_str(state.jwks_source, entra_lit("request=/_entra/jwks"),
               "jwks_source");
    tap_ok(state.jwks_fetched == 1789990000, "jwks_fetched");
    tap_is_str(state.jwks, entra_lit("{\"keys\":[{\"kid\":\"one\","
                                     "\"kty\":\"RSA\"},{\"kid\":\"two\","
                                     "\"n\":[\"\xc3\xbc\",1.5,null,true]}]}"),
               "jwks");

    entra_state_free(&state);

    tap_ok(state.jwks.data == NULL && state.lists.list[0].ids.ids == NULL,
           "nothing is left behind");

    entra_state_free(&state);
    pool_free(&pool);
}


/*** writing ***/


/* read again; false: it could not be */

static bool
again(const entra_state_t *state, entra_state_t *read)
{
    bool          ok;
    char          error[ENTRA_STATE_ERROR];
    entra_str_t   text;

    if (!entra_state_write(state, &text, error)) {
        tap_diag("not written: %s", error);
        return false;
    }

    ok = entra_state_read(text, read, error);

    if (!ok) {
        tap_diag("not read: %s", error);
        tap_show("written", text);
    }

    free((void *) (uintptr_t) text.data);

    return ok;
}


static void
test_strings(void)
{
    size_t         i;
    entra_state_t  state, read;

    static const struct {
        const char   *name;
        entra_str_t   written;
        entra_str_t   read;
    } strings[] = {
        { "plain", ENTRA_STR_INIT("file=/etc/keys.json"),
          ENTRA_STR_INIT("file=/etc/keys.json") },
        { "quotes and backslash", ENTRA_STR_INIT("a\"b\\c"),
          ENTRA_STR_INIT("a\"b\\c") },
        { "a line feed", ENTRA_STR_INIT("a\nb"), ENTRA_STR_INIT("a\nb") },
        { "a byte that is no UTF-8", ENTRA_STR_INIT("a\xff"),
          ENTRA_STR_INIT("a\xc3\xbf") },
        { "a NUL", ENTRA_STR_INIT("a\0b"),
          ENTRA_STR_INIT("a\xef\xbf\xbd" "b") },
    };

    for (i = 0; i < tap_count(strings); i++) {
        memset(&state, 0, sizeof(entra_state_t));

        state.policy = strings[i].written;
        state.jwks = entra_lit("{\"keys\":[]}");
        state.jwks_source = strings[i].written;

        if (tap_ok(again(&state, &read), "%s: read again", strings[i].name)) {
            tap_is_str(read.jwks_source, strings[i].read, strings[i].name);
            entra_state_free(&read);
        }
    }
}


static void
test_keys(void)
{
    char            error[ENTRA_STATE_ERROR];
    char           *deep;
    size_t          i, n;
    entra_str_t     text;
    entra_state_t   state, read;

    static const struct {
        const char   *name;
        entra_str_t   jwks;
        entra_str_t   read;
    } sets[] = {
        { "none", ENTRA_STR_INIT(""), ENTRA_STR_INIT("") },
        { "blanks around", ENTRA_STR_INIT(" {\"keys\":[{}]}\n"),
          ENTRA_STR_INIT("{\"keys\":[{}]}") },
        { "other members", ENTRA_STR_INIT("{\"x\":1,\"keys\":[{\"y\":2}]}"),
          ENTRA_STR_INIT("{\"keys\":[{\"y\":2}]}") },
        { "brackets in a string",
          ENTRA_STR_INIT("{\"keys\":[\"\\\"[{\\\\\",\"]}\"]}"),
          ENTRA_STR_INIT("{\"keys\":[\"\\\"[{\\\\\",\"]}\"]}") },
        { "no array of keys", ENTRA_STR_INIT("{\"keys\":{}}"),
          ENTRA_STR_INIT("") },
        { "an empty set", ENTRA_STR_INIT("{\"keys\":[]}"),
          ENTRA_STR_INIT("{\"keys\":[]}") },
    };

    memset(&state, 0, sizeof(entra_state_t));

    for (i = 0; i < tap_count(sets); i++) {
        state.jwks = guard(sets[i].jwks);

        if (tap_ok(again(&state, &read), "%s: read again", sets[i].name)) {
            tap_is_str(read.jwks, sets[i].read, sets[i].name);
            entra_state_free(&read);
        }
    }

    /* as deep as a reader of key sets allows: never a state nobody can read */

    for (n = 900; n < 2047; n += 49) {
        deep = pool_alloc(&pool, 2 * n + 32);
        i = (size_t) sprintf(deep, "{\"keys\":[");
        memset(deep + i, '[', n);
        memset(deep + i + n, ']', n);
        strcpy(deep + i + 2 * n, "]}");

        state.jwks = entra_str(deep);

        if (tap_ok(again(&state, &read), "%zu levels: read again", n)) {
            tap_is_str(read.jwks, n < 999 ? state.jwks : entra_lit(""),
                       "kept, or left out");
            entra_state_free(&read);
        }
    }

    state.jwks = entra_lit("{\"keys\":[");

    tap_ok(!entra_state_write(&state, &text, error), "no JSON: not written");
    tap_is_text(error, "its keys cannot be written: they are not JSON, or "
                "there is no memory", "no JSON: says so");

    pool_free(&pool);
}


static double
seconds(void)
{
    struct timespec  now;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);

    return (double) now.tv_sec + (double) now.tv_nsec / 1e9;
}


/* writes and reads so many IDs; returns how long that took */

static double
many(size_t n)
{
    bool            ok;
    size_t          i;
    double          start;
    entra_guid_t   *ids;
    entra_state_t   state, read;

    ids = pool_alloc(&pool, n * sizeof(entra_guid_t));

    for (i = 0; i < n; i++) {
        memset(&ids[i], 0xab, sizeof(entra_guid_t));
        memcpy(&ids[i], &i, sizeof(size_t));
    }

    memset(&state, 0, sizeof(entra_state_t));

    state.lists.list[ENTRA_TENANT_IDS].known = true;
    state.lists.list[ENTRA_TENANT_IDS].ids = entra_set_build(ids, n);

    start = seconds();
    ok = again(&state, &read);

    tap_ok(ok && read.lists.list[ENTRA_TENANT_IDS].ids.count == n
           && memcmp(read.lists.list[ENTRA_TENANT_IDS].ids.ids, ids,
                     n * sizeof(entra_guid_t)) == 0,
           "%zu IDs come back as they were", n);

    if (ok) {
        entra_state_free(&read);
    }

    pool_free(&pool);

    return seconds() - start;
}


static void
test_many(void)
{
    double  few, all;

    (void) many(MANY / 10);

    few = many(MANY / 10);
    all = many(MANY);

    /* were it quadratic, a hundred times */

    if (!tap_ok(all < 40 * few, "ten times the IDs take some ten times as "
                "long"))
    {
        tap_diag("%.3f s and %.3f s", few, all);
    }
}


static void
test_limit(void)
{
    char           error[ENTRA_STATE_ERROR];
    size_t         n;
    entra_str_t    text;
    entra_state_t  state;

    /* no byte is looked at */

    tap_ok(!entra_state_read((entra_str_t) { "{}", ENTRA_STATE_MAX + 1 },
                             &state, error), "too large to be read");
    tap_is_text(error, "it has 67108865 bytes, the limit is 67108864",
                "too large to be read");

    n = ENTRA_STATE_MAX / 44 + 1;

    memset(&state, 0, sizeof(entra_state_t));

    state.lists.list[ENTRA_CLIENT_IDS].known = true;
    state.lists.list[ENTRA_CLIENT_IDS].ids.count = n;

    tap_ok(!entra_state_write(&state, &text, error), "too large to be written");
    tap_is_text(error, "it would have 67109912 bytes, the limit is 67108864",
                "too large to be written");
}


int
main(void)
{
    pool_init(&pool);

    files_each("data/state/valid", ".json", valid_file);
    files_each("data/state/invalid", ".json", invalid_file);

    test_cut();
    test_members();
    test_strings();
    test_keys();
    test_many();
    test_limit();

    return tap_done();
}
