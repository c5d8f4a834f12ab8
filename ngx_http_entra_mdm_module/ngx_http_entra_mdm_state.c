/*
 * The state of a policy: read when its zone is made, and saved by worker 0
 * whenever the zone has changed, whoever changed it.
 */

#include "ngx_http_entra_mdm_activities.h"
#include "ngx_http_entra_mdm_lists.h"
#include "ngx_http_entra_mdm_state.h"

#include "entra_escape.h"


#define TICK        200                 /* how often worker 0 looks, in ms */
#define MAX_WAIT    60000               /* after many failures */
#define MAX_DRIFT   60                  /* times alone, in seconds */
#define MAX_SKEW    300                 /* of a clock */
#define MAX_LOCKED  3000                /* longer than any other's save */

/* between two attempts: less than the second that an API answer promises */
#define PAUSE_THREAD  500
#define PAUSE_WORKER  1000


/*** at the birth of a zone ***/


entra_str_t
ngx_http_entra_mdm_state_jwks_source(const ngx_http_entra_mdm_keys_t *keys)
{
    char         *text, *p;
    const char   *from;
    entra_str_t   name;

    switch (keys->from) {

    case NGX_HTTP_ENTRA_MDM_JWKS_FILE:
        from = "file=";
        break;

    case NGX_HTTP_ENTRA_MDM_JWKS_REQUEST:
        from = "request=";
        break;

    default:
        from = "";
        break;
    }

    name = ngx_http_entra_mdm_str(&keys->name);

    text = malloc(ngx_strlen(from) + name.len * ENTRA_ESCAPE_MAX + 1);
    if (text == NULL) {
        return ENTRA_STR_NONE;
    }

    p = (char *) ngx_cpymem(text, from, ngx_strlen(from));
    p = entra_escape_log(name, p);

    return (entra_str_t) { text, p - text };
}


/*
 * A time to come counts as now where the clock may have been set a little;
 * else as never: what a clock that was wrong has dated must not stay fresh.
 */

static time_t
ngx_http_entra_mdm_state_time(int64_t seconds)
{
    if (seconds <= ngx_time()) {
        return seconds;
    }

    return seconds - ngx_time() <= MAX_SKEW ? ngx_time() : 0;
}


/*
 * Keys of a file are read from that file, and nobody trusts those of a source
 * that the configuration no longer names.
 */

static ngx_uint_t
ngx_http_entra_mdm_state_keys(ngx_http_entra_mdm_policy_t *policy,
    const entra_state_t *state, ngx_log_t *log)
{
    const char    *error;
    ngx_uint_t     same;
    entra_str_t    source;
    entra_jwks_t  *jwks;

    if (state->jwks.len == 0
        || policy->keys->from == NGX_HTTP_ENTRA_MDM_JWKS_FILE)
    {
        return 0;
    }

    source = ngx_http_entra_mdm_state_jwks_source(policy->keys);
    same = source.data != NULL && entra_str_eq(source, state->jwks_source);

    free((void *) source.data);

    if (!same) {
        return 0;
    }

    error = "it is too large";
    jwks = NULL;

    if (state->jwks.len <= NGX_HTTP_ENTRA_MDM_MAX_JWKS) {
        jwks = entra_jwks_parse(state->jwks, &error);
    }

    if (jwks == NULL) {
        ngx_log_error(NGX_LOG_ERR, log, 0,
                      "entra_mdm: \"jwks\" in the state \"%V\" of policy "
                      "\"%V\" is not a key set: %s; it is ignored",
                      &policy->state->path, &policy->name, error);
        return 0;
    }

    entra_jwks_free(jwks);

    return 1;
}


static void
ngx_http_entra_mdm_state_change(const entra_state_t *state,
    ngx_http_entra_mdm_change_t *change)
{
    ngx_uint_t  i;

    ngx_memzero(change, sizeof(ngx_http_entra_mdm_change_t));

    for (i = 0; i < ENTRA_LISTS; i++) {
        if (state->lists.list[i].known) {
            change->lists |= 1u << i;
            change->list[i] = state->lists.list[i].ids;
        }
    }

    change->source = state->lists_source == ENTRA_STATE_LOST
                     ? NGX_HTTP_ENTRA_MDM_FROM_LOST
                     : NGX_HTTP_ENTRA_MDM_FROM_STATE;
}


