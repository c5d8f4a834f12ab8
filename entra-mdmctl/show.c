/*
 * A verdict in words.  Header and claims are shown in full; the token itself,
 * with which anybody could enroll, never is.
 */

#include <math.h>
#include <stdlib.h>
#include <time.h>

#include "entra_base64.h"
#include "entra_json.h"
#include "explain.h"


#define CTL_SHOWN     20                /* of a long list, and how many more */
#define CTL_MAX_DATE  253402300799.0    /* the end of the year 9999 */


__attribute__((format(printf, 2, 3)))
static void
ctl_show_line(const char *name, const char *format, ...)
{
    char     text[4096];
    va_list  args;

    va_start(args, format);
    (void) vsnprintf(text, sizeof(text), format, args);
    va_end(args);

    ctl_say("  %-18s %s", name, text);
}


/*** times ***/


const char *
ctl_duration(double seconds)
{
    size_t              i;
    long long           n, first, second;
    const char         *rest;

    static const struct {
        long long    seconds;
        const char  *name;
    } units[] = {
        { 86400, "day" }, { 3600, "hour" }, { 60, "minute" }, { 1, "second" }
    };

    n = seconds < CTL_MAX_DATE ? (long long) seconds : (long long) CTL_MAX_DATE;

    for (i = 0; i < 3 && n < units[i].seconds; i++) { /* void */ }

    first = n / units[i].seconds;
    rest = "";

    /* the smaller unit tells nothing beside ten of the larger one */

    if (i < 2 && first < 10) {
        second = n % units[i].seconds / units[i + 1].seconds;

        if (second) {
            rest = ctl_text(" %lld %s%s", second, units[i + 1].name,
                            second == 1 ? "" : "s");
        }
    }

    return ctl_text("%lld %s%s%s", first, units[i].name,
                    first == 1 ? "" : "s", rest);
}


