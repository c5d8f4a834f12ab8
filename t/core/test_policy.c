/*
 * Judging claims, without keys or signatures: each rule by its rows, among
 * them every case of the backend's own tests.
 */

#include "entra_policy.h"
#include "guard.h"
#include "token.h"


#define HOST  "fleet.example.com"
#define C     "11111111-1111-1111-1111-111111111111"
#define D     "22222222-2222-2222-2222-222222222222"
#define A     TOKEN_TID
#define B     TOKEN_TID_2

#define EXP   "exp is missing or not a date"
#define NBF   "nbf is not a number"
#define IAT   "iat is not a number"
#define ISS   "iss is missing or not a string"
#define AUD   "aud is missing or neither a string nor an array of strings"
#define TID   "tid is missing or not a GUID"
#define SCP   "scp is missing or not a string"
#define NBF_FUTURE  "its nbf lies in the future"
#define IAT_FUTURE  "its iat lies in the future"


static pool_t                 pool;
static const entra_lists_t   *live;         /* NULL: there are none */


/*** a policy from text ***/


/* GUIDs parted by commas */

static entra_set_t
ids(const char *text)
{
    size_t         n;
    entra_guid_t  *list;

    list = pool_alloc(&pool, 8 * sizeof(entra_guid_t));

    for (n = 0; strlen(text) >= ENTRA_GUID_LEN; n++) {

        if (!entra_guid_parse((entra_str_t) { text, ENTRA_GUID_LEN }, &list[n]))
        {
            tap_bail("not a GUID");
        }

        text += ENTRA_GUID_LEN;
        text += *text == ',';
    }

    return entra_set_build(list, n);
}


static entra_policy_t
make_policy(const char *client_ids, const char *tenant_ids)
{
    entra_policy_t  policy;

    static const entra_str_t  hosts[] = { ENTRA_STR_INIT(HOST) };

    static const entra_str_t  issuers[] = {
        ENTRA_STR_INIT(TOKEN_V1 "{tid}/"), ENTRA_STR_INIT(TOKEN_V2 "{tid}/v2.0")
    };

    memset(&policy, 0, sizeof(policy));

    policy.hosts = hosts;
    policy.nhosts = 1;
    policy.issuers = issuers;
    policy.nissuers = 2;
    policy.client_ids = ids(client_ids);
    policy.tenant_ids = ids(tenant_ids);
    policy.scope = entra_lit("mdm_delegation");
    policy.leeway = 60;

    return policy;
}


static entra_reason_t
judge(const entra_policy_t *policy, const char *payload, int64_t now,
    entra_claims_t *claims, entra_identity_t *identity, const char **why)
{
    if (entra_claims_parse(guard(entra_str(payload)), &pool.mem, claims)
        != ENTRA_OK)
    {
        tap_bail("a payload of the test itself is malformed");
    }

    *why = "unset";

    return entra_policy_judge(policy, live, claims, now, identity, why);
}


/*** audience ***/


