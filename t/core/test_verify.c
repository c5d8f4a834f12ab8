/*
 * From a token to a verdict: every reason, their order, and tokens that
 * somebody tampered with.
 */

#include "entra_issuer.h"
#include "entra_verify.h"
#include "guard.h"
#include "token.h"


#define MAX_TOKEN  16384

#define PARTS    "it does not have three parts"
#define BASE64   "a part of it is not base64url without padding"
#define HEADER   "its header is not a JSON object, or has a name twice"
#define PAYLOAD  "its payload is not a JSON object, or has a name twice"
#define MEMBER   "alg or kid in its header is missing or not a string"
#define CRIT     "its header has crit"
#define COVER    "its issuer does not cover the token's"
#define SHORT    "it is shorter than 2048 bits"
#define NBF      "its nbf lies in the future"
#define IAT      "its iat lies in the future"


static pool_t          pool;           /* of one token */
static pool_t          keep;           /* of the program */
static entra_jwks_t   *jwks;


/*** keys, a policy, a token ***/


typedef enum {
    KEY_MAIN = 0,
    KEY_OTHER,                          /* of a good key, but another kid's */
    KEY_SMALL,
    KEY_STRANGER,                       /* in no key set */
    KEY_NONE,                           /* no signature */
    KEYS
} which_key_t;

static EVP_PKEY  *keys[KEYS];


#define KEY_MEMBERS_TEMPLATE                                                  \
    ",\"use\":\"sig\",\"issuer\":\"" TOKEN_TEMPLATE "\""
#define KEY_MEMBERS_CONSUMER                                                  \
    ",\"issuer\":\"" TOKEN_V2 TOKEN_CONSUMER "/v2.0\""


static const struct {
    const char   *kid;
    which_key_t   key;
    const char   *more;
} key_set[] = {
    { "entra", KEY_MAIN, KEY_MEMBERS_TEMPLATE },
    { "plain", KEY_MAIN, "" },
    { "other", KEY_OTHER, KEY_MEMBERS_TEMPLATE },
    { "rs256", KEY_MAIN, ",\"alg\":\"RS256\"" },
    { "small", KEY_SMALL, KEY_MEMBERS_TEMPLATE },
    { "enc", KEY_MAIN, ",\"use\":\"enc\"" },
    { "ps256", KEY_MAIN, ",\"alg\":\"PS256\"" },
    { "v1", KEY_MAIN, ",\"issuer\":\"" TOKEN_V1 "{tenantid}/\"" },
    { "consumer", KEY_MAIN, KEY_MEMBERS_CONSUMER },
    { "tenant", KEY_MAIN, ",\"issuer\":\"" TOKEN_V2 TOKEN_TID "/v2.0\"" },
    { "no issuer", KEY_MAIN, ",\"issuer\":5" },
    { "twice", KEY_OTHER, KEY_MEMBERS_CONSUMER },
    { "twice", KEY_MAIN, KEY_MEMBERS_TEMPLATE },
};


static void
make_keys(void)
{
    char        *text;
    size_t       i;
    const char  *error;

    keys[KEY_MAIN] = token_key(2048);
    keys[KEY_OTHER] = token_key(2048);
    keys[KEY_SMALL] = token_key(1024);
    keys[KEY_STRANGER] = token_key(2048);

    text = pool_text(&keep, "{\"keys\":[{\"kty\":\"EC\",\"kid\":\"ec\"}");

    for (i = 0; i < tap_count(key_set); i++) {
        text = pool_text(&keep, "%s,%s", text,
                         token_jwk(&keep, keys[key_set[i].key], key_set[i].kid,
                                   key_set[i].more));
    }

    jwks = entra_jwks_parse(entra_str(pool_text(&keep, "%s]}", text)), &error);

    if (jwks == NULL) {
        tap_bail(error);
    }
}


typedef enum {
    POLICY_USUAL = 0,
    POLICY_NO_TENANT = 1,
    POLICY_REQUIRE_UPN = 2,
    POLICY_NO_AUDIENCE = 4
} which_policy_t;


static entra_policy_t
make_policy(unsigned which)
{
    entra_policy_t  policy;

    static entra_guid_t  client, tenant;

    static const entra_str_t  hosts[] = { ENTRA_STR_INIT("fleet.example.com") };

    memset(&policy, 0, sizeof(policy));

    if (!entra_guid_parse(entra_lit(TOKEN_CLIENT), &client)
        || !entra_guid_parse(entra_lit(TOKEN_TID), &tenant))
    {
        tap_bail("not a GUID");
    }

    policy.issuers = entra_issuer_cloud(ENTRA_CLOUD_PUBLIC, &policy.nissuers);
    policy.scope = entra_lit("mdm_delegation");
    policy.leeway = 60;
    policy.require_upn = which & POLICY_REQUIRE_UPN;

    if (!(which & POLICY_NO_TENANT)) {
        policy.tenant_ids = entra_set_build(&tenant, 1);
    }

    if (!(which & POLICY_NO_AUDIENCE)) {
        policy.client_ids = entra_set_build(&client, 1);
        policy.hosts = hosts;
        policy.nhosts = 1;
    }

    return policy;
}


static entra_str_t
make_token(const char *header, const char *claims, bool v1, which_key_t key)
{
    const char  *defaults;

    defaults = v1 ? TOKEN_CLAIMS_V1 : TOKEN_CLAIMS_V2;

    return token_sign(&pool, keys[key],
                      token_json(&pool, "typ=\"JWT\"|alg=\"RS256\""
                                 "|kid=\"entra\"", header),
                      token_json(&pool, defaults, claims));
}


/* what holds of every verdict, whatever it is */

