/*
 * The table of metrics, and where their values come from: what is counted in
 * the zone anyway.  Nothing here walks a list or takes a lock.
 */

#include "ngx_http_entra_mdm_keys.h"
#include "ngx_http_entra_mdm_metrics.h"
#include "ngx_http_entra_mdm_state.h"

#include "entra_version.h"


static void
ngx_http_entra_mdm_metric_plain(ngx_http_entra_mdm_metrics_t *m,
    ngx_atomic_uint_t value)
{
    ngx_http_entra_mdm_metric(m, ENTRA_STR_NONE, ENTRA_STR_NONE, value);
}


static void
ngx_http_entra_mdm_metric_age(ngx_http_entra_mdm_metrics_t *m,
    const ngx_http_entra_mdm_moment_t *since)
{
    if (since->wall) {
        ngx_http_entra_mdm_metric_plain(m,
                                        ngx_http_entra_mdm_moment_age(since));
    }
}


static void
ngx_http_entra_mdm_metric_outcomes(ngx_http_entra_mdm_metrics_t *m,
    ngx_atomic_uint_t succeeded, ngx_atomic_uint_t failed)
{
    ngx_http_entra_mdm_metric(m, entra_lit("succeeded"), ENTRA_STR_NONE,
                              succeeded);
    ngx_http_entra_mdm_metric(m, entra_lit("failed"), ENTRA_STR_NONE, failed);
}


/*** decisions ***/


/* all there can be, so that the first of a kind is seen as an increase */

static void
ngx_http_entra_mdm_metric_decisions(ngx_http_entra_mdm_metrics_t *m,
    ngx_http_entra_mdm_policy_t *policy)
{
    ngx_uint_t                       action, reason, refusal;
    ngx_http_entra_mdm_decisions_t  *decisions;

    decisions = &ngx_http_entra_mdm_zone(policy)->decisions;

    for (action = 0; action < NGX_HTTP_ENTRA_MDM_ACTIONS; action++) {

        refusal = action >= NGX_HTTP_ENTRA_MDM_REFUSED
                            - NGX_HTTP_ENTRA_MDM_ACCEPTED;

        for (reason = 0; reason < ENTRA_REASONS; reason++) {

            if (refusal != (reason != ENTRA_OK)) {
                continue;
            }

            ngx_http_entra_mdm_metric(m, ngx_http_entra_mdm_actions[action],
                         ngx_http_entra_mdm_result(action,
                                                   (entra_reason_t) reason),
                         decisions->count[action][reason]);
        }
    }
}


static void
ngx_http_entra_mdm_metric_tokens(ngx_http_entra_mdm_metrics_t *m,
    ngx_http_entra_mdm_policy_t *policy)
{
    ngx_uint_t  i;

    static const entra_str_t  versions[NGX_HTTP_ENTRA_MDM_VERSIONS] = {
        [NGX_HTTP_ENTRA_MDM_V1] = ENTRA_STR_INIT("v1"),
        [NGX_HTTP_ENTRA_MDM_V2] = ENTRA_STR_INIT("v2"),
        [NGX_HTTP_ENTRA_MDM_V_OTHER] = ENTRA_STR_INIT("other"),
    };

    for (i = 0; i < NGX_HTTP_ENTRA_MDM_VERSIONS; i++) {
        ngx_http_entra_mdm_metric(m, versions[i], ENTRA_STR_NONE,
                               ngx_http_entra_mdm_zone(policy)->tokens[i]);
    }
}


static void
ngx_http_entra_mdm_metric_verification(ngx_http_entra_mdm_metrics_t *m,
    ngx_http_entra_mdm_policy_t *policy)
{
    ngx_http_entra_mdm_metric_timing(m,
                         &ngx_http_entra_mdm_zone(policy)->verification);
}


static void
ngx_http_entra_mdm_metric_dry_run(ngx_http_entra_mdm_metrics_t *m,
    ngx_http_entra_mdm_policy_t *policy)
{
    ngx_http_entra_mdm_metric_plain(m, policy->dry_run_locations);
}


/*** keys ***/