static const struct {
    const char      *name;
    const char      *aud;               /* JSON */
    const char      *client_ids;
    const char      *matched;           /* NULL: none */
} audiences[] = {

    /* the backend's own cases */

    { "our URL", "\"https://" HOST "\"", "", "https://" HOST },
    { "our URL and a path", "\"https://" HOST "/some/path\"", "",
      "https://" HOST "/some/path" },
    { "our URL in another case", "\"https://Fleet.Example.COM\"", "",
      "https://Fleet.Example.COM" },
    { "our URL, another port", "\"https://" HOST ":8443\"", "", NULL },
    { "another host", "\"https://evil.example.com\"", "", NULL },
    { "a client ID", "\"" C "\"", C, C },
    { "the second client ID", "\"" D "\"", C "," D, D },
    { "a client ID in upper case", "\"ABCDEF01-0000-4000-8000-00000000000A\"",
      "abcdef01-0000-4000-8000-00000000000a",
      "ABCDEF01-0000-4000-8000-00000000000A" },
    { "a client ID in lower case, ours in upper",
      "\"abcdef01-0000-4000-8000-00000000000a\"",
      "ABCDEF01-0000-4000-8000-00000000000A",
      "abcdef01-0000-4000-8000-00000000000a" },
    { "a client ID with blanks around", "\"  " C "  \"", C, "  " C "  " },
    { "another client ID", "\"99999999-9999-9999-9999-999999999999\"", C,
      NULL },
    { "a client ID, none allowed", "\"" C "\"", "", NULL },
    { "an array: a URN and a client ID", "[\"urn:something\",\"" C "\"]", C,
      C },
    { "an array: a URN and our URL",
      "[\"urn:something\",\"https://" HOST "\"]", C, "https://" HOST },
    { "an array: a URN and another URL",
      "[\"urn:something\",\"https://other.example.com\"]", C, NULL },
    { "an empty array", "[]", C, NULL },
    { "an empty array, nothing allowed", "[]", "", NULL },

    /* URLs */

    { "the scheme's own port is another host", "\"https://" HOST ":443\"", "",
      NULL },
    { "a slash behind", "\"https://" HOST "/\"", "", "https://" HOST "/" },
    { "any scheme, as in the backend", "\"api://" HOST "\"", "",
      "api://" HOST },
    { "http", "\"http://" HOST "\"", "", "http://" HOST },
    { "a user before our host is ignored", "\"https://x@" HOST "\"", "",
      "https://x@" HOST },
    { "our host as a user", "\"https://" HOST "@evil.example.com\"", "",
      NULL },
    { "our host as a label", "\"https://" HOST ".evil.example.com\"", "",
      NULL },
    { "our host behind another label", "\"https://x." HOST "\"", "", NULL },
    { "our host and a full stop", "\"https://" HOST ".\"", "", NULL },
    { "our host in the path", "\"https://evil.example.com/" HOST "\"", "",
      NULL },
    { "our host in the query", "\"https://evil.example.com?https://" HOST "\"",
      "", NULL },
    { "our host in the fragment", "\"https://evil.example.com#@" HOST "\"", "",
      NULL },
    { "a backslash after our host", "\"https://" HOST "\\\\.evil.com\"", "",
      NULL },
    { "a backslash and our host as a host", "\"https://evil.com\\\\@" HOST "\"",
      "", NULL },
    { "a URL is not trimmed", "\" https://" HOST "\"", "", NULL },
    { "a URL is not trimmed behind", "\"https://" HOST " \"", "", NULL },
    { "our host alone", "\"" HOST "\"", "", NULL },
    { "our host without a scheme", "\"//" HOST "\"", "", NULL },
    { "an empty host", "\"https:///" HOST "\"", "", NULL },
    { "a Kelvin sign", "\"https://fleet.example.com\\u212a\"", "", NULL },
    { "a long s for an s", "\"https://fleet.example.com/../\\u017f\"", "",
      "https://fleet.example.com/../\xc5\xbf" },
    { "an empty audience", "\"\"", C, NULL },
    { "blanks for an audience", "\"   \"", C, NULL },

    /* GUIDs */

    { "a client ID in braces", "\"{" C "}\"", C, NULL },
    { "a client ID as a URN", "\"urn:uuid:" C "\"", C, NULL },
    { "a client ID as an api URI", "\"api://" C "\"", C, NULL },
    { "a client ID in spn:", "\"spn:" C "\"", C, NULL },
    { "a client ID and a no-break space", "\"\\u00a0" C "\"", C, NULL },
    { "a client ID and more", "\"" C "1\"", C, NULL },
    { "a client ID with line feeds around", "\"\\n" C "\\r\\n\"", C,
      "\n" C "\r\n" },
    { "two client IDs in a text", "\"" C "," D "\"", C "," D, NULL },
    { "a tenant's GUID is no client ID", "\"" A "\"", C, NULL },
    { "the first of two that match", "[\"" D "\",\"" C "\"]", C "," D, D },
};


static void
test_audiences(void)
{
    char              *payload;
    size_t             i;
    const char        *why;
    entra_claims_t     claims;
    entra_policy_t     policy;
    entra_reason_t     reason;
    entra_identity_t   identity;

    for (i = 0; i < tap_count(audiences); i++) {
        policy = make_policy(audiences[i].client_ids, A);
        payload = token_json(&pool, TOKEN_CLAIMS_V2,
                             pool_text(&pool, "aud=%s", audiences[i].aud));

        reason = judge(&policy, payload, TOKEN_NOW, &claims, &identity, &why);

        if (audiences[i].matched == NULL) {
            tap_is_refusal(reason, why, ENTRA_AUDIENCE_NOT_ALLOWED, NULL,
                           audiences[i].name);

        } else if (tap_is_refusal(reason, why, ENTRA_OK, NULL,
                                  audiences[i].name))
        {
            tap_is_str(identity.audience, entra_str(audiences[i].matched),
                       "the audience that matched");
        }

        pool_free(&pool);
    }
}


