/*
 * What all workers of a node have in common, one zone a policy: the live
 * lists, the key set, and what is known of their sources.  It holds data and
 * never configuration: after a reload that fails, old workers go on with it.
 *
 * Lists and keys are one immutable snapshot.  The zone has room for two: a new
 * one is written beside the one in force and then takes its place, so that
 * whatever fits once can always be replaced, and a removal never lacks memory.
 * Readers take no lock: a snapshot stays whole until the one after the next is
 * begun, and they look again at the end whether it was still in force.
 */

#ifndef NGX_HTTP_ENTRA_MDM_ZONE_H
#define NGX_HTTP_ENTRA_MDM_ZONE_H

#include "ngx_http_entra_mdm_file.h"
#include "ngx_http_entra_mdm_module.h"

#include "entra_activities.h"


#define NGX_HTTP_ENTRA_MDM_ZONE_PAGES  24       /* beside the snapshots */
#define NGX_HTTP_ENTRA_MDM_ZONE_LARGE  (1024 * 1024)
#define NGX_HTTP_ENTRA_MDM_ZONE_KEYS   (64 * 1024)  /* no list may take these */

#define NGX_HTTP_ENTRA_MDM_MAX_JWKS    (128 * 1024)

#define NGX_HTTP_ENTRA_MDM_MAX_ERROR   128      /* bytes kept of a failure */


#define NGX_HTTP_ENTRA_MDM_ACTIONS     4
#define NGX_HTTP_ENTRA_MDM_SPAN        300      /* seconds */
#define NGX_HTTP_ENTRA_MDM_SPANS       12       /* an hour of them */
#define NGX_HTTP_ENTRA_MDM_BOUNDS      10       /* of the histogram */


typedef entra_activities_t  ngx_http_entra_mdm_activities_t;
typedef struct ngx_http_entra_mdm_author_s  ngx_http_entra_mdm_author_t;
typedef struct ngx_http_entra_mdm_refusals_s  ngx_http_entra_mdm_refusals_t;


/*
 * A moment by two clocks: the one that an administrator may set, and that of
 * ngx_current_msec, which only goes on, but not while the machine sleeps, nor
 * over a restart.  What has grown old by either is old.
 */

typedef struct {
    time_t                        wall;         /* since 1970; 0: never */
    time_t                        steady;       /* seconds as well */
} ngx_http_entra_mdm_moment_t;


/* where the live lists in force come from */

typedef enum {
    NGX_HTTP_ENTRA_MDM_FROM_STATE = 0,          /* or from nowhere yet */
    NGX_HTTP_ENTRA_MDM_FROM_REDIS,
    NGX_HTTP_ENTRA_MDM_FROM_LOST                /* Redis has lost its data */
} ngx_http_entra_mdm_source_e;


/*
 * One fetch of the key set at a time, whoever of the workers makes it; kept
 * by ngx_http_entra_mdm_lease.c.
 */

typedef struct {
    ngx_pid_t                     pid;          /* who fetches; 0: nobody */
    ngx_msec_t                    deadline;     /* then the lease is free */
    ngx_msec_t                    started;      /* the last attempt */
    ngx_uint_t                    attempts;     /* begun */
    ngx_uint_t                    failures;     /* in a row */
    ngx_atomic_t                  ended;        /* attempts, whatever came */
    ngx_atomic_t                  succeeded;
    ngx_atomic_t                  failed;
    size_t                        error_len;    /* 0: the last one succeeded */
    u_char                        error[NGX_HTTP_ENTRA_MDM_MAX_ERROR];
} ngx_http_entra_mdm_lease_t;


/* what the feed knows of Redis; kept by worker 0, read by all */

typedef struct {
    ngx_atomic_t                  connected;    /* lists are being followed */
    ngx_atomic_t                  tracking;     /* 0: only by polling */
    ngx_atomic_t                  reconnects;
    ngx_atomic_t                  skipped[ENTRA_LISTS]; /* at the last load */
    ngx_atomic_t                  refused;      /* lists that did not fit */
    ngx_atomic_t                  generation;   /* the last seen; 0: none */
    uint32_t                      place;        /* a hash of where it was */
    ngx_atomic_t                  held;         /* all lists are of it at least */
    ngx_atomic_t                  poked;        /* so often: look at once */
} ngx_http_entra_mdm_feed_t;


/* how far a zone has come: what tells that it is to be saved again */

typedef struct {
    ngx_atomic_uint_t             published;
    ngx_uint_t                    lists_known;
    ngx_http_entra_mdm_source_e   source;
    ngx_atomic_uint_t             generation;   /* in Redis */
    time_t                        keys_fetched;
    time_t                        lists_updated;
    uint64_t                      activities;   /* ID of the last one */
} ngx_http_entra_mdm_mark_t;


/* what has become of the state file */

typedef struct {
    ngx_atomic_t                  written;
    ngx_atomic_t                  failed;
    ngx_atomic_t                  failing;      /* the last one failed */
    ngx_http_entra_mdm_moment_t   told;         /* when the log said so */

    /* of worker 0: what the file holds, and which file that is */
    ngx_http_entra_mdm_mark_t     saved;
    ngx_http_entra_mdm_stamp_t    stamp;
} ngx_http_entra_mdm_writes_t;


