/*
 * The ring of activities in the zone, and their lines in error.log.
 */

#include "ngx_http_entra_mdm_activities.h"
#include "ngx_http_entra_mdm_lists.h"

#include "entra_escape.h"


#define LINES  200                      /* at a time: some 2 ms */


/* lines that are still to be written; has a pool of its own */

typedef struct {
    ngx_queue_t                   queue;
    ngx_pool_t                   *pool;
    ngx_event_t                   event;
    ngx_http_entra_mdm_policy_t  *policy;

    ngx_uint_t                    list;
    ngx_uint_t                    lists;        /* bits */
    entra_set_t                   from[ENTRA_LISTS];
    entra_set_t                   to[ENTRA_LISTS];
    entra_diff_t                  diff;

    size_t                        actor_len;
    size_t                        role_len;
    char                          actor[ENTRA_ACTIVITY_ACTOR
                                        * ENTRA_ESCAPE_MAX];
    char                          role[ENTRA_ACTIVITY_ROLE * ENTRA_ESCAPE_MAX];
} ngx_http_entra_mdm_lines_t;


static ngx_queue_t  ngx_http_entra_mdm_lines;


/*** the ring ***/


ngx_http_entra_mdm_activities_t *
ngx_http_entra_mdm_activities_create(ngx_slab_pool_t *shpool)
{
    ngx_uint_t                        room;
    ngx_http_entra_mdm_activities_t  *activities;

    room = (size_t) (shpool->end - (u_char *) shpool)
           < NGX_HTTP_ENTRA_MDM_ZONE_LARGE
           ? NGX_HTTP_ENTRA_MDM_ACTIVITIES : NGX_HTTP_ENTRA_MDM_ACTIVITIES_MORE;

    activities = ngx_slab_calloc(shpool, entra_activities_size(room));

    if (activities != NULL) {
        entra_activities_init(activities, room);
    }

    return activities;
}


static ngx_http_entra_mdm_activities_t *
ngx_http_entra_mdm_activities(ngx_http_entra_mdm_policy_t *policy)
{
    return ngx_http_entra_mdm_zone(policy)->activities;
}


ngx_int_t
ngx_http_entra_mdm_activities_collect(ngx_http_entra_mdm_policy_t *policy,
    ngx_pool_t *pool, ngx_http_entra_mdm_change_t *change,
    const entra_set_t *was, const ngx_http_entra_mdm_author_t *author)
{
    size_t                         room;
    ngx_http_entra_mdm_activity_t  model, *activities;

    room = ngx_http_entra_mdm_activities(policy)->room;

    activities = ngx_palloc(pool,
                            room * sizeof(ngx_http_entra_mdm_activity_t));
    if (activities == NULL) {
        return NGX_ERROR;
    }

    ngx_memzero(&model, sizeof(ngx_http_entra_mdm_activity_t));

    model.time = ngx_time();

    entra_activity_text(model.actor, sizeof(model.actor),
                        ngx_http_entra_mdm_str(&author->actor));
    entra_activity_text(model.role, sizeof(model.role),
                        ngx_http_entra_mdm_str(&author->role));

    change->activities = activities;
    change->nactivities = entra_activities_collect(activities, room,
                                                   (unsigned) change->lists,
                                                   was, change->list, &model);

    return NGX_OK;
}


ngx_http_entra_mdm_activity_t *
ngx_http_entra_mdm_activities_copy(ngx_http_entra_mdm_policy_t *policy,
    size_t *n, uint64_t *last)
{
    size_t                            i;
    uint64_t                          first;
    ngx_http_entra_mdm_activity_t    *copy;
    ngx_http_entra_mdm_activities_t  *activities;

    activities = ngx_http_entra_mdm_activities(policy);

    copy = malloc(activities->room * sizeof(ngx_http_entra_mdm_activity_t));
    if (copy == NULL) {
        return NULL;
    }

    ngx_http_entra_mdm_zone_lock(policy);

    *last = activities->last;
    *n = entra_activities_count(activities, &first);

    for (i = 0; i < *n; i++) {
        copy[i] = *entra_activities_get(activities, first + i);
    }

    ngx_http_entra_mdm_zone_unlock(policy);

    return copy;
}