/* hosts as they are written in server_url */

static void
test_hosts(void)
{
    size_t             i;
    char              *payload;
    const char        *why;
    entra_claims_t     claims;
    entra_policy_t     policy;
    entra_reason_t     reason;
    entra_identity_t   identity;

    static const struct {
        const char   *name;
        entra_str_t   host;
        const char   *aud;
        bool          ok;
    } hosts[] = {
        { "no host configured, an empty host", ENTRA_STR_INIT(""),
          "\"https://\"", false },
        { "no host configured, a client ID", ENTRA_STR_INIT(""), "\"" C "\"",
          false },
        { "no host configured, a path", ENTRA_STR_INIT(""), "\"https:///x\"",
          false },
        { "a port on both", ENTRA_STR_INIT("h:8443"), "\"https://h:8443\"",
          true },
        { "a port on ours only", ENTRA_STR_INIT("h:8443"), "\"https://h\"",
          false },
        { "a port on both, written otherwise", ENTRA_STR_INIT("h:8443"),
          "\"https://h:08443\"", false },
        { "our own port is the scheme's", ENTRA_STR_INIT("h:443"),
          "\"https://h\"", false },
        { "IPv6", ENTRA_STR_INIT("[2001:DB8::1]"), "\"https://[2001:db8::1]/\"",
          true },
        { "IPv6 written otherwise", ENTRA_STR_INIT("[2001:db8::1]"),
          "\"https://[2001:db8:0::1]/\"", false },
        { "IPv6 without brackets", ENTRA_STR_INIT("2001:db8::1"),
          "\"https://[2001:db8::1]/\"", false },
    };

    for (i = 0; i < tap_count(hosts); i++) {
        policy = make_policy("", A);
        policy.hosts = &hosts[i].host;
        payload = token_json(&pool, TOKEN_CLAIMS_V2,
                             pool_text(&pool, "aud=%s", hosts[i].aud));

        reason = judge(&policy, payload, TOKEN_NOW, &claims, &identity, &why);

        tap_is_reason(reason,
                      hosts[i].ok ? ENTRA_OK : ENTRA_AUDIENCE_NOT_ALLOWED,
                      hosts[i].name);

        pool_free(&pool);
    }
}


/*** everything else ***/


