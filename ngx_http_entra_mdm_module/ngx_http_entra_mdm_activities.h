/*
 * Activities: who put which ID on a list, or took it off, and when.  The
 * latest are in the zone, each is a notice in error.log; what keeps them
 * longer is Redis or the state file.
 */

#ifndef NGX_HTTP_ENTRA_MDM_ACTIVITIES_H
#define NGX_HTTP_ENTRA_MDM_ACTIVITIES_H

#include "ngx_http_entra_mdm_zone.h"


/* as many as a zone has: 200, or 1000 if it is large */
#define NGX_HTTP_ENTRA_MDM_ACTIVITIES       200
#define NGX_HTTP_ENTRA_MDM_ACTIVITIES_MORE  1000

#define NGX_HTTP_ENTRA_MDM_ACTIVITIES_SIZE                                    \
    ((NGX_HTTP_ENTRA_MDM_ACTIVITIES_MORE - NGX_HTTP_ENTRA_MDM_ACTIVITIES)     \
     * sizeof(ngx_http_entra_mdm_activity_t))

#define NGX_HTTP_ENTRA_MDM_ACTOR            63
#define NGX_HTTP_ENTRA_MDM_ROLE             15


typedef struct {
    uint64_t                      id;           /* 1, 2, 3 ... */
    int64_t                       time;         /* seconds since 1970 */
    entra_guid_t                  guid;
    uint32_t                      upper;        /* as it was typed */
    uint8_t                       list;         /* ENTRA_..._IDS */
    uint8_t                       added;        /* 0: deleted */
    char                          actor[NGX_HTTP_ENTRA_MDM_ACTOR + 1];
    char                          role[NGX_HTTP_ENTRA_MDM_ROLE + 1];
} ngx_http_entra_mdm_activity_t;


/* the ring; guarded by the zone's mutex */

struct ngx_http_entra_mdm_activities_s {
    ngx_uint_t                    room;
    uint64_t                      last;         /* ID of the newest, or 0 */
    uint64_t                      first;        /* ID of the oldest kept */
    ngx_http_entra_mdm_activity_t entry[1];     /* ID n is in n % room */
};


/* who made a change */

typedef struct {
    ngx_str_t                     actor;
    ngx_str_t                     role;
} ngx_http_entra_mdm_author_t;


/* of activities as the API and the state file name them */
extern const ngx_str_t  ngx_http_entra_mdm_activity_types[ENTRA_LISTS][2];
extern const ngx_str_t  ngx_http_entra_mdm_activity_details[ENTRA_LISTS];


/* at the birth of a zone; NULL: it is too small */
ngx_http_entra_mdm_activities_t *ngx_http_entra_mdm_activities_create(
    ngx_slab_pool_t *shpool);

/*
 * Notes how the lists named (bits) have changed: in the zone at once, in
 * error.log bit by bit, so that a long list holds up nobody.
 */
void ngx_http_entra_mdm_activities_note(ngx_http_entra_mdm_policy_t *policy,
    ngx_uint_t lists, const entra_set_t *from, const entra_set_t *to,
    const ngx_http_entra_mdm_author_t *author);

/* only the notices in error.log */
void ngx_http_entra_mdm_activities_log(ngx_http_entra_mdm_policy_t *policy,
    ngx_uint_t lists, const entra_set_t *from, const entra_set_t *to,
    const ngx_http_entra_mdm_author_t *author);

/* writes in error.log what is left of them; when a worker ends */
void ngx_http_entra_mdm_activities_flush(void);

/*
 * Up to n of those in the zone, newest first, after skip newer ones.  Returns
 * how many were written; *total is how many there are.
 */
ngx_uint_t ngx_http_entra_mdm_activities_read(
    ngx_http_entra_mdm_policy_t *policy, ngx_uint_t skip,
    ngx_http_entra_mdm_activity_t *to, ngx_uint_t n, ngx_uint_t *total);

/* how many there are */
ngx_uint_t ngx_http_entra_mdm_activities_count(
    ngx_http_entra_mdm_policy_t *policy);

/*
 * Puts n activities, oldest first and with their IDs, into a zone that has
 * none yet: what a state file kept.
 */
void ngx_http_entra_mdm_activities_restore(
    ngx_http_entra_mdm_policy_t *policy,
    const ngx_http_entra_mdm_activity_t *from, ngx_uint_t n);


#endif /* NGX_HTTP_ENTRA_MDM_ACTIVITIES_H */
