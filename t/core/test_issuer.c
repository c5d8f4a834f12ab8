/*
 * Issuers, and which keys may sign for them.
 */

#define _GNU_SOURCE                     /* memmem() */

#include "entra_issuer.h"
#include "guard.h"
#include "token.h"


#define UPPER_TID  "6D8769E6-0F8B-418D-B385-1A53968781C9"
#define TEXT(text) ENTRA_STR_INIT(text)


static const struct {
    const char   *name;
    entra_str_t   template;
    entra_str_t   iss;
    entra_str_t   tid;
    bool          matches;
} templates[] = {
    { "v1", TEXT(TOKEN_V1 "{tid}/"), TEXT(TOKEN_V1 TOKEN_TID "/"),
      TEXT(TOKEN_TID), true },
    { "v2", TEXT(TOKEN_V2 "{tid}/v2.0"), TEXT(TOKEN_V2 TOKEN_TID "/v2.0"),
      TEXT(TOKEN_TID), true },
    { "v1 without its slash", TEXT(TOKEN_V1 "{tid}/"),
      TEXT(TOKEN_V1 TOKEN_TID), TEXT(TOKEN_TID), false },
    { "v2 with a slash", TEXT(TOKEN_V2 "{tid}/v2.0"),
      TEXT(TOKEN_V2 TOKEN_TID "/v2.0/"), TEXT(TOKEN_TID), false },
    { "v2 cut to the backend's prefix", TEXT(TOKEN_V2 "{tid}/v2.0"),
      TEXT(TOKEN_V2 TOKEN_TID "/"), TEXT(TOKEN_TID), false },
    { "v1 with more behind", TEXT(TOKEN_V1 "{tid}/"),
      TEXT(TOKEN_V1 TOKEN_TID "/v2.0"), TEXT(TOKEN_TID), false },
    { "a suffix that makes another host", TEXT("https://sts.windows.net"),
      TEXT("https://sts.windows.net.evil.example.com"), TEXT(TOKEN_TID),
      false },
    { "another tenant in the issuer", TEXT(TOKEN_V1 "{tid}/"),
      TEXT(TOKEN_V1 TOKEN_TID_2 "/"), TEXT(TOKEN_TID), false },
    { "another tenant in tid", TEXT(TOKEN_V1 "{tid}/"),
      TEXT(TOKEN_V1 TOKEN_TID "/"), TEXT(TOKEN_TID_2), false },
    { "tid in upper case only", TEXT(TOKEN_V1 "{tid}/"),
      TEXT(TOKEN_V1 TOKEN_TID "/"), TEXT(UPPER_TID), false },
    { "tid and issuer in upper case", TEXT(TOKEN_V1 "{tid}/"),
      TEXT(TOKEN_V1 UPPER_TID "/"), TEXT(UPPER_TID), true },
    { "the host in upper case", TEXT(TOKEN_V1 "{tid}/"),
      TEXT("https://STS.windows.net/" TOKEN_TID "/"), TEXT(TOKEN_TID), false },
    { "http", TEXT(TOKEN_V1 "{tid}/"),
      TEXT("http://sts.windows.net/" TOKEN_TID "/"), TEXT(TOKEN_TID), false },
    { "a blank in front", TEXT(TOKEN_V1 "{tid}/"),
      TEXT(" " TOKEN_V1 TOKEN_TID "/"), TEXT(TOKEN_TID), false },
    { "a NUL behind", TEXT(TOKEN_V1 "{tid}/"),
      TEXT(TOKEN_V1 TOKEN_TID "/\0"), TEXT(TOKEN_TID), false },
    { "the template itself", TEXT(TOKEN_V1 "{tid}/"), TEXT(TOKEN_V1 "{tid}/"),
      TEXT(TOKEN_TID), false },
    { "the template itself, tid too", TEXT(TOKEN_V1 "{tid}/"),
      TEXT(TOKEN_V1 "{tid}/"), TEXT("{tid}"), true },
    { "a mark of keys is no mark of templates", TEXT(TOKEN_V1 "{tenantid}/"),
      TEXT(TOKEN_V1 TOKEN_TID "/"), TEXT(TOKEN_TID), false },
    { "no mark: one issuer for all", TEXT(TOKEN_V1 TOKEN_TID "/"),
      TEXT(TOKEN_V1 TOKEN_TID "/"), TEXT(TOKEN_TID_2), true },
    { "two marks", TEXT("{tid}-{tid}"), TEXT(TOKEN_TID "-" TOKEN_TID),
      TEXT(TOKEN_TID), true },
    { "two marks, two tenants", TEXT("{tid}-{tid}"),
      TEXT(TOKEN_TID "-" TOKEN_TID_2), TEXT(TOKEN_TID), false },
    { "half a mark", TEXT("x{tid"), TEXT("x{tid"), TEXT(TOKEN_TID), true },
    { "an empty issuer", TEXT(TOKEN_V1 "{tid}/"), TEXT(""), TEXT(TOKEN_TID),
      false },
    { "an empty issuer, an empty template", TEXT(""), TEXT(""),
      TEXT(TOKEN_TID), true },
    { "an empty tid", TEXT(TOKEN_V1 "{tid}/"), TEXT(TOKEN_V1 "/"), TEXT(""),
      true },
};


