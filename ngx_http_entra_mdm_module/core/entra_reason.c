/*
 * The table of reasons as data.
 */

#include "entra_reason.h"


#define ENTRA_REASON_ROW(name, key, status, code, subcode, type, text)        \
    [ENTRA_##name] = {                                                        \
        ENTRA_STR_INIT(key), status, ENTRA_SOAP_##code,                       \
        ENTRA_STR_INIT(subcode), ENTRA_STR_INIT(type), ENTRA_STR_INIT(text)   \
    },


static const entra_reason_info_t  entra_reasons[ENTRA_REASONS] = {
    [ENTRA_OK] = {
        ENTRA_STR_INIT("ok"), 0, ENTRA_SOAP_RECEIVER,
        ENTRA_STR_INIT(""), ENTRA_STR_INIT(""), ENTRA_STR_INIT("")
    },
    ENTRA_REASON_MAP(ENTRA_REASON_ROW)
};


const entra_reason_info_t *
entra_reason_info(entra_reason_t reason)
{
    return &entra_reasons[reason];
}


unsigned
entra_reason_soap_status(entra_reason_t reason)
{
    if (reason == ENTRA_BODY_TOO_LARGE) {
        return 413;
    }

    return entra_reasons[reason].soap_code == ENTRA_SOAP_SENDER ? 400 : 500;
}


entra_str_t
entra_reason_bearer_error(entra_reason_t reason)
{
    if (reason == ENTRA_NO_TOKEN) {
        return entra_lit("");
    }

    switch (entra_reasons[reason].status) {

    case 400:
        return entra_lit("invalid_request");

    case 401:
        return entra_lit("invalid_token");

    case 403:
        return entra_lit("insufficient_scope");

    default:
        return entra_lit("");
    }
}