static void
ngx_http_entra_mdm_metric_keys(ngx_http_entra_mdm_metrics_t *m,
    ngx_http_entra_mdm_policy_t *policy)
{
    entra_reason_t       reason;
    const entra_jwks_t  *jwks;

    reason = ENTRA_OK;
    jwks = ngx_http_entra_mdm_keys(policy, &reason);

    ngx_http_entra_mdm_metric_plain(m, jwks ? entra_jwks_count(jwks) : 0);
}


static void
ngx_http_entra_mdm_metric_keys_age(ngx_http_entra_mdm_metrics_t *m,
    ngx_http_entra_mdm_policy_t *policy)
{
    ngx_http_entra_mdm_metric_age(m,
                             &ngx_http_entra_mdm_zone(policy)->keys_fetched);
}


static void
ngx_http_entra_mdm_metric_keys_limit(ngx_http_entra_mdm_metrics_t *m,
    ngx_http_entra_mdm_policy_t *policy)
{
    if (policy->keys->from == NGX_HTTP_ENTRA_MDM_JWKS_REQUEST) {
        ngx_http_entra_mdm_metric_plain(m, policy->keys->max_stale);
    }
}


static void
ngx_http_entra_mdm_metric_fetches(ngx_http_entra_mdm_metrics_t *m,
    ngx_http_entra_mdm_policy_t *policy)
{
    ngx_http_entra_mdm_lease_t  *fetch;

    if (policy->keys->from == NGX_HTTP_ENTRA_MDM_JWKS_REQUEST) {
        fetch = &ngx_http_entra_mdm_zone(policy)->fetch;
        ngx_http_entra_mdm_metric_outcomes(m, fetch->succeeded,
                                           fetch->failed);
    }
}


/*** lists ***/


/* the smaller set is looked up in the larger one */

static size_t
ngx_http_entra_mdm_metric_both(const entra_set_t *a, const entra_set_t *b)
{
    size_t              i, n;
    const entra_set_t  *small, *large;

    small = a->count < b->count ? a : b;
    large = small == a ? b : a;

    for (i = 0, n = 0; i < small->count; i++) {
        n += entra_set_has(large, &small->ids[i]);
    }

    return n;
}


/* each ID once; which are configured and live is found out once a generation */

static void
ngx_http_entra_mdm_metric_list_sizes(ngx_http_entra_mdm_metrics_t *m,
    ngx_http_entra_mdm_policy_t *policy)
{
    size_t                          size[ENTRA_LISTS];
    ngx_uint_t                      i;
    ngx_atomic_uint_t               generation;
    const entra_set_t              *own, *live;
    ngx_http_entra_mdm_snapshot_t   snapshot;

    do {
        generation = ngx_http_entra_mdm_zone(policy)->lists_generation;

        ngx_http_entra_mdm_snapshot(policy, &snapshot);

        for (i = 0; i < ENTRA_LISTS; i++) {
            own = (i == ENTRA_CLIENT_IDS) ? &policy->rules.client_ids
                                          : &policy->rules.tenant_ids;
            live = &snapshot.lists.list[i].ids;

            size[i] = own->count;

            if (!policy->live) {
                continue;
            }

            if (policy->both_of != generation + 1) {
                policy->both[i] = ngx_http_entra_mdm_metric_both(own, live);
            }

            size[i] += live->count - policy->both[i];
        }

    } while (!ngx_http_entra_mdm_snapshot_current(policy, &snapshot)
             || generation != ngx_http_entra_mdm_zone(policy)
                              ->lists_generation);

    policy->both_of = generation + 1;

    for (i = 0; i < ENTRA_LISTS; i++) {
        ngx_http_entra_mdm_metric(m,
                   ngx_http_entra_mdm_str(&ngx_http_entra_mdm_list_names[i]),
                   ENTRA_STR_NONE, size[i]);
    }
}


static void
ngx_http_entra_mdm_metric_list_generation(ngx_http_entra_mdm_metrics_t *m,
    ngx_http_entra_mdm_policy_t *policy)
{
    ngx_http_entra_mdm_metric_plain(m,
                         ngx_http_entra_mdm_zone(policy)->lists_generation);
}


/*** Redis ***/


