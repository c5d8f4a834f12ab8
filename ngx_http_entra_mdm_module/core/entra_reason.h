/*
 * Every reason to refuse a request, in one table.  Enum, log key, metric
 * label, value of $entra_mdm_result, HTTP status, SOAP code and subcode, the
 * text a device is shown and the remedy that entra-mdmctl names all grow from
 * it; README's table equals it.
 *
 * SOAP subcodes are the closed list of [MS-MDE2] 2.2.10; the prefix "a" stands
 * for the addressing namespace there, "s" for SOAP 1.2.  Error types are those
 * of DeviceEnrollmentServiceError, used only where one says what happened.
 */

#ifndef ENTRA_REASON_H
#define ENTRA_REASON_H

#include "entra_str.h"


/*    enum, key,
 *        bearer status, SOAP code, SOAP subcode, ErrorType,
 *        text, which the client is shown,
 *        remedy, for the operator
 */

#define ENTRA_REASON_MAP(X)                                                   \
    X(NO_TOKEN, "no_token",                                                   \
        401, RECEIVER, "s:Authentication", "",                                \
        "The request carries no access token.",                               \
        "Enroll with a work or school account of Microsoft Entra ID.")        \
    X(USERNAME_TOKEN, "username_token",                                       \
        401, RECEIVER, "s:Authentication", "",                                \
        "Enrollment with a user name and password is not supported. "         \
        "Add a work or school account of Microsoft Entra ID instead.",        \
        "Add the user on the device as a work or school account.")            \
    X(TOKEN_MALFORMED, "token_malformed",                                     \
        401, RECEIVER, "s:Authentication", "",                                \
        "The access token is not a well-formed signed token.",                \
        "Send it as Entra issued it; raise max_token if it is too long.")     \
    X(ALGORITHM_NOT_ALLOWED, "algorithm_not_allowed",                         \
        401, RECEIVER, "s:Authentication", "",                                \
        "The access token is not signed with RS256.",                         \
        "Send a token that Entra issued: those are signed with RS256.")       \
    X(KEY_UNKNOWN, "key_unknown",                                             \
        401, RECEIVER, "s:Authentication", "",                                \
        "The access token is signed with an unknown key.",                    \
        "Check cloud; for a key set in a file, bring a new one.")             \
    X(KEY_NOT_ALLOWED, "key_not_allowed",                                     \
        401, RECEIVER, "s:Authentication", "",                                \
        "The key that signed the access token may not be used for it.",       \
        "Use the key set of the token's own cloud, and a token for "          \
        "enrollment.")                                                        \
    X(SIGNATURE_INVALID, "signature_invalid",                                 \
        401, RECEIVER, "s:Authentication", "",                                \
        "The signature of the access token is not valid.",                    \
        "Get another token: this one is forged, damaged, or meant for "       \
        "Microsoft Graph.")                                                   \
    X(TOKEN_EXPIRED, "token_expired",                                         \
        401, RECEIVER, "s:Authentication", "",                                \
        "The access token has expired.",                                      \
        "Sign in again, and check the clocks.")                               \
    X(TOKEN_NOT_YET_VALID, "token_not_yet_valid",                             \
        401, RECEIVER, "s:Authentication", "",                                \
        "The access token is not valid yet.",                                 \
        "Check the clocks of whoever issues and of whoever verifies.")        \
    X(CLAIM_INVALID, "claim_invalid",                                         \
        401, RECEIVER, "s:Authentication", "",                                \
        "The access token lacks a required claim or has a malformed one.",    \
        "Mend the application in Entra: its tokens need that claim.")         \
    X(ISSUER_NOT_ALLOWED, "issuer_not_allowed",                               \
        401, RECEIVER, "s:Authentication", "",                                \
        "The issuer of the access token is not trusted.",                     \
        "Set cloud or issuer to the token's issuer if it is to be "           \
        "trusted.")                                                           \
    X(SCOPE_NOT_ALLOWED, "scope_not_allowed",                                 \
        403, RECEIVER, "s:Authorization", "",                                 \
        "The access token was not issued for device enrollment.",             \
        "Set scope to the token's if the application has one of its "         \
        "own.")                                                               \
    X(AUDIENCE_NOT_ALLOWED, "audience_not_allowed",                           \
        403, RECEIVER, "s:Authorization", "",                                 \
        "The access token was issued for another application.",               \
        "Add the token's audience to client_id or server_url if the "         \
        "application is yours.")                                              \
    X(TENANT_NOT_ALLOWED, "tenant_not_allowed",                               \
        403, RECEIVER, "s:Authorization", "",                                 \
        "Your organization is not allowed to enroll devices here.",           \
        "Add the token's tenant to tenant_id if its users may enroll.")       \
    X(UPN_MISSING, "upn_missing",                                             \
        403, RECEIVER, "s:Authorization", "",                                 \
        "The access token names no user.",                                    \
        "Give the application the upn claim, or set require_upn off.")        \
    X(UPN_INVALID, "upn_invalid",                                             \
        403, RECEIVER, "s:Authorization", "",                                 \
        "The user name in the access token has characters it must not have.", \
        "Mend the user's name in Entra.")                                     \
    X(DEVICE_TOKEN_DENIED, "device_token_denied",                             \
        403, RECEIVER, "s:Authorization", "NotSupported",                     \
        "Enrollment with a device token is not allowed here.",                \
        "Set device_token pass if fleetd enrolls hosts.")                     \
    X(MESSAGE_MALFORMED, "message_malformed",                                 \
        400, SENDER, "s:MessageFormat", "",                                   \
        "The enrollment message is malformed.",                               \
        "Find what sends or changes it; an empty body points to a "           \
        "proxy on the way.")                                                  \
    X(SECURITY_MALFORMED, "security_malformed",                               \
        400, SENDER, "a:InvalidSecurity", "",                                 \
        "The security header of the message is malformed.",                   \
        "Find who sends it: no Windows device does.")                         \
    X(BODY_TOO_LARGE, "body_too_large",                                       \
        413, SENDER, "s:MessageFormat", "",                                   \
        "The enrollment message is too large.",                               \
        "Raise max_body if such messages are to be read.")                    \
    X(KEYS_UNAVAILABLE, "keys_unavailable",                                   \
        503, RECEIVER, "s:EnrollmentServer", "InMaintenance",                 \
        "The signing keys are unavailable. Try again later.",                 \
        "Mend what jwks names; the log says why there are no keys.")          \
    X(LISTS_UNAVAILABLE, "lists_unavailable",                                 \
        503, RECEIVER, "s:EnrollmentServer", "InMaintenance",                 \
        "The enrollment server is not ready. Try again later.",               \
        "Mend what redis names; the log says why there are no lists.")        \
    X(INTERNAL, "internal",                                                   \
        500, RECEIVER, "a:InternalServiceFault", "",                          \
        "An internal error occurred.",                                        \
        "See error.log; as a rule memory has run out.")