ngx_int_t
ngx_http_entra_mdm_activities_take_over(ngx_http_entra_mdm_policy_t *policy,
    ngx_http_entra_mdm_policy_t *old)
{
    size_t                          n;
    uint64_t                        last;
    ngx_http_entra_mdm_activity_t  *copy;

    copy = ngx_http_entra_mdm_activities_copy(old, &n, &last);
    if (copy == NULL) {
        return NGX_ERROR;
    }

    ngx_http_entra_mdm_activities_restore(policy, copy, n);

    free(copy);

    return NGX_OK;
}


ngx_uint_t
ngx_http_entra_mdm_activities_read(ngx_http_entra_mdm_policy_t *policy,
    ngx_uint_t skip, ngx_http_entra_mdm_activity_t *to, ngx_uint_t n,
    ngx_uint_t *total)
{
    uint64_t                          first;
    ngx_uint_t                        i;
    ngx_http_entra_mdm_activities_t  *activities;

    activities = ngx_http_entra_mdm_activities(policy);

    ngx_http_entra_mdm_zone_lock(policy);

    *total = entra_activities_count(activities, &first);

    for (i = 0; i < n && skip + i < *total; i++) {
        to[i] = *entra_activities_get(activities,
                                      activities->last - skip - i);
    }

    ngx_http_entra_mdm_zone_unlock(policy);

    return i;
}


void
ngx_http_entra_mdm_activities_restore(ngx_http_entra_mdm_policy_t *policy,
    const ngx_http_entra_mdm_activity_t *from, ngx_uint_t n)
{
    ngx_http_entra_mdm_zone_lock(policy);

    entra_activities_restore(ngx_http_entra_mdm_activities(policy), from, n);

    ngx_http_entra_mdm_zone_unlock(policy);
}


/*** the lines ***/


static void
ngx_http_entra_mdm_line_write(ngx_http_entra_mdm_lines_t *lines,
    const entra_guid_t *guid, bool added, uint32_t upper)
{
    char  text[ENTRA_GUID_LEN];

    (void) entra_guid_write_typed(guid, upper, text);

    ngx_log_error(NGX_LOG_NOTICE, ngx_cycle->log, 0,
                  "entra_mdm: policy \"%V\" %s %*s, actor: \"%*s\", "
                  "role: \"%*s\"", &lines->policy->name,
                  entra_activity_types[lines->list][added],
                  (size_t) ENTRA_GUID_LEN, text,
                  lines->actor_len, lines->actor,
                  lines->role_len, lines->role);
}


/* NGX_DONE: there are no more */

static ngx_int_t
ngx_http_entra_mdm_lines_some(ngx_http_entra_mdm_lines_t *lines, ngx_uint_t n)
{
    bool                 added;
    uint32_t             upper;
    const entra_guid_t  *guid;

    upper = 0;
    added = false;

    while (n) {

        guid = NULL;

        if (lines->lists & (1u << lines->list)) {
            guid = entra_diff_next(&lines->diff, &added, &upper);
        }

        if (guid != NULL) {
            ngx_http_entra_mdm_line_write(lines, guid, added, upper);
            n--;
            continue;
        }

        if (++lines->list == ENTRA_LISTS) {
            return NGX_DONE;
        }

        lines->diff = (entra_diff_t) { &lines->from[lines->list],
                                       &lines->to[lines->list], 0, 0 };
    }

    return NGX_AGAIN;
}


static void
ngx_http_entra_mdm_lines_free(ngx_http_entra_mdm_lines_t *lines)
{
    if (lines->event.timer_set) {
        ngx_del_timer(&lines->event);
    }

    ngx_queue_remove(&lines->queue);
    ngx_destroy_pool(lines->pool);
}


