/*
 * The shared zone of a policy: its snapshots, read and published.
 */

#include "ngx_http_entra_mdm_activities.h"


/* as much is copied under the mutex, at a time: some ten microseconds */
#define PIECE  (64 * 1024)

/* bytes of spelling written at a time */
#define TYPED  4096

/* seconds until new workers have taken over, or the master has died of it */
#define MOVING  30


/*
 * The start of each half; the lists follow, each ID and then how each was
 * typed, then the text of the keys.  How an ID was typed is packed, but where
 * a list has one that cannot be.
 */

typedef struct {
    size_t             count[ENTRA_LISTS];
    uint8_t            wide[ENTRA_LISTS];       /* not packed */
    size_t             text;
    ngx_atomic_uint_t  keys;            /* their generation */
} ngx_http_entra_mdm_head_t;


typedef struct {
    ngx_http_entra_mdm_policy_t  *policy;
    ngx_atomic_uint_t             ticket;
    u_char                       *pos;
} ngx_http_entra_mdm_writer_t;


/* by what a new snapshot differs from the one in force */

typedef struct {
    ngx_uint_t                    lists;        /* unsigned  lists:1; */
    ngx_uint_t                    typed;        /* unsigned  typed:1; */
    ngx_uint_t                    keys;         /* unsigned  keys:1; */
} ngx_http_entra_mdm_news_t;


/*** sizes ***/


static size_t
ngx_http_entra_mdm_typed_size(ngx_uint_t wide)
{
    return wide ? sizeof(uint32_t) : ENTRA_GUID_PACKED;
}


/* of a list, with what keeps the next one aligned */

static size_t
ngx_http_entra_mdm_list_size(size_t count, ngx_uint_t wide)
{
    return count * sizeof(entra_guid_t)
           + ((count * ngx_http_entra_mdm_typed_size(wide) + 15)
              & ~(size_t) 15);
}


size_t
ngx_http_entra_mdm_set_size(const entra_set_t *ids)
{
    return ngx_http_entra_mdm_list_size(ids->count, !entra_set_packs(ids));
}


ngx_http_entra_mdm_zone_t *
ngx_http_entra_mdm_zone(ngx_http_entra_mdm_policy_t *policy)
{
    return policy->zone->data;
}


void
ngx_http_entra_mdm_zone_lock(ngx_http_entra_mdm_policy_t *policy)
{
    ngx_shmtx_lock(&((ngx_slab_pool_t *) policy->zone->shm.addr)->mutex);
}


void
ngx_http_entra_mdm_zone_unlock(ngx_http_entra_mdm_policy_t *policy)
{
    ngx_shmtx_unlock(&((ngx_slab_pool_t *) policy->zone->shm.addr)->mutex);
}


void
ngx_http_entra_mdm_zone_count_token(ngx_http_entra_mdm_policy_t *policy,
    ngx_uint_t seen)
{
    ngx_http_entra_mdm_zone_t  *zone;

    zone = ngx_http_entra_mdm_zone(policy);

    (void) ngx_atomic_fetch_add(seen ? &zone->seen : &zone->verified, 1);
}


/*** time ***/


static time_t
ngx_http_entra_mdm_steady(void)
{
    return (time_t) (ngx_current_msec / 1000);
}


void
ngx_http_entra_mdm_moment_set(ngx_http_entra_mdm_moment_t *moment, time_t wall)
{
    moment->wall = wall;
    moment->steady = ngx_http_entra_mdm_steady() - (ngx_time() - wall);
}


time_t
ngx_http_entra_mdm_moment_age(const ngx_http_entra_mdm_moment_t *moment)
{
    time_t  age;

    if (moment->wall == 0) {
        /* whatever the clock says, even that this is 1970 */
        return NGX_MAX_INT32_VALUE;
    }

    age = ngx_max(ngx_time() - moment->wall,
                  ngx_http_entra_mdm_steady() - moment->steady);

    return ngx_max(age, 0);
}


/*** reading ***/


