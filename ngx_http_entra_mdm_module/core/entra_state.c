/*
 * The state of a policy, text to struct and back.
 */

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "entra_escape.h"
#include "entra_json.h"
#include "entra_state.h"


#define ENTRA_STATE_VERSION  1

/* "client_ids" and so on, with their punctuation and a number */
#define MEMBER_SIZE  64

/* of a key set, far below what jansson reads */
#define MAX_DEPTH  1000

/* four blanks, quotes, comma and line feed around each ID */
#define ID_SIZE  (ENTRA_GUID_LEN + 8)

/* its names and numbers; actor and role may be escaped */
#define ACTIVITY_SIZE                                                         \
    (256 + (ENTRA_ACTIVITY_ACTOR + ENTRA_ACTIVITY_ROLE) * ENTRA_ESCAPE_MAX)


static const char *const  entra_state_lists[ENTRA_LISTS] = {
    "client_ids", "tenant_ids"
};

static const char *const  entra_state_sources[] = { "state", "redis", "lost" };

static const char  entra_state_no_memory[] = "out of memory";


__attribute__((format(printf, 2, 3)))
static bool
entra_state_wrong(char *error, const char *format, ...)
{
    va_list  args;

    va_start(args, format);
    (void) vsnprintf(error, ENTRA_STATE_ERROR, format, args);
    va_end(args);

    return false;
}


/*** reading ***/


/*
 * A whole number from 0 on; missing: 0.  One out of range somewhere in the
 * document makes jansson read all numbers as real ones.
 */

static bool
entra_state_number(json_t *json, const char *name, int64_t *number,
    char *error)
{
    double   real;
    json_t  *value;

    *number = 0;

    value = json_object_get(json, name);

    if (value == NULL) {
        return true;
    }

    real = json_number_value(value);

    if (!json_is_number(value) || real < 0 || real > 9e15
        || (double) (int64_t) real != real)
    {
        return entra_state_wrong(error, "\"%s\" is not a whole number from 0 "
                                 "on", name);
    }

    *number = (int64_t) real;

    return true;
}


/* data NULL: missing */

static bool
entra_state_string(json_t *json, const char *name, entra_str_t *string,
    char *error)
{
    json_t  *value;

    *string = ENTRA_STR_NONE;

    value = json_object_get(json, name);

    if (value == NULL) {
        return true;
    }

    if (!json_is_string(value)) {
        return entra_state_wrong(error, "\"%s\" is not a string", name);
    }

    *string = entra_json_str(value);

    return true;
}


static bool
entra_state_list(json_t *json, const char *name, entra_list_t *list,
    char *error)
{
    size_t          i, n;
    json_t         *value, *id;
    uint32_t       *upper;
    entra_str_t     text;
    entra_guid_t   *ids;
    entra_typed_t  *entries;

    value = json_object_get(json, name);

    if (value == NULL) {
        return true;
    }

    if (!json_is_array(value)) {
        return entra_state_wrong(error, "\"%s\" is not an array", name);
    }

    n = json_array_size(value);

    /* the IDs and, behind them, how each was typed */

    ids = malloc((n + 1) * (sizeof(entra_guid_t) + sizeof(uint32_t)));
    entries = malloc((n + 1) * sizeof(entra_typed_t));

    if (ids == NULL || entries == NULL) {
        free(ids);
        free(entries);
        return entra_state_wrong(error, entra_state_no_memory);
    }

    json_array_foreach(value, i, id) {
        text = json_is_string(id) ? entra_json_str(id) : ENTRA_STR_NONE;

        if (!entra_guid_parse(text, &entries[i].id)) {
            free(ids);
            free(entries);
            return entra_state_wrong(error, "number %zu of \"%s\" is not a "
                                     "GUID", i + 1, name);
        }

        entries[i].upper = entra_guid_upper(text);
    }

    upper = (uint32_t *) (void *) (ids + n);
    list->ids = entra_set_build_typed(entries, n, ids, upper);

    free(entries);

    list->known = true;

    return true;
}


