/*
 * Reading a token's header and payload: one pass, no tree.  As strict as
 * entra_json.h, which reads everything else, and told from it by nothing but
 * the cost: UTF-8, one value and nothing after it, no name twice in an object
 * at any depth, no NUL in a string.  A test and a fuzzer compare the two.
 */

#ifndef ENTRA_JSON_SCAN_H
#define ENTRA_JSON_SCAN_H

#include "entra_mem.h"
#include "entra_reason.h"


typedef enum {
    ENTRA_JSON_STRING = 0,
    ENTRA_JSON_NUMBER,
    ENTRA_JSON_OBJECT,
    ENTRA_JSON_ARRAY,
    ENTRA_JSON_WORD                     /* true, false, null */
} entra_json_type_t;


/*
 * A member of the object, or an element of the array, without a name.  The
 * value of a string is decoded, that of all else is the text as written.
 */

typedef struct {
    entra_json_type_t  type;
    entra_str_t        name;
    entra_str_t        value;
} entra_json_item_t;


/* called in the document's order; false ends the scan: out of memory */
typedef bool (*entra_json_item_pt)(void *data, const entra_json_item_t *item);


/*
 * Reads an object, or an array, and hands over what is in it: no deeper, but
 * all of it is looked at.  Items come before it is known whether the rest is
 * well-formed: only ENTRA_OK lets them count, and until then a name may come
 * twice.  Otherwise it is ENTRA_TOKEN_MALFORMED or ENTRA_INTERNAL (out of
 * memory).
 *
 * Names and values point into text or, where they had to be decoded, into
 * memory from mem.
 */
entra_reason_t entra_json_scan(entra_str_t text, entra_json_type_t type,
    const entra_mem_t *mem, entra_json_item_pt handler, void *data);

/* the value of a number that a scan has handed over; false: out of memory */
bool entra_json_number(entra_str_t text, double *value);


#endif /* ENTRA_JSON_SCAN_H */
