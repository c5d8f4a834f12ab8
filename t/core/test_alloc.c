/*
 * Every allocation fails once, and from there on.  Nothing may crash or leak,
 * and nothing may come out right but whole.
 */

#define _GNU_SOURCE                     /* for heap.h */

#include "entra_cache.h"
#include "entra_config.h"
#include "entra_device.h"
#include "entra_fault.h"
#include "entra_gather.h"
#include "entra_issuer.h"
#include "entra_soap.h"
#include "entra_state.h"
#include "entra_tou.h"
#include "entra_verify.h"
#include "heap.h"
#include "token.h"


#define MAX_TOKEN  16384


/*** what is run ***/


static pool_t          pool;
static pool_t          keep;
static entra_str_t     key_set;
static entra_jwks_t   *jwks;
static entra_str_t     payload;
static entra_str_t     token_v1;
static entra_str_t     token_tampered;
static entra_claims_t  few_claims;
static entra_guid_t    client, tenant;
static entra_policy_t  policy;


/*
 * OpenSSL may call a key unfit when it only lacked memory, in no words of its
 * own; such a key is not used, and the set is still what it says.
 */

static bool
unfit(const entra_jwks_t *set, entra_str_t kid)
{
    bool                known;
    const char         *why;
    const entra_key_t  *key;

    key = entra_jwks_find(set, kid, ENTRA_STR_NONE, ENTRA_STR_NONE, &known,
                          &why);

    return key == NULL && known
           && strcmp(why, "OpenSSL does not accept it") == 0;
}


static result_t
run_jwks(void)
{
    bool            known;
    size_t          odd;
    result_t        result;
    const char     *error, *why;
    entra_jwks_t   *set;

    set = entra_jwks_parse(key_set, &error);

    if (set == NULL) {
        return strcmp(error, "out of memory") == 0 ? RESULT_REFUSED
                                                   : RESULT_MISLED;
    }

    odd = (size_t) unfit(set, entra_lit("one"))
          + (size_t) unfit(set, entra_lit("two"));

    result = RESULT_WRONG;

    if (entra_jwks_count(set) == 4 && entra_jwks_usable(set) == 2 - odd
        && entra_jwks_find(set, entra_lit("small"), ENTRA_STR_NONE,
                           ENTRA_STR_NONE, &known, &why) == NULL
        && strcmp(why, "it is shorter than 2048 bits") == 0
        && entra_jwks_find(set, entra_lit("ec"), ENTRA_STR_NONE,
                           ENTRA_STR_NONE, &known, &why) == NULL
        && strcmp(why, "its kty is not RSA") == 0)
    {
        result = odd ? RESULT_MISLED : RESULT_RIGHT;
    }

    entra_jwks_free(set);

    return result;
}


/* every claim there is, to the byte */

static bool
whole(const entra_verdict_t *verdict)
{
    const entra_claims_t  *claims;

    claims = &verdict->claims;

    return verdict->verified && verdict->why == NULL
           && entra_str_eq(verdict->kid, entra_lit("one"))
           && entra_str_eq(verdict->identity.user, entra_lit("ann@example.com"))
           && entra_str_eq(verdict->identity.audience,
                           entra_lit("https://fleet.example.com"))
           && entra_str_eq(claims->payload, payload)
           && entra_str_eq(claims->ver.value, entra_lit("1.0"))
           && entra_str_eq(claims->tid.value, entra_lit(TOKEN_TID))
           && claims->exp.value == TOKEN_NOW + 3600;
}


static result_t
run_verify(void)
{
    result_t         result;
    entra_reason_t   reason;
    entra_verdict_t  verdict;

    reason = token_judge(token_v1, MAX_TOKEN, jwks, &policy, &pool, &verdict);

    switch (reason) {

    case ENTRA_OK:
        result = whole(&verdict) ? RESULT_RIGHT : RESULT_WRONG;
        break;

    case ENTRA_INTERNAL:
        /* which says nothing of the token */
        result = verdict.why == NULL ? RESULT_REFUSED : RESULT_WRONG;
        break;

    case ENTRA_SIGNATURE_INVALID:
        /* OpenSSL says so of a context it could not copy */
        result = RESULT_MISLED;
        break;

    default:
        result = RESULT_WRONG;
    }

    if (reason != ENTRA_OK
        && (verdict.verified || verdict.identity.audience.data != NULL
            || verdict.identity.user.data != NULL))
    {
        result = RESULT_WRONG;
    }

    pool_free(&pool);

    return result;
}


