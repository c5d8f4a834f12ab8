/*
 * The metrics as an answer: Prometheus' text format 0.0.4, or JSON.
 */

#include "ngx_http_entra_mdm_metrics.h"

#include "entra_accept.h"


#define POLICY_SIZE  12288              /* of the answer, as a rule */


/* the bounds of the histogram, as Prometheus itself writes numbers */

static const char  *ngx_http_entra_mdm_le[NGX_HTTP_ENTRA_MDM_BOUNDS + 1] = {
    "1e-05", "2.5e-05", "5e-05", "0.0001", "0.00025", "0.0005", "0.001",
    "0.0025", "0.005", "0.01", "+Inf"
};


static ngx_int_t ngx_http_entra_mdm_metrics_handler(ngx_http_request_t *r);


/*** directive ***/


char *
ngx_http_entra_mdm_metrics(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_entra_mdm_loc_conf_t *emlcf = conf;

    ngx_http_core_loc_conf_t  *clcf;

    if (emlcf->metrics) {
        return "is duplicate";
    }

    emlcf->metrics = 1;

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);
    clcf->handler = ngx_http_entra_mdm_metrics_handler;

    return NGX_CONF_OK;
}


ngx_int_t
ngx_http_entra_mdm_metrics_merge(ngx_conf_t *cf,
    ngx_http_entra_mdm_loc_conf_t *prev, ngx_http_entra_mdm_loc_conf_t *conf)
{
    ngx_http_core_loc_conf_t  *clcf;

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    if (prev->metrics && (clcf->noname || clcf->lmt_excpt)) {

        /* "if" and "limit_except" are part of the location they stand in */

        conf->metrics = 1;

        if (clcf->lmt_excpt && clcf->handler == NULL) {
            clcf->handler = ngx_http_entra_mdm_metrics_handler;
        }
    }

    if (!conf->metrics) {
        return NGX_OK;
    }

    if (conf->api) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "\"entra_mdm_api\" and \"entra_mdm_metrics\" cannot "
                      "stand in one location: give each its own, in %V:%ui",
                      &conf->api_file, conf->api_line);
        return NGX_ERROR;
    }

    if (conf->policy != NGX_CONF_UNSET_PTR && conf->policy != NULL) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "\"entra_mdm %V\" and \"entra_mdm_metrics\" cannot "
                      "stand in one location: who reads metrics has no "
                      "enrollment token; use \"allow\" and \"deny\", "
                      "in %V:%ui", &conf->policy->name, &conf->file,
                      conf->line);
        return NGX_ERROR;
    }

    return NGX_OK;
}


/*** the two forms ***/


/* what comes before the first sample of a metric, if there is one at all */

static void
ngx_http_entra_mdm_metric_begin(ngx_http_entra_mdm_metrics_t *m)
{
    const ngx_http_entra_mdm_metric_t  *metric;

    if (m->samples++) {
        ngx_http_entra_mdm_text(&m->text, m->json ? "," : "");
        return;
    }

    metric = m->metric;

    if (m->json) {
        ngx_http_entra_mdm_text(&m->text, "%s\"%s\":{\"type\":\"%s\","
                                "\"help\":\"%s\",\"samples\":[",
                                m->families++ ? "," : "", metric->name,
                                metric->type, metric->help);
        return;
    }

    ngx_http_entra_mdm_text(&m->text, "# HELP %s %s\n# TYPE %s %s\n",
                            metric->name, metric->help, metric->name,
                            metric->type);
}


static void
ngx_http_entra_mdm_metric_end(ngx_http_entra_mdm_metrics_t *m)
{
    if (m->samples && m->json) {
        ngx_http_entra_mdm_text(&m->text, "]}");
    }

    m->samples = 0;
}


/* all labels but "le", up to the brace that ends them */

