/*
 * A policy from options, by the rules of entra_mdm_policy.
 */

#include <stdlib.h>
#include <time.h>

#include "api.h"
#include "entra_issuer.h"
#include "entra_url.h"
#include "explain.h"


#define CTL_MAX_LEEWAY  300
#define CTL_MAX_TOKEN   (1024 * 1024)
#define CTL_MAX_BODY    (1024 * 1024 * 1024)
#define CTL_MAX_JWKS    (1024 * 1024)


/*** values ***/


/* digits and one of the units, each a factor; max or less, but not 0 */

static size_t
ctl_gate_number(const char *name, const char *value, const char *units,
    const size_t *factors, size_t max)
{
    char        *end;
    size_t       n, factor;
    const char  *unit;

    n = *value >= '0' && *value <= '9' ? strtoull(value, &end, 10) : 0;
    factor = 1;

    if (n != 0 && *end != '\0' && end[1] == '\0') {
        unit = strchr(units, *end);
        factor = unit ? factors[unit - units] : 0;

    } else if (n != 0 && *end != '\0') {
        factor = 0;
    }

    if (n == 0 || factor == 0 || n > max / factor) {
        ctl_die(CTL_USAGE, NULL, "%s must be a number of at most %zu: \"%s\"",
                name, max, value);
    }

    return n * factor;
}


static size_t
ctl_gate_size(const char *name, const char *value, size_t max)
{
    static const size_t  factors[] = { 1024, 1024, 1024 * 1024, 1024 * 1024 };

    return ctl_gate_number(name, value, "kKmM", factors, max);
}


static int64_t
ctl_gate_leeway(const char *value)
{
    static const size_t  factors[] = { 1, 60 };

    if (strcmp(value, "0") == 0 || strcmp(value, "0s") == 0) {
        return 0;
    }

    return (int64_t) ctl_gate_number("--leeway", value, "sm", factors,
                                     CTL_MAX_LEEWAY);
}


/* seconds since 1970, or a date of RFC 3339 in UTC */

static int64_t
ctl_gate_now(const char *value)
{
    char       *end;
    struct tm   tm;
    long long   seconds;

    if (value == NULL) {
        return (int64_t) time(NULL);
    }

    seconds = strtoll(value, &end, 10);

    if (*end == '\0' && seconds >= 0 && seconds <= 253402300799) {
        return seconds;
    }

    memset(&tm, 0, sizeof(tm));
    end = strptime(value, "%Y-%m-%dT%H:%M:%SZ", &tm);

    if (end == NULL || *end != '\0') {
        ctl_die(CTL_USAGE, NULL, "--now must be seconds since 1970 or a time "
                "such as 2026-11-23T18:00:00Z: \"%s\"", value);
    }

    return (int64_t) timegm(&tm);
}


/*** whom to accept ***/


static const entra_str_t *
ctl_gate_hosts(const ctl_values_t *urls)
{
    size_t        i;
    entra_str_t  *hosts;
    entra_url_t   url;

    hosts = ctl_alloc(urls->count * sizeof(entra_str_t));

    for (i = 0; i < urls->count; i++) {

        if (!entra_url_parse(entra_str(urls->values[i]), &url)
            || url.host.len == 0 || url.userinfo || url.fragment
            || (!entra_str_ieq(url.scheme, entra_lit("https"))
                && !entra_str_ieq(url.scheme, entra_lit("http"))))
        {
            ctl_die(CTL_USAGE, NULL, "--server-url must be a URL with a host, "
                    "such as https://fleet.example.com");
        }

        hosts[i] = url.host;
    }

    return hosts;
}


static void
ctl_gate_issuers(const ctl_options_t *options, entra_policy_t *policy)
{
    size_t        i;
    entra_str_t  *issuers;
    const char   *cloud;

    static const char *const  clouds[ENTRA_CLOUDS] = {
        "public", "usgov", "china"
    };

    if (options->issuers.count) {

        issuers = ctl_alloc(options->issuers.count * sizeof(entra_str_t));

        for (i = 0; i < options->issuers.count; i++) {
            issuers[i] = entra_str(options->issuers.values[i]);
        }

        policy->issuers = issuers;
        policy->nissuers = options->issuers.count;

        return;
    }

    cloud = options->cloud ? options->cloud : clouds[ENTRA_CLOUD_PUBLIC];

    for (i = 0; i < ENTRA_CLOUDS; i++) {
        if (strcmp(cloud, clouds[i]) == 0) {
            policy->issuers = entra_issuer_cloud((entra_cloud_t) i,
                                                 &policy->nissuers);
            return;
        }
    }

    ctl_die(CTL_USAGE, NULL, "--cloud must be public, usgov or china: \"%s\"",
            cloud);
}


