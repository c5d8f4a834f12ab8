/*
 * Bodies of the management API: all or nothing, each error names a field that
 * is wrong, what is accepted reads the same when it is written again, and the
 * tag knows neither order nor spelling.  What is right and wrong is found out
 * once more, by looking at the document as a tree.
 */

#include <strings.h>

#include "entra_config.h"
#include "entra_escape.h"
#include "entra_json.h"
#include "fuzz.h"


#define CLIENTS  "windows_entra_client_ids"
#define TENANTS  "windows_entra_tenant_ids"
#define PREFIX   "mdm."


static const char *const  fields[ENTRA_LISTS] = { CLIENTS, TENANTS };


/*** what it should come to ***/


static bool
fuzz_is_guid(const json_t *value)
{
    size_t       i, len;
    const char  *text;

    text = json_string_value(value);
    len = json_string_length(value);

    if (text == NULL || len != 36) {
        return false;
    }

    for (i = 0; i < len; i++) {
        if (strchr(i == 8 || i == 13 || i == 18 || i == 23
                   ? "-" : "0123456789abcdefABCDEF", text[i]) == NULL)
        {
            return false;
        }
    }

    return true;
}


static bool
fuzz_is_list(const json_t *value)
{
    size_t  i;

    if (!json_is_array(value)) {
        return false;
    }

    for (i = 0; i < json_array_size(value); i++) {
        if (!fuzz_is_guid(json_array_get(value, i))) {
            return false;
        }
    }

    return true;
}


/* whether a name, as an error has it, is of something wrong */

static bool
fuzz_is_wrong(json_t *body, entra_str_t name)
{
    size_t       i;
    json_t      *mdm;
    const char  *text, *key;
    json_t      *value;

    static const entra_str_t  prefix = ENTRA_STR_INIT(PREFIX);

    mdm = json_object_get(body, "mdm");

    if (entra_str_eq(name, entra_lit("mdm"))) {
        return !json_is_object(mdm);
    }

    /* a long name of a client's is cut */

    text = name.data;

    if (name.len >= ENTRA_CONFIG_MAX_VALUE + 3
        && memcmp(text + name.len - 3, "...", 3) == 0)
    {
        return true;
    }

    json_object_foreach(body, key, value) {
        if (entra_str_eq(entra_str(key), name)) {
            return true;
        }
    }

    if (!entra_str_starts(name, prefix)) {
        return false;
    }

    name = entra_str_from(name, prefix.len);

    for (i = 0; i < ENTRA_LISTS; i++) {
        if (entra_str_eq(name, entra_str(fields[i]))) {
            value = json_object_get(mdm, fields[i]);
            return value != NULL && !fuzz_is_list(value);
        }
    }

    json_object_foreach(mdm, key, value) {
        if (entra_str_eq(entra_str(key), name)) {
            return true;
        }
    }

    return false;
}


static bool
fuzz_is_right(json_t *body)
{
    size_t       i, known;
    json_t      *mdm, *value;

    mdm = json_object_get(body, "mdm");

    if (!json_is_object(mdm) || json_object_size(body) != 1) {
        return false;
    }

    known = 0;

    for (i = 0; i < ENTRA_LISTS; i++) {
        value = json_object_get(mdm, fields[i]);

        if (value != NULL) {
            known++;

            if (!fuzz_is_list(value)) {
                return false;
            }
        }
    }

    return known == json_object_size(mdm);
}


/*** refused ***/


