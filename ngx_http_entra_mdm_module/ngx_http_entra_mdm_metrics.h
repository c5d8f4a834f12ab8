/*
 * The metrics: one table of them, and the two forms it is shown in.
 *
 *   ngx_http_entra_mdm_metrics.c         the table, and where values come from
 *   ngx_http_entra_mdm_metrics_answer.c  the directive, text and JSON
 */

#ifndef NGX_HTTP_ENTRA_MDM_METRICS_H
#define NGX_HTTP_ENTRA_MDM_METRICS_H

#include "ngx_http_entra_mdm_api.h"


#define NGX_HTTP_ENTRA_MDM_LABELS  2    /* beside "policy" */


typedef struct ngx_http_entra_mdm_metric_s  ngx_http_entra_mdm_metric_t;


/* an answer that is being written */

typedef struct {
    ngx_http_entra_mdm_text_t           text;
    ngx_uint_t                          json;   /* unsigned  json:1; */

    const ngx_http_entra_mdm_metric_t  *metric;
    ngx_http_entra_mdm_policy_t        *policy;
    ngx_uint_t                          samples;        /* of that metric */
    ngx_uint_t                          families;       /* with samples */
} ngx_http_entra_mdm_metrics_t;


/* adds what the policy has of the metric: samples, or none */
typedef void (*ngx_http_entra_mdm_metric_pt)(ngx_http_entra_mdm_metrics_t *m,
    ngx_http_entra_mdm_policy_t *policy);


struct ngx_http_entra_mdm_metric_s {
    const char                    *name;
    const char                    *type;        /* counter, gauge, histogram */
    const char                    *label[NGX_HTTP_ENTRA_MDM_LABELS];
    ngx_http_entra_mdm_metric_pt   add;
    const char                    *help;
};


/* ngx_http_entra_mdm_metrics.c; the last one has no name */
extern const ngx_http_entra_mdm_metric_t  ngx_http_entra_mdm_metric_table[];


/* ngx_http_entra_mdm_metrics_answer.c */

char *ngx_http_entra_mdm_metrics(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);

/* of a location whose own values are all known; NGX_ERROR: logged */
ngx_int_t ngx_http_entra_mdm_metrics_merge(ngx_conf_t *cf,
    ngx_http_entra_mdm_loc_conf_t *prev, ngx_http_entra_mdm_loc_conf_t *conf);

/* a sample; values of labels that the metric does not have are ignored */
void ngx_http_entra_mdm_metric(ngx_http_entra_mdm_metrics_t *m,
    entra_str_t first, entra_str_t second, ngx_atomic_uint_t value);

void ngx_http_entra_mdm_metric_timing(ngx_http_entra_mdm_metrics_t *m,
    const ngx_http_entra_mdm_timing_t *timing);


#endif /* NGX_HTTP_ENTRA_MDM_METRICS_H */
