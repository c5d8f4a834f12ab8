/*
 * The right to fetch a key set.
 */

#include "ngx_http_entra_mdm_lease.h"


/* the difference, since the time in milliseconds wraps on some systems */

static ngx_msec_int_t
ngx_http_entra_mdm_lease_left(ngx_msec_t until)
{
    return (ngx_msec_int_t) (until - ngx_current_msec);
}


/* a worker that was killed has no say; a number used again waits its time */

static ngx_uint_t
ngx_http_entra_mdm_lease_held(const ngx_http_entra_mdm_lease_t *lease)
{
    if (lease->pid == 0
        || ngx_http_entra_mdm_lease_left(lease->deadline) <= 0)
    {
        return 0;
    }

    return kill(lease->pid, 0) == 0 || ngx_errno != NGX_ESRCH;
}


static ngx_uint_t
ngx_http_entra_mdm_lease_early(const ngx_http_entra_mdm_lease_t *lease,
    const ngx_http_entra_mdm_keys_t *keys)
{
    ngx_msec_t  next;

    next = lease->started + (ngx_msec_t) keys->min_interval * 1000;

    return lease->attempts && ngx_http_entra_mdm_lease_left(next) > 0;
}


ngx_int_t
ngx_http_entra_mdm_lease_take(ngx_http_entra_mdm_policy_t *policy,
    ngx_uint_t *attempt)
{
    ngx_int_t                    rc;
    ngx_http_entra_mdm_zone_t   *zone;
    ngx_http_entra_mdm_lease_t  *lease;

    zone = ngx_http_entra_mdm_zone(policy);
    lease = &zone->fetch;

    ngx_http_entra_mdm_zone_lock(policy);

    if (ngx_http_entra_mdm_lease_held(lease)) {
        rc = NGX_BUSY;

    } else if (zone->keys_config != policy->keys->config
               || ngx_http_entra_mdm_lease_early(lease, policy->keys))
    {
        /* or a worker from before a reload: its location may be another */
        rc = NGX_DECLINED;

    } else {
        rc = NGX_OK;

        lease->pid = ngx_pid;
        lease->started = ngx_current_msec;
        lease->deadline = ngx_current_msec + NGX_HTTP_ENTRA_MDM_LEASE_TIME;

        *attempt = ++lease->attempts;
    }

    ngx_http_entra_mdm_zone_unlock(policy);

    return rc;
}


/* under the mutex: is that attempt still the one under way? */

static ngx_uint_t
ngx_http_entra_mdm_lease_mine(const ngx_http_entra_mdm_lease_t *lease,
    ngx_uint_t attempt)
{
    return lease->pid == ngx_pid && lease->attempts == attempt;
}


ngx_uint_t
ngx_http_entra_mdm_lease_has(ngx_http_entra_mdm_policy_t *policy,
    ngx_uint_t attempt)
{
    ngx_uint_t                   mine;
    ngx_http_entra_mdm_lease_t  *lease;

    lease = &ngx_http_entra_mdm_zone(policy)->fetch;

    ngx_http_entra_mdm_zone_lock(policy);

    mine = ngx_http_entra_mdm_lease_mine(lease, attempt);

    ngx_http_entra_mdm_zone_unlock(policy);

    return mine;
}


void
ngx_http_entra_mdm_lease_end(ngx_http_entra_mdm_policy_t *policy,
    ngx_uint_t attempt, const ngx_str_t *error)
{
    ngx_http_entra_mdm_lease_t  *lease;

    lease = &ngx_http_entra_mdm_zone(policy)->fetch;

    ngx_http_entra_mdm_zone_lock(policy);

    if (ngx_http_entra_mdm_lease_mine(lease, attempt)) {

        lease->pid = 0;
        lease->error_len = 0;
        lease->ended++;

        if (error == NULL) {
            lease->failures = 0;
            lease->succeeded++;

        } else {
            lease->failures++;
            lease->failed++;
            lease->error_len = ngx_min(error->len,
                                       NGX_HTTP_ENTRA_MDM_MAX_ERROR);
            ngx_memcpy(lease->error, error->data, lease->error_len);
        }
    }

    ngx_http_entra_mdm_zone_unlock(policy);
}


void
ngx_http_entra_mdm_lease_give_back(ngx_http_entra_mdm_policy_t *policy,
    ngx_uint_t attempt)
{
    ngx_http_entra_mdm_lease_t  *lease;

    lease = &ngx_http_entra_mdm_zone(policy)->fetch;

    ngx_http_entra_mdm_zone_lock(policy);

    if (ngx_http_entra_mdm_lease_mine(lease, attempt)) {
        lease->pid = 0;
        lease->started -= (ngx_msec_t) policy->keys->min_interval * 1000;
    }

    ngx_http_entra_mdm_zone_unlock(policy);
}


void
ngx_http_entra_mdm_lease_reset(ngx_http_entra_mdm_policy_t *policy)
{
    ngx_http_entra_mdm_lease_t  *lease;

    lease = &ngx_http_entra_mdm_zone(policy)->fetch;

    ngx_http_entra_mdm_zone_lock(policy);

    lease->pid = 0;
    lease->failures = 0;
    lease->error_len = 0;
    lease->started = ngx_current_msec
                     - (ngx_msec_t) policy->keys->min_interval * 1000;

    ngx_http_entra_mdm_zone_unlock(policy);
}


/* seconds between the attempts that fail */

static time_t
ngx_http_entra_mdm_lease_backoff(const ngx_http_entra_mdm_keys_t *keys,
    ngx_uint_t failures)
{
    time_t  wait;

    wait = keys->min_interval;

    while (--failures && wait < keys->refresh) {
        wait *= 2;
    }

    return ngx_min(wait, keys->refresh);
}


ngx_msec_t
ngx_http_entra_mdm_lease_due(ngx_http_entra_mdm_policy_t *policy)
{
    time_t                       age, since, wait;
    ngx_uint_t                   failures;
    ngx_http_entra_mdm_keys_t   *keys;
    ngx_http_entra_mdm_lease_t  *lease;

    keys = policy->keys;
    lease = &ngx_http_entra_mdm_zone(policy)->fetch;
    failures = lease->failures;

    if (lease->attempts == 0) {
        return 0;
    }

    /* another worker's clock may be a moment ahead */
    since = -ngx_http_entra_mdm_lease_left(lease->started) / 1000;

    if (failures) {
        wait = ngx_http_entra_mdm_lease_backoff(keys, failures) - since;

    } else {
        /* a clock set back delays no refresh */
        age = ngx_http_entra_mdm_keys_age(policy);
        wait = keys->refresh - ngx_max(age, since);
    }

    wait = ngx_max(wait, keys->min_interval - since);

    return wait > 0 ? (ngx_msec_t) wait * 1000 : 0;
}


ngx_str_t
ngx_http_entra_mdm_lease_error(ngx_http_entra_mdm_policy_t *policy,
    u_char buffer[NGX_HTTP_ENTRA_MDM_MAX_ERROR])
{
    ngx_str_t                    error;
    ngx_http_entra_mdm_lease_t  *lease;

    lease = &ngx_http_entra_mdm_zone(policy)->fetch;

    ngx_http_entra_mdm_zone_lock(policy);

    error.data = buffer;
    error.len = lease->error_len;
    ngx_memcpy(buffer, lease->error, error.len);

    ngx_http_entra_mdm_zone_unlock(policy);

    return error;
}
