/*
 * Issuer templates and the binding of keys to issuers.
 */

#include "entra_guid.h"
#include "entra_issuer.h"


/* Azure Government has its v1 issuer on the public cloud's host */

static const entra_str_t  entra_issuers_public[] = {
    ENTRA_STR_INIT("https://sts.windows.net/{tid}/"),
    ENTRA_STR_INIT("https://login.microsoftonline.com/{tid}/v2.0"),
};

static const entra_str_t  entra_issuers_usgov[] = {
    ENTRA_STR_INIT("https://sts.windows.net/{tid}/"),
    ENTRA_STR_INIT("https://login.microsoftonline.us/{tid}/v2.0"),
};

static const entra_str_t  entra_issuers_china[] = {
    ENTRA_STR_INIT("https://sts.chinacloudapi.cn/{tid}/"),
    ENTRA_STR_INIT("https://login.partner.microsoftonline.cn/{tid}/v2.0"),
    ENTRA_STR_INIT("https://login.chinacloudapi.cn/{tid}/v2.0"),
};


const entra_str_t *
entra_issuer_cloud(entra_cloud_t cloud, size_t *count)
{
    switch (cloud) {

    case ENTRA_CLOUD_USGOV:
        *count = sizeof(entra_issuers_usgov) / sizeof(entra_str_t);
        return entra_issuers_usgov;

    case ENTRA_CLOUD_CHINA:
        *count = sizeof(entra_issuers_china) / sizeof(entra_str_t);
        return entra_issuers_china;

    default:
        *count = sizeof(entra_issuers_public) / sizeof(entra_str_t);
        return entra_issuers_public;
    }
}


/* text equals the pattern with every occurrence of the mark replaced by tid */

static bool
entra_issuer_equals(entra_str_t pattern, entra_str_t mark, entra_str_t text,
    entra_str_t tid)
{
    const char   *next;
    entra_str_t   part;

    while (pattern.len) {

        if (entra_str_starts(pattern, mark)) {
            part = tid;
            pattern = entra_str_from(pattern, mark.len);

        } else {
            /* as far as the next mark may begin */
            next = memchr(pattern.data + 1, mark.data[0], pattern.len - 1);

            part.data = pattern.data;
            part.len = next ? (size_t) (next - pattern.data) : pattern.len;

            pattern = entra_str_from(pattern, part.len);
        }

        if (!entra_str_starts(text, part)) {
            return false;
        }

        text = entra_str_from(text, part.len);
    }

    return text.len == 0;
}


bool
entra_issuer_matches(entra_str_t template, entra_str_t iss, entra_str_t tid)
{
    return entra_issuer_equals(template, entra_lit("{tid}"), iss, tid);
}


/* the TENANT of https://HOST/TENANT followed by tail; empty: not that form */

static entra_str_t
entra_issuer_tenant(entra_str_t issuer, entra_str_t tail)
{
    size_t        i;
    entra_str_t   rest;
    const char   *slash;

    static const entra_str_t  scheme = { "https://", 8 };

    if (!entra_str_starts(issuer, scheme)) {
        return ENTRA_STR_NONE;
    }

    rest = entra_str_from(issuer, scheme.len);
    slash = memchr(rest.data, '/', rest.len);

    if (slash == NULL || slash == rest.data) {
        return ENTRA_STR_NONE;
    }

    rest = entra_str_from(rest, (size_t) (slash - rest.data) + 1);

    for (i = 0; i < rest.len && rest.data[i] != '/'; i++) { /* void */ }

    if (!entra_str_eq(entra_str_from(rest, i), tail)) {
        return ENTRA_STR_NONE;
    }

    return (entra_str_t) { rest.data, i };
}


bool
entra_issuer_key_covers(entra_str_t key_issuer, entra_str_t iss,
    entra_str_t tid)
{
    entra_str_t   key_tenant, tenant;
    entra_guid_t  key_guid, guid;

    static const entra_str_t  mark = ENTRA_STR_INIT("{tenantid}");

    if (entra_issuer_equals(key_issuer, mark, iss, tid)) {
        return true;
    }

    tenant = entra_issuer_tenant(iss, entra_lit("/"));
    key_tenant = entra_issuer_tenant(key_issuer, entra_lit("/v2.0"));

    if (entra_str_eq(key_tenant, mark)) {
        key_tenant = tid;
    }

    return entra_guid_parse(tenant, &guid)
           && entra_guid_parse(key_tenant, &key_guid)
           && memcmp(&guid, &key_guid, sizeof(entra_guid_t)) == 0;
}