/* here it is right to refuse */

static result_t
run_verify_tampered(void)
{
    result_t         result;
    entra_reason_t   reason;
    entra_verdict_t  verdict;

    reason = token_judge(token_tampered, MAX_TOKEN, jwks, &policy, &pool, &verdict);

    switch (reason) {

    case ENTRA_SIGNATURE_INVALID:
        result = RESULT_RIGHT;
        break;

    case ENTRA_INTERNAL:
        result = RESULT_REFUSED;
        break;

    case ENTRA_TOKEN_MALFORMED:
        result = RESULT_MISLED;
        break;

    default:
        result = RESULT_WRONG;
    }

    if (verdict.verified) {
        result = RESULT_WRONG;
    }

    pool_free(&pool);

    return result;
}


/* a cache, and a token twice: with or without an entry, verified or refused */

static result_t
run_cache(void)
{
    bool                 seen;
    size_t               i;
    result_t             result;
    entra_cache_t       *cache;
    entra_reason_t       reason;
    entra_verdict_t      verdict;
    entra_cache_conf_t   conf;

    conf.jwks = jwks;
    conf.leeway = 60;
    conf.max_entries = 4;
    conf.max_bytes = 1 << 20;

    cache = entra_cache_create(&conf);
    if (cache == NULL) {
        return RESULT_REFUSED;
    }

    result = RESULT_RIGHT;

    for (i = 0; i < 2 && result == RESULT_RIGHT; i++) {
        reason = entra_cache_verify(cache, token_v1, MAX_TOKEN, TOKEN_NOW,
                                    &pool.mem, &verdict, &seen);

        result = reason == ENTRA_INTERNAL ? RESULT_REFUSED
                 : reason == ENTRA_SIGNATURE_INVALID ? RESULT_MISLED
                 : reason != ENTRA_OK
                   || !entra_str_eq(verdict.claims.payload, payload)
                   ? RESULT_WRONG : RESULT_RIGHT;

        if (verdict.verified != (reason == ENTRA_OK)) {
            result = RESULT_WRONG;
        }
    }

    entra_cache_free(cache);
    pool_free(&pool);

    return result;
}


#define MESSAGE                                                               \
    "<s:Envelope xmlns:s=\"http://www.w3.org/2003/05/soap-envelope\""         \
    " xmlns:a=\"http://www.w3.org/2005/08/addressing\""                       \
    " xmlns:w=\"http://docs.oasis-open.org/wss/2004/01/"                      \
    "oasis-200401-wss-wssecurity-secext-1.0.xsd\"><s:Header>"                 \
    "<a:Action s:mustUnderstand=\"1\">act</a:Action>"                         \
    "<a:MessageID>urn:uuid:1</a:MessageID><w:Security>"                       \
    "<w:BinarySecurityToken ValueType=\""                                     \
    "urn:ietf:params:oauth:token-type:jwt\">YS5i\nLmM="                       \
    "</w:BinarySecurityToken></w:Security></s:Header><s:Body>"                \
    "<RequestSecurityToken><AdditionalContext>"                               \
    "<ContextItem Name=\"A\"><Value>1</Value></ContextItem>"                  \
    "<ContextItem Name=\"B\"><Value>2 &amp; 3</Value></ContextItem>"          \
    "</AdditionalContext></RequestSecurityToken></s:Body></s:Envelope>"


static bool
message_whole(const entra_soap_message_t *message)
{
    const entra_context_t  *item;

    item = message->context;

    return message->credential == ENTRA_CREDENTIAL_JWT && !message->too_long
           && entra_str_eq(message->encoded, entra_lit("YS5iLmM="))
           && entra_str_eq(message->message_id, entra_lit("urn:uuid:1"))
           && entra_str_eq(message->action, entra_lit("act"))
           && item != NULL && entra_str_eq(item->name, entra_lit("B"))
           && entra_str_eq(item->value, entra_lit("2 & 3"))
           && item->next != NULL
           && entra_str_eq(item->next->name, entra_lit("A"))
           && entra_str_eq(item->next->value, entra_lit("1"))
           && item->next->next == NULL;
}