static void
test_templates(void)
{
    size_t  i;

    for (i = 0; i < tap_count(templates); i++) {
        tap_ok(entra_issuer_matches(templates[i].template,
                                    guard(templates[i].iss), templates[i].tid)
               == templates[i].matches,
               "template: %s: %s", templates[i].name,
               templates[i].matches ? "matches" : "does not");
    }
}


static const struct {
    const char   *name;
    entra_str_t   key;
    entra_str_t   iss;
    entra_str_t   tid;
    bool          covers;
} keys[] = {
    { "v2 token, v2 key", TEXT(TOKEN_TEMPLATE),
      TEXT(TOKEN_V2 TOKEN_TID "/v2.0"), TEXT(TOKEN_TID), true },
    { "v1 token, v2 key", TEXT(TOKEN_TEMPLATE), TEXT(TOKEN_V1 TOKEN_TID "/"),
      TEXT(TOKEN_TID), true },
    { "v1 token, v1 key", TEXT(TOKEN_V1 "{tenantid}/"),
      TEXT(TOKEN_V1 TOKEN_TID "/"), TEXT(TOKEN_TID), true },
    { "v2 token, v1 key", TEXT(TOKEN_V1 "{tenantid}/"),
      TEXT(TOKEN_V2 TOKEN_TID "/v2.0"), TEXT(TOKEN_TID), false },
    { "v2 token, v2 key of that tenant", TEXT(TOKEN_V2 TOKEN_TID "/v2.0"),
      TEXT(TOKEN_V2 TOKEN_TID "/v2.0"), TEXT(TOKEN_TID), true },
    { "v1 token, v2 key of that tenant", TEXT(TOKEN_V2 TOKEN_TID "/v2.0"),
      TEXT(TOKEN_V1 TOKEN_TID "/"), TEXT(TOKEN_TID), true },
    { "v1 token, v2 key of that tenant in upper case",
      TEXT(TOKEN_V2 UPPER_TID "/v2.0"), TEXT(TOKEN_V1 TOKEN_TID "/"),
      TEXT(TOKEN_TID), true },
    { "v1 token with tid in upper case, v2 key", TEXT(TOKEN_TEMPLATE),
      TEXT(TOKEN_V1 TOKEN_TID "/"), TEXT(UPPER_TID), true },
    { "v2 token with tid in upper case, v2 key", TEXT(TOKEN_TEMPLATE),
      TEXT(TOKEN_V2 TOKEN_TID "/v2.0"), TEXT(UPPER_TID), false },
    { "v2 token of another tenant than its tid", TEXT(TOKEN_TEMPLATE),
      TEXT(TOKEN_V2 TOKEN_TID_2 "/v2.0"), TEXT(TOKEN_TID), false },
    { "v1 token of another tenant than its tid", TEXT(TOKEN_TEMPLATE),
      TEXT(TOKEN_V1 TOKEN_TID_2 "/"), TEXT(TOKEN_TID), false },
    { "consumers' key, v2 token of a tenant",
      TEXT(TOKEN_V2 TOKEN_CONSUMER "/v2.0"), TEXT(TOKEN_V2 TOKEN_TID "/v2.0"),
      TEXT(TOKEN_TID), false },
    { "consumers' key, v1 token of a tenant",
      TEXT(TOKEN_V2 TOKEN_CONSUMER "/v2.0"), TEXT(TOKEN_V1 TOKEN_TID "/"),
      TEXT(TOKEN_TID), false },
    { "consumers' key, v1 token of a tenant that says consumers",
      TEXT(TOKEN_V2 TOKEN_CONSUMER "/v2.0"), TEXT(TOKEN_V1 TOKEN_TID "/"),
      TEXT(TOKEN_CONSUMER), false },
    { "consumers' key, consumers' v2 token",
      TEXT(TOKEN_V2 TOKEN_CONSUMER "/v2.0"),
      TEXT(TOKEN_V2 TOKEN_CONSUMER "/v2.0"), TEXT(TOKEN_CONSUMER), true },
    { "templated key of another host, v2 token",
      TEXT("https://login.microsoftonline.us/{tenantid}/v2.0"),
      TEXT(TOKEN_V2 TOKEN_TID "/v2.0"), TEXT(TOKEN_TID), false },
    { "v2 key with a slash behind, v1 token", TEXT(TOKEN_TEMPLATE "/"),
      TEXT(TOKEN_V1 TOKEN_TID "/"), TEXT(TOKEN_TID), false },
    { "v2 key over http, v1 token",
      TEXT("http://login.microsoftonline.com/{tenantid}/v2.0"),
      TEXT(TOKEN_V1 TOKEN_TID "/"), TEXT(TOKEN_TID), false },
    { "v1 token over http", TEXT(TOKEN_TEMPLATE),
      TEXT("http://sts.windows.net/" TOKEN_TID "/"), TEXT(TOKEN_TID), false },
    { "v1 token without its slash", TEXT(TOKEN_TEMPLATE),
      TEXT(TOKEN_V1 TOKEN_TID), TEXT(TOKEN_TID), false },
    { "v1 token with two slashes", TEXT(TOKEN_TEMPLATE),
      TEXT(TOKEN_V1 TOKEN_TID "//"), TEXT(TOKEN_TID), false },
    { "v1 token with a path before the tenant", TEXT(TOKEN_TEMPLATE),
      TEXT(TOKEN_V1 "x/" TOKEN_TID "/"), TEXT(TOKEN_TID), false },
    { "v1 token without a tenant", TEXT(TOKEN_TEMPLATE), TEXT(TOKEN_V1 "/"),
      TEXT(TOKEN_TID), false },
    { "neither has a tenant", TEXT("https://h//v2.0"), TEXT("https://h//"),
      TEXT(""), false },
    { "tenants that are no GUIDs", TEXT("https://h/common/v2.0"),
      TEXT("https://h/common/"), TEXT("common"), false },
    { "tenants that are no GUIDs, templated", TEXT(TOKEN_TEMPLATE),
      TEXT("https://h/common/"), TEXT("common"), false },
    { "the key's issuer is empty", TEXT(""), TEXT(TOKEN_V1 TOKEN_TID "/"),
      TEXT(TOKEN_TID), false },
    { "the token's issuer is empty", TEXT(TOKEN_TEMPLATE), TEXT(""),
      TEXT(TOKEN_TID), false },
    { "only a scheme", TEXT("https://"), TEXT("https:///"), TEXT(TOKEN_TID),
      false },
};