static bool
verdict_sound(const entra_verdict_t *verdict, entra_reason_t reason)
{
    if ((unsigned) reason >= ENTRA_REASONS) {
        return false;
    }

    if (reason == ENTRA_OK) {
        return verdict->verified && verdict->identity.audience.len
               && verdict->kid.data != NULL && verdict->why == NULL
               && verdict->claims.payload.data != NULL;
    }

    if (verdict->identity.audience.data != NULL
        || verdict->identity.user.data != NULL)
    {
        return false;
    }

    switch (reason) {

    case ENTRA_TOKEN_MALFORMED:
    case ENTRA_ALGORITHM_NOT_ALLOWED:
    case ENTRA_KEY_UNKNOWN:
    case ENTRA_KEY_NOT_ALLOWED:
    case ENTRA_SIGNATURE_INVALID:
        return !verdict->verified;

    case ENTRA_INTERNAL:
        return true;

    default:
        return verdict->verified;
    }
}


static entra_reason_t
verify(entra_str_t token, unsigned which, entra_verdict_t *verdict)
{
    entra_policy_t  policy;

    policy = make_policy(which);

    memset(verdict, 0x5a, sizeof(entra_verdict_t));

    return token_judge(guard(token), MAX_TOKEN, jwks, &policy, &pool,
                       verdict);
}


static void
check(entra_str_t token, unsigned which, entra_reason_t want,
    const char *why, const char *name)
{
    entra_reason_t   reason;
    entra_verdict_t  verdict;

    reason = verify(token, which, &verdict);

    tap_is_refusal(reason, verdict.why, want, why, name);

    if (strncmp(name, "nonce", 5) == 0) {
        tap_ok(verdict.nonce, "%s: told apart", name);
    }

    if (!verdict_sound(&verdict, reason)) {
        tap_ok(false, "%s: a sound verdict", name);
    }

    pool_free(&pool);
}


/*** one row a token ***/