static result_t
soap_result(entra_soap_t *soap, entra_soap_state_t state)
{
    const char      *why;
    entra_str_t      token;
    entra_reason_t   reason;

    if (state == ENTRA_SOAP_REFUSED) {
        switch (entra_soap_reason(soap, &why)) {

        case ENTRA_INTERNAL:
            return RESULT_REFUSED;

        case ENTRA_MESSAGE_MALFORMED:
            /* expat takes a prefix it could not store for an unknown one */
            return RESULT_MISLED;

        default:
            return RESULT_WRONG;
        }
    }

    if (state != ENTRA_SOAP_DONE
        || !message_whole(entra_soap_message(soap)))
    {
        return RESULT_WRONG;
    }

    reason = entra_soap_token(entra_soap_message(soap), &pool.mem, &token,
                              &why);

    if (reason == ENTRA_INTERNAL) {
        return RESULT_REFUSED;
    }

    return reason == ENTRA_OK && entra_str_eq(token, entra_lit("a.b.c"))
           ? RESULT_RIGHT : RESULT_WRONG;
}


/* in pieces of that size */

static result_t
soap_pieces(size_t size)
{
    bool                 last;
    size_t               n;
    result_t             result;
    entra_str_t          text;
    entra_soap_t        *soap;
    entra_soap_state_t   state;

    soap = entra_soap_create(MAX_TOKEN, &pool.mem);

    if (soap == NULL) {
        pool_free(&pool);
        return RESULT_REFUSED;
    }

    text = entra_lit(MESSAGE);
    state = ENTRA_SOAP_MORE;

    while (text.len && state != ENTRA_SOAP_REFUSED) {
        n = size < text.len ? size : text.len;
        last = n == text.len;

        state = entra_soap_feed(soap, (entra_str_t) { text.data, n }, last);

        if (state == ENTRA_SOAP_HEADER && last) {
            state = entra_soap_feed(soap, ENTRA_STR_NONE, true);
        }

        text = entra_str_from(text, n);
    }

    result = soap_result(soap, state);

    entra_soap_free(soap);
    pool_free(&pool);

    return result;
}


static result_t
run_soap(void)
{
    return soap_pieces(1 << 20);
}


static result_t
run_soap_in_pieces(void)
{
    return soap_pieces(11);
}


static result_t
run_fault(void)
{
    bool           written;
    result_t       result;
    entra_str_t    document;
    entra_fault_t  fault;

    memset(&fault, 0, sizeof(fault));
    fault.reason = ENTRA_INTERNAL;
    fault.message_id = entra_lit("<&>");

    written = entra_fault_write(&fault, &pool.mem, &document);

    result = !written ? RESULT_REFUSED
             : document.len > 700 && document.data[document.len - 1] == '\n'
               ? RESULT_RIGHT : RESULT_WRONG;

    pool_free(&pool);

    return result;
}


static result_t
run_tou(void)
{
    bool         written;
    result_t     result;
    entra_str_t  location;

    written = entra_tou_redirect(entra_lit("redirect_uri=ms-appx-web://x"),
                                 NULL, 0, ENTRA_INTERNAL, &pool.mem,
                                 &location);

    result = !written ? RESULT_REFUSED
             : entra_str_starts(location, entra_lit("ms-appx-web://x?error="))
               ? RESULT_RIGHT : RESULT_WRONG;

    pool_free(&pool);

    return result;
}


static result_t
run_device(void)
{
    switch (entra_device_token_check(entra_lit("{\"type\":1,\"payload\":{"
                                               "\"orbit_node_key\":\"k\"}}")))
    {
    case ENTRA_OK:
        return RESULT_RIGHT;

    case ENTRA_INTERNAL:
        return RESULT_REFUSED;

    case ENTRA_TOKEN_MALFORMED:
        return RESULT_MISLED;

    default:
        return RESULT_WRONG;
    }
}


static result_t
run_claims_get(void)
{
    result_t     result;
    entra_str_t  value;

    result = !entra_claims_get(&few_claims, entra_lit("A"), &pool.mem, &value)
             ? RESULT_REFUSED
             : entra_str_eq(value, entra_lit("[1,2,{\"b\":\"c\"}]"))
               ? RESULT_RIGHT : RESULT_WRONG;

    pool_free(&pool);

    return result;
}


