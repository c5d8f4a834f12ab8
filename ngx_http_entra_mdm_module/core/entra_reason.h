/*
 * Every reason to refuse a request, in one table.  Enum, log key, metric
 * label, value of $entra_mdm_result, HTTP status, SOAP code and subcode and
 * the text a device is shown all grow from it; README's table equals it.
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
 *        text
 */

#define ENTRA_REASON_MAP(X)                                                   \
    X(NO_TOKEN, "no_token",                                                   \
        401, RECEIVER, "s:Authentication", "",                                \
        "The request carries no access token.")                               \
    X(USERNAME_TOKEN, "username_token",                                       \
        401, RECEIVER, "s:Authentication", "",                                \
        "Enrollment with a user name and password is not supported. "         \
        "Add a work or school account of Microsoft Entra ID instead.")        \
    X(TOKEN_MALFORMED, "token_malformed",                                     \
        401, RECEIVER, "s:Authentication", "",                                \
        "The access token is not a well-formed signed token.")                \
    X(ALGORITHM_NOT_ALLOWED, "algorithm_not_allowed",                         \
        401, RECEIVER, "s:Authentication", "",                                \
        "The access token is not signed with RS256.")                         \
    X(KEY_UNKNOWN, "key_unknown",                                             \
        401, RECEIVER, "s:Authentication", "",                                \
        "The access token is signed with an unknown key.")                    \
    X(KEY_NOT_ALLOWED, "key_not_allowed",                                     \
        401, RECEIVER, "s:Authentication", "",                                \
        "The key that signed the access token may not be used for it.")       \
    X(SIGNATURE_INVALID, "signature_invalid",                                 \
        401, RECEIVER, "s:Authentication", "",                                \
        "The signature of the access token is not valid.")                    \
    X(TOKEN_EXPIRED, "token_expired",                                         \
        401, RECEIVER, "s:Authentication", "",                                \
        "The access token has expired.")                                      \
    X(TOKEN_NOT_YET_VALID, "token_not_yet_valid",                             \
        401, RECEIVER, "s:Authentication", "",                                \
        "The access token is not valid yet.")                                 \
    X(CLAIM_INVALID, "claim_invalid",                                         \
        401, RECEIVER, "s:Authentication", "",                                \
        "The access token lacks a required claim or has a malformed one.")    \
    X(ISSUER_NOT_ALLOWED, "issuer_not_allowed",                               \
        401, RECEIVER, "s:Authentication", "",                                \
        "The issuer of the access token is not trusted.")                     \
    X(SCOPE_NOT_ALLOWED, "scope_not_allowed",                                 \
        403, RECEIVER, "s:Authorization", "",                                 \
        "The access token was not issued for device enrollment.")             \
    X(AUDIENCE_NOT_ALLOWED, "audience_not_allowed",                           \
        403, RECEIVER, "s:Authorization", "",                                 \
        "The access token was issued for another application.")               \
    X(TENANT_NOT_ALLOWED, "tenant_not_allowed",                               \
        403, RECEIVER, "s:Authorization", "",                                 \
        "Your organization is not allowed to enroll devices here.")           \
    X(UPN_MISSING, "upn_missing",                                             \
        403, RECEIVER, "s:Authorization", "",                                 \
        "The access token names no user.")                                    \
    X(UPN_INVALID, "upn_invalid",                                             \
        403, RECEIVER, "s:Authorization", "",                                 \
        "The user name in the access token has characters it must not have.") \
    X(DEVICE_TOKEN_DENIED, "device_token_denied",                             \
        403, RECEIVER, "s:Authorization", "NotSupported",                     \
        "Enrollment with a device token is not allowed here.")                \
    X(MESSAGE_MALFORMED, "message_malformed",                                 \
        400, SENDER, "s:MessageFormat", "",                                   \
        "The enrollment message is malformed.")                               \
    X(SECURITY_MALFORMED, "security_malformed",                               \
        400, SENDER, "a:InvalidSecurity", "",                                 \
        "The security header of the message is malformed.")                   \
    X(BODY_TOO_LARGE, "body_too_large",                                       \
        413, SENDER, "s:MessageFormat", "",                                   \
        "The enrollment message is too large.")                               \
    X(KEYS_UNAVAILABLE, "keys_unavailable",                                   \
        503, RECEIVER, "s:EnrollmentServer", "InMaintenance",                 \
        "The signing keys are unavailable. Try again later.")                 \
    X(LISTS_UNAVAILABLE, "lists_unavailable",                                 \
        503, RECEIVER, "s:EnrollmentServer", "InMaintenance",                 \
        "The enrollment server is not ready. Try again later.")               \
    X(INTERNAL, "internal",                                                   \
        500, RECEIVER, "a:InternalServiceFault", "",                          \
        "An internal error occurred.")


#define ENTRA_REASON_ENUM(name, key, status, code, subcode, type, text)       \
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
 * The error code of RFC 6750 3.1: invalid_request, invalid_token or
 * insufficient_scope; "" for no_token, where it must not be given, and for
 * the server's own failures, which no code describes.
 */
entra_str_t entra_reason_bearer_error(entra_reason_t reason);


#endif /* ENTRA_REASON_H */
