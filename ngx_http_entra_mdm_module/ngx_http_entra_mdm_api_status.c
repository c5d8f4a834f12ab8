/*
 * GET status: what an administrator looks at first when a device is not let
 * in.
 */

#include "ngx_http_entra_mdm_api.h"
#include "ngx_http_entra_mdm_keys.h"
#include "ngx_http_entra_mdm_refusals.h"


static const char *
ngx_http_entra_mdm_status_bool(ngx_uint_t value)
{
    return value ? "true" : "false";
}


/* null where it was never known */

static void
ngx_http_entra_mdm_status_age(ngx_http_entra_mdm_text_t *text,
    const ngx_http_entra_mdm_moment_t *since)
{
    if (since->wall == 0) {
        ngx_http_entra_mdm_text(text, "null");
        return;
    }

    ngx_http_entra_mdm_text(text, "%T", ngx_http_entra_mdm_moment_age(since));
}


static void
ngx_http_entra_mdm_status_redis(ngx_http_entra_mdm_text_t *text,
    ngx_http_entra_mdm_policy_t *policy)
{
    ngx_http_entra_mdm_feed_t  *feed;
    ngx_http_entra_mdm_zone_t  *zone;

    if (!policy->live_redis) {
        ngx_http_entra_mdm_text(text, "\"redis\":null");
        return;
    }

    zone = ngx_http_entra_mdm_zone(policy);
    feed = &zone->feed;

    ngx_http_entra_mdm_text(text, "\"redis\":{\"connected\":%s,"
                            "\"tracking\":%s,\"reconnects\":%uA,"
                            "\"generation\":%uA,\"skipped_members\":{"
                            "\"client_ids\":%uA,\"tenant_ids\":%uA},"
                            "\"last_update_seconds\":",
                            ngx_http_entra_mdm_status_bool(feed->connected),
                            ngx_http_entra_mdm_status_bool(feed->tracking),
                            feed->reconnects, feed->generation,
                            feed->skipped[ENTRA_CLIENT_IDS],
                            feed->skipped[ENTRA_TENANT_IDS]);
    ngx_http_entra_mdm_status_age(text, &zone->lists_updated);
    ngx_http_entra_mdm_text(text, "}");
}


static void
ngx_http_entra_mdm_status_keys(ngx_http_entra_mdm_text_t *text,
    ngx_http_entra_mdm_policy_t *policy)
{
    entra_reason_t               reason;
    const char                  *outcome;
    const entra_jwks_t          *jwks;
    ngx_http_entra_mdm_zone_t   *zone;

    static const char  *sources[] = { "none", "file", "request", "redis" };

    zone = ngx_http_entra_mdm_zone(policy);

    reason = ENTRA_OK;
    jwks = ngx_http_entra_mdm_keys(policy, &reason);

    outcome = zone->fetch.failures ? "\"failed\""
              : zone->fetch.succeeded ? "\"succeeded\"" : "null";

    ngx_http_entra_mdm_text(text, "\"keys\":{\"source\":\"%s\","
                            "\"usable\":%s,\"count\":%uz,\"age_seconds\":",
                            sources[policy->keys->from],
                            ngx_http_entra_mdm_status_bool(jwks != NULL),
                            jwks ? entra_jwks_count(jwks) : 0);
    ngx_http_entra_mdm_status_age(text, &zone->keys_fetched);
    ngx_http_entra_mdm_text(text, ",\"last_fetch\":%s,\"fetches\":{"
                            "\"succeeded\":%uA,\"failed\":%uA}}", outcome,
                            zone->fetch.succeeded, zone->fetch.failed);
}


static void
ngx_http_entra_mdm_status_lists(ngx_http_entra_mdm_text_t *text,
    ngx_http_entra_mdm_policy_t *policy)
{
    size_t                          used, room;
    ngx_uint_t                      i;
    const entra_set_t              *own;
    ngx_http_entra_mdm_zone_t      *zone;
    ngx_http_entra_mdm_snapshot_t   snapshot;

    zone = ngx_http_entra_mdm_zone(policy);

    ngx_http_entra_mdm_snapshot(policy, &snapshot);

    ngx_http_entra_mdm_text(text, "\"source\":\"%s\",\"in_force\":%s,"
                            "\"lists\":{",
                            ngx_http_entra_mdm_api_source(policy),
                            ngx_http_entra_mdm_status_bool(
                                ngx_http_entra_mdm_lists_in_force(policy)));

    for (i = 0; i < ENTRA_LISTS; i++) {
        own = (i == ENTRA_CLIENT_IDS) ? &policy->rules.client_ids
                                      : &policy->rules.tenant_ids;

        ngx_http_entra_mdm_text(text, "\"%V\":{\"live\":%uz,\"static\":%uz},",
                                &ngx_http_entra_mdm_list_names[i],
                                snapshot.lists.list[i].ids.count, own->count);
    }

    used = ngx_http_entra_mdm_zone_used(policy, &room);

    ngx_http_entra_mdm_text(text, "\"generation\":%uA},\"zone\":{"
                            "\"size\":%uz,\"snapshot_used\":%uz,"
                            "\"snapshot_room\":%uz},", zone->lists_generation,
                            policy->zone->shm.size, used, room);

    if (policy->state == NULL) {
        ngx_http_entra_mdm_text(text, "\"state\":null");
        return;
    }

    ngx_http_entra_mdm_text(text, "\"state\":{\"written\":%uA,\"failed\":%uA,"
                            "\"failing\":%s}", zone->state.written,
                            zone->state.failed,
                            ngx_http_entra_mdm_status_bool(
                                                      zone->state.failing));
}