static const char  state_text[] =
    "{\n\"version\": 1,\n\"policy\": \"fleet\",\n\"saved\": 5,\n"
    "\"client_ids\": [\n    \"" TOKEN_CLIENT "\"\n],\n"
    "\"lists_updated\": 3,\n\"lists_source\": \"redis\",\n"
    "\"redis_generation\": 2,\n"
    "\"activities\": [\n    {\"id\":1,\"created_at\":2,"
    "\"type\":\"added_microsoft_entra_tenant\",\"tenant_id\":\"" TOKEN_TID
    "\",\"actor\":\"ann\",\"role\":\"admin\"}\n],\n"
    "\"jwks_source\": \"redis\",\n"
    "\"jwks_fetched\": 1,\n"
    "\"jwks\": {\"keys\": [\n    {\"kid\":\"one\"}\n]}\n}\n";


static result_t
run_state(void)
{
    char           error[ENTRA_STATE_ERROR];
    result_t       result;
    entra_str_t    text;
    entra_state_t  state;

    if (!entra_state_read(entra_lit(state_text), &state, error)) {
        return strcmp(error, "out of memory") == 0 ? RESULT_REFUSED
                                                   : RESULT_MISLED;
    }

    state.policy = entra_lit("fleet");

    if (!entra_state_write(&state, &text, error)) {
        entra_state_free(&state);
        return strstr(error, "memory") != NULL ? RESULT_REFUSED : RESULT_WRONG;
    }

    result = entra_str_eq(text, entra_lit(state_text)) ? RESULT_RIGHT
                                                       : RESULT_WRONG;

    entra_state_free(&state);
    free((void *) (uintptr_t) text.data);

    return result;
}


/* a body of the API that is wrong, one that is right, and the tag of that */

static result_t
config_result(void)
{
    char                   tag[ENTRA_CONFIG_TAG_LEN];
    entra_lists_t          lists;
    entra_config_patch_t   patch;
    entra_config_result_t  parsed;

    static const char  wrong[] =
        "{\"\\u0065scaped\":1,\"mdm\":{\"windows_entra_tenant_ids\":[\"x\"]}}";
    static const char  right[] =
        "{\"mdm\":{\"windows_entra_client_ids\":[\"" TOKEN_CLIENT "\"]}}";

    parsed = entra_config_parse(entra_lit(wrong), &pool.mem, &patch);

    if (parsed == ENTRA_CONFIG_INVALID) {
        parsed = entra_config_parse(entra_lit(right), &pool.mem, &patch);

    } else if (parsed == ENTRA_CONFIG_OK) {
        return RESULT_WRONG;
    }

    if (parsed != ENTRA_CONFIG_OK) {
        return parsed == ENTRA_CONFIG_NO_MEMORY ? RESULT_REFUSED
                                                : RESULT_MISLED;
    }

    memset(&lists, 0, sizeof(lists));
    lists.list[ENTRA_CLIENT_IDS].ids = patch.list[ENTRA_CLIENT_IDS];

    if (!entra_config_tag(&lists, tag)) {
        return RESULT_REFUSED;
    }

    return patch.lists == 1u << ENTRA_CLIENT_IDS
           && patch.list[ENTRA_CLIENT_IDS].count == 1
           && entra_set_has(&patch.list[ENTRA_CLIENT_IDS], &client)
           ? RESULT_RIGHT : RESULT_WRONG;
}


static result_t
run_config(void)
{
    result_t  result;

    result = config_result();
    pool_free(&pool);

    return result;
}


/* more names in an object than are compared without memory */

static result_t
run_names(void)
{
    int             len;
    char            text[4096];
    size_t          i;
    result_t        result;
    entra_reason_t  reason;
    entra_claims_t  claims;

    len = sprintf(text, "{");

    for (i = 0; i < 100; i++) {
        len += sprintf(&text[len], "\"name %zu\":%zu,", i, i);
    }

    (void) sprintf(&text[len], "\"tid\":\"x\"}");

    reason = entra_claims_parse(entra_str(text), &pool.mem, &claims);

    if (reason == ENTRA_INTERNAL) {
        result = RESULT_REFUSED;

    } else {
        result = reason == ENTRA_OK
                 && entra_str_eq(claims.tid.value, entra_lit("x"))
                 ? RESULT_RIGHT : RESULT_WRONG;
    }

    pool_free(&pool);

    return result;
}


/*** making it ready ***/


