/*
 * The state of a policy on disk: what its zone begins with after a restart,
 * and the file that follows the zone while nginx runs.
 */

#ifndef NGX_HTTP_ENTRA_MDM_STATE_H
#define NGX_HTTP_ENTRA_MDM_STATE_H

#include "ngx_http_entra_mdm_policy.h"

#include "entra_state.h"


typedef enum {
    NGX_HTTP_ENTRA_MDM_SAVED = 0,
    NGX_HTTP_ENTRA_MDM_SAVE_BUSY,       /* somebody is writing there */
    NGX_HTTP_ENTRA_MDM_SAVE_VOID,       /* the file is somebody else's now */
    NGX_HTTP_ENTRA_MDM_SAVE_FAILED
} ngx_http_entra_mdm_saved_e;


/* one attempt to save, which a thread may make */

typedef struct {
    ngx_http_entra_mdm_policy_t  *policy;
    time_t                        now;
    ngx_uint_t                    careful;      /* unsigned  careful:1; */

    ngx_http_entra_mdm_saved_e    result;
    ngx_http_entra_mdm_mark_t     mark;         /* of what was saved */
    ngx_http_entra_mdm_stamp_t    stamp;
    ngx_err_t                     err;          /* errno, or 0 */
    char                          why[128];     /* "cannot be written" */
} ngx_http_entra_mdm_save_t;


struct ngx_http_entra_mdm_state_s {
    ngx_str_t                     path;         /* end with a NUL */
    ngx_str_t                     directory;
    ngx_str_t                     temp;

#if (NGX_THREADS)
    ngx_thread_pool_t            *threads;      /* or NULL */
    ngx_thread_task_t             task;
#endif

    /* of worker 0 */
    ngx_event_t                   timer;
    ngx_http_entra_mdm_save_t     save;
    ngx_msec_t                    next;         /* attempt, not before */
    ngx_uint_t                    failures;     /* in a row */
    ngx_msec_t                    locked;       /* out since then */

    unsigned                      started:1;
    unsigned                      busy:1;       /* a thread is at it */
    unsigned                      locked_out:1;
};


/* ngx_http_entra_mdm_state_conf.c */

/* setter of "state PATH" */
char *ngx_http_entra_mdm_state(ngx_conf_t *cf,
    ngx_http_entra_mdm_block_t *block, ngx_str_t *value, ngx_uint_t n);

/*
 * Once all policies are known: no directory may be given to the workers that
 * has other things in it.  NGX_ERROR: one would be, told in the log.
 */
ngx_int_t ngx_http_entra_mdm_state_directories(ngx_conf_t *cf,
    ngx_http_entra_mdm_main_conf_t *emmcf);

/* ngx_http_entra_mdm_state.c */

/*
 * Fills a zone that has just been made.  NGX_ERROR, told in the log, if the
 * state does not fit it, or cannot be read and is the only place where the
 * lists are.
 */
ngx_int_t ngx_http_entra_mdm_state_load(ngx_http_entra_mdm_policy_t *policy,
    ngx_log_t *log);

/*
 * The lists of a state that a reload has added to a policy without any, for a
 * zone that is in force; what cannot be read is told in the log.
 */
void ngx_http_entra_mdm_state_adopt(ngx_http_entra_mdm_policy_t *policy,
    ngx_log_t *log);

/* worker 0 begins to save what changes; and saves what it has not yet */
void ngx_http_entra_mdm_state_start(ngx_cycle_t *cycle,
    ngx_http_entra_mdm_policy_t *policy);
void ngx_http_entra_mdm_state_stop(ngx_http_entra_mdm_policy_t *policy);

/*
 * "request=/_entra/jwks" in visible ASCII, as the state has it; data NULL: out
 * of memory.  To be given back with free().
 */
entra_str_t ngx_http_entra_mdm_state_jwks_source(
    const ngx_http_entra_mdm_keys_t *keys);


/* ngx_http_entra_mdm_save.c */

/*
 * Writes what the zone has in force, from memory of its own: a thread may
 * call it.  With careful only if the file is the one that this zone has been
 * read from or written to last, or there is none.
 */
void ngx_http_entra_mdm_save(ngx_http_entra_mdm_save_t *save);


#endif /* NGX_HTTP_ENTRA_MDM_STATE_H */