static void
ngx_http_entra_mdm_state_lists(ngx_http_entra_mdm_zone_t *zone,
    const entra_state_t *state)
{
    zone->feed.generation = state->redis_generation;

    ngx_http_entra_mdm_moment_set(&zone->lists_updated,
                          ngx_http_entra_mdm_state_time(state->lists_updated));
}


static ngx_int_t
ngx_http_entra_mdm_state_publish(ngx_http_entra_mdm_policy_t *policy,
    const entra_state_t *state, ngx_log_t *log)
{
    ngx_http_entra_mdm_zone_t    *zone;
    ngx_http_entra_mdm_change_t   change;

    ngx_http_entra_mdm_state_change(state, &change);

    if (ngx_http_entra_mdm_state_keys(policy, state, log)) {
        change.keys = 1;
        change.text = state->jwks;
        change.keys_fetched =
                           ngx_http_entra_mdm_state_time(state->jwks_fetched);
    }

    if (ngx_http_entra_mdm_zone_fits(policy, policy->zone->shm.size,
                                     change.list, change.text.len, log)
        != NGX_OK
        || ngx_http_entra_mdm_zone_publish(policy, &change) != NGX_OK)
    {
        return NGX_ERROR;
    }

    zone = ngx_http_entra_mdm_zone(policy);

    ngx_http_entra_mdm_activities_restore(policy, state->activities,
                                          state->nactivities);

    ngx_http_entra_mdm_state_lists(zone, state);

    if (change.keys) {
        zone->keys_source = ngx_http_entra_mdm_keys_source(policy->keys);
    }

    return NGX_OK;
}


/* what is in the file already is not to be written again */

static void
ngx_http_entra_mdm_state_loaded(ngx_http_entra_mdm_policy_t *policy,
    const entra_state_t *state, const ngx_http_entra_mdm_stamp_t *stamp,
    ngx_log_t *log)
{
    ngx_http_entra_mdm_zone_t      *zone;
    ngx_http_entra_mdm_snapshot_t   snapshot;

    zone = ngx_http_entra_mdm_zone(policy);

    ngx_http_entra_mdm_zone_mark(policy, &snapshot, &zone->state.saved);

    zone->state.stamp = *stamp;

    if (zone->lists_updated.wall < state->lists_updated
        || (snapshot.keys.len
            && zone->keys_fetched.wall < state->jwks_fetched))
    {
        ngx_log_error(NGX_LOG_WARN, log, 0,
                      "entra_mdm: the state \"%V\" of policy \"%V\" was "
                      "written by a clock ahead of this one",
                      &policy->state->path, &policy->name);

        /* but this is */
        zone->state.saved.published--;
    }

    ngx_log_error(NGX_LOG_NOTICE, log, 0,
                  "entra_mdm: policy \"%V\" begins with %uz client IDs, %uz "
                  "tenant IDs%s of its state \"%V\"", &policy->name,
                  snapshot.lists.list[ENTRA_CLIENT_IDS].ids.count,
                  snapshot.lists.list[ENTRA_TENANT_IDS].ids.count,
                  snapshot.keys.len ? " and the keys" : "",
                  &policy->state->path);
}


/* where Redis has the lists, a state is a help and no more */

static ngx_int_t
ngx_http_entra_mdm_state_unusable(ngx_http_entra_mdm_policy_t *policy,
    ngx_err_t err, const char *why, ngx_log_t *log)
{
    ngx_uint_t  level;

    if (ngx_test_config && err == NGX_EACCES && geteuid() != 0) {
        ngx_log_error(NGX_LOG_WARN, log, err,
                      "the state \"%V\" of policy \"%V\" %s by this user: it "
                      "was not tested", &policy->state->path, &policy->name,
                      why);
        return NGX_DECLINED;
    }

    if (policy->live_redis) {
        ngx_log_error(NGX_LOG_ERR, log, err,
                      "entra_mdm: the state \"%V\" of policy \"%V\" %s; it is "
                      "ignored, since Redis has the lists",
                      &policy->state->path, &policy->name, why);
        return NGX_DECLINED;
    }

    /* a zone that has been published to is in force, and nginx goes on */

    level = ngx_http_entra_mdm_zone(policy)->published ? NGX_LOG_ERR
                                                       : NGX_LOG_EMERG;
    ngx_log_error(level, log, err,
                  "the state \"%V\" of policy \"%V\" %s: mend it, restore it, "
                  "or move it away to begin with empty lists, or change "
                  "\"state\" in %V:%ui", &policy->state->path, &policy->name,
                  why, &policy->file, policy->line);

    return NGX_ERROR;
}