static bool
entra_state_lists_read(json_t *json, entra_state_t *state, char *error)
{
    size_t       i;
    entra_str_t  source;

    for (i = 0; i < ENTRA_LISTS; i++) {
        if (!entra_state_list(json, entra_state_lists[i],
                              &state->lists.list[i], error))
        {
            return false;
        }
    }

    if (!entra_state_string(json, "lists_source", &source, error)) {
        return false;
    }

    for (i = ENTRA_STATE_OWN; i <= ENTRA_STATE_LOST; i++) {
        if (entra_str_eq(source, entra_str(entra_state_sources[i]))) {
            state->lists_source = (entra_state_source_e) i;
        }
    }

    return entra_state_number(json, "lists_updated", &state->lists_updated,
                              error)
           && entra_state_number(json, "redis_generation",
                                 &state->redis_generation, error);
}


/* one activity: {"id": 7, "created_at": ..., "client_id": "...", ...} */

static bool
entra_state_activity(json_t *json, entra_activity_t *activity)
{
    char         error[ENTRA_STATE_ERROR];
    int64_t      id;
    unsigned     i, added;
    entra_str_t  type, guid, actor, role;

    if (!entra_state_number(json, "id", &id, error)
        || !entra_state_number(json, "created_at", &activity->time, error)
        || !entra_state_string(json, "type", &type, error)
        || !entra_state_string(json, "actor", &actor, error)
        || !entra_state_string(json, "role", &role, error))
    {
        return false;
    }

    activity->id = (uint64_t) id;
    entra_activity_text(activity->actor, sizeof(activity->actor), actor);
    entra_activity_text(activity->role, sizeof(activity->role), role);

    for (i = 0; i < 2 * ENTRA_LISTS; i++) {
        added = i % 2;

        if (!entra_str_eq(type, entra_str(entra_activity_types[i / 2][added])))
        {
            continue;
        }

        activity->list = (uint8_t) (i / 2);
        activity->added = (uint8_t) added;

        if (!entra_state_string(json, entra_activity_details[i / 2], &guid,
                                error)
            || !entra_guid_parse(guid, &activity->guid))
        {
            return false;
        }

        activity->upper = entra_guid_upper(guid);

        return true;
    }

    return false;
}


static bool
entra_state_activities_read(json_t *json, entra_state_t *state, char *error)
{
    size_t   i, n;
    json_t  *value, *one;

    value = json_object_get(json, "activities");

    if (value == NULL) {
        return true;
    }

    if (!json_is_array(value)) {
        return entra_state_wrong(error, "\"activities\" is not an array");
    }

    n = json_array_size(value);

    state->activities = calloc(n + 1, sizeof(entra_activity_t));
    if (state->activities == NULL) {
        return entra_state_wrong(error, entra_state_no_memory);
    }

    /* what a newer module has to tell, and what is odd, grants nothing */

    json_array_foreach(value, i, one) {
        if (entra_state_activity(one,
                                 &state->activities[state->nactivities]))
        {
            state->nactivities++;
        }
    }

    return true;
}


static bool
entra_state_keys_read(json_t *json, entra_state_t *state, char *error)
{
    char         *text;
    json_t       *jwks;
    entra_str_t   source;

    if (!entra_state_number(json, "jwks_fetched", &state->jwks_fetched, error)
        || !entra_state_string(json, "jwks_source", &source, error))
    {
        return false;
    }

    if (source.data != NULL) {
        text = malloc(source.len + 1);
        if (text == NULL) {
            return entra_state_wrong(error, entra_state_no_memory);
        }

        memcpy(text, source.data, source.len);
        state->jwks_source = (entra_str_t) { text, source.len };
    }

    jwks = json_object_get(json, "jwks");

    if (jwks == NULL) {
        return true;
    }

    if (!json_is_object(jwks)) {
        return entra_state_wrong(error, "\"jwks\" is not an object");
    }

    text = json_dumps(jwks, JSON_COMPACT);
    if (text == NULL) {
        return entra_state_wrong(error, entra_state_no_memory);
    }

    state->jwks = entra_str(text);

    return true;
}


static bool
entra_state_members(json_t *json, entra_state_t *state, char *error)
{
    int64_t      version;
    entra_str_t  policy;

    if (!entra_state_number(json, "version", &version, error)) {
        return false;
    }

    if (version < ENTRA_STATE_VERSION) {
        return entra_state_wrong(error, "\"version\" is missing, or 0");
    }

    return entra_state_string(json, "policy", &policy, error)
           && entra_state_number(json, "saved", &state->saved, error)
           && entra_state_lists_read(json, state, error)
           && entra_state_activities_read(json, state, error)
           && entra_state_keys_read(json, state, error);
}