static const struct {
    const char      *name;
    const char      *header;            /* edits */
    const char      *claims;            /* edits of a v2 token's */
    which_key_t      key;
    entra_reason_t   reason;
    const char      *why;
} rows[] = {

    { "a v2 token", "", "", KEY_MAIN, ENTRA_OK, NULL },

    /* form */

    { "alg missing", "-alg", "", KEY_MAIN, ENTRA_TOKEN_MALFORMED, MEMBER },
    { "alg a number", "alg=256", "", KEY_MAIN, ENTRA_TOKEN_MALFORMED, MEMBER },
    { "kid missing", "-kid", "", KEY_MAIN, ENTRA_TOKEN_MALFORMED, MEMBER },
    { "kid an array", "kid=[\"entra\"]", "", KEY_MAIN, ENTRA_TOKEN_MALFORMED,
      MEMBER },
    { "kid twice", "+kid=\"plain\"", "", KEY_MAIN, ENTRA_TOKEN_MALFORMED,
      HEADER },
    { "a claim twice", "", "+aud=\"x\"", KEY_MAIN, ENTRA_TOKEN_MALFORMED,
      PAYLOAD },
    { "a claim twice, of no use to us", "", "+name=\"Eve\"", KEY_MAIN,
      ENTRA_TOKEN_MALFORMED, PAYLOAD },
    { "the payload is an array", "", "![]", KEY_MAIN, ENTRA_TOKEN_MALFORMED,
      PAYLOAD },
    { "the payload is a string", "", "!\"x\"", KEY_MAIN,
      ENTRA_TOKEN_MALFORMED, PAYLOAD },
    { "a NUL escape in a claim", "", "upn=\"a\\u0000b\"", KEY_MAIN,
      ENTRA_TOKEN_MALFORMED, PAYLOAD },
    { "no UTF-8 in a claim", "", "upn=\"\xc3(\"", KEY_MAIN,
      ENTRA_TOKEN_MALFORMED, PAYLOAD },
    { "exp that overflows", "", "exp=1e400", KEY_MAIN, ENTRA_TOKEN_MALFORMED,
      PAYLOAD },
    { "nbf that overflows below", "", "nbf=-1e400", KEY_MAIN,
      ENTRA_TOKEN_MALFORMED, PAYLOAD },

    /* algorithm */

    { "none", "alg=\"none\"", "", KEY_NONE, ENTRA_ALGORITHM_NOT_ALLOWED,
      NULL },
    { "None", "alg=\"None\"", "", KEY_NONE, ENTRA_ALGORITHM_NOT_ALLOWED,
      NULL },
    { "none, signed all the same", "alg=\"none\"", "", KEY_MAIN,
      ENTRA_ALGORITHM_NOT_ALLOWED, NULL },
    { "rs256 in lower case", "alg=\"rs256\"", "", KEY_MAIN,
      ENTRA_ALGORITHM_NOT_ALLOWED, NULL },
    { "RS512", "alg=\"RS512\"", "", KEY_MAIN, ENTRA_ALGORITHM_NOT_ALLOWED,
      NULL },
    { "PS256", "alg=\"PS256\"", "", KEY_MAIN, ENTRA_ALGORITHM_NOT_ALLOWED,
      NULL },
    { "ES256", "alg=\"ES256\"", "", KEY_MAIN, ENTRA_ALGORITHM_NOT_ALLOWED,
      NULL },
    { "HS256", "alg=\"HS256\"", "", KEY_MAIN, ENTRA_ALGORITHM_NOT_ALLOWED,
      NULL },
    { "an empty alg", "alg=\"\"", "", KEY_MAIN, ENTRA_ALGORITHM_NOT_ALLOWED,
      NULL },
    { "crit", "crit=[\"exp\"]|exp=1", "", KEY_MAIN,
      ENTRA_ALGORITHM_NOT_ALLOWED, CRIT },
    { "crit, empty", "crit=[]", "", KEY_MAIN, ENTRA_ALGORITHM_NOT_ALLOWED,
      CRIT },
    { "crit, null", "crit=null", "", KEY_MAIN, ENTRA_ALGORITHM_NOT_ALLOWED,
      CRIT },
    { "crit b64", "crit=[\"b64\"]|b64=false", "", KEY_MAIN,
      ENTRA_ALGORITHM_NOT_ALLOWED, CRIT },
    { "b64 without crit means nothing", "b64=false", "", KEY_MAIN, ENTRA_OK,
      NULL },

    /* key */

    { "kid unknown", "kid=\"x\"", "", KEY_MAIN, ENTRA_KEY_UNKNOWN, NULL },
    { "kid empty", "kid=\"\"", "", KEY_MAIN, ENTRA_KEY_UNKNOWN, NULL },
    { "kid in another case", "kid=\"Entra\"", "", KEY_MAIN, ENTRA_KEY_UNKNOWN,
      NULL },
    { "kid with a blank", "kid=\"entra \"", "", KEY_MAIN, ENTRA_KEY_UNKNOWN,
      NULL },
    { "kid as a path", "kid=\"../../etc/passwd\"", "", KEY_MAIN,
      ENTRA_KEY_UNKNOWN, NULL },
    { "a key too small", "kid=\"small\"", "", KEY_SMALL,
      ENTRA_KEY_NOT_ALLOWED, SHORT },
    { "a key for encryption", "kid=\"enc\"", "", KEY_MAIN,
      ENTRA_KEY_NOT_ALLOWED, "its use is not sig" },
    { "a key for another algorithm", "kid=\"ps256\"", "", KEY_MAIN,
      ENTRA_KEY_NOT_ALLOWED, "its alg is not RS256" },
    { "a key that is not RSA", "kid=\"ec\"", "", KEY_MAIN,
      ENTRA_KEY_NOT_ALLOWED, "its kty is not RSA" },
    { "a key whose issuer is no text", "kid=\"no issuer\"", "", KEY_MAIN,
      ENTRA_KEY_NOT_ALLOWED, "its issuer is not a string" },
    { "a key for RS256", "kid=\"rs256\"", "", KEY_MAIN, ENTRA_OK, NULL },
    { "a key without an issuer", "kid=\"plain\"", "", KEY_MAIN, ENTRA_OK,
      NULL },
    { "a key of that tenant", "kid=\"tenant\"", "", KEY_MAIN, ENTRA_OK, NULL },
    { "consumers' key", "kid=\"consumer\"", "", KEY_MAIN,
      ENTRA_KEY_NOT_ALLOWED, COVER },
    { "v2 token, v1 key", "kid=\"v1\"", "", KEY_MAIN, ENTRA_KEY_NOT_ALLOWED,
      COVER },
    { "two of a kid: that which covers the issuer", "kid=\"twice\"", "",
      KEY_MAIN, ENTRA_OK, NULL },
    { "two of a kid: signed by that which does not", "kid=\"twice\"", "",
      KEY_OTHER, ENTRA_SIGNATURE_INVALID, NULL },
    { "tid in upper case only", "",
      "tid=\"6D8769E6-0F8B-418D-B385-1A53968781C9\"", KEY_MAIN,
      ENTRA_KEY_NOT_ALLOWED, COVER },
    { "iss of another tenant", "", "iss=\"" TOKEN_V2 TOKEN_TID_2 "/v2.0\"",
      KEY_MAIN, ENTRA_KEY_NOT_ALLOWED, COVER },
    { "tid of another tenant", "", "tid=\"" TOKEN_TID_2 "\"", KEY_MAIN,
      ENTRA_KEY_NOT_ALLOWED, COVER },
    { "iss of a stranger", "", "iss=\"https://evil.example.com/\"", KEY_MAIN,
      ENTRA_KEY_NOT_ALLOWED, COVER },

    /* embedded keys */

    { "jku, x5u, x5c, jwk are ignored",
      "jku=\"https://evil.example.com/keys\"|x5u=\"https://evil.example.com\""
      "|x5c=[\"AAAA\"]|x5t=\"x\"|jwk={\"kty\":\"RSA\",\"n\":\"AQAB\"}",
      "", KEY_MAIN, ENTRA_OK, NULL },

    /* signature */

    { "kid matches, signature by another key of the set", "", "", KEY_OTHER,
      ENTRA_SIGNATURE_INVALID, NULL },
    { "kid matches, signature by a stranger's key", "", "", KEY_STRANGER,
      ENTRA_SIGNATURE_INVALID, NULL },
    { "kid matches, signature by a small key", "", "", KEY_SMALL,
      ENTRA_SIGNATURE_INVALID, NULL },
    { "no signature", "", "", KEY_NONE, ENTRA_SIGNATURE_INVALID, NULL },
    { "no signature, another algorithm", "alg=\"RS384\"", "", KEY_NONE,
      ENTRA_ALGORITHM_NOT_ALLOWED, NULL },
    { "no signature, unknown key", "kid=\"x\"", "", KEY_NONE,
      ENTRA_KEY_UNKNOWN, NULL },
    { "a token for Microsoft Graph", "nonce=\"x\"", "", KEY_STRANGER,
      ENTRA_SIGNATURE_INVALID, entra_why_graph },
    { "nonce, though the signature holds", "nonce=\"x\"", "", KEY_MAIN,
      ENTRA_SIGNATURE_INVALID, entra_why_graph },
    { "nonce and an unknown key", "nonce=\"x\"|kid=\"x\"", "", KEY_MAIN,
      ENTRA_KEY_UNKNOWN, NULL },

    /* time */

    { "expired", "", "exp=1799999940", KEY_MAIN, ENTRA_TOKEN_EXPIRED, NULL },
    { "expired within the leeway", "", "exp=1799999941", KEY_MAIN, ENTRA_OK,
      NULL },
    { "not yet valid", "", "nbf=1800000061", KEY_MAIN,
      ENTRA_TOKEN_NOT_YET_VALID, NBF },
    { "issued in the future", "", "iat=1800000061", KEY_MAIN,
      ENTRA_TOKEN_NOT_YET_VALID, IAT },
    { "expired and not yet valid", "", "exp=1|nbf=1800000061", KEY_MAIN,
      ENTRA_TOKEN_EXPIRED, NULL },

    /* claims of another type do not decide the key */

    { "iss missing", "", "-iss", KEY_MAIN, ENTRA_CLAIM_INVALID, "*" },
    { "iss a number", "", "iss=1", KEY_MAIN, ENTRA_CLAIM_INVALID, "*" },
    { "tid missing", "", "-tid", KEY_MAIN, ENTRA_CLAIM_INVALID, "*" },
    { "tid no GUID", "", "tid=\"x\"", KEY_MAIN, ENTRA_CLAIM_INVALID, "*" },
    { "tid null", "", "tid=null", KEY_MAIN, ENTRA_CLAIM_INVALID, "*" },
    { "tid null, consumers' key", "kid=\"consumer\"", "tid=null", KEY_MAIN,
      ENTRA_CLAIM_INVALID, "*" },
    { "tid null, signature wrong", "", "tid=null", KEY_OTHER,
      ENTRA_SIGNATURE_INVALID, NULL },
    { "tid null, a small key", "kid=\"small\"", "tid=null", KEY_SMALL,
      ENTRA_KEY_NOT_ALLOWED, SHORT },
    { "exp a string", "", "exp=\"1800003600\"", KEY_MAIN, ENTRA_CLAIM_INVALID,
      "*" },
    { "exp past 64 bits", "", "exp=99999999999999999999", KEY_MAIN,
      ENTRA_CLAIM_INVALID, "*" },
    { "exp 1e300", "", "exp=1e300", KEY_MAIN, ENTRA_CLAIM_INVALID, "*" },
    { "aud missing", "", "-aud", KEY_MAIN, ENTRA_CLAIM_INVALID, "*" },
    { "scp missing", "", "-scp", KEY_MAIN, ENTRA_CLAIM_INVALID, "*" },

    /* issuer, scope, audience, tenant, user */

    { "iss of a stranger, a key for all", "kid=\"plain\"",
      "iss=\"https://evil.example.com/\"", KEY_MAIN, ENTRA_ISSUER_NOT_ALLOWED,
      NULL },
    { "iss of another tenant, a key for all", "kid=\"plain\"",
      "iss=\"" TOKEN_V2 TOKEN_TID_2 "/v2.0\"", KEY_MAIN,
      ENTRA_ISSUER_NOT_ALLOWED, NULL },
    { "v1 iss of a stranger's host, a v2 key", "",
      "iss=\"https://evil.example.com/" TOKEN_TID "/\"", KEY_MAIN,
      ENTRA_ISSUER_NOT_ALLOWED, NULL },
    { "another scope", "", "scp=\"user_impersonation\"", KEY_MAIN,
      ENTRA_SCOPE_NOT_ALLOWED, NULL },
    { "another audience", "", "aud=\"99999999-9999-9999-9999-999999999999\"",
      KEY_MAIN, ENTRA_AUDIENCE_NOT_ALLOWED, NULL },
    { "another tenant, all else of it", "",
      "tid=\"" TOKEN_TID_2 "\"|iss=\"" TOKEN_V2 TOKEN_TID_2 "/v2.0\"",
      KEY_MAIN, ENTRA_TENANT_NOT_ALLOWED, NULL },
    { "consumers, by their own key", "kid=\"consumer\"",
      "tid=\"" TOKEN_CONSUMER "\"|iss=\"" TOKEN_V2 TOKEN_CONSUMER "/v2.0\"",
      KEY_MAIN, ENTRA_TENANT_NOT_ALLOWED, NULL },
    { "control characters in upn", "", "upn=\"a\\r\\nb\"", KEY_MAIN,
      ENTRA_UPN_INVALID, NULL },

    /* the backend's own cases of claims */

    { "upn and preferred_username", "", "upn=\"u@x\"", KEY_MAIN, ENTRA_OK,
      NULL },
    { "no user at all", "", "-preferred_username", KEY_MAIN, ENTRA_OK, NULL },
    { "no ver", "", "-ver", KEY_MAIN, ENTRA_OK, NULL },
};