static void
ngx_http_entra_mdm_metric_labels(ngx_http_entra_mdm_metrics_t *m,
    const entra_str_t *values)
{
    ngx_uint_t   i;
    const char  *name;
    entra_str_t  policy;

    policy = ngx_http_entra_mdm_str(&m->policy->name);

    if (m->json) {
        ngx_http_entra_mdm_text(&m->text, "{\"labels\":{\"policy\":");
        ngx_http_entra_mdm_text_string(&m->text, policy);

    } else {
        ngx_http_entra_mdm_text(&m->text, "{policy=");
        ngx_http_entra_mdm_text_label(&m->text, policy);
    }

    for (i = 0; i < NGX_HTTP_ENTRA_MDM_LABELS; i++) {
        name = m->metric->label[i];

        /*
         * false alarm (null-dereference, NullDereference): a metric with
         * labels has values
         */
        if (name != NULL) {
            ngx_http_entra_mdm_text(&m->text, m->json ? ",\"%s\":\"%*s\""
                                                      : ",%s=\"%*s\"",
                                    name, values[i].len, values[i].data);
        }
    }
}


void
ngx_http_entra_mdm_metric(ngx_http_entra_mdm_metrics_t *m, entra_str_t first,
    entra_str_t second, ngx_atomic_uint_t value)
{
    entra_str_t  values[NGX_HTTP_ENTRA_MDM_LABELS] = { first, second };

    ngx_http_entra_mdm_metric_begin(m);

    if (!m->json) {
        ngx_http_entra_mdm_text(&m->text, "%s", m->metric->name);
    }

    ngx_http_entra_mdm_metric_labels(m, values);

    ngx_http_entra_mdm_text(&m->text, m->json ? "},\"value\":%uA}"
                                              : "} %uA\n", value);
}


/*
 * Others go on counting meanwhile: buckets add up as they are read here, and
 * their count is the last of them.
 */

static void
ngx_http_entra_mdm_metric_timing_json(ngx_http_entra_mdm_metrics_t *m,
    const ngx_http_entra_mdm_timing_t *timing)
{
    ngx_uint_t         i;
    ngx_atomic_uint_t  n, sum;

    sum = timing->nanoseconds;

    ngx_http_entra_mdm_metric_labels(m, NULL);
    ngx_http_entra_mdm_text(&m->text, "},\"buckets\":{");

    for (i = 0, n = 0; i <= NGX_HTTP_ENTRA_MDM_BOUNDS; i++) {
        n += timing->count[i];
        ngx_http_entra_mdm_text(&m->text, "%s\"%s\":%uA", i ? "," : "",
                                ngx_http_entra_mdm_le[i], n);
    }

    ngx_http_entra_mdm_text(&m->text, "},\"sum\":%uA.%09uA,\"count\":%uA}",
                            sum / 1000000000, sum % 1000000000, n);
}


static void
ngx_http_entra_mdm_metric_timing_text(ngx_http_entra_mdm_metrics_t *m,
    const ngx_http_entra_mdm_timing_t *timing)
{
    ngx_uint_t          i;
    const char         *name;
    ngx_atomic_uint_t   n, sum;

    name = m->metric->name;
    sum = timing->nanoseconds;

    for (i = 0, n = 0; i <= NGX_HTTP_ENTRA_MDM_BOUNDS; i++) {
        n += timing->count[i];
        ngx_http_entra_mdm_text(&m->text, "%s_bucket", name);
        ngx_http_entra_mdm_metric_labels(m, NULL);
        ngx_http_entra_mdm_text(&m->text, ",le=\"%s\"} %uA\n",
                                ngx_http_entra_mdm_le[i], n);
    }

    ngx_http_entra_mdm_text(&m->text, "%s_sum", name);
    ngx_http_entra_mdm_metric_labels(m, NULL);
    ngx_http_entra_mdm_text(&m->text, "} %uA.%09uA\n", sum / 1000000000,
                            sum % 1000000000);

    ngx_http_entra_mdm_text(&m->text, "%s_count", name);
    ngx_http_entra_mdm_metric_labels(m, NULL);
    ngx_http_entra_mdm_text(&m->text, "} %uA\n", n);
}