static void
ngx_http_entra_mdm_lines_handler(ngx_event_t *ev)
{
    ngx_http_entra_mdm_lines_t  *lines;

    lines = ev->data;

    if (ngx_http_entra_mdm_lines_some(lines, LINES) == NGX_DONE) {
        ngx_http_entra_mdm_lines_free(lines);
        return;
    }

    ngx_add_timer(ev, 1);
}


void
ngx_http_entra_mdm_activities_flush(void)
{
    ngx_queue_t                 *q;
    ngx_http_entra_mdm_lines_t  *lines;

    if (ngx_http_entra_mdm_lines.next == NULL) {
        return;
    }

    while (!ngx_queue_empty(&ngx_http_entra_mdm_lines)) {
        q = ngx_queue_head(&ngx_http_entra_mdm_lines);
        lines = ngx_queue_data(q, ngx_http_entra_mdm_lines_t, queue);

        (void) ngx_http_entra_mdm_lines_some(lines, NGX_MAX_UINT32_VALUE);

        ngx_http_entra_mdm_lines_free(lines);
    }
}


static ngx_http_entra_mdm_lines_t *
ngx_http_entra_mdm_lines_create(ngx_uint_t lists, const entra_set_t *from,
    const entra_set_t *to)
{
    ngx_uint_t                   i;
    ngx_pool_t                  *pool;
    ngx_http_entra_mdm_lines_t  *lines;

    pool = ngx_create_pool(ngx_pagesize, ngx_cycle->log);
    if (pool == NULL) {
        return NULL;
    }

    lines = ngx_pcalloc(pool, sizeof(ngx_http_entra_mdm_lines_t));
    if (lines == NULL) {
        goto failed;
    }

    lines->pool = pool;
    lines->lists = lists;

    for (i = 0; i < ENTRA_LISTS; i++) {
        if ((lists & (1u << i))
            && (ngx_http_entra_mdm_set_copy(pool, &from[i], &lines->from[i])
                != NGX_OK
                || ngx_http_entra_mdm_set_copy(pool, &to[i], &lines->to[i])
                   != NGX_OK))
        {
            goto failed;
        }
    }

    return lines;

failed:

    ngx_destroy_pool(pool);

    return NULL;
}


/* as it is in an activity, and then escaped */

static size_t
ngx_http_entra_mdm_line_text(char *to, const ngx_str_t *from, size_t size)
{
    char  text[ENTRA_ACTIVITY_ACTOR + 1];

    entra_activity_text(text, size, ngx_http_entra_mdm_str(from));

    return entra_escape_log(entra_str(text), to) - to;
}


void
ngx_http_entra_mdm_activities_log(ngx_http_entra_mdm_policy_t *policy,
    ngx_uint_t lists, const entra_set_t *from, const entra_set_t *to,
    const ngx_http_entra_mdm_author_t *author)
{
    ngx_http_entra_mdm_lines_t  *lines;

    lines = ngx_http_entra_mdm_lines_create(lists, from, to);

    if (lines == NULL) {
        ngx_log_error(NGX_LOG_ALERT, ngx_cycle->log, 0,
                      "entra_mdm: no memory to log changes of policy \"%V\"",
                      &policy->name);
        return;
    }

    lines->policy = policy;
    lines->diff = (entra_diff_t) { &lines->from[0], &lines->to[0], 0, 0 };
    lines->actor_len = ngx_http_entra_mdm_line_text(lines->actor,
                                                    &author->actor,
                                                    ENTRA_ACTIVITY_ACTOR + 1);
    lines->role_len = ngx_http_entra_mdm_line_text(lines->role, &author->role,
                                                   ENTRA_ACTIVITY_ROLE + 1);

    if (ngx_http_entra_mdm_lines.next == NULL) {
        ngx_queue_init(&ngx_http_entra_mdm_lines);
    }

    ngx_queue_insert_tail(&ngx_http_entra_mdm_lines, &lines->queue);

    lines->event.handler = ngx_http_entra_mdm_lines_handler;
    lines->event.data = lines;
    lines->event.log = ngx_cycle->log;
    lines->event.cancelable = 1;

    ngx_http_entra_mdm_lines_handler(&lines->event);
}