static void
fuzz_errors(json_t *body, const entra_config_patch_t *patch)
{
    size_t       i, j;
    bool         told[ENTRA_LISTS];
    json_t      *value;
    entra_str_t  name;

    fuzz_claim(patch->nerrors > 0);
    fuzz_claim(patch->nerrors <= ENTRA_CONFIG_MAX_ERRORS);

    memset(told, 0, sizeof(told));

    for (i = 0; i < patch->nerrors; i++) {
        name = patch->errors[i].name;

        fuzz_claim(patch->errors[i].reason.len != 0);
        fuzz_claim(patch->errors[i].reason.len < 2 * ENTRA_CONFIG_MAX_VALUE);
        fuzz_claim(fuzz_is_wrong(body, name));

        for (j = 0; j < ENTRA_LISTS; j++) {
            told[j] = told[j] || (name.len > sizeof(PREFIX) - 1
                                  && entra_str_eq(
                                         entra_str_from(name,
                                                        sizeof(PREFIX) - 1),
                                         entra_str(fields[j])));
        }
    }

    if (patch->nerrors == ENTRA_CONFIG_MAX_ERRORS) {
        return;
    }

    /* and nothing wrong is left out */

    for (j = 0; j < ENTRA_LISTS; j++) {
        value = json_object_get(json_object_get(body, "mdm"), fields[j]);
        fuzz_claim(value == NULL || fuzz_is_list(value) || told[j]);
    }
}


/*** accepted ***/


/* the spelling of an ID in its set: that of its first in the array */

static void
fuzz_member(const entra_set_t *set, json_t *array, size_t i)
{
    size_t       j;
    char         text[ENTRA_GUID_LEN + 1];
    const char  *other;

    *entra_guid_write_typed(&set->ids[i], entra_set_upper(set, i), text)
        = '\0';

    for (j = 0; j < json_array_size(array); j++) {
        other = json_string_value(json_array_get(array, j));

        if (strcasecmp(other, text) == 0) {
            fuzz_claim(strcmp(other, text) == 0);
            return;
        }
    }

    fuzz_claim(!"an ID that nobody sent");
}


static void
fuzz_list(const entra_set_t *set, json_t *array)
{
    size_t        i;
    entra_guid_t  id;

    for (i = 0; i < set->count; i++) {
        fuzz_member(set, array, i);
    }

    for (i = 0; i < json_array_size(array); i++) {
        fuzz_claim(entra_guid_parse(entra_json_str(json_array_get(array, i)),
                                    &id));
        fuzz_claim(entra_set_has(set, &id));
    }
}


/* the lists in a body, from the last to the first, in upper case */

static entra_str_t
fuzz_write(pool_t *pool, const entra_config_patch_t *patch, bool reversed)
{
    char    *text, *p;
    size_t   i, j, n;

    text = pool_alloc(pool, 128 + (patch->list[0].count + patch->list[1].count)
                                  * (ENTRA_GUID_LEN + 3));
    p = text + sprintf(text, "{\"mdm\":{");

    for (i = 0; i < ENTRA_LISTS; i++) {
        if (!(patch->lists & 1u << i)) {
            continue;
        }

        p += sprintf(p, "%s\"%s\":[", p[-1] == '{' ? "" : ",", fields[i]);
        n = patch->list[i].count;

        for (j = 0; j < n; j++) {
            p += sprintf(p, "%s\"", j ? "," : "");
            p = entra_guid_write_typed(
                    &patch->list[i].ids[reversed ? n - 1 - j : j],
                    reversed ? 0xffffffff : entra_set_upper(&patch->list[i], j),
                    p);
            *p++ = '"';
        }

        *p++ = ']';
    }

    p += sprintf(p, "}}");

    return (entra_str_t) { text, (size_t) (p - text) };
}


static void
fuzz_tag(const entra_config_patch_t *patch, char tag[ENTRA_CONFIG_TAG_LEN])
{
    size_t         i;
    entra_lists_t  lists;

    memset(&lists, 0, sizeof(lists));

    for (i = 0; i < ENTRA_LISTS; i++) {
        if (patch->lists & 1u << i) {
            lists.list[i].ids = patch->list[i];
        }
    }

    fuzz_claim(entra_config_tag(&lists, tag));
}


