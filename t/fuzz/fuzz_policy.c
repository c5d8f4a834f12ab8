/*
 * Claims under any policy: judged once more, rule by rule, by a slow reading
 * of the document as a tree, with lists of text and a pattern for URLs.
 *
 * The first line of an input makes the policy, a letter a trait; the rest is
 * the payload, which may be a device token too.  A copy of the claims is judged
 * the same after the request has gone.
 */

#include <ctype.h>
#include <regex.h>
#include <strings.h>

#include "entra_device.h"
#include "entra_json.h"
#include "entra_policy.h"
#include "fuzz.h"


#define NOW     1800000000
#define NAMES   4


/* what there is to be on a list, as an administrator types it */

static const char *const  ids[NAMES] = {
    "11111111-2222-3333-4444-555555555555",
    "6d8769e6-0f8b-418d-b385-1a53968781c9",
    "6D8769E6-0F8B-418D-B385-1A53968781CA",
    "abcdefab-cdef-abcd-efab-cdefabcdefab"
};

static const char *const  hosts[NAMES] = {
    "fleet.example.com", "fleet.example.com:8443", "Other.Example", "[::1]:1"
};

static const char *const  issuers[NAMES] = {
    "https://sts.windows.net/{tid}/",
    "https://login.microsoftonline.com/{tid}/v2.0",
    "https://login.example/{tid}/{tid}",
    "https://one.example/"
};


/* bits: which of those names */

typedef struct {
    unsigned  own[ENTRA_LISTS];
    unsigned  live[ENTRA_LISTS];
    bool      known[ENTRA_LISTS];
    bool      is_live;
    unsigned  hosts;
    unsigned  issuers;
    bool      scope;
    bool      require_upn;
    int64_t   leeway;
} fuzz_traits_t;


static void
fuzz_traits(fuzz_traits_t *traits, entra_str_t line)
{
    char       c;
    size_t     i;
    unsigned  *last;

    memset(traits, 0, sizeof(fuzz_traits_t));

    last = &traits->issuers;
    traits->known[ENTRA_CLIENT_IDS] = true;
    traits->known[ENTRA_TENANT_IDS] = true;

    for (i = 0; i < line.len; i++) {
        c = line.data[i];

        switch (c) {

        case '0': case '1': case '2': case '3':
            *last |= 1u << (c - '0');
            break;

        case 'i': last = &traits->issuers;  break;
        case 'h': last = &traits->hosts;  break;
        case 'c': last = &traits->own[ENTRA_CLIENT_IDS];  break;
        case 't': last = &traits->own[ENTRA_TENANT_IDS];  break;

        case 'C':
            last = &traits->live[ENTRA_CLIENT_IDS];
            traits->is_live = true;
            break;

        case 'T':
            last = &traits->live[ENTRA_TENANT_IDS];
            traits->is_live = true;
            break;

        case 'K':
            traits->known[ENTRA_CLIENT_IDS] = false;
            traits->is_live = true;
            break;

        case 'L':
            traits->known[ENTRA_TENANT_IDS] = false;
            traits->is_live = true;
            break;

        case 's': traits->scope = true;  break;
        case 'u': traits->require_upn = true;  break;
        case 'l': traits->leeway += 60;  break;
        }
    }
}


/*** for the core ***/


typedef struct {
    entra_policy_t  policy;
    entra_lists_t   lists;
    entra_str_t     hosts[NAMES];
    entra_str_t     issuers[NAMES];
    entra_guid_t    guids[2 * ENTRA_LISTS][NAMES];
} fuzz_policy_t;


static entra_set_t
fuzz_set(entra_guid_t *guids, unsigned which)
{
    size_t  i, n;

    for (i = 0, n = 0; i < NAMES; i++) {
        if (which & 1u << i) {
            fuzz_claim(entra_guid_parse(entra_str(ids[i]), &guids[n]));
            n++;
        }
    }

    return entra_set_build(guids, n);
}


static size_t
fuzz_names(entra_str_t *to, const char *const *names, unsigned which)
{
    size_t  i, n;

    for (i = 0, n = 0; i < NAMES; i++) {
        if (which & 1u << i) {
            to[n++] = entra_str(names[i]);
        }
    }

    return n;
}