bool
entra_state_read(entra_str_t text, entra_state_t *state,
    char error[ENTRA_STATE_ERROR])
{
    int      line;
    json_t  *json;

    memset(state, 0, sizeof(entra_state_t));

    if (text.len > ENTRA_STATE_MAX) {
        return entra_state_wrong(error, "it has %zu bytes, the limit is %d",
                                 text.len, ENTRA_STATE_MAX);
    }

    switch (entra_json_object_line(text, &json, &line)) {

    case ENTRA_OK:
        break;

    case ENTRA_INTERNAL:
        return entra_state_wrong(error, entra_state_no_memory);

    default:
        return entra_state_wrong(error, "it is not a JSON object that has "
                                 "each name once (line %d)", line);
    }

    if (!entra_state_members(json, state, error)) {
        json_decref(json);
        entra_state_free(state);
        return false;
    }

    json_decref(json);

    return true;
}


void
entra_state_free(entra_state_t *state)
{
    size_t  i;

    for (i = 0; i < ENTRA_LISTS; i++) {
        free((void *) (uintptr_t) state->lists.list[i].ids.ids);
    }

    free(state->activities);
    free((void *) (uintptr_t) state->jwks_source.data);
    free((void *) (uintptr_t) state->jwks.data);

    memset(state, 0, sizeof(entra_state_t));
}


/*** writing ***/


/*
 * Bytes outside ASCII as if they were Latin-1: never invalid UTF-8.  A NUL,
 * which is not read from any string, as U+FFFD.
 */

static char *
entra_state_put_string(char *p, entra_str_t s)
{
    size_t         i;
    unsigned char  c;

    *p++ = '"';

    for (i = 0; i < s.len; i++) {
        c = (unsigned char) s.data[i];

        if (c < ' ' || c >= 0x7f || c == '"' || c == '\\') {
            p += sprintf(p, "\\u%04x", c ? c : 0xfffd);

        } else {
            *p++ = (char) c;
        }
    }

    *p++ = '"';

    return p;
}


static char *
entra_state_put_list(char *p, const char *name, const entra_set_t *ids)
{
    size_t  i;

    p += sprintf(p, ",\n\"%s\": [", name);

    for (i = 0; i < ids->count; i++) {
        p += sprintf(p, "%s\n    \"", i ? "," : "");
        p = entra_guid_write_typed(&ids->ids[i], entra_set_upper(ids, i), p);
        *p++ = '"';
    }

    return p + sprintf(p, "\n]");
}


/* UTF-8, which is read back as it is */

static char *
entra_state_put_text(char *p, const char *name, const char *text)
{
    p += sprintf(p, ",\"%s\":\"", name);
    p = entra_escape_json(entra_str(text), p);
    *p++ = '"';

    return p;
}


static char *
entra_state_put_activities(char *p, const entra_state_t *state)
{
    size_t                   i;
    const entra_activity_t  *activity;

    p += sprintf(p, ",\n\"activities\": [");

    for (i = 0; i < state->nactivities; i++) {
        activity = &state->activities[i];

        p += sprintf(p, "%s\n    {\"id\":%" PRIu64 ",\"created_at\":%" PRId64
                     ",\"type\":\"%s\",\"%s\":\"", i ? "," : "",
                     activity->id, activity->time,
                     entra_activity_types[activity->list][activity->added],
                     entra_activity_details[activity->list]);
        p = entra_guid_write_typed(&activity->guid, activity->upper, p);
        *p++ = '"';
        p = entra_state_put_text(p, "actor", activity->actor);
        p = entra_state_put_text(p, "role", activity->role);
        *p++ = '}';
    }

    return p + sprintf(p, "\n]");
}


/* NULL: out of memory */

static char *
entra_state_put_keys(char *p, char *end, json_t *keys)
{
    size_t   i, n;
    json_t  *key;

    p += sprintf(p, ",\n\"jwks\": {\"keys\": [");

    json_array_foreach(keys, i, key) {
        p += sprintf(p, "%s\n    ", i ? "," : "");

        n = json_dumpb(key, p, (size_t) (end - p),
                       JSON_COMPACT|JSON_ENCODE_ANY);
        if (n == 0) {
            return NULL;
        }

        p += n;
    }

    return p + sprintf(p, "\n]}");
}


/* how deep arrays and objects are nested in a text that is JSON */

