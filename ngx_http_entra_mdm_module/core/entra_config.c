/*
 * Reading and tagging the live lists.
 */

#include <openssl/err.h>
#include <openssl/evp.h>

#include "entra_config.h"
#include "entra_json_scan.h"


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
    bool                    found;      /* "mdm", and this is it */
    entra_json_item_t       mdm;
} entra_config_reader_t;


/* a list while it is read */

typedef struct {
    entra_config_reader_t  *reader;
    entra_lists_e           which;
    entra_typed_t          *entries;    /* room for all of them */
    size_t                  count;
    bool                    stopped;    /* no string came */
} entra_config_ids_t;


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


static void
entra_config_not_strings(entra_config_reader_t *reader, entra_lists_e which)
{
    entra_config_wrong(reader, MDM ".", entra_config_fields[which],
                       "must be an array of strings");
}


/* of a text that has been read before: it is well-formed */

static bool
entra_config_again(entra_config_reader_t *reader, entra_str_t text,
    entra_json_type_t type, entra_json_item_pt handler, void *data)
{
    if (entra_json_scan(text, type, reader->mem, handler, data) != ENTRA_OK) {
        reader->result = ENTRA_CONFIG_NO_MEMORY;
        return false;
    }

    return true;
}


static bool
entra_config_count(void *data, const entra_json_item_t *item)
{
    size_t *count = data;

    (void) item;

    (*count)++;

    return true;
}


/* an element of a list that is read */

static bool
entra_config_id(void *data, const entra_json_item_t *item)
{
    entra_config_ids_t *ids = data;

    entra_typed_t  *entry;

    if (ids->stopped) {
        return true;
    }

    if (item->type != ENTRA_JSON_STRING) {
        /* said once, it is true of all others */
        entra_config_not_strings(ids->reader, ids->which);
        ids->stopped = true;
        return true;
    }

    entry = &ids->entries[ids->count++];

    if (!entra_guid_parse(item->value, &entry->id)) {
        entra_config_error(ids->reader, ENTRA_CONFIG_INVALID,
                           entra_lit(MDM "."), entra_config_fields[ids->which],
                           entra_config_not_guid[ids->which], item->value);
        return true;
    }

    entry->upper = entra_guid_upper(item->value);

    return true;
}


static void
entra_config_ids(entra_config_reader_t *reader, entra_lists_e which,
    entra_str_t array, size_t count)
{
    uint32_t            *upper;
    entra_guid_t        *guids;
    entra_config_ids_t   ids;

    guids = entra_alloc(reader->mem, count * sizeof(entra_guid_t));
    upper = entra_alloc(reader->mem, count * sizeof(uint32_t));

    ids.reader = reader;
    ids.which = which;
    ids.entries = entra_alloc(reader->mem, count * sizeof(entra_typed_t));
    ids.count = 0;
    ids.stopped = false;

    if (guids == NULL || upper == NULL || ids.entries == NULL) {
        reader->result = ENTRA_CONFIG_NO_MEMORY;
        return;
    }

    if (!entra_config_again(reader, array, ENTRA_JSON_ARRAY, entra_config_id,
                            &ids)
        || reader->result != ENTRA_CONFIG_OK)
    {
        return;
    }

    reader->patch->lists |= 1u << which;
    reader->patch->list[which] = entra_set_build_typed(ids.entries, count,
                                                       guids, upper);
}


static void
entra_config_list(entra_config_reader_t *reader, entra_lists_e which,
    const entra_json_item_t *item)
{
    size_t  count;

    if (item->type != ENTRA_JSON_ARRAY) {
        entra_config_not_strings(reader, which);
        return;
    }

    count = 0;

    if (!entra_config_again(reader, item->value, ENTRA_JSON_ARRAY,
                            entra_config_count, &count))
    {
        return;
    }

    if (count > ENTRA_CONFIG_MAX_IDS) {
        entra_config_error(reader, ENTRA_CONFIG_TOO_LARGE, entra_lit(MDM "."),
                           entra_config_fields[which],
                           entra_lit("has more than 25000 IDs; larger lists "
                                     "are for Redis"), ENTRA_STR_NONE);
        return;
    }

    entra_config_ids(reader, which, item->value, count);
}


/* a member of "mdm" */

static bool
entra_config_member(void *data, const entra_json_item_t *item)
{
    entra_config_reader_t *reader = data;

    unsigned  i;

    if (reader->result == ENTRA_CONFIG_TOO_LARGE
        || reader->result == ENTRA_CONFIG_NO_MEMORY)
    {
        return true;
    }

    for (i = 0; i < ENTRA_LISTS; i++) {
        if (entra_str_eq(item->name, entra_config_fields[i])) {
            entra_config_list(reader, (entra_lists_e) i, item);
            return true;
        }
    }

    entra_config_wrong(reader, MDM ".", item->name, "is not a known field");

    return true;
}


/* a member of the body; what it says counts once all has been read */

static bool
entra_config_field(void *data, const entra_json_item_t *item)
{
    entra_config_reader_t *reader = data;

    if (entra_str_eq(item->name, entra_lit(MDM))) {
        reader->found = true;
        reader->mdm = *item;
        return true;
    }

    entra_config_wrong(reader, "", item->name, "is not a known field");

    return true;
}


static void
entra_config_mdm(entra_config_reader_t *reader)
{
    if (!reader->found) {
        entra_config_wrong(reader, MDM, ENTRA_STR_NONE, "is missing");
        return;
    }

    if (reader->mdm.type != ENTRA_JSON_OBJECT) {
        entra_config_wrong(reader, MDM, ENTRA_STR_NONE, "must be an object");
        return;
    }

    (void) entra_config_again(reader, reader->mdm.value, ENTRA_JSON_OBJECT,
                              entra_config_member, reader);
}


/* looked at before anything is made of them */

static bool
entra_config_too_many(entra_str_t text)
{
    bool    string;
    size_t  i, commas;

    commas = 0;

    for (i = 0; i < text.len; i++) {
        commas += text.data[i] == ',';
    }

    if (commas < ENTRA_CONFIG_MAX_VALUES) {
        return false;
    }

    /* those in strings do not count */

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
    entra_config_reader_t  reader;

    memset(patch, 0, sizeof(entra_config_patch_t));
    memset(&reader, 0, sizeof(entra_config_reader_t));

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

    switch (entra_json_scan(text, ENTRA_JSON_OBJECT, mem, entra_config_field,
                            &reader))
    {
    case ENTRA_OK:
        if (reader.result != ENTRA_CONFIG_NO_MEMORY) {
            entra_config_mdm(&reader);
        }

        break;

    case ENTRA_INTERNAL:
        reader.result = ENTRA_CONFIG_NO_MEMORY;
        break;

    default:
        patch->nerrors = 0;
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