static const struct {
    const char      *name;
    const char      *edits;             /* of the claims of a v2 token */
    entra_reason_t   reason;
    const char      *why;
} claims_rows[] = {
    { "a v2 token", "", ENTRA_OK, NULL },

    /* time, at now = 1800000000 with 60 seconds of leeway */

    { "exp: one second left", "exp=1800000001", ENTRA_OK, NULL },
    { "exp: now, within the leeway", "exp=1800000000", ENTRA_OK, NULL },
    { "exp: one second before the end of the leeway", "exp=1799999941",
      ENTRA_OK, NULL },
    { "exp: half a second before it", "exp=1799999940.5", ENTRA_OK, NULL },
    { "exp: at the end of the leeway", "exp=1799999940", ENTRA_TOKEN_EXPIRED,
      NULL },
    { "exp: half a second after it", "exp=1799999939.5", ENTRA_TOKEN_EXPIRED,
      NULL },
    { "exp: zero", "exp=0", ENTRA_TOKEN_EXPIRED, NULL },
    { "exp: negative", "exp=-1800003600", ENTRA_TOKEN_EXPIRED, NULL },
    { "exp: minus 1e300", "exp=-1e300", ENTRA_TOKEN_EXPIRED, NULL },
    { "exp: past 64 bits below zero", "exp=-99999999999999999999",
      ENTRA_TOKEN_EXPIRED, NULL },
    { "exp: wraps 32 bits", "exp=4294967296", ENTRA_OK, NULL },
    { "exp: the end of the year 9999", "exp=253402300799", ENTRA_OK, NULL },
    { "exp: past the year 9999", "exp=253402300800", ENTRA_CLAIM_INVALID,
      EXP },
    { "exp: in milliseconds", "exp=1800003600000", ENTRA_CLAIM_INVALID, EXP },
    { "exp: the largest of 64 bits", "exp=9223372036854775807",
      ENTRA_CLAIM_INVALID, EXP },
    { "exp: past 64 bits", "exp=99999999999999999999", ENTRA_CLAIM_INVALID,
      EXP },
    { "exp: 2 to the 64th and 1800003600", "exp=18446744075509555216",
      ENTRA_CLAIM_INVALID, EXP },
    { "exp: 1e300", "exp=1e300", ENTRA_CLAIM_INVALID, EXP },
    { "exp: missing", "-exp", ENTRA_CLAIM_INVALID, EXP },
    { "exp: a string", "exp=\"1800003600\"", ENTRA_CLAIM_INVALID, EXP },
    { "exp: true", "exp=true", ENTRA_CLAIM_INVALID, EXP },
    { "exp: null", "exp=null", ENTRA_CLAIM_INVALID, EXP },
    { "exp: an array", "exp=[1800003600]", ENTRA_CLAIM_INVALID, EXP },

    { "nbf: missing", "-nbf", ENTRA_OK, NULL },
    { "nbf: at the end of the leeway", "nbf=1800000060", ENTRA_OK, NULL },
    { "nbf: half a second after it", "nbf=1800000060.5",
      ENTRA_TOKEN_NOT_YET_VALID, NBF_FUTURE },
    { "nbf: a second after it", "nbf=1800000061", ENTRA_TOKEN_NOT_YET_VALID,
      NBF_FUTURE },
    { "nbf: 1e300", "nbf=1e300", ENTRA_TOKEN_NOT_YET_VALID, NBF_FUTURE },
    { "nbf: zero", "nbf=0", ENTRA_OK, NULL },
    { "nbf: a string", "nbf=\"0\"", ENTRA_CLAIM_INVALID, NBF },
    { "nbf: null", "nbf=null", ENTRA_CLAIM_INVALID, NBF },
    { "nbf: false", "nbf=false", ENTRA_CLAIM_INVALID, NBF },

    { "iat: missing", "-iat", ENTRA_OK, NULL },
    { "iat: at the end of the leeway", "iat=1800000060", ENTRA_OK, NULL },
    { "iat: a second after it", "iat=1800000061", ENTRA_TOKEN_NOT_YET_VALID,
      IAT_FUTURE },
    { "iat: 1e300", "iat=1e300", ENTRA_TOKEN_NOT_YET_VALID, IAT_FUTURE },
    { "iat: after exp", "iat=1800000050|exp=1800000001", ENTRA_OK, NULL },
    { "iat: a string", "iat=\"x\"", ENTRA_CLAIM_INVALID, IAT },
    { "iat: null", "iat=null", ENTRA_CLAIM_INVALID, IAT },

    /* issuer */

    { "iss: missing", "-iss", ENTRA_CLAIM_INVALID, ISS },
    { "iss: a number", "iss=1", ENTRA_CLAIM_INVALID, ISS },
    { "iss: an array", "iss=[\"" TOKEN_V2 A "/v2.0\"]", ENTRA_CLAIM_INVALID,
      ISS },
    { "iss: v1", "iss=\"" TOKEN_V1 A "/\"", ENTRA_OK, NULL },
    { "iss: v1, whatever ver says", "iss=\"" TOKEN_V1 A "/\"|ver=\"2.0\"",
      ENTRA_OK, NULL },
    { "iss: empty", "iss=\"\"", ENTRA_ISSUER_NOT_ALLOWED, NULL },
    { "iss: of another tenant", "iss=\"" TOKEN_V2 B "/v2.0\"",
      ENTRA_ISSUER_NOT_ALLOWED, NULL },
    { "iss: a prefix is not enough", "iss=\"" TOKEN_V2 A "/v2.0/x\"",
      ENTRA_ISSUER_NOT_ALLOWED, NULL },
    { "iss: the backend's prefix", "iss=\"" TOKEN_V2 A "/\"",
      ENTRA_ISSUER_NOT_ALLOWED, NULL },
    { "iss: of another cloud",
      "iss=\"https://login.microsoftonline.us/" A "/v2.0\"",
      ENTRA_ISSUER_NOT_ALLOWED, NULL },
    { "iss: tid in upper case only",
      "tid=\"6D8769E6-0F8B-418D-B385-1A53968781C9\"",
      ENTRA_ISSUER_NOT_ALLOWED, NULL },

    /* scope */

    { "scp: missing", "-scp", ENTRA_CLAIM_INVALID, SCP },
    { "scp: an array", "scp=[\"mdm_delegation\"]", ENTRA_CLAIM_INVALID, SCP },
    { "scp: null", "scp=null", ENTRA_CLAIM_INVALID, SCP },
    { "scp: another", "scp=\"user_impersonation\"", ENTRA_SCOPE_NOT_ALLOWED,
      NULL },
    { "scp: ours among others", "scp=\"mdm_delegation openid\"",
      ENTRA_SCOPE_NOT_ALLOWED, NULL },
    { "scp: in upper case", "scp=\"MDM_DELEGATION\"", ENTRA_SCOPE_NOT_ALLOWED,
      NULL },
    { "scp: with a blank", "scp=\"mdm_delegation \"", ENTRA_SCOPE_NOT_ALLOWED,
      NULL },
    { "scp: empty", "scp=\"\"", ENTRA_SCOPE_NOT_ALLOWED, NULL },

    /* audience and tenant, their types */

    { "aud: missing", "-aud", ENTRA_CLAIM_INVALID, AUD },
    { "aud: a number", "aud=5", ENTRA_CLAIM_INVALID, AUD },
    { "aud: an array that has a number", "aud=[\"" C "\",5]",
      ENTRA_CLAIM_INVALID, AUD },
    { "aud: null", "aud=null", ENTRA_CLAIM_INVALID, AUD },
    { "tid: missing", "-tid", ENTRA_CLAIM_INVALID, TID },
    { "tid: empty", "tid=\"\"", ENTRA_CLAIM_INVALID, TID },
    { "tid: blanks", "tid=\"   \"", ENTRA_CLAIM_INVALID, TID },
    { "tid: a number", "tid=5", ENTRA_CLAIM_INVALID, TID },
    { "tid: no GUID", "tid=\"common\"", ENTRA_CLAIM_INVALID, TID },
    { "tid: a GUID in braces", "tid=\"{" A "}\"", ENTRA_CLAIM_INVALID, TID },
    { "tid: a GUID without dashes", "tid=\"6d8769e60f8b418db3851a53968781c9\"",
      ENTRA_CLAIM_INVALID, TID },
    { "tid: a GUID with blanks around", "tid=\" " A " \"",
      ENTRA_CLAIM_INVALID, TID },

    /* two things wrong with the types: all are one key */

    { "exp and iss missing", "-exp|-iss", ENTRA_CLAIM_INVALID, EXP },
    { "iss and aud missing", "-iss|-aud", ENTRA_CLAIM_INVALID, ISS },
    { "aud and tid missing", "-aud|-tid", ENTRA_CLAIM_INVALID, AUD },
    { "tid and scp missing", "-tid|-scp", ENTRA_CLAIM_INVALID, TID },
    { "everything missing", "!{}", ENTRA_CLAIM_INVALID, EXP },
};


