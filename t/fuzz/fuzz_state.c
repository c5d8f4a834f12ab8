/*
 * State files: what is read, written and read again is the same; what was
 * written and then damaged is refused whole.  The same bytes are read as a
 * file and, apart from that, make a state of any content, which is written.
 */

#define _GNU_SOURCE                     /* memmem() */

#include "entra_json.h"
#include "entra_state.h"
#include "fuzz.h"


#define TIME_MAX   9000000000000000     /* what a file may hold */
#define DEPTH_MAX  1000                 /* of a key set that is kept */
#define CUTS       3


/* bytes for the taking; none are zeros for ever */

typedef struct {
    const uint8_t  *data;
    size_t          size;
} fuzz_bytes_t;


static uint64_t
fuzz_take(fuzz_bytes_t *bytes, size_t n)
{
    uint64_t  value;

    for (value = 0; n && bytes->size; n--) {
        value = value << 8 | *bytes->data++;
        bytes->size--;
    }

    return value;
}


static entra_str_t
fuzz_take_text(fuzz_bytes_t *bytes, pool_t *pool, size_t max)
{
    size_t       n;
    entra_str_t  text;

    n = (size_t) fuzz_take(bytes, 1) % (max + 1);
    n = n < bytes->size ? n : bytes->size;

    text = fuzz_copy(pool, bytes->data, n);
    bytes->data += n;
    bytes->size -= n;

    return text;
}


/*** what is the same ***/


static bool
fuzz_same_list(const entra_list_t *a, const entra_list_t *b)
{
    size_t  i;

    if (a->known != b->known) {
        return false;
    }

    if (!a->known) {
        return true;
    }

    if (a->ids.count != b->ids.count) {
        return false;
    }

    for (i = 0; i < a->ids.count; i++) {
        if (memcmp(&a->ids.ids[i], &b->ids.ids[i], sizeof(entra_guid_t)) != 0
            || entra_set_upper(&a->ids, i) != entra_set_upper(&b->ids, i))
        {
            return false;
        }
    }

    return true;
}


/* but for actor and role, which may have bytes that no text has */

static bool
fuzz_same_activity(const entra_activity_t *a, const entra_activity_t *b)
{
    return a->id == b->id && a->time == b->time && a->list == b->list
           && a->added == b->added && a->upper == b->upper
           && memcmp(&a->guid, &b->guid, sizeof(entra_guid_t)) == 0;
}


static void
fuzz_same(const entra_state_t *a, const entra_state_t *b)
{
    size_t  i;

    for (i = 0; i < ENTRA_LISTS; i++) {
        fuzz_claim(fuzz_same_list(&a->lists.list[i], &b->lists.list[i]));
    }

    fuzz_claim(a->saved == b->saved);
    fuzz_claim(a->lists_updated == b->lists_updated);
    fuzz_claim(a->lists_source == b->lists_source);
    fuzz_claim(a->redis_generation == b->redis_generation);
    fuzz_claim(a->nactivities == b->nactivities);

    for (i = 0; i < a->nactivities; i++) {
        fuzz_claim(fuzz_same_activity(&a->activities[i], &b->activities[i]));
    }
}


static size_t
fuzz_brackets(entra_str_t text)
{
    size_t  i, n;

    for (i = 0, n = 0; i < text.len; i++) {
        n += text.data[i] == '[' || text.data[i] == '{';
    }

    return n;
}


/* the key set, and what belongs to it, is kept where it has "keys" */

static void
fuzz_same_keys(const entra_state_t *read, const entra_state_t *again)
{
    json_t  *before, *after, *keys;

    if (read->jwks.len == 0) {
        fuzz_claim(again->jwks.len == 0);
        return;
    }

    fuzz_claim(entra_json_object(read->jwks, &before) == ENTRA_OK);
    keys = json_object_get(before, "keys");

    if (!json_is_array(keys)) {
        fuzz_claim(again->jwks.len == 0 && again->jwks_fetched == 0);

    } else if (again->jwks.len == 0) {
        fuzz_claim(fuzz_brackets(read->jwks) > DEPTH_MAX);

    } else {
        fuzz_claim(entra_json_object(again->jwks, &after) == ENTRA_OK);
        fuzz_claim(json_equal(keys, json_object_get(after, "keys")));
        fuzz_claim(json_object_size(after) == 1);
        fuzz_claim(again->jwks_fetched == read->jwks_fetched);
        json_decref(after);
    }

    json_decref(before);
}