#define ENTRA_REASON_ENUM(name, key, status, code, subcode, type, text,       \
    remedy)                                                                   \
    ENTRA_##name,

typedef enum {
    ENTRA_OK = 0,
    ENTRA_REASON_MAP(ENTRA_REASON_ENUM)
    ENTRA_REASONS               /* how many, ENTRA_OK included */
} entra_reason_t;


typedef enum {
    ENTRA_SOAP_RECEIVER = 0,    /* "s:Receiver", HTTP 500 by the binding */
    ENTRA_SOAP_SENDER           /* "s:Sender", HTTP 400 by the binding */
} entra_soap_code_t;


typedef struct {
    entra_str_t        key;
    unsigned           status;          /* of a bearer answer */
    entra_soap_code_t  soap_code;
    entra_str_t        subcode;         /* with its prefix, "s:" or "a:" */
    entra_str_t        error_type;      /* "": none fits */
    entra_str_t        text;            /* English, one sentence or two */
    entra_str_t        remedy;          /* one sentence that says what to do */
} entra_reason_info_t;


/* the row of a reason; of ENTRA_OK: key "ok", nothing else */
const entra_reason_info_t *entra_reason_info(entra_reason_t reason);

/*
 * HTTP status of a SOAP fault by the SOAP 1.2 HTTP binding (SOAP 1.2 Part 2,
 * 7.5.2.2): 400 for a Sender's fault, 500 for a Receiver's; 413 for
 * body_too_large, whose Sender can do nothing else about it.
 */
unsigned entra_reason_soap_status(entra_reason_t reason);

/*
 * What Windows shows for a fault of that subcode, an HRESULT of facility 24:
 * MENROLL_E_DEVICE_... in mdmregistration.h.
 */
uint32_t entra_reason_hresult(entra_reason_t reason);

/*
 * The error code of RFC 6750 3.1: invalid_request, invalid_token or
 * insufficient_scope; "" for no_token, where it must not be given, and for
 * the server's own failures, which no code describes.
 */
entra_str_t entra_reason_bearer_error(entra_reason_t reason);


#endif /* ENTRA_REASON_H */