static void
test_claims(void)
{
    char              *payload;
    size_t             i;
    const char        *why;
    entra_claims_t     claims;
    entra_policy_t     policy;
    entra_reason_t     reason;
    entra_identity_t   identity;

    for (i = 0; i < tap_count(claims_rows); i++) {
        policy = make_policy(TOKEN_CLIENT, A);
        payload = token_json(&pool, TOKEN_CLAIMS_V2, claims_rows[i].edits);
        reason = judge(&policy, payload, TOKEN_NOW, &claims, &identity, &why);

        tap_is_refusal(reason, why, claims_rows[i].reason, claims_rows[i].why,
                       claims_rows[i].name);

        pool_free(&pool);
    }
}


/*** tenants ***/


static void
test_tenants(void)
{
    char              *payload;
    size_t             i;
    const char        *why;
    entra_claims_t     claims;
    entra_policy_t     policy;
    entra_reason_t     reason;
    entra_identity_t   identity;

    static const struct {
        const char      *name;
        const char      *tenant_ids;
        const char      *tid;
        entra_reason_t   reason;
    } rows[] = {
        { "the tenant", A, A, ENTRA_OK },
        { "the second tenant", A "," B, B, ENTRA_OK },
        { "ours in upper case", "0B1C2D3E-4F50-4A6B-8C7D-9E0F1A2B3C4D", B,
          ENTRA_OK },
        { "the token's in upper case", B,
          "0B1C2D3E-4F50-4A6B-8C7D-9E0F1A2B3C4D", ENTRA_OK },
        { "another tenant", A, B, ENTRA_TENANT_NOT_ALLOWED },
        { "no tenant allowed", "", A, ENTRA_TENANT_NOT_ALLOWED },
        { "consumers", A, TOKEN_CONSUMER, ENTRA_TENANT_NOT_ALLOWED },
    };

    for (i = 0; i < tap_count(rows); i++) {
        policy = make_policy(TOKEN_CLIENT, rows[i].tenant_ids);
        payload = token_json(&pool, TOKEN_CLAIMS_V2,
            pool_text(&pool, "tid=\"%s\"|iss=\"" TOKEN_V2 "%s/v2.0\"",
                      rows[i].tid, rows[i].tid));

        reason = judge(&policy, payload, TOKEN_NOW, &claims, &identity, &why);
        tap_is_refusal(reason, why, rows[i].reason, NULL, rows[i].name);

        pool_free(&pool);
    }
}