static void
test_rows(void)
{
    size_t  i;

    for (i = 0; i < tap_count(rows); i++) {
        check(make_token(rows[i].header, rows[i].claims, false, rows[i].key),
              POLICY_USUAL, rows[i].reason, rows[i].why, rows[i].name);
    }

    check(make_token("", "-preferred_username", false, KEY_MAIN),
          POLICY_REQUIRE_UPN, ENTRA_UPN_MISSING, NULL, "no user, but required");
    check(make_token("", "", false, KEY_MAIN), POLICY_NO_TENANT,
          ENTRA_TENANT_NOT_ALLOWED, NULL, "no tenant configured");
    check(make_token("", "", false, KEY_MAIN), POLICY_NO_AUDIENCE,
          ENTRA_AUDIENCE_NOT_ALLOWED, NULL, "no audience configured");

    check(make_token("", "", true, KEY_MAIN), POLICY_USUAL, ENTRA_OK, NULL,
          "a v1 token by a v2 key");
    check(make_token("kid=\"v1\"", "", true, KEY_MAIN), POLICY_USUAL, ENTRA_OK,
          NULL, "a v1 token by a v1 key");
    check(make_token("kid=\"consumer\"", "", true, KEY_MAIN), POLICY_USUAL,
          ENTRA_KEY_NOT_ALLOWED, COVER, "a v1 token by consumers' key");
    check(make_token("kid=\"tenant\"", "", true, KEY_MAIN), POLICY_USUAL,
          ENTRA_OK, NULL, "a v1 token by the tenant's v2 key");
    check(make_token("", "aud=\"" TOKEN_CLIENT "\"", true, KEY_MAIN),
          POLICY_USUAL, ENTRA_OK, NULL, "a v1 token for a client ID");
    check(make_token("", "aud=\"https://fleet.example.com:443\"", true,
                     KEY_MAIN),
          POLICY_USUAL, ENTRA_AUDIENCE_NOT_ALLOWED, NULL,
          "a v1 token for our host and the scheme's own port");
}