static const char *
ctl_show_date(double when)
{
    char       text[32];
    time_t     seconds;
    struct tm  tm;

    if (!(when >= 0 && when <= CTL_MAX_DATE)) {
        return "no date";
    }

    seconds = (time_t) when;

    if (gmtime_r(&seconds, &tm) == NULL
        || strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
    {
        return "no date";
    }

    return ctl_text("%s", text);
}


/* as the core compares: at exp a token has expired, at nbf it is valid */

static const char *
ctl_show_time(const ctl_gate_t *gate, const char *name, double when)
{
    bool         excused;
    double       left;
    const char  *span, *words;

    left = when - (double) gate->now;
    span = ctl_duration(fabs(left));

    if (strcmp(name, "exp") == 0) {
        words = left > 0 ? ctl_text("expires in %s", span)
                         : ctl_text("expired %s ago", span);
        excused = left <= 0 && left + (double) gate->policy.leeway > 0;

    } else {
        words = left > 0 ? ctl_text("%s from now", span)
                         : ctl_text("%s ago", span);
        excused = left > 0 && left <= (double) gate->policy.leeway;
    }

    return ctl_text("%s, %s%s", ctl_show_date(when), words,
                    excused ? ctl_text(", within the leeway of %llds",
                                       (long long) gate->policy.leeway) : "");
}


/*** header and claims ***/


static const char *
ctl_show_json(const json_t *value)
{
    char        *dumped;
    const char  *text;

    dumped = json_dumps(value, JSON_ENCODE_ANY|JSON_ENSURE_ASCII|JSON_COMPACT);

    if (dumped == NULL) {
        ctl_die(CTL_ERROR, NULL, "out of memory");
    }

    text = ctl_text("%s", dumped);
    free(dumped);

    return text;
}


static void
ctl_show_members(const ctl_gate_t *gate, json_t *object)
{
    json_t      *value;
    const char  *name;

    json_object_foreach(object, name, value) {

        if (json_is_number(value)
            && (strcmp(name, "exp") == 0 || strcmp(name, "nbf") == 0
                || strcmp(name, "iat") == 0))
        {
            ctl_say("  %-18s %s: %s", name, ctl_show_json(value),
                    ctl_show_time(gate, name, json_number_value(value)));
            continue;
        }

        ctl_say("  %-18s %s", name, ctl_show_json(value));
    }
}


/* the n-th part of a token, which may be none; NULL: no JSON object */

static json_t *
ctl_show_part(entra_str_t token, unsigned n)
{
    char         *bytes;
    size_t        len;
    json_t       *object;
    const char   *dot;
    entra_str_t   part;

    part = token;

    for ( ;; ) {
        dot = part.len ? memchr(part.data, '.', part.len) : NULL;

        if (n-- == 0) {
            break;
        }

        if (dot == NULL) {
            return NULL;
        }

        part = entra_str_from(part, (size_t) (dot - part.data) + 1);
    }

    if (dot != NULL) {
        part.len = (size_t) (dot - part.data);
    }

    bytes = ctl_alloc(ENTRA_BASE64_DECODED_MAX(part.len));

    if (!entra_base64url_decode(part, bytes, &len)
        || entra_json_object((entra_str_t) { bytes, len }, &object) != ENTRA_OK)
    {
        return NULL;
    }

    return object;
}


static void
ctl_show_token(const ctl_gate_t *gate, const ctl_case_t *c)
{
    json_t      *header, *claims;
    const char  *state;

    if (c->token.len == 0) {
        return;
    }

    header = ctl_show_part(c->token, 0);
    claims = ctl_show_part(c->token, 1);

    state = c->verdict.verified ? "the signature is valid"
            : gate->jwks == NULL ? "the signature was not checked, anybody "
                                   "could have written them"
            : "not verified, anybody could have written them";

    ctl_say("token of %zu bytes", c->token.len);
    ctl_say("header%s", header ? "" : ": not readable");

    if (header != NULL) {
        ctl_show_members(gate, header);
        json_decref(header);
    }

    if (claims == NULL) {
        ctl_say("claims: not readable");
        return;
    }

    ctl_say("claims (%s)", state);
    ctl_show_members(gate, claims);
    json_decref(claims);
}


static void
ctl_show_message(const ctl_case_t *c)
{
    const entra_context_t  *item;

    if (c->form != CTL_FORM_SOAP) {
        return;
    }

    ctl_say("SOAP message");

    if (c->message.action.len) {
        ctl_show_line("Action", "%s", ctl_text_of(c->message.action));
    }

    if (c->message.message_id.len) {
        ctl_show_line("MessageID", "%s", ctl_text_of(c->message.message_id));
    }

    for (item = c->message.context; item != NULL; item = item->next) {
        ctl_show_line(ctl_text_of(item->name), "%s", ctl_text_of(item->value));
    }
}


/*** the verdict ***/


static void
ctl_show_ids(const ctl_gate_t *gate, entra_lists_e which)
{
    size_t             i;
    const char        *text;
    const ctl_list_t  *list;

    text = NULL;
    list = &gate->ids[which];

    for (i = 0; i < list->count && i < CTL_SHOWN; i++) {
        text = ctl_join(text, ", ", list->ids[i].text);
    }

    if (i < list->count) {
        text = ctl_text("%s and %zu more", text, list->count - i);
    }

    ctl_show_line(ctl_text("%ss", ctl_names[which].title), "%s",
                  text ? text : "none");
}


static void
ctl_show_strings(const char *name, const entra_str_t *strings, size_t count)
{
    size_t       i;
    const char  *text;

    text = NULL;

    for (i = 0; i < count && i < CTL_SHOWN; i++) {
        text = ctl_join(text, ", ", ctl_text_of(strings[i]));
    }

    ctl_show_line(name, "%s", text ? text : "none");
}


static void
ctl_show_keys(const ctl_gate_t *gate)
{
    size_t        i, n;
    entra_str_t   kids[CTL_SHOWN];

    if (gate->jwks == NULL) {
        return;
    }

    n = entra_jwks_count(gate->jwks);

    for (i = 0; i < n && i < CTL_SHOWN; i++) {
        kids[i] = entra_key_kid(entra_jwks_key(gate->jwks, i));
    }

    ctl_show_strings("keys", kids, i);
}


/* what the token would have had to be */

static void
ctl_show_expected(const ctl_gate_t *gate, const ctl_case_t *c)
{
    const entra_policy_t  *policy;

    policy = &gate->policy;

    switch (c->reason) {

    case ENTRA_KEY_UNKNOWN:
        ctl_show_keys(gate);
        break;

    case ENTRA_ISSUER_NOT_ALLOWED:
        ctl_show_strings("issuers", policy->issuers, policy->nissuers);
        break;

    case ENTRA_SCOPE_NOT_ALLOWED:
        ctl_show_line("scope", "%s", ctl_text_of(policy->scope));
        break;

    case ENTRA_AUDIENCE_NOT_ALLOWED:
        ctl_show_ids(gate, ENTRA_CLIENT_IDS);
        ctl_show_strings("hosts", policy->hosts, policy->nhosts);
        break;

    case ENTRA_TENANT_NOT_ALLOWED:
        ctl_show_ids(gate, ENTRA_TENANT_IDS);
        break;

    case ENTRA_TOKEN_EXPIRED:
    case ENTRA_TOKEN_NOT_YET_VALID:
        ctl_show_line("time", "%s, with a leeway of %llds",
                      ctl_show_date((double) gate->now),
                      (long long) policy->leeway);
        break;

    default:
        break;
    }
}


static void
ctl_show_answer(const ctl_case_t *c, const entra_reason_info_t *info)
{
    entra_str_t  error;

    error = entra_reason_bearer_error(c->reason);

    if (c->form != CTL_FORM_SOAP) {
        ctl_show_line("bearer", "HTTP %u%s%s", info->status,
                      error.len ? ", " : "", ctl_text_of(error));
    }

    if (c->form != CTL_FORM_BEARER) {
        ctl_show_line("SOAP", "HTTP %u, s:%s %s, on Windows 0x%08lx",
                      entra_reason_soap_status(c->reason),
                      info->soap_code == ENTRA_SOAP_SENDER ? "Sender"
                                                           : "Receiver",
                      info->subcode.data,
                      (unsigned long) entra_reason_hresult(c->reason));
    }
}


static void
ctl_show_wrapped(const ctl_case_t *c)
{
    size_t  i;

    if (c->form == CTL_FORM_SOAP || c->reason != ENTRA_TOKEN_MALFORMED) {
        return;
    }

    for (i = 0; i < c->token.len; i++) {
        if (memchr(" \t\r\n", c->token.data[i], 4) != NULL) {
            ctl_show_line("", "there is a blank or a line end in it: was it "
                          "copied from a terminal?");
            return;
        }
    }
}


static void
ctl_show_refusal(const ctl_gate_t *gate, const ctl_case_t *c)
{
    const entra_reason_info_t  *info;

    info = entra_reason_info(c->reason);

    ctl_say("verdict: refused, %s", info->key.data);
    ctl_show_line("", "%s", info->text.data);

    if (c->why != NULL) {
        ctl_show_line("why", "%s", c->why);
    }

    ctl_show_wrapped(c);
    ctl_show_expected(gate, c);
    ctl_show_answer(c, info);
    ctl_show_line("remedy", "%s", info->remedy.data);

    if (c->beside != ENTRA_OK) {
        info = entra_reason_info(c->beside);
        ctl_show_line("besides", "%s: %s", info->key.data, info->text.data);
    }
}


static void
ctl_show_identity(const ctl_case_t *c)
{
    const entra_identity_t  *identity;

    identity = &c->verdict.identity;

    ctl_show_line("user", "%s", identity->user.len
                                ? ctl_text_of(identity->user)
                                : "none: the token names nobody");
    ctl_show_line("audience", "%s", ctl_text_of(identity->audience));
}


void
ctl_show(const ctl_gate_t *gate, const ctl_case_t *c)
{
    ctl_show_message(c);
    ctl_show_token(gate, c);

    if (c->reason != ENTRA_OK) {
        ctl_show_refusal(gate, c);
        return;
    }

    if (c->device) {
        ctl_say("verdict: passed, device_token");
        ctl_show_line("", "It is Fleet's own token, which the backend judges.");
        return;
    }

    if (gate->jwks == NULL) {
        ctl_say("verdict: nothing to refuse, but the signature was not "
                "checked");
        ctl_show_line("remedy", "Give the key set with --jwks.");

    } else {
        ctl_say("verdict: accepted, ok");
    }

    ctl_show_identity(c);
}