/*** user ***/


static const struct {
    const char      *name;
    const char      *edits;
    bool             required;
    entra_reason_t   reason;
    const char      *user;
} users[] = {
    { "upn and preferred_username", "upn=\"u@x\"|preferred_username=\"p@x\"",
      true, ENTRA_OK, "u@x" },
    { "preferred_username only", "preferred_username=\"p@x\"", true, ENTRA_OK,
      "p@x" },
    { "upn empty", "upn=\"\"|preferred_username=\"p@x\"", true, ENTRA_OK,
      "p@x" },
    { "upn a number", "upn=5|preferred_username=\"p@x\"", true, ENTRA_OK,
      "p@x" },
    { "upn null", "upn=null|preferred_username=\"p@x\"", true, ENTRA_OK,
      "p@x" },
    { "neither", "-preferred_username", false, ENTRA_OK, "" },
    { "neither, but required", "-preferred_username", true, ENTRA_UPN_MISSING,
      "" },
    { "both empty", "upn=\"\"|preferred_username=\"\"", true,
      ENTRA_UPN_MISSING, "" },
    { "both of another type", "upn=[]|preferred_username={}", true,
      ENTRA_UPN_MISSING, "" },
    { "both of another type, not required", "upn=[]|preferred_username={}",
      false, ENTRA_OK, "" },
    { "unique_name is no user", "-preferred_username|unique_name=\"u@x\"",
      true, ENTRA_UPN_MISSING, "" },
    { "letters beyond ASCII", "upn=\"j\xc3\xb6rg@x\"", true, ENTRA_OK,
      "j\xc3\xb6rg@x" },
    { "marks of all kinds", "upn=\"o'brien!x#y^z~%+@x\"", true, ENTRA_OK,
      "o'brien!x#y^z~%+@x" },
    { "a line feed", "upn=\"u@x\\nX-Admin: 1\"", false, ENTRA_UPN_INVALID,
      "" },
    { "a carriage return", "upn=\"u@x\\r\"", false, ENTRA_UPN_INVALID, "" },
    { "a tab", "upn=\"u\\t@x\"", false, ENTRA_UPN_INVALID, "" },
    { "an escape character", "upn=\"\\u001b[2J\"", false, ENTRA_UPN_INVALID,
      "" },
    { "DEL", "upn=\"u\\u007f@x\"", false, ENTRA_UPN_INVALID, "" },
    { "the first C1 control", "upn=\"u\\u0080@x\"", false, ENTRA_UPN_INVALID,
      "" },
    { "next line, a C1 control", "upn=\"u\\u0085@x\"", false,
      ENTRA_UPN_INVALID, "" },
    { "the last C1 control", "upn=\"u\\u009f\"", false, ENTRA_UPN_INVALID,
      "" },
    { "a no-break space is none", "upn=\"u\\u00a0@x\"", false, ENTRA_OK,
      "u\xc2\xa0@x" },
    { "a control in preferred_username", "preferred_username=\"p\\n\"", false,
      ENTRA_UPN_INVALID, "" },
    { "a control in a preferred_username that does not count",
      "upn=\"u@x\"|preferred_username=\"p\\n\"", false, ENTRA_OK, "u@x" },
};