static size_t
entra_state_depth(entra_str_t text)
{
    bool    quoted;
    size_t  i, depth, deepest;

    quoted = false;
    depth = 0;
    deepest = 0;

    for (i = 0; i < text.len; i++) {

        switch (text.data[i]) {

        case '"':
            quoted = !quoted;
            break;

        case '\\':
            i++;
            break;

        case '{':
        case '[':
            if (!quoted && ++depth > deepest) {
                deepest = depth;
            }
            break;

        case '}':
        case ']':
            depth -= !quoted && depth;
            break;
        }
    }

    return deepest;
}


/* *json: the set, to be given back, or NULL: none that can be kept */

static bool
entra_state_keys(entra_str_t jwks, json_t **json, char *error)
{
    *json = NULL;

    if (jwks.len == 0 || entra_state_depth(jwks) > MAX_DEPTH) {
        return true;
    }

    if (entra_json_object(jwks, json) == ENTRA_OK) {
        return true;
    }

    /* it was one before: there is no memory, which jansson may not say */

    return entra_state_wrong(error, "its keys cannot be written: they are "
                             "not JSON, or there is no memory");
}


/* false: out of memory */

static bool
entra_state_size(const entra_state_t *state, json_t *keys, size_t *size)
{
    size_t   i, n;
    json_t  *key;

    *size = 16 * MEMBER_SIZE + 6 * (state->policy.len + state->jwks_source.len);

    for (i = 0; i < ENTRA_LISTS; i++) {
        *size += state->lists.list[i].ids.count * ID_SIZE;
    }

    *size += state->nactivities * ACTIVITY_SIZE;

    json_array_foreach(keys, i, key) {
        n = json_dumpb(key, NULL, 0, JSON_COMPACT|JSON_ENCODE_ANY);
        if (n == 0) {
            return false;
        }

        *size += n + 8;
    }

    return true;
}


static char *
entra_state_put(char *p, char *end, const entra_state_t *state, json_t *keys)
{
    size_t               i;
    const entra_list_t  *list;

    p += sprintf(p, "{\n\"version\": %d,\n\"policy\": ", ENTRA_STATE_VERSION);
    p = entra_state_put_string(p, state->policy);
    p += sprintf(p, ",\n\"saved\": %" PRId64, state->saved);

    for (i = 0; i < ENTRA_LISTS; i++) {
        list = &state->lists.list[i];

        if (list->known) {
            p = entra_state_put_list(p, entra_state_lists[i], &list->ids);
        }
    }

    p += sprintf(p, ",\n\"lists_updated\": %" PRId64
                 ",\n\"lists_source\": \"%s\""
                 ",\n\"redis_generation\": %" PRId64,
                 state->lists_updated, entra_state_sources[state->lists_source],
                 state->redis_generation);

    if (state->nactivities) {
        p = entra_state_put_activities(p, state);
    }

    if (keys != NULL) {
        p += sprintf(p, ",\n\"jwks_source\": ");
        p = entra_state_put_string(p, state->jwks_source);
        p += sprintf(p, ",\n\"jwks_fetched\": %" PRId64, state->jwks_fetched);

        p = entra_state_put_keys(p, end, keys);
        if (p == NULL) {
            return NULL;
        }
    }

    return p + sprintf(p, "\n}\n");
}


static bool
entra_state_write_all(const entra_state_t *state, json_t *keys,
    entra_str_t *text, char *error)
{
    char    *out, *end;
    size_t   size;

    if (!entra_state_size(state, keys, &size)) {
        return entra_state_wrong(error, entra_state_no_memory);
    }

    if (size > ENTRA_STATE_MAX) {
        return entra_state_wrong(error, "it would have %zu bytes, the limit "
                                 "is %d", size, ENTRA_STATE_MAX);
    }

    out = malloc(size);
    if (out == NULL) {
        return entra_state_wrong(error, entra_state_no_memory);
    }

    end = entra_state_put(out, out + size, state, keys);
    if (end == NULL) {
        free(out);
        return entra_state_wrong(error, entra_state_no_memory);
    }

    *text = (entra_str_t) { out, (size_t) (end - out) };

    return true;
}


bool
entra_state_write(const entra_state_t *state, entra_str_t *text,
    char error[ENTRA_STATE_ERROR])
{
    bool     ok;
    json_t  *json, *keys;

    if (!entra_state_keys(state->jwks, &json, error)) {
        return false;
    }

    keys = json_object_get(json, "keys");

    ok = entra_state_write_all(state, json_is_array(keys) ? keys : NULL, text,
                               error);

    json_decref(json);

    return ok;
}
