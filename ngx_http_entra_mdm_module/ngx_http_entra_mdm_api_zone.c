/*
 * Changing the lists where the zone is the list: they are compared and
 * published in one step, for all workers at once.
 */

#include "ngx_http_entra_mdm_api_patch.h"


#define TRIES  200                      /* with a few milliseconds between */


static void
ngx_http_entra_mdm_patch_zone_handler(ngx_event_t *ev)
{
    ngx_http_entra_mdm_patch_zone(ev->data);
}


/* somebody else is publishing, or has done so since */

static void
ngx_http_entra_mdm_patch_zone_again(ngx_http_entra_mdm_patch_t *patch)
{
    ngx_int_t  rc;

    if (++patch->tries < TRIES) {
        ngx_http_entra_mdm_patch_later(patch,
                                       ngx_http_entra_mdm_patch_zone_handler);
        return;
    }

    rc = ngx_http_entra_mdm_patch_error(patch, NGX_HTTP_SERVICE_UNAVAILABLE,
                                        "the lists change too often; nothing "
                                        "was changed");
    ngx_http_entra_mdm_patch_done(patch, rc);
}


static ngx_int_t
ngx_http_entra_mdm_patch_publish(ngx_http_entra_mdm_patch_t *patch,
    ngx_atomic_uint_t generation)
{
    ngx_int_t                     rc;
    ngx_uint_t                    i;
    entra_set_t                   was[ENTRA_LISTS];
    ngx_http_entra_mdm_change_t   change;

    ngx_memzero(&change, sizeof(ngx_http_entra_mdm_change_t));

    for (i = 0; i < ENTRA_LISTS; i++) {
        was[i] = patch->from.list[i].ids;
        change.list[i] = patch->to.list[i].ids;
    }

    change.lists = patch->changed;
    change.source = NGX_HTTP_ENTRA_MDM_FROM_STATE;
    change.expects = 1;
    change.expected = generation;

    if (ngx_http_entra_mdm_activities_collect(patch->policy, patch->lists,
                                              &change, was, &patch->author)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    rc = ngx_http_entra_mdm_lists_publish(patch->policy, &change, patch->log);

    if (rc == NGX_OK) {
        ngx_http_entra_mdm_activities_log(patch->policy, patch->changed, was,
                                          change.list, &patch->author);
    }

    return rc;
}


void
ngx_http_entra_mdm_patch_zone(ngx_http_entra_mdm_patch_t *patch)
{
    ngx_int_t          rc;
    ngx_atomic_uint_t  generation;

    ngx_reset_pool(patch->lists);

    switch (ngx_http_entra_mdm_lists_copy(patch->policy, patch->lists,
                                          ENTRA_CONFIG_MAX_IDS, &patch->from,
                                          &generation))
    {
    case NGX_OK:
        break;

    case NGX_DECLINED:
        rc = ngx_http_entra_mdm_patch_too_large(patch);
        ngx_http_entra_mdm_patch_done(patch, rc);
        return;

    default:
        ngx_http_entra_mdm_patch_done(patch, NGX_HTTP_INTERNAL_SERVER_ERROR);
        return;
    }

    switch (ngx_http_entra_mdm_patch_match(patch)) {

    case NGX_OK:
        break;

    case NGX_DECLINED:
        rc = ngx_http_entra_mdm_patch_no_match(patch);
        ngx_http_entra_mdm_patch_done(patch, rc);
        return;

    default:
        ngx_http_entra_mdm_patch_done(patch, NGX_HTTP_INTERNAL_SERVER_ERROR);
        return;
    }

    if (ngx_http_entra_mdm_patch_apply(patch) != NGX_OK) {
        ngx_http_entra_mdm_patch_done(patch, NGX_HTTP_INTERNAL_SERVER_ERROR);
        return;
    }

    rc = NGX_OK;

    if (patch->changed) {
        rc = ngx_http_entra_mdm_patch_publish(patch, generation);
        generation++;
    }

    switch (rc) {

    case NGX_OK:
        rc = ngx_http_entra_mdm_patch_send(patch, &patch->to, generation);
        break;

    case NGX_DECLINED:
        rc = ngx_http_entra_mdm_patch_no_room(patch);
        break;

    case NGX_ABORT:
        rc = ngx_http_entra_mdm_patch_error(patch,
                                            NGX_HTTP_SERVICE_UNAVAILABLE,
                                            "nginx is taking over another "
                                            "zone size; nothing was changed, "
                                            "send it again");
        break;

    case NGX_ERROR:
        rc = NGX_HTTP_INTERNAL_SERVER_ERROR;
        break;

    default:
        ngx_http_entra_mdm_patch_zone_again(patch);
        return;
    }

    ngx_http_entra_mdm_patch_done(patch, rc);
}