static void
ctl_gate_list(const ctl_values_t *values, const ctl_names_t *names,
    ctl_list_t *list)
{
    size_t  i;

    for (i = 0; i < values->count; i++) {
        if (ctl_list_add(list, entra_str(values->values[i]))
            == CTL_LIST_NO_GUID)
        {
            ctl_die(CTL_USAGE, NULL, "--%s must be 8-4-4-4-12 hex digits: "
                    "\"%s\"", names->word, values->values[i]);
        }
    }
}


/* those of nginx's configuration are the policy's own, the others are live */

static void
ctl_gate_lists(const ctl_options_t *options, ctl_gate_t *gate)
{
    size_t         n;
    unsigned       i;
    entra_set_t   *sets[ENTRA_LISTS];
    ctl_config_t   config;
    ctl_server_t   server;

    sets[ENTRA_CLIENT_IDS] = &gate->policy.client_ids;
    sets[ENTRA_TENANT_IDS] = &gate->policy.tenant_ids;

    ctl_gate_list(&options->client_ids, &ctl_names[ENTRA_CLIENT_IDS],
                  &gate->ids[ENTRA_CLIENT_IDS]);
    ctl_gate_list(&options->tenant_ids, &ctl_names[ENTRA_TENANT_IDS],
                  &gate->ids[ENTRA_TENANT_IDS]);

    if (!options->from_api) {
        *sets[0] = ctl_list_set(&gate->ids[0], NULL);
        *sets[1] = ctl_list_set(&gate->ids[1], NULL);
        return;
    }

    gate->from_api = true;
    ctl_api_server(options, &server);
    ctl_api_get(&server, &config);

    for (i = 0; i < ENTRA_LISTS; i++) {

        *sets[i] = ctl_list_set(&gate->ids[i], &config.fixed[i]);

        gate->lists.list[i].known = true;
        gate->lists.list[i].ids = ctl_list_set(&config.live[i], NULL);

        for (n = 0; n < config.fixed[i].count; n++) {
            ctl_list_add(&gate->ids[i], entra_str(config.fixed[i].ids[n].text));
        }

        for (n = 0; n < config.live[i].count; n++) {
            ctl_list_add(&gate->ids[i], entra_str(config.live[i].ids[n].text));
        }
    }
}


static entra_jwks_t *
ctl_gate_jwks(const char *path)
{
    const char    *error;
    entra_str_t    text;
    entra_jwks_t  *jwks;

    text = ctl_read(path, CTL_MAX_JWKS, NULL);
    jwks = entra_jwks_parse(text, &error);

    if (jwks == NULL) {
        ctl_die(CTL_ERROR, "a key set is what "
                "https://login.microsoftonline.com/common/discovery/v2.0/keys "
                "answers", "%s: %s", path, error);
    }

    return jwks;
}


void
ctl_gate_read(const ctl_options_t *options, ctl_gate_t *gate)
{
    const char      *word;
    entra_policy_t  *policy;

    memset(gate, 0, sizeof(ctl_gate_t));

    policy = &gate->policy;

    policy->hosts = ctl_gate_hosts(&options->server_urls);
    policy->nhosts = options->server_urls.count;
    ctl_gate_issuers(options, policy);

    word = options->scope ? options->scope : "mdm_delegation";
    policy->scope = strcmp(word, "off") == 0 ? ENTRA_STR_NONE
                                             : entra_str(word);

    policy->leeway = ctl_gate_leeway(options->leeway ? options->leeway : "60");
    policy->require_upn = options->require_upn;

    word = options->device_token ? options->device_token : "deny";
    gate->device_token_pass = strcmp(word, "pass") == 0;

    if (!gate->device_token_pass && strcmp(word, "deny") != 0) {
        ctl_die(CTL_USAGE, NULL, "--device-token must be deny or pass: \"%s\"",
                word);
    }

    gate->now = ctl_gate_now(options->now);
    gate->max_token = ctl_gate_size("--max-token", options->max_token
                                    ? options->max_token : "16k",
                                    CTL_MAX_TOKEN);
    gate->max_body = ctl_gate_size("--max-body", options->max_body
                                   ? options->max_body : "2m", CTL_MAX_BODY);

    if (options->jwks != NULL) {
        gate->jwks = ctl_gate_jwks(options->jwks);
    }

    ctl_gate_lists(options, gate);
}


void
ctl_gate_free(ctl_gate_t *gate)
{
    entra_jwks_free(gate->jwks);
}