static void
test_users(void)
{
    char              *payload;
    size_t             i;
    const char        *why;
    entra_claims_t     claims;
    entra_policy_t     policy;
    entra_reason_t     reason;
    entra_identity_t   identity;

    for (i = 0; i < tap_count(users); i++) {
        policy = make_policy(TOKEN_CLIENT, A);
        policy.require_upn = users[i].required;
        payload = token_json(&pool, TOKEN_CLAIMS_V2, users[i].edits);

        memset(&identity, 0, sizeof(identity));
        reason = judge(&policy, payload, TOKEN_NOW, &claims, &identity, &why);

        if (tap_is_refusal(reason, why, users[i].reason, NULL, users[i].name)) {
            tap_is_str(identity.user, entra_str(users[i].user), "the user");
        }

        if (reason != ENTRA_OK) {
            tap_ok(identity.audience.data == NULL, "no identity if refused");
        }

        pool_free(&pool);
    }
}


/*** settings of a policy ***/


static void
test_settings(void)
{
    char              *payload;
    const char        *why;
    entra_claims_t     claims;
    entra_policy_t     policy;
    entra_reason_t     reason;
    entra_identity_t   identity;

    policy = make_policy(TOKEN_CLIENT, A);
    policy.scope = ENTRA_STR_NONE;
    payload = token_json(&pool, TOKEN_CLAIMS_V2, "-scp");
    reason = judge(&policy, payload, TOKEN_NOW, &claims, &identity, &why);
    tap_is_refusal(reason, why, ENTRA_OK, NULL, "scope off: none is needed");

    payload = token_json(&pool, TOKEN_CLAIMS_V2, "scp=[1]");
    reason = judge(&policy, payload, TOKEN_NOW, &claims, &identity, &why);
    tap_is_refusal(reason, why, ENTRA_OK, NULL, "scope off: any will do");

    policy = make_policy(TOKEN_CLIENT, A);
    policy.leeway = 0;
    payload = token_json(&pool, TOKEN_CLAIMS_V2, "exp=1800000000");
    reason = judge(&policy, payload, TOKEN_NOW, &claims, &identity, &why);
    tap_is_refusal(reason, why, ENTRA_TOKEN_EXPIRED, NULL,
                   "no leeway: exp is the first moment it is expired");

    payload = token_json(&pool, TOKEN_CLAIMS_V2, "exp=1800000000.001");
    reason = judge(&policy, payload, TOKEN_NOW, &claims, &identity, &why);
    tap_is_refusal(reason, why, ENTRA_OK, NULL,
                   "no leeway: a moment before it is not");

    payload = token_json(&pool, TOKEN_CLAIMS_V2,
                         "nbf=1800000000|iat=1800000000");
    reason = judge(&policy, payload, TOKEN_NOW, &claims, &identity, &why);
    tap_is_refusal(reason, why, ENTRA_OK, NULL,
                   "no leeway: nbf and iat are the first moments of validity");

    payload = token_json(&pool, TOKEN_CLAIMS_V2, "exp=1");
    reason = judge(&policy, payload, 0, &claims, &identity, &why);
    tap_is_refusal(reason, why, ENTRA_TOKEN_NOT_YET_VALID, NBF_FUTURE,
                   "the clock is what is passed in: 1970");

    policy = make_policy(TOKEN_CLIENT, A);
    policy.nissuers = 0;
    payload = token_json(&pool, TOKEN_CLAIMS_V2, "");
    reason = judge(&policy, payload, TOKEN_NOW, &claims, &identity, &why);
    tap_is_refusal(reason, why, ENTRA_ISSUER_NOT_ALLOWED, NULL,
                   "a policy that trusts no issuer");

    memset(&policy, 0, sizeof(policy));
    reason = judge(&policy, payload, TOKEN_NOW, &claims, &identity, &why);
    tap_ok(reason != ENTRA_OK, "a zeroed policy accepts nobody");

    pool_free(&pool);
}


/*** live lists ***/


typedef struct {
    const char      *name;
    const char      *client_ids;        /* NULL: not known */
    const char      *tenant_ids;
    const char      *change;            /* of the claims */
    entra_reason_t   reason;
    bool             may_ask;
} live_case_t;


