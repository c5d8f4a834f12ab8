/*
 * The table of reasons as data.
 */

#include "entra_reason.h"


#define ENTRA_REASON_ROW(name, key, status, code, subcode, type, text,        \
    remedy)                                                                   \
    [ENTRA_##name] = {                                                        \
        ENTRA_STR_INIT(key), status, ENTRA_SOAP_##code,                       \
        ENTRA_STR_INIT(subcode), ENTRA_STR_INIT(type), ENTRA_STR_INIT(text),  \
        ENTRA_STR_INIT(remedy)                                                \
    },


static const entra_reason_info_t  entra_reasons[ENTRA_REASONS] = {
    [ENTRA_OK] = {
        ENTRA_STR_INIT("ok"), 0, ENTRA_SOAP_RECEIVER,
        ENTRA_STR_INIT(""), ENTRA_STR_INIT(""), ENTRA_STR_INIT(""),
        ENTRA_STR_INIT("")
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


uint32_t
entra_reason_hresult(entra_reason_t reason)
{
    size_t  i;

    static const struct {
        entra_str_t  subcode;
        uint32_t     hresult;
    } codes[] = {
        { ENTRA_STR_INIT("s:MessageFormat"), 0x80180001 },
        { ENTRA_STR_INIT("s:Authentication"), 0x80180002 },
        { ENTRA_STR_INIT("s:Authorization"), 0x80180003 },
        { ENTRA_STR_INIT("s:CertificateRequest"), 0x80180004 },
        { ENTRA_STR_INIT("s:EnrollmentServer"), 0x80180005 },
        { ENTRA_STR_INIT("a:InternalServiceFault"), 0x80180006 },
        { ENTRA_STR_INIT("a:InvalidSecurity"), 0x80180007 },
    };

    for (i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
        if (entra_str_eq(codes[i].subcode, entra_reasons[reason].subcode)) {
            return codes[i].hresult;
        }
    }

    return 0;
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
