/*
 * Loading JSON strictly.
 */

#include "entra_json.h"


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


entra_reason_t
entra_json_object_line(entra_str_t text, json_t **object, int *line)
{
    json_error_t  error;

    *object = NULL;
    *line = 0;

    /* jansson overlooks a NUL right behind a number or a word */

    if (text.len == 0 || memchr(text.data, '\0', text.len) != NULL) {
        return ENTRA_TOKEN_MALFORMED;
    }

    *object = entra_json_load(text, 0, &error);

    if (*object == NULL
        && json_error_code(&error) == json_error_numeric_overflow)
    {
        *object = entra_json_load(text, JSON_DECODE_INT_AS_REAL, &error);
    }

    if (*object == NULL) {
        *line = error.line > 0 ? error.line : 0;
        return entra_json_failure(&error);
    }

    if (!json_is_object(*object)) {
        json_decref(*object);
        *object = NULL;
        return ENTRA_TOKEN_MALFORMED;
    }

    return ENTRA_OK;
}


entra_str_t
entra_json_str(const json_t *string)
{
    return (entra_str_t) { json_string_value(string),
                           json_string_length(string) };
}