/* what an accepted token says */

static void
test_accepted(void)
{
    entra_str_t      token;
    entra_verdict_t  verdict;

    token = make_token("", "", true, KEY_MAIN);

    tap_is_reason(verify(token, POLICY_USUAL, &verdict), ENTRA_OK, "v1");
    tap_is_str(verdict.identity.user, entra_lit("ann@example.com"), "its user");
    tap_is_str(verdict.identity.audience,
               entra_lit("https://fleet.example.com"), "its audience");
    tap_is_str(verdict.kid, entra_lit("entra"), "its kid");
    tap_is_str(verdict.claims.deviceid.value,
               entra_lit("11ea4b2e-0c39-4a7a-9a09-1a2b3c4d5e6f"),
               "its device");
    tap_is_str(verdict.claims.ver.value, entra_lit("1.0"), "its version");

    pool_free(&pool);

    token = make_token("", "", false, KEY_MAIN);

    tap_is_reason(verify(token, POLICY_USUAL, &verdict), ENTRA_OK, "v2");
    tap_is_str(verdict.identity.user, entra_lit("bob@example.com"), "its user");
    tap_is_str(verdict.identity.audience, entra_lit(TOKEN_CLIENT),
               "its audience");
    tap_ok(verdict.claims.deviceid.state == ENTRA_CLAIM_ABSENT, "no device");

    pool_free(&pool);

    token = make_token("", "exp=1", false, KEY_MAIN);

    tap_is_reason(verify(token, POLICY_USUAL, &verdict), ENTRA_TOKEN_EXPIRED,
                  "expired");
    tap_ok(verdict.verified, "verified all the same");
    tap_is_str(verdict.claims.tid.value, entra_lit(TOKEN_TID),
               "its tenant is for the log");

    pool_free(&pool);
}


/*** two things wrong at once ***/


/* in the order of judgement; faults of one place exclude each other */

static const struct {
    const char      *name;
    char             place;
    const char      *header;
    const char      *claims;
    bool             tampered;
    unsigned         policy;
    entra_reason_t   reason;
} faults[] = {
    { "header not an object of unique names", 'h', "+alg=\"RS256\"", "", false,
      0, ENTRA_TOKEN_MALFORMED },
    { "a claim twice", 'p', "", "+name=\"x\"", false, 0,
      ENTRA_TOKEN_MALFORMED },
    { "algorithm", 'a', "alg=\"RS384\"", "", false, 0,
      ENTRA_ALGORITHM_NOT_ALLOWED },
    { "crit", 'c', "crit=[]", "", false, 0, ENTRA_ALGORITHM_NOT_ALLOWED },
    { "unknown key", 'k', "kid=\"x\"", "", false, 0, ENTRA_KEY_UNKNOWN },
    { "key not allowed", 'k', "kid=\"small\"", "", false, 0,
      ENTRA_KEY_NOT_ALLOWED },
    { "Graph's nonce", 'n', "nonce=\"x\"", "", false, 0,
      ENTRA_SIGNATURE_INVALID },
    { "signature", 's', "", "", true, 0, ENTRA_SIGNATURE_INVALID },
    { "expired", 'e', "", "exp=1", false, 0, ENTRA_TOKEN_EXPIRED },
    { "not yet valid", 'f', "", "nbf=1900000000", false, 0,
      ENTRA_TOKEN_NOT_YET_VALID },
    { "issued in the future", 'i', "", "iat=1900000000", false, 0,
      ENTRA_TOKEN_NOT_YET_VALID },
    { "exp missing", 'e', "", "-exp", false, 0, ENTRA_CLAIM_INVALID },
    { "nbf a string", 'f', "", "nbf=\"x\"", false, 0, ENTRA_CLAIM_INVALID },
    { "scp a number", 'o', "", "scp=5", false, 0, ENTRA_CLAIM_INVALID },
    { "aud null", 'u', "", "aud=null", false, 0, ENTRA_CLAIM_INVALID },
    { "issuer", 'r', "", "iss=\"https://evil.example.com/" TOKEN_TID "/\"",
      false, 0, ENTRA_ISSUER_NOT_ALLOWED },
    { "scope", 'o', "", "scp=\"x\"", false, 0, ENTRA_SCOPE_NOT_ALLOWED },
    { "audience", 'u', "", "aud=\"x\"", false, 0, ENTRA_AUDIENCE_NOT_ALLOWED },
    { "tenant", 't', "", "", false, POLICY_NO_TENANT,
      ENTRA_TENANT_NOT_ALLOWED },
    { "user with controls", 'w', "", "upn=\"\\n\"", false, 0,
      ENTRA_UPN_INVALID },
    { "no user", 'w', "", "-preferred_username", false, POLICY_REQUIRE_UPN,
      ENTRA_UPN_MISSING },
};


static entra_str_t
tamper(entra_str_t token)
{
    char  *copy;

    copy = pool_text(&pool, "%.*s", (int) token.len, token.data);
    copy[token.len - 20] = copy[token.len - 20] == 'A' ? 'B' : 'A';

    return entra_str(copy);
}


