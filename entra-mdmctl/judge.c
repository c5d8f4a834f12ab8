/*
 * From a text to a verdict, along the way a request takes in the gate.
 */

#include "entra_bearer.h"
#include "entra_device.h"
#include "entra_jws.h"
#include "explain.h"


#define CTL_PIECE  16384                /* as the gate feeds a body */


static entra_reason_t
ctl_judge_claims(const ctl_gate_t *gate, ctl_case_t *c, const char **why)
{
    return entra_policy_judge(&gate->policy,
                              gate->from_api ? &gate->lists : NULL,
                              &c->verdict.claims, gate->now,
                              &c->verdict.identity, why);
}


/* nobody but Microsoft Graph can verify such a signature, with keys or not */

static bool
ctl_judge_graph(entra_str_t token)
{
    entra_jws_t   jws;
    const char   *why;

    return entra_jws_parse(token, &ctl_mem, &jws, &why) == ENTRA_OK
           && jws.nonce;
}


static entra_reason_t
ctl_judge_token(const ctl_gate_t *gate, ctl_case_t *c, entra_str_t token)
{
    const char      *why;
    entra_reason_t   reason;

    c->token = token;

    reason = entra_verify(token, gate->max_token, gate->jwks, &ctl_mem,
                          &c->verdict);
    c->why = c->verdict.why;

    if (c->verdict.claims.payload.data == NULL) {
        return reason;
    }

    if (reason == ENTRA_OK) {
        return ctl_judge_claims(gate, c, &c->why);
    }

    if (gate->jwks == NULL && reason == ENTRA_KEYS_UNAVAILABLE) {

        if (!ctl_judge_graph(token)) {
            return ctl_judge_claims(gate, c, &c->why);
        }

        c->why = entra_why_graph;
        reason = ENTRA_SIGNATURE_INVALID;
    }

    c->beside = ctl_judge_claims(gate, c, &why);

    return reason;
}


static entra_reason_t
ctl_judge_credential(const ctl_gate_t *gate, ctl_case_t *c)
{
    entra_str_t     token;
    entra_reason_t  reason;

    if (c->message.credential == ENTRA_CREDENTIAL_DEVICE
        && !gate->device_token_pass)
    {
        return ENTRA_DEVICE_TOKEN_DENIED;
    }

    reason = entra_soap_token(&c->message, &ctl_mem, &token, &c->why);
    if (reason != ENTRA_OK) {
        return reason;
    }

    if (c->message.credential == ENTRA_CREDENTIAL_JWT) {
        return ctl_judge_token(gate, c, token);
    }

    reason = entra_device_token_check(token);

    if (reason == ENTRA_TOKEN_MALFORMED) {
        c->why = "a device token that is no JSON object with a type";
    }

    c->device = (reason == ENTRA_OK);

    return reason;
}


/* what the gate reads no further for; without keys, only what is no token */

static bool
ctl_judge_ends(const ctl_gate_t *gate, const ctl_case_t *c,
    entra_reason_t reason)
{
    return reason != ENTRA_OK && !c->verdict.verified
           && (gate->jwks != NULL || c->verdict.claims.payload.data == NULL);
}


static entra_reason_t
ctl_judge_soap(const ctl_gate_t *gate, ctl_case_t *c, entra_soap_t *soap,
    entra_str_t text)
{
    bool                judged, last;
    entra_str_t         piece;
    entra_reason_t      reason;
    entra_soap_state_t  state;

    judged = false;
    reason = ENTRA_INTERNAL;

    do {
        piece = text;
        piece.len = text.len < CTL_PIECE ? text.len : CTL_PIECE;
        text = entra_str_from(text, piece.len);
        last = (text.len == 0);

        state = entra_soap_feed(soap, piece, last);

        if (state == ENTRA_SOAP_HEADER) {
            c->message = *entra_soap_message(soap);

            judged = true;
            reason = ctl_judge_credential(gate, c);

            if (ctl_judge_ends(gate, c, reason)) {
                return reason;
            }

            state = entra_soap_feed(soap, ENTRA_STR_NONE, last);
        }

        if (state == ENTRA_SOAP_REFUSED) {
            return judged && reason != ENTRA_OK
                   ? reason : entra_soap_reason(soap, &c->why);
        }

    } while (!last);

    return reason;
}


static entra_reason_t
ctl_judge_message(const ctl_gate_t *gate, ctl_case_t *c, entra_str_t text,
    bool more)
{
    entra_soap_t    *soap;
    entra_reason_t   reason;

    if (more || text.len > gate->max_body) {
        c->why = "its body is over max_body";
        return ENTRA_BODY_TOO_LARGE;
    }

    soap = entra_soap_create(gate->max_token, &ctl_mem);
    if (soap == NULL) {
        return ENTRA_INTERNAL;
    }

    reason = ctl_judge_soap(gate, c, soap, text);

    c->message = *entra_soap_message(soap);

    entra_soap_free(soap);

    return reason;
}


/*
 * XML begins with "<", behind a byte order mark or blanks, if need be.  In
 * UTF-16 it is a message too, which the gate refuses as such.
 */

static bool
ctl_judge_is_xml(entra_str_t text)
{
    size_t  i;

    static const entra_str_t  marks[] = {
        ENTRA_STR_INIT("\xff\xfe"), ENTRA_STR_INIT("\xfe\xff"),
        ENTRA_STR_INIT("\0<"), ENTRA_STR_INIT("\xef\xbb\xbf")
    };

    for (i = 0; i < 3; i++) {
        if (entra_str_starts(text, marks[i])) {
            return true;
        }
    }

    if (entra_str_starts(text, marks[i])) {
        text = entra_str_from(text, marks[i].len);
    }

    text = entra_str_trim(text);

    return text.len && text.data[0] == '<';
}


static bool
ctl_judge_prefix(entra_str_t text, entra_str_t prefix)
{
    return text.len >= prefix.len
           && entra_str_ieq((entra_str_t) { text.data, prefix.len }, prefix);
}


void
ctl_judge(const ctl_gate_t *gate, entra_str_t text, bool more, ctl_case_t *c)
{
    entra_str_t  token;

    static const entra_str_t  header = ENTRA_STR_INIT("Authorization:");

    memset(c, 0, sizeof(ctl_case_t));

    if (ctl_judge_is_xml(text)) {
        c->form = CTL_FORM_SOAP;
        c->reason = ctl_judge_message(gate, c, text, more);
        return;
    }

    text = entra_str_trim(text);

    if (ctl_judge_prefix(text, header)) {
        c->form = CTL_FORM_BEARER;
        text = entra_str_trim(entra_str_from(text, header.len));

    } else if (ctl_judge_prefix(text, entra_lit("Bearer"))
               && (text.len == 6 || text.data[6] == ' '))
    {
        c->form = CTL_FORM_BEARER;
    }

    if (c->form == CTL_FORM_TOKEN) {
        c->reason = ctl_judge_token(gate, c, text);
        return;
    }

    c->reason = entra_bearer_token(text, &token, &c->why);

    if (c->reason == ENTRA_OK) {
        c->reason = ctl_judge_token(gate, c, token);
    }
}