/* NGX_DECLINED: there is none, or none that can be used, but no error */

static ngx_int_t
ngx_http_entra_mdm_state_read(ngx_http_entra_mdm_policy_t *policy,
    entra_state_t *state, ngx_log_t *log)
{
    bool                        ok;
    char                        error[ENTRA_STATE_ERROR];
    char                        why[ENTRA_STATE_ERROR + 16];
    ngx_int_t                   rc;
    ngx_http_entra_mdm_file_t   file;

    rc = ngx_http_entra_mdm_file_read(&policy->state->path, ENTRA_STATE_MAX, 1,
                                      &file);
    if (rc == NGX_DECLINED) {
        /* the first start: empty lists */
        return NGX_DECLINED;
    }

    if (rc != NGX_OK) {
        return ngx_http_entra_mdm_state_unusable(policy, file.err, file.why,
                                                 log);
    }

    ok = entra_state_read(file.text, state, error);

    free((void *) file.text.data);

    if (!ok) {
        *ngx_snprintf((u_char *) why, sizeof(why) - 1, "is damaged: %s", error)
            = '\0';
        return ngx_http_entra_mdm_state_unusable(policy, 0, why, log);
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_entra_mdm_state_load(ngx_http_entra_mdm_policy_t *policy,
    ngx_log_t *log)
{
    ngx_int_t                    rc;
    entra_state_t                state;
    ngx_http_entra_mdm_stamp_t   stamp;

    (void) ngx_http_entra_mdm_file_stamp(&policy->state->path, 1, &stamp);

    rc = ngx_http_entra_mdm_state_read(policy, &state, log);
    if (rc != NGX_OK) {
        return rc == NGX_DECLINED ? NGX_OK : NGX_ERROR;
    }

    rc = ngx_http_entra_mdm_state_publish(policy, &state, log);

    if (rc == NGX_OK) {
        ngx_http_entra_mdm_state_loaded(policy, &state, &stamp, log);
    }

    entra_state_free(&state);

#if defined(__GLIBC__)
    /* what a million IDs took, in pieces, every worker would inherit */
    (void) malloc_trim(0);
#endif

    return rc;
}


void
ngx_http_entra_mdm_state_adopt(ngx_http_entra_mdm_policy_t *policy,
    ngx_log_t *log)
{
    ngx_int_t                     rc;
    entra_state_t                 state;
    ngx_http_entra_mdm_change_t   change;

    if (ngx_http_entra_mdm_state_read(policy, &state, log) != NGX_OK) {
        return;
    }

    ngx_http_entra_mdm_state_change(&state, &change);

    do {
        rc = ngx_http_entra_mdm_lists_publish(policy, &change, log);
    } while (rc == NGX_AGAIN);

    if (rc == NGX_OK) {
        ngx_http_entra_mdm_state_lists(ngx_http_entra_mdm_zone(policy),
                                       &state);
    }

    entra_state_free(&state);
}


/*** in worker 0 ***/


static ngx_uint_t
ngx_http_entra_mdm_drifted(time_t now, time_t saved, time_t drift)
{
    return now - saved > drift || saved - now > drift;
}


/* anything but times that have moved by no more than drift */

static ngx_uint_t
ngx_http_entra_mdm_state_unsaved(ngx_http_entra_mdm_policy_t *policy,
    time_t drift)
{
    ngx_http_entra_mdm_mark_t  *saved;
    ngx_http_entra_mdm_zone_t  *zone;

    zone = ngx_http_entra_mdm_zone(policy);
    saved = &zone->state.saved;

    return zone->published != saved->published
           || zone->lists_known != saved->lists_known
           || zone->source != saved->source
           || zone->feed.generation != saved->generation
           || zone->activities->last != saved->activities
           || ngx_http_entra_mdm_drifted(zone->keys_fetched.wall,
                                         saved->keys_fetched, drift)
           || ngx_http_entra_mdm_drifted(zone->lists_updated.wall,
                                         saved->lists_updated, drift);
}


static void
ngx_http_entra_mdm_state_success(ngx_http_entra_mdm_policy_t *policy,
    ngx_log_t *log)
{
    ngx_http_entra_mdm_zone_t   *zone;
    ngx_http_entra_mdm_state_t  *state;

    zone = ngx_http_entra_mdm_zone(policy);
    state = policy->state;

    zone->state.saved = state->save.mark;
    zone->state.stamp = state->save.stamp;

    (void) ngx_atomic_fetch_add(&zone->state.written, 1);

    if (zone->state.failing) {
        zone->state.failing = 0;
        ngx_log_error(NGX_LOG_NOTICE, log, 0,
                      "entra_mdm: the state \"%V\" of policy \"%V\" is saved "
                      "again", &state->path, &policy->name);
    }

    state->failures = 0;
}


static void
ngx_http_entra_mdm_state_failure(ngx_http_entra_mdm_policy_t *policy,
    ngx_log_t *log)
{
    ngx_msec_t                   wait;
    ngx_http_entra_mdm_zone_t   *zone;
    ngx_http_entra_mdm_state_t  *state;

    zone = ngx_http_entra_mdm_zone(policy);
    state = policy->state;

    (void) ngx_atomic_fetch_add(&zone->state.failed, 1);

    wait = (ngx_msec_t) PAUSE_WORKER << ngx_min(state->failures, 10);

    state->next = ngx_current_msec + ngx_min(wait, MAX_WAIT);
    state->failures++;

    if (state->save.stamp.ino) {
        /* replaced it was, if not for good */
        zone->state.stamp = state->save.stamp;
    }

    if (zone->state.failing
        && ngx_http_entra_mdm_moment_age(&zone->state.told) < 60)
    {
        return;
    }

    ngx_log_error(NGX_LOG_ERR, log, state->save.err,
                  "entra_mdm: the state \"%V\" of policy \"%V\" %s: until the "
                  "disk and the directory's rights are mended, a restart "
                  "would bring back the last one saved", &state->path,
                  &policy->name, state->save.why);

    zone->state.failing = 1;
    ngx_http_entra_mdm_moment_set(&zone->state.told, ngx_time());
}


/* whoever has the lock is saving as well, if it does not take too long */

static void
ngx_http_entra_mdm_state_locked(ngx_http_entra_mdm_policy_t *policy,
    ngx_log_t *log)
{
    ngx_http_entra_mdm_state_t  *state;

    state = policy->state;

    if (!state->locked_out) {
        state->locked_out = 1;
        state->locked = ngx_current_msec;
    }

    if (state->started && ngx_current_msec - state->locked < MAX_LOCKED) {
        return;
    }

    ngx_cpystrn((u_char *) state->save.why,
                (u_char *) "is in a directory that another process has locked",
                sizeof(state->save.why));

    ngx_http_entra_mdm_state_failure(policy, log);
}


static void
ngx_http_entra_mdm_state_outcome(ngx_http_entra_mdm_policy_t *policy,
    ngx_log_t *log)
{
    ngx_http_entra_mdm_saved_e  result;

    result = policy->state->save.result;

    if (result == NGX_HTTP_ENTRA_MDM_SAVE_BUSY) {
        ngx_http_entra_mdm_state_locked(policy, log);
        return;
    }

    policy->state->locked_out = 0;

    switch (result) {

    case NGX_HTTP_ENTRA_MDM_SAVED:
        ngx_http_entra_mdm_state_success(policy, log);
        break;

    case NGX_HTTP_ENTRA_MDM_SAVE_FAILED:
        ngx_http_entra_mdm_state_failure(policy, log);
        break;

    default: /* VOID */
        break;
    }
}


static void
ngx_http_entra_mdm_state_prepare(ngx_http_entra_mdm_policy_t *policy,
    ngx_uint_t careful)
{
    ngx_http_entra_mdm_save_t  *save;

    save = &policy->state->save;

    ngx_memzero(save, sizeof(ngx_http_entra_mdm_save_t));

    save->policy = policy;
    save->now = ngx_time();
    save->careful = careful;
}


#if (NGX_THREADS)

static void
ngx_http_entra_mdm_state_thread(void *data, ngx_log_t *log)
{
    ngx_http_entra_mdm_policy_t *policy = data;

    ngx_http_entra_mdm_save(&policy->state->save);
}


static void
ngx_http_entra_mdm_state_thread_done(ngx_event_t *ev)
{
    ngx_http_entra_mdm_policy_t *policy = ev->data;

    policy->state->busy = 0;

    ngx_http_entra_mdm_state_outcome(policy, ev->log);
}

#endif


static void
ngx_http_entra_mdm_state_save(ngx_http_entra_mdm_policy_t *policy,
    ngx_log_t *log)
{
    ngx_http_entra_mdm_state_t  *state;

    state = policy->state;

    /* while this worker ends, another configuration may have the file */

    ngx_http_entra_mdm_state_prepare(policy, ngx_exiting);

#if (NGX_THREADS)

    if (state->threads) {
        state->next = ngx_current_msec + PAUSE_THREAD;
        state->busy = ngx_thread_task_post(state->threads, &state->task)
                      == NGX_OK;
        return;
    }

#endif

    state->next = ngx_current_msec + PAUSE_WORKER;

    ngx_http_entra_mdm_save(&state->save);
    ngx_http_entra_mdm_state_outcome(policy, log);
}


static void
ngx_http_entra_mdm_state_tick(ngx_event_t *ev)
{
    ngx_http_entra_mdm_zone_t    *zone;
    ngx_http_entra_mdm_state_t   *state;
    ngx_http_entra_mdm_policy_t  *policy;

    policy = ev->data;
    state = policy->state;
    zone = ngx_http_entra_mdm_zone(policy);

    if (policy->epoch != zone->feed_epoch) {
        /* a later worker 0 has begun: the file is its own */
        return;
    }

    ngx_add_timer(ev, TICK);

    if (!state->busy
        && (ngx_msec_int_t) (ngx_current_msec - state->next) >= 0
        && ngx_http_entra_mdm_state_unsaved(policy, MAX_DRIFT))
    {
        ngx_http_entra_mdm_state_save(policy, ev->log);
    }
}


void
ngx_http_entra_mdm_state_start(ngx_cycle_t *cycle,
    ngx_http_entra_mdm_policy_t *policy)
{
    ngx_http_entra_mdm_state_t  *state;

    state = policy->state;

    state->timer.handler = ngx_http_entra_mdm_state_tick;
    state->timer.data = policy;
    state->timer.log = cycle->log;
    state->timer.cancelable = 1;

#if (NGX_THREADS)
    state->task.ctx = policy;
    state->task.handler = ngx_http_entra_mdm_state_thread;
    state->task.event.handler = ngx_http_entra_mdm_state_thread_done;
    state->task.event.data = policy;
    state->task.event.log = cycle->log;
#endif

    state->next = ngx_current_msec;
    state->started = 1;

    ngx_add_timer(&state->timer, TICK);
}


/*
 * The end of worker 0.  nginx has waited for its threads by now, but no longer
 * heard what they have to say.
 */

void
ngx_http_entra_mdm_state_stop(ngx_http_entra_mdm_policy_t *policy)
{
    ngx_log_t                   *log;
    ngx_uint_t                   n;
    ngx_http_entra_mdm_state_t  *state;

    state = policy->state;

    if (!state->started) {
        return;
    }

    state->started = 0;
    log = state->timer.log;

    if (state->timer.timer_set) {
        ngx_del_timer(&state->timer);
    }

    if (state->busy) {
        state->busy = 0;
        ngx_http_entra_mdm_state_outcome(policy, log);
    }

    if (!ngx_http_entra_mdm_state_unsaved(policy, 0)) {
        return;
    }

    ngx_http_entra_mdm_state_prepare(policy, 1);

    for (n = 0; n < 50; n++) {
        ngx_http_entra_mdm_save(&state->save);

        if (state->save.result != NGX_HTTP_ENTRA_MDM_SAVE_BUSY) {
            break;
        }

        ngx_msleep(20);
    }

    ngx_http_entra_mdm_state_outcome(policy, log);
}