static void
fuzz_again(pool_t *pool, const entra_config_patch_t *patch, bool reversed)
{
    char                  tag[2][ENTRA_CONFIG_TAG_LEN];
    size_t                i, j;
    entra_config_patch_t  again;

    fuzz_claim(entra_config_parse(fuzz_write(pool, patch, reversed),
                                  &pool->mem, &again) == ENTRA_CONFIG_OK);
    fuzz_claim(again.lists == patch->lists);

    fuzz_tag(patch, tag[0]);
    fuzz_tag(&again, tag[1]);
    fuzz_claim(memcmp(tag[0], tag[1], sizeof(tag[0])) == 0);

    for (i = 0; i < ENTRA_LISTS; i++) {
        if (!(patch->lists & 1u << i)) {
            continue;
        }

        fuzz_claim(entra_set_eq(&again.list[i], &patch->list[i]));

        for (j = 0; !reversed && j < again.list[i].count; j++) {
            fuzz_claim(entra_set_upper(&again.list[i], j)
                       == entra_set_upper(&patch->list[i], j));
        }
    }

    /* one ID less, or all of them on the other list, is another tag */

    for (i = 0; i < ENTRA_LISTS; i++) {
        if ((patch->lists & 1u << i) && again.list[i].count) {
            again.list[i].count--;
            fuzz_tag(&again, tag[1]);
            fuzz_claim(memcmp(tag[0], tag[1], sizeof(tag[0])) != 0);
            again.list[i].count++;
        }
    }

    if (patch->lists == 1 && patch->list[0].count) {
        again.lists = 2;
        again.list[1] = again.list[0];
        fuzz_tag(&again, tag[1]);
        fuzz_claim(memcmp(tag[0], tag[1], sizeof(tag[0])) != 0);
    }
}


/* what a client sent comes back within JSON */

static void
fuzz_answer(pool_t *pool, entra_str_t text)
{
    char    *out, *end;
    json_t  *json;

    out = pool_alloc(pool, text.len * ENTRA_ESCAPE_MAX + 2);
    out[0] = '"';
    end = entra_escape_json(text, out + 1);
    *end++ = '"';

    fuzz_claim(entra_json_value((entra_str_t) { out, (size_t) (end - out) },
                                &json) == ENTRA_OK);
    json_decref(json);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t                  i;
    pool_t                  pool;
    json_t                 *body;
    entra_str_t             text;
    entra_config_patch_t    patch;
    entra_config_result_t   result;

    /* too few bytes for what is refused by number alone */

    if (size > 32 * 1024) {
        return 0;
    }

    pool_init(&pool);
    text = fuzz_copy(&pool, data, size);

    result = entra_config_parse(text, &pool.mem, &patch);

    for (i = 0; i < patch.nerrors; i++) {
        fuzz_answer(&pool, patch.errors[i].name);
        fuzz_answer(&pool, patch.errors[i].reason);
    }

    if (entra_json_object(text, &body) != ENTRA_OK) {
        fuzz_claim(result == ENTRA_CONFIG_NOT_JSON && patch.nerrors == 1);
        fuzz_claim(entra_str_eq(patch.errors[0].name, entra_lit("base")));
        pool_free(&pool);
        return 0;
    }

    fuzz_claim((result == ENTRA_CONFIG_OK) == fuzz_is_right(body));

    if (result != ENTRA_CONFIG_OK) {
        fuzz_claim(result == ENTRA_CONFIG_INVALID);
        fuzz_errors(body, &patch);

    } else {
        fuzz_claim(patch.nerrors == 0);

        for (i = 0; i < ENTRA_LISTS; i++) {
            fuzz_claim(!(patch.lists & 1u << i)
                       == !json_object_get(json_object_get(body, "mdm"),
                                           fields[i]));

            if (patch.lists & 1u << i) {
                fuzz_list(&patch.list[i],
                          json_object_get(json_object_get(body, "mdm"),
                                          fields[i]));
            }
        }

        fuzz_again(&pool, &patch, false);
        fuzz_again(&pool, &patch, true);
    }

    json_decref(body);
    pool_free(&pool);

    return 0;
}