static void
test_keys(void)
{
    size_t  i;

    for (i = 0; i < tap_count(keys); i++) {
        tap_ok(entra_issuer_key_covers(guard(keys[i].key), keys[i].iss,
                                       keys[i].tid)
               == keys[i].covers,
               "key: %s: %s", keys[i].name,
               keys[i].covers ? "covered" : "not covered");

        tap_ok(entra_issuer_key_covers(keys[i].key, guard(keys[i].iss),
                                       keys[i].tid)
               == keys[i].covers,
               "key: %s: so too at the end of a mapping", keys[i].name);
    }
}


static void
test_clouds(void)
{
    size_t              i, n;
    unsigned            cloud;
    entra_str_t         mark;
    const entra_str_t  *templates_of;

    static const struct {
        unsigned     cloud;
        entra_str_t  iss;
        bool         trusted;
    } issuers[] = {
        { ENTRA_CLOUD_PUBLIC, TEXT("https://sts.windows.net/t/"), true },
        { ENTRA_CLOUD_PUBLIC, TEXT("https://login.microsoftonline.com/t/v2.0"),
          true },
        { ENTRA_CLOUD_PUBLIC, TEXT("https://login.microsoftonline.us/t/v2.0"),
          false },
        { ENTRA_CLOUD_PUBLIC, TEXT("https://sts.chinacloudapi.cn/t/"), false },
        { ENTRA_CLOUD_USGOV, TEXT("https://sts.windows.net/t/"), true },
        { ENTRA_CLOUD_USGOV, TEXT("https://login.microsoftonline.us/t/v2.0"),
          true },
        { ENTRA_CLOUD_USGOV, TEXT("https://login.microsoftonline.com/t/v2.0"),
          false },
        { ENTRA_CLOUD_CHINA, TEXT("https://sts.chinacloudapi.cn/t/"), true },
        { ENTRA_CLOUD_CHINA,
          TEXT("https://login.partner.microsoftonline.cn/t/v2.0"), true },
        { ENTRA_CLOUD_CHINA, TEXT("https://login.chinacloudapi.cn/t/v2.0"),
          true },
        { ENTRA_CLOUD_CHINA, TEXT("https://sts.windows.net/t/"), false },
        { ENTRA_CLOUD_CHINA, TEXT("https://login.microsoftonline.com/t/v2.0"),
          false },
    };

    mark = entra_lit("{tid}");

    for (i = 0; i < tap_count(issuers); i++) {
        bool  trusted = false;

        templates_of = entra_issuer_cloud((entra_cloud_t) issuers[i].cloud, &n);

        while (n--) {
            trusted |= entra_issuer_matches(templates_of[n], issuers[i].iss,
                                            entra_lit("t"));
        }

        tap_ok(trusted == issuers[i].trusted, "cloud %u: %s: %s",
               issuers[i].cloud, issuers[i].iss.data,
               issuers[i].trusted ? "trusted" : "not trusted");
    }

    for (cloud = 0; cloud < ENTRA_CLOUDS; cloud++) {
        templates_of = entra_issuer_cloud((entra_cloud_t) cloud, &n);

        for (i = 0; i < n; i++) {
            tap_ok(memmem(templates_of[i].data, templates_of[i].len, mark.data,
                          mark.len) != NULL
                   && templates_of[i].data[templates_of[i].len] == '\0',
                   "cloud %u: %s binds the tenant", cloud,
                   templates_of[i].data);
        }
    }
}


int
main(void)
{
    test_templates();
    test_keys();
    test_clouds();

    return tap_done();
}