static const live_case_t  live_cases[] = {
    { "both live", TOKEN_CLIENT, A, "", ENTRA_OK, true },
    { "both empty", "", "", "", ENTRA_AUDIENCE_NOT_ALLOWED, false },
    { "no client ID", "", A, "", ENTRA_AUDIENCE_NOT_ALLOWED, true },
    { "no tenant ID", TOKEN_CLIENT, "", "", ENTRA_TENANT_NOT_ALLOWED, false },
    { "another tenant", TOKEN_CLIENT, B, "", ENTRA_TENANT_NOT_ALLOWED, false },
    { "nothing known", NULL, NULL, "", ENTRA_LISTS_UNAVAILABLE, false },
    { "client IDs not known", NULL, A, "", ENTRA_LISTS_UNAVAILABLE, true },
    { "tenant IDs not known", TOKEN_CLIENT, NULL, "",
      ENTRA_LISTS_UNAVAILABLE, false },
    { "a v1 audience of ours needs no client ID", NULL, A,
      "aud=\"https://" HOST "/\"", ENTRA_OK, true },
    { "a v1 audience of others depends on no list", NULL, NULL,
      "aud=\"https://other.example.com/\"", ENTRA_AUDIENCE_NOT_ALLOWED, false },
    { "a GUID and a v1 audience of ours", NULL, A,
      "aud=[\"" TOKEN_CLIENT "\",\"https://" HOST "\"]", ENTRA_OK, true },
    { "a GUID and a v1 audience of others", NULL, A,
      "aud=[\"https://other.example.com\",\"" TOKEN_CLIENT "\"]",
      ENTRA_LISTS_UNAVAILABLE, true },
    { "what comes first is judged first", NULL, NULL,
      "scp=\"other\"", ENTRA_SCOPE_NOT_ALLOWED, false },
    { "a strange issuer may not ask", TOKEN_CLIENT, A,
      "iss=\"https://evil.example.com/\"", ENTRA_ISSUER_NOT_ALLOWED, false },
    { "a tenant of another type may not ask", TOKEN_CLIENT, A, "tid=7",
      ENTRA_CLAIM_INVALID, false },
    { "a tenant that is no GUID may not ask", TOKEN_CLIENT, A,
      "tid=\"common\"", ENTRA_CLAIM_INVALID, false },
};


static void
test_live(void)
{
    size_t              i;
    const char         *payload, *why;
    entra_lists_t       lists;
    entra_claims_t      claims;
    entra_policy_t      policy;
    entra_reason_t      reason;
    entra_identity_t    identity;
    const live_case_t  *c;

    for (i = 0; i < sizeof(live_cases) / sizeof(live_cases[0]); i++) {
        c = &live_cases[i];

        policy = make_policy("", "");
        memset(&lists, 0, sizeof(lists));

        if (c->client_ids != NULL) {
            lists.list[ENTRA_CLIENT_IDS].known = true;
            lists.list[ENTRA_CLIENT_IDS].ids = ids(c->client_ids);
        }

        if (c->tenant_ids != NULL) {
            lists.list[ENTRA_TENANT_IDS].known = true;
            lists.list[ENTRA_TENANT_IDS].ids = ids(c->tenant_ids);
        }

        live = &lists;
        payload = token_json(&pool, TOKEN_CLAIMS_V2, c->change);
        reason = judge(&policy, payload, TOKEN_NOW, &claims, &identity, &why);

        tap_ok(reason == c->reason, "%s", c->name);
        tap_ok(entra_policy_may_ask(&policy, live, &claims) == c->may_ask,
               c->may_ask ? "may ask for keys" : "may not ask for keys");

        /* the policy's own lists need no live ones */

        policy = make_policy(TOKEN_CLIENT, A);
        memset(&lists, 0, sizeof(lists));

        reason = judge(&policy, token_json(&pool, TOKEN_CLAIMS_V2, ""),
                       TOKEN_NOW, &claims, &identity, &why);
        tap_ok(reason == ENTRA_OK, "its own lists suffice");

        pool_free(&pool);
    }

    live = NULL;
}


int
main(void)
{
    pool_init(&pool);

    test_audiences();
    test_hosts();
    test_claims();
    test_tenants();
    test_users();
    test_settings();
    test_live();

    return tap_done();
}
