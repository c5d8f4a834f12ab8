/*
 * Reading and tagging the live lists.
 */

#include <openssl/err.h>
#include <openssl/evp.h>

#include "entra_config.h"
#include "entra_json.h"


#define MDM  "mdm"


const entra_str_t  entra_config_fields[ENTRA_LISTS] = {
    ENTRA_STR_INIT("windows_entra_client_ids"),
    ENTRA_STR_INIT("windows_entra_tenant_ids"),
};


/* Fleet's own words */

static const entra_str_t  entra_config_not_guid[ENTRA_LISTS] = {
    ENTRA_STR_INIT("Invalid Entra client ID: "),
    ENTRA_STR_INIT("Invalid Entra tenant ID: "),
};


typedef struct {
    const entra_mem_t      *mem;
    entra_config_patch_t   *patch;
    entra_config_result_t   result;
} entra_config_reader_t;


/*** errors ***/


/* text and then value, cut off where it is long */

static bool
entra_config_text(const entra_mem_t *mem, entra_str_t text, entra_str_t value,
    entra_str_t *to)
{
    char    *p;
    size_t   len;
    bool     cut;

    cut = value.len > ENTRA_CONFIG_MAX_VALUE;
    len = cut ? ENTRA_CONFIG_MAX_VALUE : value.len;

    p = entra_alloc(mem, text.len + len + 3);
    if (p == NULL) {
        return false;
    }

    memcpy(p, text.data, text.len);

    if (len) {
        memcpy(p + text.len, value.data, len);
    }

    if (cut) {
        memcpy(p + text.len + len, "...", 3);
        len += 3;
    }

    *to = (entra_str_t) { p, text.len + len };

    return true;
}


/*
 * name is that of a field in "mdm" if prefix is "mdm.", which may come from
 * the client as value may.  What exceeds the number of errors is not told.
 */

static void
entra_config_error(entra_config_reader_t *reader,
    entra_config_result_t result, entra_str_t prefix, entra_str_t name,
    entra_str_t reason, entra_str_t value)
{
    entra_config_error_t  *error;
    entra_config_patch_t  *patch;

    patch = reader->patch;

    if (reader->result == ENTRA_CONFIG_NO_MEMORY
        || patch->nerrors == ENTRA_CONFIG_MAX_ERRORS)
    {
        return;
    }

    reader->result = result;

    if (patch->errors == NULL) {
        patch->errors = entra_alloc(reader->mem,
                                    ENTRA_CONFIG_MAX_ERRORS
                                    * sizeof(entra_config_error_t));
    }

    if (patch->errors != NULL) {
        error = &patch->errors[patch->nerrors];

        if (entra_config_text(reader->mem, prefix, name, &error->name)
            && entra_config_text(reader->mem, reason, value, &error->reason))
        {
            patch->nerrors++;
            return;
        }
    }

    reader->result = ENTRA_CONFIG_NO_MEMORY;
}


static void
entra_config_wrong(entra_config_reader_t *reader, const char *prefix,
    entra_str_t name, const char *reason)
{
    entra_config_error(reader, ENTRA_CONFIG_INVALID, entra_str(prefix), name,
                       entra_str(reason), ENTRA_STR_NONE);
}


/*** reading ***/


/* false: an error was noted */

static bool
entra_config_id(entra_config_reader_t *reader, entra_lists_e which,
    const json_t *value, entra_typed_t *entry)
{
    entra_str_t  text;

    if (!json_is_string(value)) {
        entra_config_wrong(reader, MDM ".", entra_config_fields[which],
                           "must be an array of strings");
        return false;
    }

    text = entra_json_str(value);

    if (!entra_guid_parse(text, &entry->id)) {
        entra_config_error(reader, ENTRA_CONFIG_INVALID, entra_lit(MDM "."),
                           entra_config_fields[which],
                           entra_config_not_guid[which], text);
        return false;
    }

    entry->upper = entra_guid_upper(text);

    return true;
}


static void
entra_config_ids(entra_config_reader_t *reader, entra_lists_e which,
    const json_t *array)
{
    size_t          i, count;
    uint32_t       *upper;
    entra_guid_t   *ids;
    entra_typed_t  *entries;

    count = json_array_size(array);

    ids = entra_alloc(reader->mem, count * sizeof(entra_guid_t));
    upper = entra_alloc(reader->mem, count * sizeof(uint32_t));
    entries = entra_alloc(reader->mem, count * sizeof(entra_typed_t));

    if (ids == NULL || upper == NULL || entries == NULL) {
        reader->result = ENTRA_CONFIG_NO_MEMORY;
        return;
    }

    for (i = 0; i < count; i++) {
        if (!entra_config_id(reader, which, json_array_get(array, i),
                             &entries[i])
            && !json_is_string(json_array_get(array, i)))
        {
            /* said once, it is true of all others */
            return;
        }
    }

    if (reader->result != ENTRA_CONFIG_OK) {
        return;
    }

    reader->patch->lists |= 1u << which;
    reader->patch->list[which] = entra_set_build_typed(entries, count, ids,
                                                       upper);
}


static void
entra_config_list(entra_config_reader_t *reader, entra_lists_e which,
    const json_t *value)
{
    if (!json_is_array(value)) {
        entra_config_wrong(reader, MDM ".", entra_config_fields[which],
                           "must be an array of strings");
        return;
    }

    if (json_array_size(value) > ENTRA_CONFIG_MAX_IDS) {
        entra_config_error(reader, ENTRA_CONFIG_TOO_LARGE, entra_lit(MDM "."),
                           entra_config_fields[which],
                           entra_lit("has more than 25000 IDs; larger lists "
                                     "are for Redis"), ENTRA_STR_NONE);
        return;
    }

    entra_config_ids(reader, which, value);
}