static void
test_order(void)
{
    size_t        i, j;
    entra_str_t   token;

    for (i = 0; i < tap_count(faults); i++) {
        for (j = i; j < tap_count(faults); j++) {

            if (i != j && faults[i].place == faults[j].place) {
                continue;
            }

            token = make_token(
                pool_text(&pool, "%s|%s", faults[i].header,
                          i == j ? "" : faults[j].header),
                pool_text(&pool, "%s|%s", faults[i].claims,
                          i == j ? "" : faults[j].claims),
                false, KEY_MAIN);

            if (faults[i].tampered || faults[j].tampered) {
                token = tamper(token);
            }

            check(token, faults[i].policy | faults[j].policy, faults[i].reason,
                  "*", pool_text(&keep, "%s, %s", faults[i].name,
                                 i == j ? "alone" : faults[j].name));
        }
    }
}


/* and everything wrong at once, mended from the front */

static void
test_everything_wrong(void)
{
    size_t        i, first;
    char          seen[64], *header, *claims;
    bool          tampered;
    unsigned      which;
    entra_str_t   token;

    for (first = 0; first < tap_count(faults); first++) {
        header = claims = pool_text(&pool, "%s", "");
        tampered = false;
        which = 0;
        memset(seen, 0, sizeof(seen));

        for (i = first; i < tap_count(faults); i++) {

            if (strchr(seen, faults[i].place) != NULL) {
                continue;
            }

            seen[strlen(seen)] = faults[i].place;
            header = pool_text(&pool, "%s|%s", header, faults[i].header);
            claims = pool_text(&pool, "%s|%s", claims, faults[i].claims);
            tampered |= faults[i].tampered;
            which |= faults[i].policy;
        }

        token = make_token(header, claims, false, KEY_MAIN);

        if (tampered) {
            token = tamper(token);
        }

        check(token, which, faults[first].reason, "*",
              pool_text(&keep, "everything wrong from here on: %s",
                        faults[first].name));
    }
}


/*** tampering ***/