void
ngx_http_entra_mdm_snapshot(ngx_http_entra_mdm_policy_t *policy,
    ngx_http_entra_mdm_snapshot_t *snapshot)
{
    u_char                     *p, *typed;
    ngx_uint_t                  i;
    entra_list_t               *list;
    ngx_http_entra_mdm_head_t   head;
    ngx_http_entra_mdm_zone_t  *zone;

    zone = ngx_http_entra_mdm_zone(policy);

    do {
        snapshot->number = zone->published;

        ngx_memory_barrier();

        p = zone->half[snapshot->number & 1];
        head = *(ngx_http_entra_mdm_head_t *) p;

        /* where its lengths are torn, nothing of it may be touched */

    } while (!ngx_http_entra_mdm_snapshot_current(policy, snapshot));

    p += sizeof(ngx_http_entra_mdm_head_t);

    for (i = 0; i < ENTRA_LISTS; i++) {
        list = &snapshot->lists.list[i];

        /* one that is not known any more may still lie there */

        list->known = (zone->lists_known & (1u << i)) != 0;
        list->ids.ids = (entra_guid_t *) p;
        list->ids.count = list->known ? head.count[i] : 0;

        typed = p + head.count[i] * sizeof(entra_guid_t);
        list->ids.upper = head.wide[i] ? (uint32_t *) typed : NULL;
        list->ids.packed = head.wide[i] ? NULL : typed;

        p += ngx_http_entra_mdm_list_size(head.count[i], head.wide[i]);
    }

    snapshot->keys = (entra_str_t) { (char *) p, head.text };
    snapshot->keys_generation = head.keys;
}


ngx_uint_t
ngx_http_entra_mdm_snapshot_current(ngx_http_entra_mdm_policy_t *policy,
    const ngx_http_entra_mdm_snapshot_t *snapshot)
{
    ngx_memory_barrier();

    return ngx_http_entra_mdm_zone(policy)->published == snapshot->number;
}


void
ngx_http_entra_mdm_zone_mark(ngx_http_entra_mdm_policy_t *policy,
    ngx_http_entra_mdm_snapshot_t *snapshot, ngx_http_entra_mdm_mark_t *mark)
{
    ngx_http_entra_mdm_zone_t  *zone;

    zone = ngx_http_entra_mdm_zone(policy);

    ngx_http_entra_mdm_zone_lock(policy);

    ngx_http_entra_mdm_snapshot(policy, snapshot);

    mark->published = zone->published;
    mark->lists_known = zone->lists_known;
    mark->source = zone->source;
    mark->generation = zone->feed.generation;
    mark->keys_fetched = zone->keys_fetched.wall;
    mark->lists_updated = zone->lists_updated.wall;
    mark->activities = zone->activities->last;

    ngx_http_entra_mdm_zone_unlock(policy);
}


/*** writing ***/


/*
 * Whoever began last may write; all others find out at their next piece.  So
 * a writer that died, or woke up late, needs no clearing away.
 */

static ngx_int_t
ngx_http_entra_mdm_write(ngx_http_entra_mdm_writer_t *writer, const void *from,
    size_t n)
{
    size_t         size;
    ngx_uint_t     mine;
    const u_char  *p;

    for (p = from; n; p += size, n -= size) {
        size = ngx_min(n, PIECE);

        ngx_http_entra_mdm_zone_lock(writer->policy);

        mine = ngx_http_entra_mdm_zone(writer->policy)->writer
               == writer->ticket;

        if (mine) {
            writer->pos = ngx_cpymem(writer->pos, p, size);
        }

        ngx_http_entra_mdm_zone_unlock(writer->policy);

        if (!mine) {
            return NGX_AGAIN;
        }
    }

    return NGX_OK;
}


static ngx_uint_t
ngx_http_entra_mdm_next_typed(const entra_set_t *from, const entra_set_t *to)
{
    size_t  i;

    for (i = 0; i < from->count; i++) {
        if (entra_set_upper(from, i) != entra_set_upper(to, i)) {
            return 1;
        }
    }

    return 0;
}


/* what the next snapshot consists of, and whether it differs from this one */

static void
ngx_http_entra_mdm_next(const ngx_http_entra_mdm_change_t *change,
    ngx_http_entra_mdm_snapshot_t *next, ngx_http_entra_mdm_news_t *news)
{
    ngx_uint_t    i;
    entra_set_t  *ids;

    ngx_memzero(news, sizeof(ngx_http_entra_mdm_news_t));

    for (i = 0; i < ENTRA_LISTS; i++) {

        if (!(change->lists & (1u << i))) {
            continue;
        }

        ids = &next->lists.list[i].ids;

        if (!next->lists.list[i].known
            || !entra_set_eq(ids, &change->list[i]))
        {
            news->lists = 1;

        } else if (ngx_http_entra_mdm_next_typed(ids, &change->list[i])) {
            news->typed = 1;
        }

        *ids = change->list[i];
    }

    if (change->keys) {
        news->keys = !entra_str_eq(next->keys, change->text);
        next->keys = change->text;
        next->keys_generation += news->keys;
    }
}