/* decisions by action and reason; an action is a state from ACCEPTED on */

typedef struct {
    ngx_atomic_t                  count[NGX_HTTP_ENTRA_MDM_ACTIONS]
                                       [ENTRA_REASONS];
} ngx_http_entra_mdm_decisions_t;


/* the "ver" of verified tokens */

typedef enum {
    NGX_HTTP_ENTRA_MDM_V1 = 0,
    NGX_HTTP_ENTRA_MDM_V2,
    NGX_HTTP_ENTRA_MDM_V_OTHER,
    NGX_HTTP_ENTRA_MDM_VERSIONS
} ngx_http_entra_mdm_version_e;


/* how many verifications lasted how long; the last count: over all bounds */

typedef struct {
    ngx_atomic_t                  count[NGX_HTTP_ENTRA_MDM_BOUNDS + 1];
    ngx_atomic_t                  nanoseconds;  /* of all of them */
} ngx_http_entra_mdm_timing_t;


/* those of a span of time, which begins at number * ..._SPAN seconds */

typedef struct {
    ngx_atomic_t                    number;
    ngx_http_entra_mdm_decisions_t  decisions;
} ngx_http_entra_mdm_span_t;


struct ngx_http_entra_mdm_zone_s {

    /* counted since the zone was made */
    ngx_http_entra_mdm_decisions_t  decisions;
    ngx_http_entra_mdm_span_t       hour[NGX_HTTP_ENTRA_MDM_SPANS];
    ngx_atomic_t                    tokens[NGX_HTTP_ENTRA_MDM_VERSIONS];
    ngx_http_entra_mdm_timing_t     verification;

    ngx_http_entra_mdm_activities_t  *activities;
    ngx_http_entra_mdm_refusals_t    *refusals;

    /* signatures that were right; tokens that a worker had seen before */
    ngx_atomic_t                  verified;
    ngx_atomic_t                  seen;

    ngx_atomic_t                  published;    /* snapshots so far */
    ngx_atomic_t                  writer;       /* the latest ticket */
    u_char                       *half[2];
    size_t                        room;         /* of each */

    /* changed with a snapshot, under the mutex */
    ngx_atomic_t                  lists_generation;
    ngx_uint_t                    lists_known;  /* bits: 1 << ENTRA_..._IDS */
    ngx_http_entra_mdm_source_e   source;

    ngx_http_entra_mdm_moment_t   keys_fetched; /* with a snapshot as well */
    ngx_http_entra_mdm_moment_t   lists_updated;
    time_t                        moved;        /* into a zone of another size */

    uint32_t                      keys_source;  /* a hash of "jwks" */
    ngx_atomic_t                  keys_config;  /* configurations so far */
    ngx_uint_t                    lists_left;   /* by a policy without any */
    ngx_http_entra_mdm_lease_t    fetch;
    ngx_atomic_t                  feed_epoch;   /* who may publish for Redis */
    ngx_http_entra_mdm_feed_t     feed;
    ngx_http_entra_mdm_writes_t   state;
};


typedef struct {
    entra_lists_t                 lists;        /* point into the zone */
    entra_str_t                   keys;         /* JSON text */
    ngx_atomic_uint_t             keys_generation;      /* 0: no keys yet */
    ngx_atomic_uint_t             number;
} ngx_http_entra_mdm_snapshot_t;


/* what a new snapshot changes; the rest is taken over */

typedef struct {
    ngx_uint_t                    lists;        /* bits: 1 << ENTRA_..._IDS */
    entra_set_t                   list[ENTRA_LISTS];
    ngx_http_entra_mdm_source_e   source;       /* of these lists */

    ngx_uint_t                    keys;         /* unsigned  keys:1; */
    entra_str_t                   text;         /* "": none any more */
    time_t                        keys_fetched; /* 0: never */

    /* only if these are the latest of the zone, or 0 */
    uint32_t                      keys_source;
    ngx_atomic_uint_t             keys_config;
    ngx_atomic_uint_t             attempt;      /* of a fetch */
    ngx_atomic_uint_t             epoch;        /* of a feed */

    /* only if the lists are those of that generation */
    ngx_uint_t                    expects;      /* unsigned  expects:1; */
    ngx_atomic_uint_t             expected;

    /* activities that come with it; see ngx_http_entra_mdm_activities_collect */
    const entra_activity_t       *activities;
    size_t                        nactivities;
} ngx_http_entra_mdm_change_t;


/* ngx_http_entra_mdm_zone_birth.c */

/* the zone of a policy, of at least size bytes; NGX_ERROR: told in the log */
ngx_int_t ngx_http_entra_mdm_zone_add(ngx_conf_t *cf,
    ngx_http_entra_mdm_policy_t *policy, size_t size);

/* the configuration has come into force, and the zone with it */
void ngx_http_entra_mdm_zone_done(ngx_http_entra_mdm_policy_t *policy);

/*
 * Whether a zone of size bytes has room, twice, for these live lists, as many
 * IDs as are configured, and bytes of keys; NGX_ERROR: no, told in the log.
 */