static void
ngx_http_entra_mdm_metric_connected(ngx_http_entra_mdm_metrics_t *m,
    ngx_http_entra_mdm_policy_t *policy)
{
    if (policy->live_redis) {
        ngx_http_entra_mdm_metric_plain(m,
                           ngx_http_entra_mdm_zone(policy)->feed.connected);
    }
}


static void
ngx_http_entra_mdm_metric_tracking(ngx_http_entra_mdm_metrics_t *m,
    ngx_http_entra_mdm_policy_t *policy)
{
    if (policy->live_redis) {
        ngx_http_entra_mdm_metric_plain(m,
                           ngx_http_entra_mdm_zone(policy)->feed.tracking);
    }
}


static void
ngx_http_entra_mdm_metric_lost(ngx_http_entra_mdm_metrics_t *m,
    ngx_http_entra_mdm_policy_t *policy)
{
    if (policy->live_redis) {
        ngx_http_entra_mdm_metric_plain(m,
                                ngx_http_entra_mdm_zone(policy)->source
                                == NGX_HTTP_ENTRA_MDM_FROM_LOST);
    }
}


static void
ngx_http_entra_mdm_metric_last_update(ngx_http_entra_mdm_metrics_t *m,
    ngx_http_entra_mdm_policy_t *policy)
{
    if (policy->live_redis) {
        ngx_http_entra_mdm_metric_age(m,
                             &ngx_http_entra_mdm_zone(policy)->lists_updated);
    }
}


static void
ngx_http_entra_mdm_metric_reconnects(ngx_http_entra_mdm_metrics_t *m,
    ngx_http_entra_mdm_policy_t *policy)
{
    if (policy->live_redis) {
        ngx_http_entra_mdm_metric_plain(m,
                          ngx_http_entra_mdm_zone(policy)->feed.reconnects);
    }
}


static void
ngx_http_entra_mdm_metric_skipped(ngx_http_entra_mdm_metrics_t *m,
    ngx_http_entra_mdm_policy_t *policy)
{
    ngx_uint_t          i;
    ngx_atomic_uint_t   n;

    if (!policy->live_redis) {
        return;
    }

    for (i = 0, n = 0; i < ENTRA_LISTS; i++) {
        n += ngx_http_entra_mdm_zone(policy)->feed.skipped[i];
    }

    ngx_http_entra_mdm_metric_plain(m, n);
}


static void
ngx_http_entra_mdm_metric_refused(ngx_http_entra_mdm_metrics_t *m,
    ngx_http_entra_mdm_policy_t *policy)
{
    if (policy->live_redis) {
        ngx_http_entra_mdm_metric_plain(m,
                             ngx_http_entra_mdm_zone(policy)->feed.refused);
    }
}


/*** state, zone, module ***/


static void
ngx_http_entra_mdm_metric_writes(ngx_http_entra_mdm_metrics_t *m,
    ngx_http_entra_mdm_policy_t *policy)
{
    ngx_http_entra_mdm_writes_t  *state;

    if (policy->state) {
        state = &ngx_http_entra_mdm_zone(policy)->state;
        ngx_http_entra_mdm_metric_outcomes(m, state->written, state->failed);
    }
}


static void
ngx_http_entra_mdm_metric_zone(ngx_http_entra_mdm_metrics_t *m,
    ngx_http_entra_mdm_policy_t *policy)
{
    size_t  used, room;

    used = ngx_http_entra_mdm_zone_used(policy, &room);

    ngx_http_entra_mdm_metric(m, entra_lit("size"), ENTRA_STR_NONE,
                              policy->zone->shm.size);
    ngx_http_entra_mdm_metric(m, entra_lit("snapshot_used"), ENTRA_STR_NONE,
                              used);
    ngx_http_entra_mdm_metric(m, entra_lit("snapshot_room"), ENTRA_STR_NONE,
                              room);
}


static void
ngx_http_entra_mdm_metric_build(ngx_http_entra_mdm_metrics_t *m,
    ngx_http_entra_mdm_policy_t *policy)
{
    ngx_http_entra_mdm_metric(m, entra_lit(ENTRA_VERSION), ENTRA_STR_NONE, 1);
}