/*
 * The head of the next snapshot.  Once: lists that come from another zone may
 * be written over at any moment, and then would seem to pack or not.
 */

static void
ngx_http_entra_mdm_next_head(const ngx_http_entra_mdm_snapshot_t *next,
    ngx_http_entra_mdm_head_t *head)
{
    ngx_uint_t  i;

    ngx_memzero(head, sizeof(ngx_http_entra_mdm_head_t));

    head->text = next->keys.len;
    head->keys = next->keys_generation;

    for (i = 0; i < ENTRA_LISTS; i++) {
        head->count[i] = next->lists.list[i].ids.count;
        head->wide[i] = !entra_set_packs(&next->lists.list[i].ids);
    }
}


/* however long the lists, the next key set must find room */

static size_t
ngx_http_entra_mdm_head_size(const ngx_http_entra_mdm_head_t *head)
{
    size_t      size;
    ngx_uint_t  i;

    size = sizeof(ngx_http_entra_mdm_head_t)
           + ngx_max(head->text, NGX_HTTP_ENTRA_MDM_ZONE_KEYS);

    for (i = 0; i < ENTRA_LISTS; i++) {
        size += ngx_http_entra_mdm_list_size(head->count[i], head->wide[i]);
    }

    return size;
}


static size_t
ngx_http_entra_mdm_next_size(const ngx_http_entra_mdm_snapshot_t *next)
{
    ngx_http_entra_mdm_head_t  head;

    ngx_http_entra_mdm_next_head(next, &head);

    return ngx_http_entra_mdm_head_size(&head);
}


/* how the IDs were typed, and zeros where nobody knows and as a filling */

static ngx_int_t
ngx_http_entra_mdm_write_typed(ngx_http_entra_mdm_writer_t *writer,
    const entra_set_t *ids, ngx_uint_t wide)
{
    size_t     i, size, left;
    u_char     piece[TYPED + 16], *p;
    uint32_t   upper;
    ngx_int_t  rc;

    size = ngx_http_entra_mdm_typed_size(wide);
    left = ngx_http_entra_mdm_list_size(ids->count, wide)
           - ids->count * sizeof(entra_guid_t);

    rc = NGX_OK;
    i = 0;

    while (rc == NGX_OK && left) {
        ngx_memzero(piece, sizeof(piece));

        for (p = piece;
             i < ids->count && p + size <= piece + TYPED;
             i++, p += size)
        {
            upper = entra_set_upper(ids, i);

            if (wide) {
                ngx_memcpy(p, &upper, sizeof(uint32_t));

            } else {
                (void) entra_guid_pack(&ids->ids[i], upper, p);
            }
        }

        if (i == ids->count) {
            /* the last piece, and what keeps the next list aligned */
            p = piece + left;
        }

        rc = ngx_http_entra_mdm_write(writer, piece, p - piece);
        left -= p - piece;
    }

    return rc;
}


static ngx_int_t
ngx_http_entra_mdm_next_write(ngx_http_entra_mdm_writer_t *writer,
    const ngx_http_entra_mdm_snapshot_t *next,
    const ngx_http_entra_mdm_head_t *head)
{
    ngx_int_t   rc;
    ngx_uint_t  i;

    rc = ngx_http_entra_mdm_write(writer, head,
                                  sizeof(ngx_http_entra_mdm_head_t));

    for (i = 0; rc == NGX_OK && i < ENTRA_LISTS; i++) {
        rc = ngx_http_entra_mdm_write(writer, next->lists.list[i].ids.ids,
                                      head->count[i] * sizeof(entra_guid_t));

        if (rc == NGX_OK) {
            rc = ngx_http_entra_mdm_write_typed(writer,
                                                &next->lists.list[i].ids,
                                                head->wide[i]);
        }
    }

    if (rc == NGX_OK) {
        rc = ngx_http_entra_mdm_write(writer, next->keys.data, next->keys.len);
    }

    return rc;
}


/* a later feed, fetch or configuration has begun: under the mutex */

static ngx_uint_t
ngx_http_entra_mdm_superseded(const ngx_http_entra_mdm_change_t *change,
    const ngx_http_entra_mdm_zone_t *zone)
{
    return (change->epoch && change->epoch != zone->feed_epoch)
           || (change->keys_source && change->keys_source != zone->keys_source)
           || (change->keys_config && change->keys_config != zone->keys_config)
           || (change->attempt && change->attempt != zone->fetch.attempts);
}


/* takes a ticket: from here on, whoever began before does not publish */