/* batches that are merged several times; a merge that failed is tried again */

static result_t
run_gather(void)
{
    size_t           i, k;
    result_t         result;
    entra_typed_t    ids[40];
    entra_gather_e   state;
    entra_gather_t   gather;

    entra_gather_init(&gather);

    result = RESULT_RIGHT;

    for (i = 0; i < 9 && result == RESULT_RIGHT; i++) {
        memset(ids, 0, sizeof(ids));

        for (k = 0; k < 40; k++) {
            ids[k].id.bytes[0] = (uint8_t) (k * 6 + i);
        }

        if (!entra_gather_add(&gather, ids, 40)) {
            result = RESULT_REFUSED;
            break;
        }

        if (i == 8) {
            entra_gather_end(&gather);
        }

        do {
            state = entra_gather_step(&gather);

            if (state == ENTRA_GATHER_NO_MEMORY) {
                result = RESULT_REFUSED;
            }
        } while (state == ENTRA_GATHER_MORE);
    }

    if (result == RESULT_RIGHT && entra_gather_set(&gather).count != 243) {
        result = RESULT_WRONG;
    }

    entra_gather_free(&gather);

    return result;
}


static void
make(void)
{
    char        *text, *tampered, *c;
    EVP_PKEY    *one, *two, *small;
    const char  *error;

    static const entra_str_t  hosts[] = { ENTRA_STR_INIT("fleet.example.com") };

    one = token_key(2048);
    two = token_key(2048);
    small = token_key(1024);

    key_set = entra_str(pool_text(&keep,
        "{\"keys\":[%s,%s,%s,{\"kty\":\"EC\",\"kid\":\"ec\"}]}",
        token_jwk(&keep, one, "one", ",\"issuer\":\"" TOKEN_TEMPLATE "\""),
        token_jwk(&keep, two, "two", ""),
        token_jwk(&keep, small, "small", "")));

    jwks = entra_jwks_parse(key_set, &error);
    if (jwks == NULL) {
        tap_bail(error);
    }

    text = token_json(&keep, TOKEN_CLAIMS_V1,
                      "amr=[\"pwd\",\"mfa\"]|x={\"y\":[1.5,null,true]}");

    payload = entra_str(text);
    token_v1 = token_sign(&keep, one, "{\"typ\":\"JWT\",\"alg\":\"RS256\","
                          "\"kid\":\"one\"}", text);

    tampered = pool_text(&keep, "%s", token_v1.data);
    c = &tampered[token_v1.len - 9];
    *c = *c == 'A' ? 'B' : 'A';
    token_tampered = entra_str(tampered);

    if (!entra_guid_parse(entra_lit(TOKEN_CLIENT), &client)
        || !entra_guid_parse(entra_lit(TOKEN_TID), &tenant))
    {
        tap_bail("not a GUID");
    }

    if (entra_claims_parse(entra_lit("{\"a\":[1,2,{\"b\":\"c\"}]}"), &keep.mem,
                           &few_claims) != ENTRA_OK)
    {
        tap_bail("no claims");
    }

    policy.hosts = hosts;
    policy.nhosts = 1;
    policy.issuers = entra_issuer_cloud(ENTRA_CLOUD_PUBLIC, &policy.nissuers);
    policy.client_ids = entra_set_build(&client, 1);
    policy.tenant_ids = entra_set_build(&tenant, 1);
    policy.scope = entra_lit("mdm_delegation");
    policy.leeway = 60;

    EVP_PKEY_free(one);
    EVP_PKEY_free(two);
    EVP_PKEY_free(small);
}


int
main(void)
{
    heap_init();

    pool_init(&pool);
    pool_init(&keep);

    make();

    exhaust("jwks", run_jwks);
    exhaust("verify", run_verify);
    exhaust("verify, tampered", run_verify_tampered);
    exhaust("cache", run_cache);
    exhaust("soap", run_soap);
    exhaust("soap in pieces", run_soap_in_pieces);
    exhaust("fault", run_fault);
    exhaust("tou", run_tou);
    exhaust("device", run_device);
    exhaust("claim", run_claims_get);
    exhaust("state", run_state);
    exhaust("config", run_config);
    exhaust("names", run_names);
    exhaust("gather", run_gather);

    entra_jwks_free(jwks);
    pool_free(&keep);

    return tap_done();
}