static void
fuzz_policy(fuzz_policy_t *fp, const fuzz_traits_t *traits)
{
    size_t  i;

    memset(fp, 0, sizeof(fuzz_policy_t));

    fp->policy.hosts = fp->hosts;
    fp->policy.nhosts = fuzz_names(fp->hosts, hosts, traits->hosts);
    fp->policy.issuers = fp->issuers;
    fp->policy.nissuers = fuzz_names(fp->issuers, issuers, traits->issuers);

    fp->policy.client_ids = fuzz_set(fp->guids[0],
                                     traits->own[ENTRA_CLIENT_IDS]);
    fp->policy.tenant_ids = fuzz_set(fp->guids[1],
                                     traits->own[ENTRA_TENANT_IDS]);

    fp->policy.scope = traits->scope ? entra_lit("mdm_delegation")
                                     : ENTRA_STR_NONE;
    fp->policy.leeway = traits->leeway;
    fp->policy.require_upn = traits->require_upn;

    for (i = 0; i < ENTRA_LISTS; i++) {
        fp->lists.list[i].known = traits->known[i];
        fp->lists.list[i].ids = fuzz_set(fp->guids[2 + i], traits->live[i]);
    }
}


/*** the other judge: true, false, or nobody can say ***/


typedef enum { NO, YES, UNKNOWN } fuzz_answer_t;


static bool
fuzz_matches(const char *pattern, const char *text, bool any_case)
{
    int      found;
    regex_t  regex;

    fuzz_claim(regcomp(&regex, pattern, REG_EXTENDED | REG_NOSUB
                       | (any_case ? REG_ICASE : 0)) == 0);
    found = regexec(&regex, text, 0, NULL, 0);
    regfree(&regex);

    return found == 0;
}


static bool
fuzz_is_guid(const char *text)
{
    size_t  i;

    for (i = 0; i < 36; i++) {
        if (i == 8 || i == 13 || i == 18 || i == 23) {
            if (text[i] != '-') {
                return false;
            }

        } else if (!isxdigit((unsigned char) text[i])) {
            return false;
        }
    }

    return text[36] == '\0';
}


static fuzz_answer_t
fuzz_listed(const fuzz_traits_t *traits, entra_lists_e which, const char *id)
{
    size_t  i;

    for (i = 0; i < NAMES; i++) {
        if (strcasecmp(ids[i], id) == 0
            && (traits->own[which] & 1u << i
                || (traits->is_live && traits->known[which]
                    && traits->live[which] & 1u << i)))
        {
            return YES;
        }
    }

    return traits->is_live && !traits->known[which] ? UNKNOWN : NO;
}


/* a URL whose host and port, as written, are one of ours */

static bool
fuzz_is_ours(const fuzz_traits_t *traits, const char *url)
{
    char         pattern[512];
    size_t       i;
    const char  *p, *host;

    for (p = url; *p; p++) {
        if ((unsigned char) *p <= ' ' || *p == 0x7f || *p == '\\'
            || (*p == '%' && !(isxdigit((unsigned char) p[1])
                               && isxdigit((unsigned char) p[2]))))
        {
            return false;
        }
    }

    for (i = 0; i < NAMES; i++) {
        host = hosts[i];

        if (!(traits->hosts & 1u << i)) {
            continue;
        }

        p = pattern;
        p = stpcpy(pattern, "^[a-z][a-z0-9+.-]*://"
                            "([a-z0-9._:~!$&'()*+,;=%-]*@)?");

        for (/* void */; *host; host++) {
            p += sprintf((char *) p, strchr(".[]", *host) ? "\\%c" : "%c",
                         *host);
        }

        strcpy((char *) p, "([/?#]|$)");

        if (fuzz_matches(pattern, url, true)) {
            return true;
        }
    }

    return false;
}


static fuzz_answer_t
fuzz_audience(const fuzz_traits_t *traits, const char *aud)
{
    char         trimmed[ENTRA_GUID_LEN + 1];
    size_t       len;
    const char  *start;

    static const char  blanks[] = " \t\n\v\f\r";

    start = aud + strspn(aud, blanks);
    len = strlen(start);

    while (len && strchr(blanks, start[len - 1]) != NULL) {
        len--;
    }

    if (len == ENTRA_GUID_LEN) {
        memcpy(trimmed, start, len);
        trimmed[len] = '\0';

        if (fuzz_is_guid(trimmed)) {
            return fuzz_listed(traits, ENTRA_CLIENT_IDS, trimmed);
        }
    }

    return fuzz_is_ours(traits, aud) ? YES : NO;
}


/* the first that is ours, else whether any could be */

static fuzz_answer_t
fuzz_audiences(const fuzz_traits_t *traits, const json_t *aud,
    const char **which)
{
    size_t          i;
    const char     *text;
    fuzz_answer_t   answer, one;

    answer = NO;

    for (i = 0; i < (json_is_array(aud) ? json_array_size(aud) : 1); i++) {
        text = json_string_value(json_is_array(aud) ? json_array_get(aud, i)
                                                    : aud);
        one = fuzz_audience(traits, text);

        if (one == YES) {
            *which = text;
            return YES;
        }

        answer = one == UNKNOWN ? UNKNOWN : answer;
    }

    return answer;
}