/*
 * In the order they are shown in.  A test compares README's table with this
 * one: name, type, labels, help.
 */

const ngx_http_entra_mdm_metric_t  ngx_http_entra_mdm_metric_table[] = {

    { "entra_mdm_decisions_total", "counter", { "action", "result" },
      ngx_http_entra_mdm_metric_decisions,
      "Requests decided, each once, by what was done and why." },

    { "entra_mdm_tokens_total", "counter", { "version", NULL },
      ngx_http_entra_mdm_metric_tokens,
      "Requests whose token verified, accepted or not, by its version." },

    { "entra_mdm_verification_seconds", "histogram", { NULL, NULL },
      ngx_http_entra_mdm_metric_verification,
      "Time it took to verify a token, signature included." },

    { "entra_mdm_dry_run_locations", "gauge", { NULL, NULL },
      ngx_http_entra_mdm_metric_dry_run,
      "Locations that refuse nobody since entra_mdm_dry_run is on." },

    { "entra_mdm_keys", "gauge", { NULL, NULL },
      ngx_http_entra_mdm_metric_keys,
      "Signing keys in force; 0 if there are none, or none fresh enough." },

    { "entra_mdm_key_set_age_seconds", "gauge", { NULL, NULL },
      ngx_http_entra_mdm_metric_keys_age,
      "Time since the key set was last known to be right." },

    { "entra_mdm_key_set_max_age_seconds", "gauge", { NULL, NULL },
      ngx_http_entra_mdm_metric_keys_limit,
      "Age from which a fetched key set is no longer used (max_stale)." },

    { "entra_mdm_key_fetches_total", "counter", { "outcome", NULL },
      ngx_http_entra_mdm_metric_fetches,
      "Fetches of the key set by a request." },

    { "entra_mdm_list_size", "gauge", { "list", NULL },
      ngx_http_entra_mdm_metric_list_sizes,
      "IDs in force, configured and live ones together, each once." },

    { "entra_mdm_list_generation", "gauge", { NULL, NULL },
      ngx_http_entra_mdm_metric_list_generation,
      "Number of the live lists in force; each change raises it." },

    { "entra_mdm_redis_connected", "gauge", { NULL, NULL },
      ngx_http_entra_mdm_metric_connected,
      "1 while Redis is followed, else 0." },

    { "entra_mdm_redis_tracking", "gauge", { NULL, NULL },
      ngx_http_entra_mdm_metric_tracking,
      "1 while Redis tells of changes, 0 where it can only be polled." },

    { "entra_mdm_redis_lost_data", "gauge", { NULL, NULL },
      ngx_http_entra_mdm_metric_lost,
      "1 while the last lists stay since Redis has lost its data, else 0." },

    { "entra_mdm_redis_last_update_seconds", "gauge", { NULL, NULL },
      ngx_http_entra_mdm_metric_last_update,
      "Time since the live lists were last known to be those of Redis." },

    { "entra_mdm_redis_reconnects_total", "counter", { NULL, NULL },
      ngx_http_entra_mdm_metric_reconnects,
      "Connections to Redis that had to be made again." },

    { "entra_mdm_redis_skipped_members", "gauge", { NULL, NULL },
      ngx_http_entra_mdm_metric_skipped,
      "Members of both lists that are no GUIDs, at the last load." },

    { "entra_mdm_redis_refused_lists_total", "counter", { NULL, NULL },
      ngx_http_entra_mdm_metric_refused,
      "Lists from Redis that were refused as too long for the zone." },

    { "entra_mdm_state_writes_total", "counter", { "outcome", NULL },
      ngx_http_entra_mdm_metric_writes,
      "Writes of the state file." },

    { "entra_mdm_zone_bytes", "gauge", { "kind", NULL },
      ngx_http_entra_mdm_metric_zone,
      "The zone's size, and what lists and keys use of their room in it." },

    { "entra_mdm_build_info", "gauge", { "version", NULL },
      ngx_http_entra_mdm_metric_build,
      "1, with the version of the module that runs as a label." },

    { NULL, NULL, { NULL, NULL }, NULL, NULL }
};