static void
entra_config_mdm(entra_config_reader_t *reader, json_t *mdm)
{
    json_t      *value;
    unsigned     i;
    const char  *key;

    if (!json_is_object(mdm)) {
        entra_config_wrong(reader, MDM, ENTRA_STR_NONE, "must be an object");
        return;
    }

    json_object_foreach(mdm, key, value) {

        for (i = 0; i < ENTRA_LISTS; i++) {
            if (entra_str_eq(entra_str(key), entra_config_fields[i])) {
                break;
            }
        }

        if (i == ENTRA_LISTS) {
            entra_config_wrong(reader, MDM ".", entra_str(key),
                               "is not a known field");
            continue;
        }

        entra_config_list(reader, (entra_lists_e) i, value);

        if (reader->result == ENTRA_CONFIG_TOO_LARGE
            || reader->result == ENTRA_CONFIG_NO_MEMORY)
        {
            return;
        }
    }
}


static void
entra_config_object(entra_config_reader_t *reader, json_t *object)
{
    json_t      *value;
    const char  *key;

    json_object_foreach(object, key, value) {
        if (strcmp(key, MDM) != 0) {
            entra_config_wrong(reader, "", entra_str(key),
                               "is not a known field");
        }
    }

    value = json_object_get(object, MDM);

    if (value == NULL) {
        entra_config_wrong(reader, MDM, ENTRA_STR_NONE, "is missing");
        return;
    }

    entra_config_mdm(reader, value);
}


/*
 * Before anything is made of them: jansson takes a hundred bytes and more for
 * a value of one or two.
 */

static bool
entra_config_too_many(entra_str_t text)
{
    bool    string;
    size_t  i, commas;

    string = false;
    commas = 0;

    for (i = 0; i < text.len; i++) {

        if (text.data[i] == '"') {
            string = !string;

        } else if (string && text.data[i] == '\\') {
            i++;

        } else if (!string && text.data[i] == ',') {
            commas++;
        }
    }

    return commas >= ENTRA_CONFIG_MAX_VALUES;
}


entra_config_result_t
entra_config_parse(entra_str_t text, const entra_mem_t *mem,
    entra_config_patch_t *patch)
{
    json_t                 *object;
    entra_config_reader_t   reader;

    memset(patch, 0, sizeof(entra_config_patch_t));

    reader.mem = mem;
    reader.patch = patch;
    reader.result = ENTRA_CONFIG_OK;

    if (entra_config_too_many(text)) {
        entra_config_error(&reader, ENTRA_CONFIG_TOO_LARGE, entra_lit("base"),
                           ENTRA_STR_NONE,
                           entra_lit("the body has more values than two lists "
                                     "of 25000 IDs"), ENTRA_STR_NONE);
        return reader.result;
    }

    switch (entra_json_object(text, &object)) {

    case ENTRA_OK:
        entra_config_object(&reader, object);
        json_decref(object);
        break;

    case ENTRA_INTERNAL:
        reader.result = ENTRA_CONFIG_NO_MEMORY;
        break;

    default:
        entra_config_error(&reader, ENTRA_CONFIG_NOT_JSON, entra_lit("base"),
                           ENTRA_STR_NONE,
                           entra_lit("the body must be a JSON object in which "
                                     "no name occurs twice"), ENTRA_STR_NONE);
        break;
    }

    return reader.result;
}


/*** the tag ***/


/* each list begins with its length, so that no ID moves between them unseen */

static bool
entra_config_digest(EVP_MD_CTX *md, const entra_lists_t *lists,
    unsigned char *digest)
{
    size_t              i;
    unsigned char       count[4];
    const entra_set_t  *set;

    if (EVP_DigestInit_ex(md, EVP_sha256(), NULL) != 1) {
        return false;
    }

    for (i = 0; i < ENTRA_LISTS; i++) {
        set = &lists->list[i].ids;

        count[0] = (unsigned char) (set->count >> 24);
        count[1] = (unsigned char) (set->count >> 16);
        count[2] = (unsigned char) (set->count >> 8);
        count[3] = (unsigned char) set->count;

        if (EVP_DigestUpdate(md, count, sizeof(count)) != 1
            || (set->count
                && EVP_DigestUpdate(md, set->ids,
                                    set->count * sizeof(entra_guid_t)) != 1))
        {
            return false;
        }
    }

    return EVP_DigestFinal_ex(md, digest, NULL) == 1;
}


bool
entra_config_tag(const entra_lists_t *lists, char out[ENTRA_CONFIG_TAG_LEN])
{
    bool           ok;
    size_t         i;
    EVP_MD_CTX    *md;
    unsigned char  digest[ENTRA_CONFIG_TAG_LEN / 2];

    static const char  hex[] = "0123456789abcdef";

    md = EVP_MD_CTX_new();
    if (md == NULL) {
        ERR_clear_error();
        return false;
    }

    ok = entra_config_digest(md, lists, digest);

    EVP_MD_CTX_free(md);

    if (!ok) {
        ERR_clear_error();
        return false;
    }

    for (i = 0; i < sizeof(digest); i++) {
        out[2 * i] = hex[digest[i] >> 4];
        out[2 * i + 1] = hex[digest[i] & 0xf];
    }

    return true;
}