static const char  alphabet[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";


/* refused, and for a reason that tampering can have */

static bool
refused(entra_str_t token)
{
    bool             ok;
    entra_reason_t   reason;
    entra_verdict_t  verdict;

    reason = verify(token, POLICY_USUAL, &verdict);

    ok = verdict_sound(&verdict, reason) && !verdict.verified;

    switch (reason) {

    case ENTRA_TOKEN_MALFORMED:
    case ENTRA_ALGORITHM_NOT_ALLOWED:
    case ENTRA_KEY_UNKNOWN:
    case ENTRA_KEY_NOT_ALLOWED:
    case ENTRA_SIGNATURE_INVALID:
        break;

    default:
        ok = false;
    }

    if (!ok) {
        tap_diag("tampered, but: %s", tap_key(reason));
        tap_show("token", token);
    }

    return ok;
}


static void
test_each_character_changed(void)
{
    bool          ok[3];
    char         *copy;
    size_t        i, n, part;
    const char   *at;
    entra_str_t   token;

    token = make_token("", "", false, KEY_MAIN);
    copy = pool_text(&keep, "%s", token.data);
    token.data = copy;

    ok[0] = ok[1] = ok[2] = true;
    part = 0;

    for (i = 0; i < token.len; i++) {
        char        kept = copy[i];
        const char  others[] = { '.', '=', '\n', '\0', '+', (char) 0x80 };

        part += kept == '.';

        for (n = 0; n < sizeof(others); n++) {
            if (others[n] != kept) {
                copy[i] = others[n];
                ok[part] = refused(token) && ok[part];
                pool_free(&pool);
            }
        }

        /* the neighbours in value, which differ in few bits, and one afar */

        at = kept == '.' ? alphabet : strchr(alphabet, kept);

        for (n = 1; n < 64; n = n * 2 + 1) {
            copy[i] = alphabet[(size_t) (at - alphabet) ^ n];
            ok[part] = refused(token) && ok[part];
            pool_free(&pool);
        }

        copy[i] = kept;
    }

    tap_ok(ok[0], "each character of the header changed: never accepted");
    tap_ok(ok[1], "each character of the payload changed: never accepted");
    tap_ok(ok[2], "each character of the signature changed: never accepted");

    check(token, POLICY_USUAL, ENTRA_OK, NULL, "unchanged");
}


static void
test_each_byte_added_or_removed(void)
{
    bool          ok;
    char         *copy;
    size_t        i, n;
    unsigned      c;
    entra_str_t   token;

    static const char  added[] = { 'A', '.', '=', ' ', '\r', '\n', '\0' };

    token = make_token("", "", false, KEY_MAIN);
    copy = pool_text(&keep, "%s ", token.data);
    ok = true;

    for (c = 0; c < 256; c++) {
        copy[token.len] = (char) c;
        ok = refused((entra_str_t) { copy, token.len + 1 }) && ok;
        pool_free(&pool);
    }

    tap_ok(ok, "each byte appended: never accepted");

    /* pool held the token; copy holds it still */
    ok = true;

    for (n = 0; n < token.len; n++) {
        ok = refused((entra_str_t) { copy, n }) && ok;
        pool_free(&pool);
    }

    tap_ok(ok, "cut at each length: never accepted");

    ok = true;

    for (n = 1; n < token.len; n++) {
        ok = refused((entra_str_t) { copy + n, token.len - n }) && ok;
        pool_free(&pool);
    }

    tap_ok(ok, "cut at the front: never accepted");

    ok = true;

    for (i = 0; i < sizeof(added); i++) {
        char  *wide = malloc(token.len + 1);

        if (wide == NULL) {
            tap_bail("out of memory");
        }

        for (n = 0; n <= token.len; n++) {
            memcpy(wide, copy, n);
            wide[n] = added[i];
            memcpy(wide + n + 1, copy + n, token.len - n);
            ok = refused((entra_str_t) { wide, token.len + 1 }) && ok;
            pool_free(&pool);
        }

        free(wide);
    }

    tap_ok(ok, "a byte put in anywhere: never accepted");
}


/*** parts of two tokens, and other people's algorithms ***/


static void
test_mixed_parts(void)
{
    entra_str_t   one, two;
    const char   *one_dot, *two_dot;

    one = make_token("", "upn=\"one@example.com\"", false, KEY_MAIN);
    two = make_token("kid=\"plain\"", "upn=\"two@example.com\"", false,
                     KEY_MAIN);

    one_dot = strrchr(one.data, '.');
    two_dot = strrchr(two.data, '.');

    check(entra_str(pool_text(&pool, "%.*s%s", (int) (one_dot - one.data),
                              one.data, two_dot)),
          POLICY_USUAL, ENTRA_SIGNATURE_INVALID, NULL,
          "the signature of another token");

    one = make_token("", "upn=\"one@example.com\"", false, KEY_MAIN);
    two = make_token("kid=\"plain\"", "upn=\"two@example.com\"", false,
                     KEY_MAIN);

    check(entra_str(pool_text(&pool, "%.*s%s",
                              (int) (strchr(one.data, '.') - one.data),
                              one.data, strchr(two.data, '.'))),
          POLICY_USUAL, ENTRA_SIGNATURE_INVALID, NULL,
          "the header of another token");
}


/* the public key as the secret of an HMAC: the oldest trick */

static void
test_hmac_with_the_public_key(void)
{
    BIO            *bio;
    char           *pem, *input;
    long            len;
    size_t          n;
    unsigned char   mac[32];

    bio = BIO_new(BIO_s_mem());
    if (bio == NULL || PEM_write_bio_PUBKEY(bio, keys[KEY_MAIN]) != 1) {
        tap_bail("no PEM");
    }

    len = BIO_get_mem_data(bio, &pem);

    input = pool_text(&pool, "%s.%s",
        token_base64url(&pool, entra_str(token_json(&pool,
            "typ=\"JWT\"|alg=\"HS256\"|kid=\"entra\"", ""))).data,
        token_base64url(&pool, entra_str(token_json(&pool, TOKEN_CLAIMS_V2,
                                                    ""))).data);

    if (EVP_Q_mac(NULL, "HMAC", NULL, "SHA256", NULL, pem, (size_t) len,
                  (unsigned char *) input, strlen(input), mac, sizeof(mac), &n)
        == NULL)
    {
        tap_bail("no HMAC");
    }

    BIO_free(bio);

    check(entra_str(pool_text(&pool, "%s.%s", input,
              token_base64url(&pool, (entra_str_t) { (char *) mac, n }).data)),
          POLICY_USUAL, ENTRA_ALGORITHM_NOT_ALLOWED, NULL,
          "HS256 with the public key as its secret");
}


/* a token that brings the key it is signed with */

static void
test_embedded_key(void)
{
    char  *jwk;

    jwk = token_jwk(&pool, keys[KEY_STRANGER], "mine", "");

    check(make_token(pool_text(&pool, "jwk=%s", jwk), "", false, KEY_STRANGER),
          POLICY_USUAL, ENTRA_SIGNATURE_INVALID, NULL,
          "jwk in the header, signed by it");

    jwk = token_jwk(&pool, keys[KEY_STRANGER], "mine", "");

    check(make_token(pool_text(&pool, "jwk=%s|kid=\"mine\"", jwk), "", false,
                     KEY_STRANGER),
          POLICY_USUAL, ENTRA_KEY_UNKNOWN, NULL,
          "jwk in the header, signed by it and named by kid");
}


/*** texts around a token ***/


static const struct {
    const char      *name;
    const char      *before;
    const char      *after;             /* "T": the token once more */
    const char      *why;
} wrapped[] = {
    { "a blank in front", " ", "", BASE64 },
    { "a blank behind", "", " ", BASE64 },
    { "a line feed behind", "", "\n", BASE64 },
    { "padding behind", "", "=", BASE64 },
    { "more padding behind", "", "==", BASE64 },
    { "a dot behind", "", ".", PARTS },
    { "quotes", "\"", "\"", BASE64 },
    { "its scheme", "Bearer ", "", BASE64 },
    { "twice", "", "T", PARTS },
    { "twice, with a comma", "", ",T", PARTS },
    { "a fourth part", "", ".AAAA", PARTS },
    { "a byte order mark", "\xef\xbb\xbf", "", BASE64 },
};


static void
test_wrapped(void)
{
    size_t        i;
    entra_str_t   token;
    const char   *again;

    for (i = 0; i < tap_count(wrapped); i++) {
        token = make_token("", "", false, KEY_MAIN);
        again = strchr(wrapped[i].after, 'T');

        if (again != NULL) {
            token = entra_str(pool_text(&pool, "%s%.*s%s", token.data,
                                        (int) (again - wrapped[i].after),
                                        wrapped[i].after, token.data));
        } else {
            token = entra_str(pool_text(&pool, "%s%s%s", wrapped[i].before,
                                        token.data, wrapped[i].after));
        }

        check(token, POLICY_USUAL, ENTRA_TOKEN_MALFORMED, wrapped[i].why,
              wrapped[i].name);
    }

    check(ENTRA_STR_NONE, POLICY_USUAL, ENTRA_TOKEN_MALFORMED, PARTS,
          "no token at all");
    check(token_base64(&pool, make_token("", "", false, KEY_MAIN)),
          POLICY_USUAL, ENTRA_TOKEN_MALFORMED, PARTS,
          "wrapped in base64 once more, as messages have it");
}


/*
 * Tail bits: for each part, all characters that a lenient decoder would take
 * for the last one.
 */

static void
test_tail_bits(void)
{
    int           pad;
    char         *copy, *end, kept;
    size_t        n, tried;
    bool          ok;
    const char   *at, *spaces[] = { "", " ", "  " };
    entra_str_t   token;

    ok = true;
    tried = 0;

    for (pad = 0; pad < 3; pad++) {
        token = make_token(pool_text(&pool, "x=\"%s\"", spaces[pad]),
                           pool_text(&pool, "x=\"%s\"", spaces[pad]), false,
                           KEY_MAIN);
        copy = pool_text(&keep, "%s", token.data);

        for (end = strchr(copy, '.'); end != NULL;
             end = *end ? end + 1 + strcspn(end + 1, ".") : NULL)
        {
            kept = end[-1];
            at = strchr(alphabet, kept);

            for (n = 1; n < 16; n++) {
                end[-1] = alphabet[((size_t) (at - alphabet) & ~(size_t) 15)
                                   + (((size_t) (at - alphabet) + n) & 15)];
                ok = refused(entra_str(copy)) && ok;
                tried++;
                pool_free(&pool);
            }

            end[-1] = kept;
        }

        check(entra_str(copy), POLICY_USUAL, ENTRA_OK, NULL, "unchanged");
    }

    tap_ok(ok && tried == 3 * 3 * 15, "other last characters: never accepted");
}


/*** no keys ***/


/* what needs no key is judged without one, and nothing is accepted */

static void
test_without_keys(void)
{
    size_t            i;
    entra_policy_t    policy;
    entra_reason_t    reason;
    entra_verdict_t   verdict;

    static const struct {
        const char      *header;
        entra_reason_t   reason;
        const char      *name;
    } tokens[] = {
        { "", ENTRA_KEYS_UNAVAILABLE, "a good token without a key set" },
        { "kid=\"\"", ENTRA_KEYS_UNAVAILABLE, "an empty kid" },
        { "nonce=\"x\"", ENTRA_KEYS_UNAVAILABLE, "a token for Graph" },
        { "alg=\"none\"", ENTRA_ALGORITHM_NOT_ALLOWED, "alg none" },
        { "-kid", ENTRA_TOKEN_MALFORMED, "no kid" },
    };

    policy = make_policy(POLICY_USUAL);

    for (i = 0; i < tap_count(tokens); i++) {
        reason = token_judge(make_token(tokens[i].header, "", false, KEY_MAIN),
                             MAX_TOKEN, NULL, &policy, &pool, &verdict);

        tap_is_reason(reason, tokens[i].reason, tokens[i].name);
        tap_ok(!verdict.verified, "and it is not verified");
        pool_free(&pool);
    }
}


/*** length ***/


static void
test_length(void)
{
    size_t            n;
    entra_str_t       token;
    entra_policy_t    policy;
    entra_reason_t    reason;
    entra_verdict_t   verdict;

    policy = make_policy(POLICY_USUAL);
    token = make_token("", "", false, KEY_MAIN);

    for (n = token.len - 1; n <= token.len + 1; n++) {
        reason = token_judge(token, n, jwks, &policy, &pool, &verdict);

        tap_is_refusal(reason, verdict.why,
                       n < token.len ? ENTRA_TOKEN_MALFORMED : ENTRA_OK,
                       n < token.len ? "it is longer than max_token" : NULL,
                       n < token.len ? "one byte over max_token"
                                     : "no longer than max_token");
    }

    pool_free(&pool);

    check(make_token("", pool_text(&pool, "groups=\"%08000d\"", 0), false,
                     KEY_MAIN),
          POLICY_USUAL, ENTRA_OK, NULL, "a large token");
    check(make_token("", pool_text(&pool, "groups=\"%014000d\"", 0), false,
                     KEY_MAIN),
          POLICY_USUAL, ENTRA_TOKEN_MALFORMED, "it is longer than max_token",
          "a token too large");
}


/*** the allocator ***/


static void
test_allocator(void)
{
    bool              on;
    size_t            n, calls;
    entra_str_t       token;
    entra_policy_t    policy;
    entra_reason_t    reason;
    entra_verdict_t   verdict;

    policy = make_policy(POLICY_USUAL);
    token = make_token("", "aud=[\"x\",\"" TOKEN_CLIENT "\"]", false, KEY_MAIN);
    token = entra_str(pool_text(&keep, "%s", token.data));
    pool_free(&pool);

    for (on = false; /* void */ ; on = true) {

        for (n = 1; /* void */ ; n++) {
            pool.fail_at = n;
            pool.fail_on = on;

            reason = token_judge(token, MAX_TOKEN, jwks, &policy, &pool,
                                 &verdict);
            calls = pool.calls;

            tap_is_refusal(reason, verdict.why,
                           calls < n ? ENTRA_OK : ENTRA_INTERNAL, NULL,
                           calls < n ? "with memory enough" : "out of memory");
            tap_ok(verdict_sound(&verdict, reason), "a sound verdict");

            pool_free(&pool);

            if (calls < n) {
                break;
            }
        }

        if (on) {
            break;
        }
    }
}


int
main(void)
{
    size_t  i;

    pool_init(&pool);
    pool_init(&keep);

    make_keys();

    test_rows();
    test_accepted();
    test_order();
    test_everything_wrong();
    test_each_character_changed();
    test_each_byte_added_or_removed();
    test_mixed_parts();
    test_hmac_with_the_public_key();
    test_embedded_key();
    test_wrapped();
    test_tail_bits();
    test_without_keys();
    test_length();
    test_allocator();

    entra_jwks_free(jwks);

    for (i = 0; i < KEYS; i++) {
        EVP_PKEY_free(keys[i]);
    }

    pool_free(&keep);

    return tap_done();
}