static bool
fuzz_is_audiences(const json_t *aud)
{
    size_t  i;

    for (i = 0; i < json_array_size(aud); i++) {
        if (!json_is_string(json_array_get(aud, i))) {
            return false;
        }
    }

    return json_is_string(aud) || json_is_array(aud);
}


static bool
fuzz_trusted(const fuzz_traits_t *traits, const char *iss, const char *tid)
{
    char         expected[256], *p;
    size_t       i;
    const char  *from;

    for (i = 0; i < NAMES; i++) {
        p = expected;

        for (from = issuers[i]; *from; from++) {
            if (strncmp(from, "{tid}", 5) == 0) {
                p = stpcpy(p, tid);
                from += 4;

            } else {
                *p++ = *from;
            }
        }

        *p = '\0';

        if (traits->issuers & 1u << i && strcmp(iss, expected) == 0) {
            return true;
        }
    }

    return false;
}


/* C0, DEL and C1 */

static bool
fuzz_controls(const char *text)
{
    const unsigned char  *p;

    for (p = (const unsigned char *) text; *p; p++) {
        if (*p < 0x20 || *p == 0x7f
            || (*p == 0xc2 && p[1] >= 0x80 && p[1] < 0xa0))
        {
            return true;
        }
    }

    return false;
}


static const char *
fuzz_user(json_t *json)
{
    const char  *user;

    user = json_string_value(json_object_get(json, "upn"));

    if (user == NULL || *user == '\0') {
        user = json_string_value(json_object_get(json, "preferred_username"));
    }

    return user != NULL ? user : "";
}


/* of claims that are missing, nothing is said yet */

static entra_reason_t
fuzz_times(const fuzz_traits_t *traits, json_t *json)
{
    json_t  *exp, *nbf, *iat;
    double   slack;

    exp = json_object_get(json, "exp");
    nbf = json_object_get(json, "nbf");
    iat = json_object_get(json, "iat");
    slack = (double) traits->leeway;

    if (json_is_number(exp) && json_number_value(exp) + slack <= NOW) {
        return ENTRA_TOKEN_EXPIRED;
    }

    if ((json_is_number(nbf) && json_number_value(nbf) - slack > NOW)
        || (json_is_number(iat) && json_number_value(iat) - slack > NOW))
    {
        return ENTRA_TOKEN_NOT_YET_VALID;
    }

    return ENTRA_OK;
}


static entra_reason_t
fuzz_types(const fuzz_traits_t *traits, json_t *json)
{
    json_t      *nbf, *iat;
    const char  *tid;

    nbf = json_object_get(json, "nbf");
    iat = json_object_get(json, "iat");
    tid = json_string_value(json_object_get(json, "tid"));

    return json_is_number(json_object_get(json, "exp"))
           && json_number_value(json_object_get(json, "exp")) <= 253402300799.
           && (nbf == NULL || json_is_number(nbf))
           && (iat == NULL || json_is_number(iat))
           && json_is_string(json_object_get(json, "iss"))
           && fuzz_is_audiences(json_object_get(json, "aud"))
           && tid != NULL && fuzz_is_guid(tid)
           && (!traits->scope || json_is_string(json_object_get(json, "scp")))
           ? ENTRA_OK : ENTRA_CLAIM_INVALID;
}


static entra_reason_t
fuzz_judge(const fuzz_traits_t *traits, json_t *json, const char **aud)
{
    const char      *tid, *user;
    entra_reason_t   reason;

    reason = fuzz_times(traits, json);

    if (reason == ENTRA_OK) {
        reason = fuzz_types(traits, json);
    }

    if (reason != ENTRA_OK) {
        return reason;
    }

    tid = json_string_value(json_object_get(json, "tid"));
    user = fuzz_user(json);

    if (!fuzz_trusted(traits, json_string_value(json_object_get(json, "iss")),
                      tid))
    {
        return ENTRA_ISSUER_NOT_ALLOWED;
    }

    if (traits->scope
        && strcmp(json_string_value(json_object_get(json, "scp")),
                  "mdm_delegation") != 0)
    {
        return ENTRA_SCOPE_NOT_ALLOWED;
    }

    switch (fuzz_audiences(traits, json_object_get(json, "aud"), aud)) {
    case NO:       return ENTRA_AUDIENCE_NOT_ALLOWED;
    case UNKNOWN:  return ENTRA_LISTS_UNAVAILABLE;
    case YES:      break;
    }

    switch (fuzz_listed(traits, ENTRA_TENANT_IDS, tid)) {
    case NO:       return ENTRA_TENANT_NOT_ALLOWED;
    case UNKNOWN:  return ENTRA_LISTS_UNAVAILABLE;
    case YES:      break;
    }

    if (fuzz_controls(user)) {
        return ENTRA_UPN_INVALID;
    }

    return traits->require_upn && *user == '\0' ? ENTRA_UPN_MISSING : ENTRA_OK;
}


