/*
 * Loading JSON strictly.
 */

#include <locale.h>
#include <math.h>
#include <stdlib.h>

#include "entra_json.h"


/* longer numbers are left to jansson */
#define MAX_NUMBER  64


/* running out of memory, jansson often leaves the code as it was: unknown */

static json_t *
entra_json_load(entra_str_t text, size_t flags, json_error_t *error)
{
    memset(error, 0, sizeof(json_error_t));

    return json_loadb(text.data, text.len, JSON_REJECT_DUPLICATES|flags, error);
}


static entra_reason_t
entra_json_failure(const json_error_t *error)
{
    switch (json_error_code(error)) {

    case json_error_unknown:
    case json_error_out_of_memory:
        return ENTRA_INTERNAL;

    default:
        return ENTRA_TOKEN_MALFORMED;
    }
}


entra_reason_t
entra_json_object(entra_str_t text, json_t **object)
{
    int  line;

    return entra_json_object_line(text, object, &line);
}


static entra_reason_t
entra_json_any(entra_str_t text, size_t flags, json_t **value,
    json_error_t *error)
{
    *value = NULL;
    memset(error, 0, sizeof(json_error_t));

    /* jansson overlooks a NUL right behind a number or a word */

    if (text.len == 0 || memchr(text.data, '\0', text.len) != NULL) {
        return ENTRA_TOKEN_MALFORMED;
    }

    *value = entra_json_load(text, flags, error);

    if (*value == NULL
        && json_error_code(error) == json_error_numeric_overflow)
    {
        *value = entra_json_load(text, flags|JSON_DECODE_INT_AS_REAL, error);
    }

    return *value == NULL ? entra_json_failure(error) : ENTRA_OK;
}


entra_reason_t
entra_json_object_line(entra_str_t text, json_t **object, int *line)
{
    json_error_t    error;
    entra_reason_t  reason;

    *line = 0;

    reason = entra_json_any(text, 0, object, &error);

    if (reason != ENTRA_OK) {
        *line = error.line > 0 ? error.line : 0;
        return reason;
    }

    if (!json_is_object(*object)) {
        json_decref(*object);
        *object = NULL;
        return ENTRA_TOKEN_MALFORMED;
    }

    return ENTRA_OK;
}


entra_reason_t
entra_json_value(entra_str_t text, json_t **value)
{
    json_error_t  error;

    return entra_json_any(text, JSON_DECODE_ANY, value, &error);
}


static entra_reason_t
entra_json_real_long(entra_str_t text, double *value)
{
    json_t          *json;
    entra_reason_t   reason;

    reason = entra_json_value(text, &json);
    if (reason != ENTRA_OK) {
        return reason;
    }

    *value = json_number_value(json);

    json_decref(json);

    return ENTRA_OK;
}


/* thousands of them may be in a text that a stranger has sent: no memory */

entra_reason_t
entra_json_real(entra_str_t text, double *value)
{
    char   buffer[MAX_NUMBER];
    char  *point;

    if (text.len >= MAX_NUMBER) {
        return entra_json_real_long(text, value);
    }

    memcpy(buffer, text.data, text.len);
    buffer[text.len] = '\0';

    point = strchr(buffer, '.');

    if (point != NULL) {
        *point = *localeconv()->decimal_point;
    }

    *value = strtod(buffer, NULL);

    return isinf(*value) ? ENTRA_TOKEN_MALFORMED : ENTRA_OK;
}


entra_str_t
entra_json_str(const json_t *string)
{
    return (entra_str_t) { json_string_value(string),
                           json_string_length(string) };
}