/*** files ***/


static void
fuzz_well_formed(const entra_state_t *state)
{
    size_t              i, j;
    const entra_set_t  *ids;

    for (i = 0; i < ENTRA_LISTS; i++) {
        ids = &state->lists.list[i].ids;

        for (j = 1; j < ids->count; j++) {
            fuzz_claim(memcmp(&ids->ids[j - 1], &ids->ids[j],
                              sizeof(entra_guid_t)) < 0);
        }
    }

    for (i = 0; i < state->nactivities; i++) {
        fuzz_claim(state->activities[i].list < ENTRA_LISTS);
        fuzz_claim(state->activities[i].added < 2);
        fuzz_claim(state->activities[i].time >= 0);
        fuzz_claim(state->activities[i].actor[ENTRA_ACTIVITY_ACTOR] == '\0');
        fuzz_claim(state->activities[i].role[ENTRA_ACTIVITY_ROLE] == '\0');
    }

    fuzz_claim(state->saved >= 0 && state->lists_updated >= 0
               && state->redis_generation >= 0 && state->jwks_fetched >= 0);
}


/* nothing of it is in the struct, and the reason is told */

static void
fuzz_refused(entra_str_t text)
{
    char           error[ENTRA_STATE_ERROR];
    entra_state_t  state;

    static const entra_state_t  empty;

    memset(error, 'x', sizeof(error));

    fuzz_claim(!entra_state_read(text, &state, error));
    fuzz_claim(memchr(error, '\0', sizeof(error)) != NULL && error[0] != '\0');
    fuzz_claim(memcmp(&state, &empty, sizeof(state)) == 0);
}


/* cut anywhere, or with more behind its end, or with an ID spoilt */

static void
fuzz_damage(pool_t *pool, entra_str_t text)
{
    char     *copy, *id;
    size_t    i, end;
    uint32_t  hash;

    static const char  first[] = "_ids\": [\n    \"";

    hash = (uint32_t) text.len * 2654435761u;
    end = text.len - 1;
    fuzz_claim(text.data[end] == '\n' && text.data[end - 1] == '}');

    for (i = 0; i < CUTS; i++) {
        hash = hash * 1664525u + 1013904223u;
        fuzz_refused(fuzz_copy(pool, (const uint8_t *) text.data, hash % end));
    }

    copy = pool_alloc(pool, text.len + 1);
    memcpy(copy, text.data, text.len);

    copy[text.len] = '}';
    fuzz_refused((entra_str_t) { copy, text.len + 1 });

    copy[text.len] = '\0';
    fuzz_refused((entra_str_t) { copy, text.len + 1 });

    /* no string has a line feed in it, so this is a list that is not empty */

    id = memmem(copy, text.len, first, sizeof(first) - 1);

    if (id != NULL) {
        id[sizeof(first) - 1] = 'g';
        fuzz_refused((entra_str_t) { copy, text.len });
    }
}


/* written, read, and written to the same bytes but for what is not ASCII */

static void
fuzz_written(pool_t *pool, const entra_state_t *state, entra_state_t *again)
{
    bool         read;
    char         error[ENTRA_STATE_ERROR];
    entra_str_t  text;

    fuzz_claim(entra_state_write(state, &text, error));

    read = entra_state_read(
               fuzz_copy(pool, (const uint8_t *) text.data, text.len), again,
               error);

    if (!read) {
        fprintf(stderr, "%s\n%.*s", error, (int) text.len, text.data);
    }

    fuzz_claim(read);

    fuzz_well_formed(again);
    fuzz_same(state, again);

    if (text.len < 64 * 1024) {
        fuzz_damage(pool, text);
    }

    free((void *) (uintptr_t) text.data);
}


static void
fuzz_file(pool_t *pool, entra_str_t text)
{
    size_t         i;
    char           error[ENTRA_STATE_ERROR];
    entra_state_t  state, again;

    if (!entra_state_read(text, &state, error)) {
        fuzz_refused(text);
        return;
    }

    fuzz_well_formed(&state);
    fuzz_written(pool, &state, &again);
    fuzz_same_keys(&state, &again);

    /* who did it came from a file, so it is text and stays as it is */

    for (i = 0; i < state.nactivities; i++) {
        fuzz_claim(memcmp(&state.activities[i], &again.activities[i],
                          sizeof(entra_activity_t)) == 0);
    }

    entra_state_free(&again);
    entra_state_free(&state);
}