static bool
fuzz_may_ask(const fuzz_traits_t *traits, json_t *json)
{
    const char  *iss, *tid;

    iss = json_string_value(json_object_get(json, "iss"));
    tid = json_string_value(json_object_get(json, "tid"));

    return iss != NULL && tid != NULL && fuzz_is_guid(tid)
           && fuzz_trusted(traits, iss, tid)
           && fuzz_listed(traits, ENTRA_TENANT_IDS, tid) == YES;
}


/*** both ***/


/* jansson's own reading; an integer may overflow, a name stand once */

static json_t *
fuzz_json(entra_str_t text)
{
    json_t        *json;
    json_error_t   error;

    /* jansson overlooks a NUL behind a number */

    if (text.len == 0 || memchr(text.data, '\0', text.len) != NULL) {
        return NULL;
    }

    json = json_loadb(text.data, text.len, JSON_REJECT_DUPLICATES, &error);

    if (json == NULL && json_error_code(&error) == json_error_numeric_overflow)
    {
        json = json_loadb(text.data, text.len,
                          JSON_REJECT_DUPLICATES | JSON_DECODE_INT_AS_REAL,
                          &error);
    }

    if (!json_is_object(json)) {
        json_decref(json);
        return NULL;
    }

    return json;
}


static void
fuzz_compare(const fuzz_traits_t *traits, json_t *json,
    const entra_claims_t *claims)
{
    const char            *why, *aud;
    entra_reason_t         reason, expected;
    fuzz_policy_t          fp;
    entra_identity_t       identity;
    const entra_lists_t   *live;

    fuzz_policy(&fp, traits);
    live = traits->is_live ? &fp.lists : NULL;
    aud = "";

    reason = entra_policy_judge(&fp.policy, live, claims, NOW, &identity,
                                &why);
    expected = fuzz_judge(traits, json, &aud);

    if (reason != expected) {
        fprintf(stderr, "%s, expected %s\n",
                entra_reason_info(reason)->key.data,
                entra_reason_info(expected)->key.data);
    }

    fuzz_claim(reason == expected);

    if (reason == ENTRA_OK) {
        fuzz_claim(why == NULL);
        fuzz_claim(entra_str_eq(identity.audience, entra_str(aud)));
        fuzz_claim(entra_str_eq(identity.user, entra_str(fuzz_user(json))));
    }

    fuzz_claim(entra_policy_may_ask(&fp.policy, live, claims)
               == fuzz_may_ask(traits, json));
}


/* a copy, which a worker keeps of a token, has nothing of the request in it */

static void
fuzz_copied(pool_t *pool, const entra_claims_t *claims, entra_claims_t *copy)
{
    size_t  size;

    size = entra_claims_size(claims);

    entra_claims_copy(claims, pool_alloc(pool, size ? size : 1), copy);

    fuzz_claim(copy->naud == claims->naud);
    fuzz_claim(entra_str_eq(copy->payload, claims->payload));
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    pool_t           pool, kept;
    json_t          *json;
    const uint8_t   *end;
    entra_str_t      payload;
    entra_claims_t   claims, copy;
    fuzz_traits_t    traits;
    entra_reason_t   reason;

    end = size ? memchr(data, '\n', size) : NULL;

    if (end == NULL) {
        return 0;
    }

    fuzz_traits(&traits, (entra_str_t) { (const char *) data,
                                         (size_t) (end - data) });
    end++;

    pool_init(&pool);
    payload = fuzz_copy(&pool, end, size - (size_t) (end - data));

    reason = entra_claims_parse(payload, &pool.mem, &claims);
    json = fuzz_json(payload);

    fuzz_claim(reason == (json ? ENTRA_OK : ENTRA_TOKEN_MALFORMED));

    fuzz_claim((entra_device_token_check(payload) == ENTRA_OK)
               == (json && json_is_number(json_object_get(json, "type"))));

    pool_init(&kept);

    if (json != NULL) {
        fuzz_compare(&traits, json, &claims);
        fuzz_copied(&kept, &claims, &copy);
    }

    pool_free(&pool);

    if (json != NULL) {
        fuzz_compare(&traits, json, &copy);
        json_decref(json);
    }

    pool_free(&kept);

    return 0;
}
