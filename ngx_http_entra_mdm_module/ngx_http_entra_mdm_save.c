/*
 * Saving a state: the zone's content into a file, all of it or nothing.  What
 * is here runs in a thread of worker 0 where nginx has threads: it logs
 * nothing, and takes no memory but malloc()'s.
 */

#include "ngx_http_entra_mdm_activities.h"
#include "ngx_http_entra_mdm_state.h"

#include <sys/file.h>          /* after nginx's, which say _GNU_SOURCE */


static void
ngx_http_entra_mdm_save_failed(ngx_http_entra_mdm_save_t *save, ngx_err_t err,
    const char *why)
{
    save->result = NGX_HTTP_ENTRA_MDM_SAVE_FAILED;
    save->err = err;
    ngx_cpystrn((u_char *) save->why, (u_char *) why, sizeof(save->why));
}


/*** what is saved ***/


/* a copy of all that the snapshot points to, in one piece; NULL: no memory */

static u_char *
ngx_http_entra_mdm_save_copy(ngx_http_entra_mdm_save_t *save,
    entra_state_t *state)
{
    size_t                          size[ENTRA_LISTS];
    u_char                         *copy, *p;
    ngx_uint_t                      i;
    const entra_set_t              *ids;
    ngx_http_entra_mdm_policy_t    *policy;
    ngx_http_entra_mdm_snapshot_t   snapshot;

    policy = save->policy;
    copy = NULL;

    do {
        free(copy);

        ngx_http_entra_mdm_zone_mark(policy, &snapshot, &save->mark);

        state->lists = snapshot.lists;

        for (i = 0; i < ENTRA_LISTS; i++) {
            size[i] = snapshot.lists.list[i].ids.count
                      * (sizeof(entra_guid_t) + sizeof(uint32_t));
        }

        /* false alarm (use-of-uninitialized-value): the loop fills it whole */
        copy = malloc(size[ENTRA_CLIENT_IDS] + size[ENTRA_TENANT_IDS]
                      + snapshot.keys.len + 1);
        if (copy == NULL) {
            return NULL;
        }

        p = copy;

        for (i = 0; i < ENTRA_LISTS; i++) {
            ids = &snapshot.lists.list[i].ids;

            state->lists.list[i].ids = (entra_set_t) {
                .ids = (entra_guid_t *) p, .count = ids->count,
                .upper = (uint32_t *) (p + ids->count * sizeof(entra_guid_t))
            };

            p = ngx_cpymem(p, ids->ids, ids->count * sizeof(entra_guid_t));
            entra_set_typed(ids, (uint32_t *) p);
            p += ids->count * sizeof(uint32_t);
        }

        ngx_memcpy(p, snapshot.keys.data, snapshot.keys.len);
        state->jwks = (entra_str_t) { (char *) p, snapshot.keys.len };

    } while (!ngx_http_entra_mdm_snapshot_current(policy, &snapshot));

    return copy;
}


/* text to be given back with free(); NGX_ERROR: told in *save */

static ngx_int_t
ngx_http_entra_mdm_save_text(ngx_http_entra_mdm_save_t *save,
    entra_str_t *text)
{
    bool            ok;
    char            error[ENTRA_STATE_ERROR];
    u_char         *copy;
    entra_state_t   state;

    ngx_memzero(&state, sizeof(entra_state_t));

    state.jwks_source = ngx_http_entra_mdm_state_jwks_source(
                                                         save->policy->keys);
    copy = ngx_http_entra_mdm_save_copy(save, &state);
    state.activities = ngx_http_entra_mdm_activities_copy(save->policy,
                                                    &state.nactivities,
                                                    &save->mark.activities);

    if (copy == NULL || state.activities == NULL
        || state.jwks_source.data == NULL)
    {
        free(copy);
        free(state.activities);
        free((void *) state.jwks_source.data);
        ngx_http_entra_mdm_save_failed(save, 0, "needs memory that is not "
                                       "there");
        return NGX_ERROR;
    }

    state.policy = ngx_http_entra_mdm_str(&save->policy->name);
    state.saved = save->now;
    state.lists_updated = save->mark.lists_updated;
    state.lists_source = (entra_state_source_e) save->mark.source;
    state.redis_generation = (int64_t) save->mark.generation;
    state.jwks_fetched = save->mark.keys_fetched;

    ok = entra_state_write(&state, text, error);

    free(copy);
    free(state.activities);
    free((void *) state.jwks_source.data);

    if (!ok) {
        ngx_http_entra_mdm_save_failed(save, 0, "");
        *ngx_snprintf((u_char *) save->why, sizeof(save->why) - 1,
                      "cannot be written: %s", error) = '\0';
        return NGX_ERROR;
    }

    return NGX_OK;
}


/*** how ***/


static ngx_int_t
ngx_http_entra_mdm_save_bytes(ngx_http_entra_mdm_save_t *save, ngx_fd_t fd,
    entra_str_t text)
{
    ssize_t  n;

    while (text.len) {
        n = ngx_write_fd(fd, (void *) text.data, text.len);

        if (n == -1 && ngx_errno == NGX_EINTR) {
            continue;
        }

        if (n <= 0) {
            ngx_http_entra_mdm_save_failed(save, ngx_errno,
                                           "cannot be written");
            return NGX_ERROR;
        }

        text = entra_str_from(text, n);
    }

    if (fsync(fd) == -1) {
        ngx_http_entra_mdm_save_failed(save, ngx_errno, "cannot be synced");
        return NGX_ERROR;
    }

    return NGX_OK;
}


