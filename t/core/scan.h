/*
 * What entra_json_scan() reads, compared with what jansson does.
 */

#ifndef SCAN_H
#define SCAN_H

#include "entra_json.h"
#include "entra_json_scan.h"
#include "pool.h"


typedef struct {
    json_t      *expected;              /* NULL: whatever comes is no matter */
    size_t       items;
    const char  *wrong;                 /* the first that is, or NULL */
} scan_t;


static inline bool
scan_type(json_t *json, entra_json_type_t type)
{
    switch (type) {

    case ENTRA_JSON_STRING:
        return json_is_string(json);

    case ENTRA_JSON_NUMBER:
        return json_is_number(json);

    case ENTRA_JSON_OBJECT:
        return json_is_object(json);

    case ENTRA_JSON_ARRAY:
        return json_is_array(json);

    default:
        return json_is_boolean(json) || json_is_null(json);
    }
}


/* what a scan hands over as written means the same */

static inline bool
scan_written(json_t *json, entra_str_t text)
{
    bool     equal;
    json_t  *read;

    if (entra_json_value(text, &read) != ENTRA_OK) {
        return false;
    }

    /* an integer may have become a real for its neighbour's sake */

    equal = json_is_number(json)
            ? json_number_value(json) == json_number_value(read)
            : json_is_integer(json) || json_equal(json, read)
              || json_typeof(json) == json_typeof(read);

    json_decref(read);

    return equal;
}


static inline const char *
scan_compare(json_t *json, const entra_json_item_t *item)
{
    double  value;

    if (json == NULL) {
        return "an item that is not there";
    }

    if (!scan_type(json, item->type)) {
        return "another type";
    }

    if (item->type == ENTRA_JSON_STRING) {
        return entra_str_eq(entra_json_str(json), item->value)
               ? NULL : "another string";
    }

    if (item->type == ENTRA_JSON_NUMBER
        && (!entra_json_number(item->value, &value)
            || value != json_number_value(json)))
    {
        return "another number";
    }

    return scan_written(json, item->value) ? NULL : "another value";
}


static inline bool
scan_item(void *data, const entra_json_item_t *item)
{
    json_t  *json;
    scan_t  *scan = data;

    if (scan->expected == NULL) {
        return true;
    }

    json = json_is_array(scan->expected)
           ? json_array_get(scan->expected, scan->items)
           : json_object_getn(scan->expected, item->name.data, item->name.len);

    if (scan->wrong == NULL) {
        scan->wrong = scan_compare(json, item);
    }

    scan->items++;

    return true;
}


/* NULL, or in what the two differ */

static inline const char *
scan_differs(entra_str_t text, pool_t *pool)
{
    scan_t           scan;
    entra_reason_t   reason, expected;

    memset(&scan, 0, sizeof(scan_t));

    expected = entra_json_object(text, &scan.expected);

    reason = entra_json_scan(text, ENTRA_JSON_OBJECT, &pool->mem, scan_item,
                             &scan);

    if (reason != expected) {
        scan.wrong = expected == ENTRA_OK ? "only jansson reads it"
                                          : "jansson does not read it";

    } else if (reason == ENTRA_OK && scan.wrong == NULL
               && scan.items != json_object_size(scan.expected))
    {
        scan.wrong = "another number of items";
    }

    json_decref(scan.expected);

    return scan.wrong;
}


#endif /* SCAN_H */
