/*
 * The form of a device token.
 */

#include "entra_device.h"
#include "entra_json.h"


entra_reason_t
entra_device_token_check(entra_str_t token)
{
    json_t          *json;
    entra_reason_t   reason;

    reason = entra_json_object(token, &json);
    if (reason != ENTRA_OK) {
        return reason;
    }

    reason = json_is_number(json_object_get(json, "type"))
             ? ENTRA_OK : ENTRA_TOKEN_MALFORMED;

    json_decref(json);

    return reason;
}
