/*
 * The management API: who may do what below an entra_mdm_api location, and
 * what the files behind it share.
 *
 *   ngx_http_entra_mdm_api.c             directives, routing, roles
 *   ngx_http_entra_mdm_api_answer.c      JSON and answers
 *   ngx_http_entra_mdm_api_config.c      GET config
 *   ngx_http_entra_mdm_api_patch.c       PATCH config
 *   ngx_http_entra_mdm_api_activities.c  GET activities
 *   ngx_http_entra_mdm_api_status.c      GET status
 */

#ifndef NGX_HTTP_ENTRA_MDM_API_H
#define NGX_HTTP_ENTRA_MDM_API_H

#include "ngx_http_entra_mdm_activities.h"
#include "ngx_http_entra_mdm_lists.h"

#include "entra_config.h"


/* two lists of the longest values, and blanks */
#define NGX_HTTP_ENTRA_MDM_API_MAX_BODY  (4 * 1024 * 1024)


/* ngx_http_entra_mdm_api.c */

char *ngx_http_entra_mdm_api(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
char *ngx_http_entra_mdm_api_role(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);

/* of a location whose own values are all known; NGX_ERROR: logged */
ngx_int_t ngx_http_entra_mdm_api_merge(ngx_conf_t *cf,
    ngx_http_entra_mdm_loc_conf_t *prev, ngx_http_entra_mdm_loc_conf_t *conf);

/* who makes this request: as "actor=" says, else $remote_user; if that is
   empty, the role; NGX_ERROR: no memory */
ngx_int_t ngx_http_entra_mdm_api_author(ngx_http_request_t *r,
    ngx_http_entra_mdm_author_t *author);


/* would a PATCH in that role be allowed? */
ngx_uint_t ngx_http_entra_mdm_api_may_change(ngx_http_request_t *r,
    const ngx_str_t *role);


/*
 * ngx_http_entra_mdm_api_answer.c: text that grows in a pool.  Where memory
 * runs out, what is added is dropped and failed is set.
 */

typedef struct {
    ngx_pool_t                   *pool;
    u_char                       *start;
    u_char                       *pos;
    u_char                       *end;
    ngx_uint_t                    failed;       /* unsigned  failed:1; */
} ngx_http_entra_mdm_text_t;


void ngx_http_entra_mdm_text_init(ngx_http_entra_mdm_text_t *text,
    ngx_pool_t *pool, size_t size);

/* as ngx_sprintf(), of at most 512 bytes */
void ngx_http_entra_mdm_text(ngx_http_entra_mdm_text_t *text,
    const char *format, ...);

/* a JSON string, quotes and all */
void ngx_http_entra_mdm_text_string(ngx_http_entra_mdm_text_t *text,
    entra_str_t value);

/* the value of a label for Prometheus, quotes and all */
void ngx_http_entra_mdm_text_label(ngx_http_entra_mdm_text_t *text,
    entra_str_t value);

/* a JSON string as RFC 3339 writes times, "2026-11-23T18:00:00Z" */
void ngx_http_entra_mdm_text_time(ngx_http_entra_mdm_text_t *text,
    int64_t seconds);

/* a JSON array of GUIDs as they were typed */
void ngx_http_entra_mdm_text_ids(ngx_http_entra_mdm_text_t *text,
    const entra_set_t *ids);

/*
 * Answers; each returns what the request is to be finalized with.  The body
 * of a request that was not read is discarded.
 */

ngx_int_t ngx_http_entra_mdm_api_send(ngx_http_request_t *r,
    ngx_uint_t status, ngx_http_entra_mdm_text_t *text);

/* of another type than JSON, its charset included */
ngx_int_t ngx_http_entra_mdm_api_send_type(ngx_http_request_t *r,
    ngx_uint_t status, const ngx_str_t *type,
    ngx_http_entra_mdm_text_t *text);

/* in Fleet's shape, with one error or several */
ngx_int_t ngx_http_entra_mdm_api_error(ngx_http_request_t *r,
    ngx_uint_t status, const char *name, const char *reason);
ngx_int_t ngx_http_entra_mdm_api_errors(ngx_http_request_t *r,
    ngx_uint_t status, const entra_config_error_t *errors, size_t n);

/* a header of the answer; name is static; NGX_ERROR: no memory */
ngx_int_t ngx_http_entra_mdm_api_header(ngx_http_request_t *r,
    const char *name, const char *value);


/* handlers of content, called once the request is known to be allowed */

ngx_int_t ngx_http_entra_mdm_api_config_get(ngx_http_request_t *r);
ngx_int_t ngx_http_entra_mdm_api_config_patch(ngx_http_request_t *r);
ngx_int_t ngx_http_entra_mdm_api_activities_get(ngx_http_request_t *r);
ngx_int_t ngx_http_entra_mdm_api_status_get(ngx_http_request_t *r);

/* "redis", "state" or "lost" */
const char *ngx_http_entra_mdm_api_source(ngx_http_entra_mdm_policy_t *policy);


static ngx_inline ngx_http_entra_mdm_policy_t *
ngx_http_entra_mdm_api_policy(ngx_http_request_t *r)
{
    ngx_http_entra_mdm_loc_conf_t  *emlcf;

    emlcf = ngx_http_get_module_loc_conf(r, ngx_http_entra_mdm_module);

    return emlcf->api;
}


#endif /* NGX_HTTP_ENTRA_MDM_API_H */