/* {"accepted":{"ok":12},"refused":{"tenant_not_allowed":1}}, without zeros */

static void
ngx_http_entra_mdm_status_decisions(ngx_http_entra_mdm_text_t *text,
    const ngx_http_entra_mdm_decisions_t *decisions)
{
    ngx_uint_t           action, reason, n;
    entra_str_t          key;
    ngx_atomic_uint_t    count;

    ngx_http_entra_mdm_text(text, "{");

    for (action = 0; action < NGX_HTTP_ENTRA_MDM_ACTIONS; action++) {

        ngx_http_entra_mdm_text(text, "%s\"%*s\":{", action ? "," : "",
                                ngx_http_entra_mdm_actions[action].len,
                                ngx_http_entra_mdm_actions[action].data);
        n = 0;

        for (reason = 0; reason < ENTRA_REASONS; reason++) {
            count = decisions->count[action][reason];

            if (count == 0) {
                continue;
            }

            key = ngx_http_entra_mdm_result(action, (entra_reason_t) reason);

            ngx_http_entra_mdm_text(text, "%s\"%*s\":%uA", n++ ? "," : "",
                                    key.len, key.data, count);
        }

        ngx_http_entra_mdm_text(text, "}");
    }

    ngx_http_entra_mdm_text(text, "}");
}


/* by the lists of now: what was refused may have been put right since */

static ngx_uint_t
ngx_http_entra_mdm_status_listed(ngx_http_entra_mdm_policy_t *policy,
    entra_str_t tenant)
{
    bool                            listed;
    entra_guid_t                    guid;
    ngx_http_entra_mdm_snapshot_t   snapshot;

    if (!entra_guid_parse(tenant, &guid)) {
        return 0;
    }

    do {
        ngx_http_entra_mdm_snapshot(policy, &snapshot);

        listed = entra_set_has(&policy->rules.tenant_ids, &guid)
                 || entra_set_has(&snapshot.lists.list[ENTRA_TENANT_IDS].ids,
                                  &guid);

    } while (!ngx_http_entra_mdm_snapshot_current(policy, &snapshot));

    return listed;
}


static void
ngx_http_entra_mdm_status_audiences(ngx_http_entra_mdm_text_t *text,
    const ngx_http_entra_mdm_refusal_t *refusal)
{
    const char   *p, *last;
    entra_str_t   audience;

    p = refusal->audiences;
    last = p + refusal->audiences_len;

    ngx_http_entra_mdm_text(text, "\"audiences\":[");

    while (p < last) {
        audience = entra_str(p);

        if (p != refusal->audiences) {
            ngx_http_entra_mdm_text(text, ",");
        }

        ngx_http_entra_mdm_text_string(text, audience);
        p += audience.len + 1;
    }

    ngx_http_entra_mdm_text(text, "],\"more_audiences\":%ui",
                            (ngx_uint_t) refusal->more);
}


static void
ngx_http_entra_mdm_status_refusal(ngx_http_entra_mdm_text_t *text,
    ngx_http_entra_mdm_policy_t *policy,
    const ngx_http_entra_mdm_refusal_t *refusal)
{
    entra_str_t                 action, tenant;
    const entra_reason_info_t  *info;

    action = ngx_http_entra_mdm_actions[refusal->action];
    tenant = (entra_str_t) { refusal->tenant, refusal->tenant_len };
    info = entra_reason_info((entra_reason_t) refusal->reason);

    ngx_http_entra_mdm_text(text, "{\"time\":");
    ngx_http_entra_mdm_text_time(text, refusal->time);
    ngx_http_entra_mdm_text(text, ",\"action\":\"%*s\",\"key\":\"%*s\","
                            "\"tenant\":", action.len, action.data,
                            info->key.len, info->key.data);
    ngx_http_entra_mdm_text_string(text, tenant);
    ngx_http_entra_mdm_text(text, ",\"tenant_listed\":%s,",
                            ngx_http_entra_mdm_status_bool(
                                ngx_http_entra_mdm_status_listed(policy,
                                                                 tenant)));
    ngx_http_entra_mdm_status_audiences(text, refusal);
    ngx_http_entra_mdm_text(text, ",\"request_id\":");
    ngx_http_entra_mdm_text_string(text, (entra_str_t) { refusal->id,
                                                         refusal->id_len });
    ngx_http_entra_mdm_text(text, "}");
}