/*
 * Nobody else writes below the lock, so a temporary file that is there is of
 * a worker that was killed.
 */

static ngx_int_t
ngx_http_entra_mdm_save_temp(ngx_http_entra_mdm_save_t *save, char *temp,
    entra_str_t text)
{
    ngx_fd_t   fd;
    ngx_int_t  rc;

    if (unlink(temp) == -1 && ngx_errno != NGX_ENOENT) {
        ngx_http_entra_mdm_save_failed(save, ngx_errno, "has an old "
                                       "temporary file (.tmp) that cannot be "
                                       "removed");
        return NGX_ERROR;
    }

    fd = open(temp, O_WRONLY|O_CREAT|O_EXCL|O_NOFOLLOW|O_CLOEXEC, 0600);

    if (fd == -1) {
        ngx_http_entra_mdm_save_failed(save, ngx_errno, "cannot be created");
        return NGX_ERROR;
    }

    rc = ngx_http_entra_mdm_save_bytes(save, fd, text);

    if (close(fd) == -1 && rc == NGX_OK) {
        ngx_http_entra_mdm_save_failed(save, ngx_errno, "cannot be closed");
        rc = NGX_ERROR;
    }

    if (rc != NGX_OK) {
        (void) unlink(temp);
    }

    return rc;
}


/* may this process write the file at all, as far as it can know? */

static ngx_uint_t
ngx_http_entra_mdm_save_may(ngx_http_entra_mdm_save_t *save)
{
    ngx_http_entra_mdm_zone_t   *zone;
    ngx_http_entra_mdm_stamp_t   stamp;

    zone = ngx_http_entra_mdm_zone(save->policy);

    if (save->policy->epoch != zone->feed_epoch
        || save->policy->keys->config != zone->keys_config)
    {
        /* a later worker 0 has begun, or is about to */
        return 0;
    }

    if (!save->careful) {
        return 1;
    }

    return ngx_http_entra_mdm_file_stamp(&save->policy->state->path, 1, &stamp)
           != NGX_OK
           || ngx_http_entra_mdm_stamp_eq(&stamp, &zone->state.stamp);
}


static void
ngx_http_entra_mdm_save_locked(ngx_http_entra_mdm_save_t *save, ngx_fd_t fd)
{
    char                        *temp;
    ngx_int_t                    rc;
    entra_str_t                  text;
    ngx_http_entra_mdm_state_t  *state;

    state = save->policy->state;
    temp = (char *) state->temp.data;

    if (!ngx_http_entra_mdm_save_may(save)) {
        save->result = NGX_HTTP_ENTRA_MDM_SAVE_VOID;
        return;
    }

    if (ngx_http_entra_mdm_save_text(save, &text) != NGX_OK) {
        return;
    }

    if (!ngx_http_entra_mdm_save_may(save)) {
        /* these may be keys of a later "jwks", under the name of the last */
        free((void *) text.data);
        save->result = NGX_HTTP_ENTRA_MDM_SAVE_VOID;
        return;
    }

    rc = ngx_http_entra_mdm_save_temp(save, temp, text);

    free((void *) text.data);

    if (rc != NGX_OK) {
        return;
    }

    if (rename(temp, (char *) state->path.data) == -1) {
        ngx_http_entra_mdm_save_failed(save, ngx_errno, "cannot be replaced");
        (void) unlink(temp);
        return;
    }

    (void) ngx_http_entra_mdm_file_stamp(&state->path, 1, &save->stamp);

    if (fsync(fd) == -1) {
        ngx_http_entra_mdm_save_failed(save, ngx_errno, "is in a directory "
                                       "that cannot be synced");
        return;
    }

    save->result = NGX_HTTP_ENTRA_MDM_SAVED;
}


/*
 * A lock on the directory keeps apart an old and a new worker 0, and even two
 * masters; it is gone with whoever held it.  What is written below it was read
 * below it, so no older content follows a newer one.
 */

void
ngx_http_entra_mdm_save(ngx_http_entra_mdm_save_t *save)
{
    ngx_fd_t  fd;

    save->err = 0;
    save->why[0] = '\0';

    fd = open((char *) save->policy->state->directory.data,
              O_RDONLY|O_DIRECTORY|O_CLOEXEC);

    if (fd == -1) {
        ngx_http_entra_mdm_save_failed(save, ngx_errno, "is in a directory "
                                       "that cannot be opened");
        return;
    }

    if (flock(fd, LOCK_EX|LOCK_NB) == -1 && ngx_errno == EWOULDBLOCK) {
        save->result = NGX_HTTP_ENTRA_MDM_SAVE_BUSY;

    } else {
        /* some file systems know no such locks: then there is none */
        ngx_http_entra_mdm_save_locked(save, fd);
    }

    (void) close(fd);
}
