/*
 * JSON as the core reads it: UTF-8, one value and nothing after it, no name
 * twice in an object at any depth, no NUL in a string.  jansson does the work
 * and its type stays inside the files that include this one.
 */

#ifndef ENTRA_JSON_H
#define ENTRA_JSON_H

#include <jansson.h>

#include "entra_reason.h"


/*
 * Reads an object.  On ENTRA_OK *object is a new reference, which the caller
 * gives back with json_decref(); otherwise it is NULL, and the reason is
 * ENTRA_TOKEN_MALFORMED (not JSON of this form, or not an object) or
 * ENTRA_INTERNAL (out of memory).  An integer that overflows 64 bits is read
 * as a real number.
 */
entra_reason_t entra_json_object(entra_str_t text, json_t **object);

/* the same; where it is malformed, *line is the one that shows it, or 0 */
entra_reason_t entra_json_object_line(entra_str_t text, json_t **object,
    int *line);

/*
 * Reads any one value: an object, an array, a string, a number or a word;
 * otherwise as above.
 */
entra_reason_t entra_json_value(entra_str_t text, json_t **value);

/*
 * A number, written as JSON has it, as a double; ENTRA_TOKEN_MALFORMED: it is
 * too large for one.
 */
entra_reason_t entra_json_real(entra_str_t text, double *value);

/* the bytes of a string, NUL-terminated, as long-lived as the value */
entra_str_t entra_json_str(const json_t *string);


#endif /* ENTRA_JSON_H */