static ngx_int_t
ngx_http_entra_mdm_begin(ngx_http_entra_mdm_writer_t *writer,
    const ngx_http_entra_mdm_change_t *change,
    ngx_http_entra_mdm_snapshot_t *next)
{
    ngx_http_entra_mdm_zone_t  *zone;

    zone = ngx_http_entra_mdm_zone(writer->policy);

    ngx_http_entra_mdm_zone_lock(writer->policy);

    if (ngx_http_entra_mdm_superseded(change, zone)) {
        ngx_http_entra_mdm_zone_unlock(writer->policy);
        return NGX_ABORT;
    }

    if (change->expects && change->expected != zone->lists_generation) {
        ngx_http_entra_mdm_zone_unlock(writer->policy);
        return NGX_BUSY;
    }

    writer->ticket = ++zone->writer;
    ngx_http_entra_mdm_snapshot(writer->policy, next);
    writer->pos = zone->half[(zone->published + 1) & 1];

    ngx_http_entra_mdm_zone_unlock(writer->policy);

    return NGX_OK;
}


/* the lists are another zone's; if no worker came with that, they stay */

static ngx_uint_t
ngx_http_entra_mdm_zone_moved(const ngx_http_entra_mdm_zone_t *zone)
{
    return zone->moved
           && (ngx_exiting || ngx_time() - zone->moved < MOVING);
}


static ngx_int_t
ngx_http_entra_mdm_end(ngx_http_entra_mdm_writer_t *writer,
    const ngx_http_entra_mdm_change_t *change,
    const ngx_http_entra_mdm_news_t *news)
{
    ngx_int_t                   rc;
    ngx_http_entra_mdm_zone_t  *zone;

    zone = ngx_http_entra_mdm_zone(writer->policy);
    rc = NGX_AGAIN;

    ngx_http_entra_mdm_zone_lock(writer->policy);

    if (change->expects && ngx_http_entra_mdm_zone_moved(zone)) {
        rc = NGX_ABORT;

    } else if (zone->writer == writer->ticket) {
        rc = NGX_OK;

        if (news->lists || news->typed || news->keys) {
            ngx_memory_barrier();
            zone->published++;
        }

        if (change->lists) {
            zone->source = change->source;
            zone->lists_known |= change->lists;
        }

        if (change->keys) {
            ngx_http_entra_mdm_moment_set(&zone->keys_fetched,
                                          change->keys_fetched);
        }

        zone->lists_generation += news->lists;

        /* a zone that takes over has both, or neither */

        entra_activities_add(zone->activities, change->activities,
                             change->nactivities);
    }

    ngx_http_entra_mdm_zone_unlock(writer->policy);

    return rc;
}


ngx_int_t
ngx_http_entra_mdm_zone_publish(ngx_http_entra_mdm_policy_t *policy,
    const ngx_http_entra_mdm_change_t *change)
{
    ngx_int_t                       rc;
    ngx_http_entra_mdm_head_t       head;
    ngx_http_entra_mdm_news_t       news;
    ngx_http_entra_mdm_writer_t     writer;
    ngx_http_entra_mdm_snapshot_t   next;

    writer.policy = policy;

    rc = ngx_http_entra_mdm_begin(&writer, change, &next);
    if (rc != NGX_OK) {
        return rc;
    }

    ngx_http_entra_mdm_next(change, &next, &news);
    ngx_http_entra_mdm_next_head(&next, &head);

    if (ngx_http_entra_mdm_head_size(&head)
        > ngx_http_entra_mdm_zone(policy)->room)
    {
        return NGX_DECLINED;
    }

    if (news.lists || news.typed || news.keys) {
        rc = ngx_http_entra_mdm_next_write(&writer, &next, &head);
        if (rc != NGX_OK) {
            return rc;
        }
    }

    return ngx_http_entra_mdm_end(&writer, change, &news);
}


ngx_uint_t
ngx_http_entra_mdm_zone_takes(ngx_http_entra_mdm_policy_t *policy,
    const entra_lists_t *lists)
{
    ngx_http_entra_mdm_snapshot_t  next;

    ngx_http_entra_mdm_snapshot(policy, &next);

    next.lists = *lists;

    return ngx_http_entra_mdm_next_size(&next)
           <= ngx_http_entra_mdm_zone(policy)->room;
}


size_t
ngx_http_entra_mdm_zone_used(ngx_http_entra_mdm_policy_t *policy, size_t *room)
{
    ngx_http_entra_mdm_snapshot_t  snapshot;

    ngx_http_entra_mdm_snapshot(policy, &snapshot);

    *room = ngx_http_entra_mdm_zone(policy)->room;

    return ngx_http_entra_mdm_next_size(&snapshot);
}