void
ngx_http_entra_mdm_metric_timing(ngx_http_entra_mdm_metrics_t *m,
    const ngx_http_entra_mdm_timing_t *timing)
{
    ngx_http_entra_mdm_metric_begin(m);

    if (m->json) {
        ngx_http_entra_mdm_metric_timing_json(m, timing);

    } else {
        ngx_http_entra_mdm_metric_timing_text(m, timing);
    }
}


/*** the request ***/


static ngx_uint_t
ngx_http_entra_mdm_metrics_accept_json(ngx_http_request_t *r)
{
    unsigned          json, text;
    ngx_uint_t        i;
    entra_str_t       name, value;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h;

    json = 0;
    text = 0;

    part = &r->headers_in.headers.part;
    h = part->elts;

    for (i = 0; /* void */; i++) {

        if (i >= part->nelts) {
            if (part->next == NULL) {
                break;
            }

            part = part->next;
            h = part->elts;
            i = 0;
        }

        name = ngx_http_entra_mdm_str(&h[i].key);

        if (entra_str_ieq(name, entra_lit("accept"))) {
            value = ngx_http_entra_mdm_str(&h[i].value);

            json = ngx_max(json, entra_accept_weight(value,
                                              entra_lit("application/json")));
            text = ngx_max(text, entra_accept_weight(value,
                                                     entra_lit("text/plain")));
        }
    }

    return json && json >= text;
}


static void
ngx_http_entra_mdm_metrics_write(ngx_http_entra_mdm_metrics_t *m,
    ngx_http_entra_mdm_main_conf_t *emmcf)
{
    ngx_uint_t                     i;
    ngx_http_entra_mdm_policy_t  **policy;

    policy = emmcf->policies.elts;

    ngx_http_entra_mdm_text(&m->text, m->json ? "{" : "");

    for (m->metric = ngx_http_entra_mdm_metric_table; m->metric->name;
         m->metric++)
    {
        for (i = 0; i < emmcf->policies.nelts; i++) {
            m->policy = policy[i];
            m->metric->add(m, policy[i]);
        }

        ngx_http_entra_mdm_metric_end(m);
    }

    if (m->json) {
        ngx_http_entra_mdm_text(&m->text, "}\n");

    } else if (emmcf->policies.nelts == 0) {
        /* an answer of no bytes at all would look like a mistake */
        ngx_http_entra_mdm_text(&m->text, "# no entra_mdm_policy\n");
    }
}


/*
 * nginx leaves out access rules for subrequests: an SSI page would show what
 * "deny" is to keep.
 */

static ngx_int_t
ngx_http_entra_mdm_metrics_handler(ngx_http_request_t *r)
{
    ngx_http_entra_mdm_metrics_t     m;
    ngx_http_entra_mdm_main_conf_t  *emmcf;

    static const ngx_str_t  type[] = {
        ngx_string("text/plain; version=0.0.4; charset=utf-8"),
        ngx_string("application/json")
    };

    if (r != r->main) {
        return NGX_HTTP_FORBIDDEN;
    }

    if (!(r->method & (NGX_HTTP_GET|NGX_HTTP_HEAD))) {

        if (ngx_http_entra_mdm_api_header(r, "Allow", "GET, HEAD") != NGX_OK) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        return NGX_HTTP_NOT_ALLOWED;
    }

    emmcf = ngx_http_get_module_main_conf(r, ngx_http_entra_mdm_module);

    ngx_memzero(&m, sizeof(ngx_http_entra_mdm_metrics_t));

    m.json = ngx_http_entra_mdm_metrics_accept_json(r);

    ngx_http_entra_mdm_text_init(&m.text, r->pool,
                                 (emmcf->policies.nelts + 1) * POLICY_SIZE);

    ngx_http_entra_mdm_metrics_write(&m, emmcf);

    return ngx_http_entra_mdm_api_send_type(r, NGX_HTTP_OK, &type[m.json],
                                            &m.text);
}
