/*
 * Scheme and token apart.
 */

#include "entra_bearer.h"


entra_reason_t
entra_bearer_token(entra_str_t value, entra_str_t *token, const char **why)
{
    static const entra_str_t  scheme = ENTRA_STR_INIT("Bearer");

    if (value.len < scheme.len
        || !entra_str_ieq((entra_str_t) { value.data, scheme.len }, scheme)
        || (value.len > scheme.len && value.data[scheme.len] != ' '))
    {
        *why = "Authorization has another scheme than Bearer";
        return ENTRA_NO_TOKEN;
    }

    value = entra_str_from(value, scheme.len);

    while (value.len && value.data[0] == ' ') {
        value = entra_str_from(value, 1);
    }

    if (value.len == 0) {
        *why = "Bearer without a token";
        return ENTRA_NO_TOKEN;
    }

    *token = value;

    return ENTRA_OK;
}