ngx_int_t ngx_http_entra_mdm_zone_fits(ngx_http_entra_mdm_policy_t *policy,
    size_t size, const entra_set_t live[ENTRA_LISTS], size_t text,
    ngx_log_t *log);

/* ngx_http_entra_mdm_zone.c */

/* bytes that a list takes of a snapshot */
size_t ngx_http_entra_mdm_set_size(const entra_set_t *ids);

ngx_http_entra_mdm_zone_t *ngx_http_entra_mdm_zone(
    ngx_http_entra_mdm_policy_t *policy);

void ngx_http_entra_mdm_zone_lock(ngx_http_entra_mdm_policy_t *policy);
void ngx_http_entra_mdm_zone_unlock(ngx_http_entra_mdm_policy_t *policy);

/* a snapshot and the mark that belongs to it */
void ngx_http_entra_mdm_zone_mark(ngx_http_entra_mdm_policy_t *policy,
    ngx_http_entra_mdm_snapshot_t *snapshot, ngx_http_entra_mdm_mark_t *mark);

/*
 * ngx_http_entra_mdm_count.c: a request is counted once, by the verdict that
 * stands when its response begins, or when it ends without one.
 */

/* accepted, passed and so on, from NGX_HTTP_ENTRA_MDM_ACCEPTED on */
extern const entra_str_t
    ngx_http_entra_mdm_actions[NGX_HTTP_ENTRA_MDM_ACTIONS];

/* ends of the spans of the histogram, in nanoseconds, each included */
extern const ngx_uint_t
    ngx_http_entra_mdm_bounds[NGX_HTTP_ENTRA_MDM_BOUNDS];

/* "ok", "device_token", or the key of the reason */
entra_str_t ngx_http_entra_mdm_result(ngx_uint_t action,
    entra_reason_t reason);

/* puts the filter that counts in front of all others, once they are there */
void ngx_http_entra_mdm_count_init(void);

/* phase handler: the request is over; one without a response is counted now */
ngx_int_t ngx_http_entra_mdm_log_handler(ngx_http_request_t *r);

/* a clock that nobody sets, in nanoseconds */
uint64_t ngx_http_entra_mdm_clock(void);

/* counts how long a verification took, if there was a signature to verify */
void ngx_http_entra_mdm_count_verification(
    ngx_http_entra_mdm_policy_t *policy, const entra_verdict_t *verdict,
    entra_reason_t reason, uint64_t since);

/* the decisions of the last hour, give or take a span */
void ngx_http_entra_mdm_hour(ngx_http_entra_mdm_policy_t *policy,
    ngx_http_entra_mdm_decisions_t *sum);

/* adds one to the tokens that were verified, or had been before */
void ngx_http_entra_mdm_zone_count_token(ngx_http_entra_mdm_policy_t *policy,
    ngx_uint_t seen);

/*
 * Reading: what follows from a snapshot holds only if it was still current
 * afterwards, else read again.  Nothing is copied and no lock taken.
 *
 *     do {
 *         ngx_http_entra_mdm_snapshot(policy, &snapshot);
 *         ...
 *     } while (!ngx_http_entra_mdm_snapshot_current(policy, &snapshot));
 */
void ngx_http_entra_mdm_snapshot(ngx_http_entra_mdm_policy_t *policy,
    ngx_http_entra_mdm_snapshot_t *snapshot);
ngx_uint_t ngx_http_entra_mdm_snapshot_current(
    ngx_http_entra_mdm_policy_t *policy,
    const ngx_http_entra_mdm_snapshot_t *snapshot);

/*
 * Puts a changed snapshot in force, for all workers at once.  A list or key
 * set equal to the one in force makes no new generation; nor does another
 * spelling of the same IDs, though it is taken over.
 *
 *   NGX_OK        in force
 *   NGX_DECLINED  two of it do not fit the zone; the last one stays
 *   NGX_AGAIN     another process is publishing: try again in a moment
 *   NGX_ABORT     another feed, fetch or configuration has taken over; or a
 *                 reload has taken the lists that were expected elsewhere
 *   NGX_BUSY      the lists are not those of change->expected any more
 */
ngx_int_t ngx_http_entra_mdm_zone_publish(ngx_http_entra_mdm_policy_t *policy,
    const ngx_http_entra_mdm_change_t *change);

/* whether a snapshot with these lists would have room */
ngx_uint_t ngx_http_entra_mdm_zone_takes(ngx_http_entra_mdm_policy_t *policy,
    const entra_lists_t *lists);

/* wall may be a moment that has passed */
void ngx_http_entra_mdm_moment_set(ngx_http_entra_mdm_moment_t *moment,
    time_t wall);

/* in seconds, never negative; that of what never was is very large */
time_t ngx_http_entra_mdm_moment_age(
    const ngx_http_entra_mdm_moment_t *moment);

/* bytes used by the snapshot in force, and the most that one may have */
size_t ngx_http_entra_mdm_zone_used(ngx_http_entra_mdm_policy_t *policy,
    size_t *room);


#endif /* NGX_HTTP_ENTRA_MDM_ZONE_H */