static ngx_int_t
ngx_http_entra_mdm_status_refusals(ngx_http_entra_mdm_text_t *text,
    ngx_http_request_t *r, ngx_http_entra_mdm_policy_t *policy)
{
    ngx_uint_t                     i, n;
    ngx_http_entra_mdm_refusal_t  *refusals;

    refusals = ngx_palloc(r->pool, NGX_HTTP_ENTRA_MDM_REFUSALS
                                   * sizeof(ngx_http_entra_mdm_refusal_t));
    if (refusals == NULL) {
        return NGX_ERROR;
    }

    n = ngx_http_entra_mdm_refusals_read(policy, refusals);

    for (i = 0; i < n; i++) {
        ngx_http_entra_mdm_text(text, i ? "," : "");
        ngx_http_entra_mdm_status_refusal(text, policy, &refusals[i]);
    }

    return NGX_OK;
}


/* who asks, and what they may do: a page offers nothing else */

static ngx_int_t
ngx_http_entra_mdm_status_author(ngx_http_entra_mdm_text_t *text,
    ngx_http_request_t *r)
{
    ngx_uint_t                   may;
    ngx_http_entra_mdm_author_t  author;

    if (ngx_http_entra_mdm_api_author(r, &author) != NGX_OK) {
        return NGX_ERROR;
    }

    may = ngx_http_entra_mdm_api_may_change(r, &author.role);

    ngx_http_entra_mdm_text(text, "\"actor\":");
    ngx_http_entra_mdm_text_string(text,
                                   ngx_http_entra_mdm_str(&author.actor));
    ngx_http_entra_mdm_text(text, ",\"role\":");
    ngx_http_entra_mdm_text_string(text,
                                   ngx_http_entra_mdm_str(&author.role));
    ngx_http_entra_mdm_text(text, ",\"may_change\":%s,",
                            ngx_http_entra_mdm_status_bool(may));

    return NGX_OK;
}


ngx_int_t
ngx_http_entra_mdm_api_status_get(ngx_http_request_t *r)
{
    ngx_http_entra_mdm_text_t        text;
    ngx_http_entra_mdm_policy_t     *policy;
    ngx_http_entra_mdm_decisions_t   hour;

    policy = ngx_http_entra_mdm_api_policy(r);

    ngx_http_entra_mdm_text_init(&text, r->pool, 16384);

    ngx_http_entra_mdm_text(&text, "{\"policy\":");
    ngx_http_entra_mdm_text_string(&text,
                                   ngx_http_entra_mdm_str(&policy->name));
    ngx_http_entra_mdm_text(&text, ",\"time\":");
    ngx_http_entra_mdm_text_time(&text, ngx_time());
    ngx_http_entra_mdm_text(&text, ",");

    if (ngx_http_entra_mdm_status_author(&text, r) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ngx_http_entra_mdm_status_redis(&text, policy);
    ngx_http_entra_mdm_text(&text, ",");
    ngx_http_entra_mdm_status_keys(&text, policy);
    ngx_http_entra_mdm_text(&text, ",");
    ngx_http_entra_mdm_status_lists(&text, policy);

    ngx_http_entra_mdm_text(&text, ",\"dry_run_locations\":%ui,"
                            "\"decisions\":{\"total\":",
                            policy->dry_run_locations);
    ngx_http_entra_mdm_status_decisions(&text,
                                &ngx_http_entra_mdm_zone(policy)->decisions);

    ngx_http_entra_mdm_hour(policy, &hour);
    ngx_http_entra_mdm_text(&text, ",\"last_hour\":");
    ngx_http_entra_mdm_status_decisions(&text, &hour);
    ngx_http_entra_mdm_text(&text, "},\"refusals\":[");

    if (ngx_http_entra_mdm_status_refusals(&text, r, policy) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ngx_http_entra_mdm_text(&text, "]}\n");

    return ngx_http_entra_mdm_api_send(r, NGX_HTTP_OK, &text);
}
