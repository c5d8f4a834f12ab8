/*
 * GET activities: who changed which list, newest first, a page at a time.
 */

#include "ngx_http_entra_mdm_api.h"


#define MAX_PER_PAGE  1000
#define MAX_PAGE      1000000


typedef struct {
    ngx_int_t                     page;
    ngx_int_t                     per_page;
} ngx_http_entra_mdm_paging_t;


/* false: the argument is there and is no number from min to max */

static ngx_uint_t
ngx_http_entra_mdm_activities_arg(ngx_http_request_t *r, const char *name,
    ngx_int_t min, ngx_int_t max, ngx_int_t *number)
{
    ngx_str_t  value;

    if (ngx_http_arg(r, (u_char *) name, ngx_strlen(name), &value) != NGX_OK) {
        return 1;
    }

    *number = ngx_atoi(value.data, value.len);

    return *number != NGX_ERROR && *number >= min && *number <= max;
}


static void
ngx_http_entra_mdm_activities_one(ngx_http_entra_mdm_text_t *text,
    const ngx_http_entra_mdm_activity_t *activity)
{
    char  guid[ENTRA_GUID_LEN];

    (void) entra_guid_write_typed(&activity->guid, activity->upper, guid);

    ngx_http_entra_mdm_text(text, "{\"id\":\"%uL\",\"created_at\":",
                            activity->id);
    ngx_http_entra_mdm_text_time(text, activity->time);
    ngx_http_entra_mdm_text(text, ",\"type\":\"%s\",\"details\":{\"%s\":"
                            "\"%*s\"},\"actor\":",
                            entra_activity_types[activity->list]
                                                [activity->added],
                            entra_activity_details[activity->list],
                            (size_t) ENTRA_GUID_LEN, guid);
    ngx_http_entra_mdm_text_string(text, entra_str(activity->actor));
    ngx_http_entra_mdm_text(text, ",\"role\":");
    ngx_http_entra_mdm_text_string(text, entra_str(activity->role));
    ngx_http_entra_mdm_text(text, "}");
}


static ngx_int_t
ngx_http_entra_mdm_activities_zone(ngx_http_request_t *r,
    const ngx_http_entra_mdm_paging_t *paging)
{
    ngx_uint_t                      i, n, total, skip;
    ngx_http_entra_mdm_text_t       text;
    ngx_http_entra_mdm_activity_t  *activities;

    activities = ngx_palloc(r->pool, paging->per_page
                                     * sizeof(ngx_http_entra_mdm_activity_t));
    if (activities == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    skip = paging->page * paging->per_page;

    n = ngx_http_entra_mdm_activities_read(ngx_http_entra_mdm_api_policy(r),
                                           skip, activities, paging->per_page,
                                           &total);

    ngx_http_entra_mdm_text_init(&text, r->pool, 1024 + n * 256);
    ngx_http_entra_mdm_text(&text, "{\"activities\":[");

    for (i = 0; i < n; i++) {
        ngx_http_entra_mdm_text(&text, i ? "," : "");
        ngx_http_entra_mdm_activities_one(&text, &activities[i]);
    }

    ngx_http_entra_mdm_text(&text, "],\"meta\":{\"has_next_results\":%s,"
                            "\"has_previous_results\":%s}}\n",
                            skip + n < total ? "true" : "false",
                            paging->page ? "true" : "false");

    return ngx_http_entra_mdm_api_send(r, NGX_HTTP_OK, &text);
}


ngx_int_t
ngx_http_entra_mdm_api_activities_get(ngx_http_request_t *r)
{
    ngx_http_entra_mdm_paging_t  paging;

    paging.page = 0;
    paging.per_page = 20;

    if (!ngx_http_entra_mdm_activities_arg(r, "page", 0, MAX_PAGE,
                                           &paging.page))
    {
        return ngx_http_entra_mdm_api_error(r, NGX_HTTP_BAD_REQUEST, "page",
                                            "must be a number from 0 on");
    }

    if (!ngx_http_entra_mdm_activities_arg(r, "per_page", 1, MAX_PER_PAGE,
                                           &paging.per_page))
    {
        return ngx_http_entra_mdm_api_error(r, NGX_HTTP_BAD_REQUEST,
                                            "per_page",
                                            "must be a number from 1 to "
                                            "1000");
    }

    return ngx_http_entra_mdm_activities_zone(r, &paging);
}
