/*
 * The table of reasons against the specification's, written once more here:
 * changing a key, a status or a code is a change of contract.
 */

#include <ctype.h>

#include "tap.h"


#define R  ENTRA_SOAP_RECEIVER
#define S  ENTRA_SOAP_SENDER


static const struct {
    const char         *key;
    unsigned            status;
    entra_soap_code_t   code;
    const char         *subcode;
    const char         *type;
    unsigned            soap_status;
    const char         *bearer;
} rows[] = {
    { "no_token", 401, R, "s:Authentication", "", 500, "" },
    { "username_token", 401, R, "s:Authentication", "", 500, "invalid_token" },
    { "token_malformed", 401, R, "s:Authentication", "", 500, "invalid_token" },
    { "algorithm_not_allowed", 401, R, "s:Authentication", "", 500,
      "invalid_token" },
    { "key_unknown", 401, R, "s:Authentication", "", 500, "invalid_token" },
    { "key_not_allowed", 401, R, "s:Authentication", "", 500, "invalid_token" },
    { "signature_invalid", 401, R, "s:Authentication", "", 500,
      "invalid_token" },
    { "token_expired", 401, R, "s:Authentication", "", 500, "invalid_token" },
    { "token_not_yet_valid", 401, R, "s:Authentication", "", 500,
      "invalid_token" },
    { "claim_invalid", 401, R, "s:Authentication", "", 500, "invalid_token" },
    { "issuer_not_allowed", 401, R, "s:Authentication", "", 500,
      "invalid_token" },
    { "scope_not_allowed", 403, R, "s:Authorization", "", 500,
      "insufficient_scope" },
    { "audience_not_allowed", 403, R, "s:Authorization", "", 500,
      "insufficient_scope" },
    { "tenant_not_allowed", 403, R, "s:Authorization", "", 500,
      "insufficient_scope" },
    { "upn_missing", 403, R, "s:Authorization", "", 500, "insufficient_scope" },
    { "upn_invalid", 403, R, "s:Authorization", "", 500, "insufficient_scope" },
    { "device_token_denied", 403, R, "s:Authorization", "NotSupported", 500,
      "insufficient_scope" },
    { "message_malformed", 400, S, "s:MessageFormat", "", 400,
      "invalid_request" },
    { "security_malformed", 400, S, "a:InvalidSecurity", "", 400,
      "invalid_request" },
    { "body_too_large", 413, S, "s:MessageFormat", "", 413, "" },
    { "keys_unavailable", 503, R, "s:EnrollmentServer", "InMaintenance", 500,
      "" },
    { "lists_unavailable", 503, R, "s:EnrollmentServer", "InMaintenance", 500,
      "" },
    { "internal", 500, R, "a:InternalServiceFault", "", 500, "" },
};


/* [MS-MDE2] 2.2.10 */

static const struct {
    const char  *subcode;
    uint32_t     hresult;
} subcodes[] = {
    { "s:MessageFormat", 0x80180001 },
    { "s:Authentication", 0x80180002 },
    { "s:Authorization", 0x80180003 },
    { "s:CertificateRequest", 0x80180004 },
    { "s:EnrollmentServer", 0x80180005 },
    { "a:InternalServiceFault", 0x80180006 },
    { "a:InvalidSecurity", 0x80180007 },
};


static void
test_rows(void)
{
    size_t                      i;
    entra_reason_t              reason;
    const entra_reason_info_t  *info;

    tap_is_size(ENTRA_REASONS, tap_count(rows) + 1, "as many as specified");

    for (i = 0; i < tap_count(rows) && i + 1 < ENTRA_REASONS; i++) {
        reason = (entra_reason_t) (i + 1);
        info = entra_reason_info(reason);

        tap_is_str(info->key, entra_str(rows[i].key), rows[i].key);

        tap_ok(info->status == rows[i].status
               && entra_reason_soap_status(reason) == rows[i].soap_status,
               "%s: HTTP statuses", rows[i].key);

        tap_ok(info->soap_code == rows[i].code
               && entra_str_eq(info->subcode, entra_str(rows[i].subcode))
               && entra_str_eq(info->error_type, entra_str(rows[i].type)),
               "%s: SOAP code, subcode, ErrorType", rows[i].key);

        tap_is_str(entra_reason_bearer_error(reason), entra_str(rows[i].bearer),
                   "its error of RFC 6750");
    }
}


static void
test_ok(void)
{
    const entra_reason_info_t  *info;

    info = entra_reason_info(ENTRA_OK);

    tap_is_str(info->key, entra_lit("ok"), "ENTRA_OK has the key ok");
    tap_ok(ENTRA_OK == 0 && info->status == 0 && info->text.len == 0,
           "and nothing else");
    tap_ok(entra_reason_hresult(ENTRA_OK) == 0, "no HRESULT either");
}


static bool
key_characters(entra_str_t key)
{
    size_t  i;

    for (i = 0; i < key.len; i++) {
        if (!islower((unsigned char) key.data[i]) && key.data[i] != '_') {
            return false;
        }
    }

    return key.len > 0;
}


/* one line of printable ASCII that ends as a sentence and quotes nothing */

static bool
text_characters(entra_str_t text)
{
    size_t  i;

    for (i = 0; i < text.len; i++) {
        if (!isprint((unsigned char) text.data[i])
            || text.data[i] == '"' || text.data[i] == '\\')
        {
            return false;
        }
    }

    return text.len > 10 && text.len < 200 && text.data[text.len - 1] == '.';
}


/* 0: no subcode of the closed list */

static uint32_t
subcode_hresult(entra_str_t subcode)
{
    size_t  i;

    for (i = 0; i < tap_count(subcodes); i++) {
        if (entra_str_eq(subcode, entra_str(subcodes[i].subcode))) {
            return subcodes[i].hresult;
        }
    }

    return 0;
}


static void
test_invariants(void)
{
    unsigned                    i, j;
    const entra_reason_info_t  *info, *other;

    for (i = 1; i < ENTRA_REASONS; i++) {
        info = entra_reason_info((entra_reason_t) i);

        tap_ok(key_characters(info->key), "%s: a metric label",
               info->key.data);
        tap_ok(text_characters(info->text), "%s: a sentence to show",
               info->key.data);
        tap_ok(text_characters(info->remedy), "%s: a remedy in a sentence",
               info->key.data);
        tap_ok(subcode_hresult(info->subcode)
               && subcode_hresult(info->subcode)
                  == entra_reason_hresult((entra_reason_t) i),
               "%s: a subcode of the closed list, and what Windows shows",
               info->key.data);

        for (j = 0; j < i; j++) {
            other = entra_reason_info((entra_reason_t) j);

            if (entra_str_eq(info->key, other->key)
                || entra_str_eq(info->text, other->text)
                || entra_str_eq(info->remedy, other->remedy))
            {
                break;
            }
        }

        tap_ok(j == i, "%s: key, text and remedy are its own", info->key.data);
    }
}


int
main(void)
{
    test_rows();
    test_ok();
    test_invariants();

    return tap_done();
}
