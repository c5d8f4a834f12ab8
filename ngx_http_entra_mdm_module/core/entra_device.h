/*
 * Fleet's own enrollment token, which a policy may let through to the backend:
 * a JSON object with a numeric "type".
 */

#ifndef ENTRA_DEVICE_H
#define ENTRA_DEVICE_H

#include "entra_reason.h"


/*
 * Looks at a decoded device token: ENTRA_OK if it has that form, whatever it
 * says; ENTRA_TOKEN_MALFORMED, an Entra token under a false ValueType
 * included; ENTRA_INTERNAL (out of memory).
 */
entra_reason_t entra_device_token_check(entra_str_t token);


#endif /* ENTRA_DEVICE_H */