/*** states of any content ***/


static void
fuzz_make_list(fuzz_bytes_t *bytes, pool_t *pool, entra_list_t *list)
{
    size_t          i, n;
    entra_guid_t   *ids;
    uint32_t       *upper;
    entra_typed_t  *entries;

    n = (size_t) fuzz_take(bytes, 1);

    list->known = n % 4 != 3;
    n = list->known ? n / 4 : 0;

    ids = pool_alloc(pool, (n + 1) * sizeof(entra_guid_t));
    upper = pool_alloc(pool, (n + 1) * sizeof(uint32_t));
    entries = pool_alloc(pool, (n + 1) * sizeof(entra_typed_t));

    for (i = 0; i < n; i++) {
        memset(&entries[i].id, 0xab, sizeof(entra_guid_t));
        entries[i].id.bytes[0] = (uint8_t) fuzz_take(bytes, 1);
        entries[i].id.bytes[15] = (uint8_t) fuzz_take(bytes, 1);

        /* only a letter can be typed large */
        entries[i].upper = (uint32_t) fuzz_take(bytes, 1) & 0x3f << 4;
    }

    list->ids = entra_set_build_typed(entries, n, ids, upper);
}


static void
fuzz_make_activities(fuzz_bytes_t *bytes, pool_t *pool, entra_state_t *state)
{
    size_t             i;
    entra_activity_t  *activity;

    state->nactivities = (size_t) fuzz_take(bytes, 1) % 8;
    state->activities = pool_alloc(pool, 8 * sizeof(entra_activity_t));

    for (i = 0; i < state->nactivities; i++) {
        activity = &state->activities[i];
        memset(activity, 0, sizeof(entra_activity_t));

        activity->id = fuzz_take(bytes, 8) % TIME_MAX;
        activity->time = (int64_t) (fuzz_take(bytes, 8) % TIME_MAX);
        activity->list = (uint8_t) (fuzz_take(bytes, 1) % ENTRA_LISTS);
        activity->added = (uint8_t) (fuzz_take(bytes, 1) % 2);
        memset(&activity->guid, 0xcd, sizeof(entra_guid_t));
        activity->upper = (uint32_t) fuzz_take(bytes, 4);

        entra_activity_text(activity->actor, sizeof(activity->actor),
                            fuzz_take_text(bytes, pool, 255));
        entra_activity_text(activity->role, sizeof(activity->role),
                            fuzz_take_text(bytes, pool, 31));
    }
}


static void
fuzz_made(pool_t *pool, const uint8_t *data, size_t size)
{
    fuzz_bytes_t   bytes;
    entra_state_t  state, again;

    bytes.data = data;
    bytes.size = size;

    memset(&state, 0, sizeof(state));

    state.policy = fuzz_take_text(&bytes, pool, 64);
    state.saved = (int64_t) (fuzz_take(&bytes, 8) % TIME_MAX);
    state.lists_updated = (int64_t) (fuzz_take(&bytes, 8) % TIME_MAX);
    state.redis_generation = (int64_t) (fuzz_take(&bytes, 8) % TIME_MAX);
    state.jwks_fetched = (int64_t) (fuzz_take(&bytes, 8) % TIME_MAX);
    state.lists_source = (entra_state_source_e) (fuzz_take(&bytes, 1) % 3);
    state.jwks_source = fuzz_take_text(&bytes, pool, 64);

    fuzz_make_list(&bytes, pool, &state.lists.list[ENTRA_CLIENT_IDS]);
    fuzz_make_list(&bytes, pool, &state.lists.list[ENTRA_TENANT_IDS]);
    fuzz_make_activities(&bytes, pool, &state);

    state.jwks = entra_lit("{\"x\":1,\"keys\":[{\"kid\":\"a\"},2]}");

    fuzz_written(pool, &state, &again);

    fuzz_claim(entra_str_eq(again.jwks,
                            entra_lit("{\"keys\":[{\"kid\":\"a\"},2]}")));
    fuzz_claim(again.jwks_fetched == state.jwks_fetched);

    entra_state_free(&again);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    pool_t  pool;

    pool_init(&pool);

    fuzz_file(&pool, fuzz_copy(&pool, data, size));
    fuzz_made(&pool, data, size);

    pool_free(&pool);

    return 0;
}
