/*
 * The "state" directive, and the directory it names: the master makes it and
 * gives it to the workers' user, so it must not be one that others need.
 */

#include "ngx_http_entra_mdm_state.h"

#include <pwd.h>          /* after nginx's, which say _GNU_SOURCE */


static const char  *ngx_http_entra_mdm_shared_directories[] = {
    "/", "/bin", "/boot", "/dev", "/dev/shm", "/etc", "/etc/nginx", "/home",
    "/lib", "/media", "/mnt", "/opt", "/proc", "/root", "/run", "/run/lock",
    "/sbin", "/srv", "/sys", "/tmp", "/usr", "/usr/bin", "/usr/lib",
    "/usr/local", "/usr/sbin", "/usr/share", "/var", "/var/cache",
    "/var/lib", "/var/lib/nginx", "/var/log", "/var/log/nginx", "/var/run",
    "/var/spool", "/var/tmp", "/var/www", NULL
};


/*** the path ***/


/*
 * "//" and "/./" become "/", in place; a path of no file becomes empty.
 * NGX_DECLINED: there is a "..".
 */

static ngx_int_t
ngx_http_entra_mdm_path_clean(ngx_str_t *path)
{
    u_char      *p, *to, *end;
    size_t       len;
    ngx_uint_t   named;

    to = path->data;
    named = 0;

    for (p = path->data; *p; p = end) {

        while (*p == '/') {
            p++;
        }

        for (end = p; *end && *end != '/'; end++) { /* void */ }

        len = end - p;

        if (len == 2 && p[0] == '.' && p[1] == '.') {
            return NGX_DECLINED;
        }

        named = len != 0 && (len != 1 || p[0] != '.');

        if (!named) {
            continue;
        }

        *to++ = '/';
        ngx_memmove(to, p, len);
        to += len;
    }

    if (!named) {
        /* "a/" and "a/." name no file */
        to = path->data;
    }

    *to = '\0';
    path->len = to - path->data;

    return NGX_OK;
}


static ngx_int_t
ngx_http_entra_mdm_state_names(ngx_conf_t *cf,
    ngx_http_entra_mdm_state_t *state)
{
    u_char  *slash;

    slash = (u_char *) strrchr((char *) state->path.data, '/');

    state->directory.len = ngx_max(slash - state->path.data, 1);
    state->directory.data = ngx_pnalloc(cf->pool, state->directory.len + 1);

    state->temp.len = state->path.len + sizeof(".tmp") - 1;
    state->temp.data = ngx_pnalloc(cf->pool, state->temp.len + 1);

    if (state->directory.data == NULL || state->temp.data == NULL) {
        return NGX_ERROR;
    }

    ngx_cpystrn(state->directory.data, state->path.data,
                state->directory.len + 1);
    ngx_sprintf(state->temp.data, "%V.tmp%Z", &state->path);

    return NGX_OK;
}


/* a folder of nginx's prefix is named with a slash behind, or is empty */

static ngx_uint_t
ngx_http_entra_mdm_same_directory(const char *name, const ngx_str_t *prefix)
{
    size_t  len;

    len = prefix->len;

    while (len > 1 && prefix->data[len - 1] == '/') {
        len--;
    }

    return len != 0 && ngx_strlen(name) == len
           && ngx_strncmp(name, prefix->data, len) == 0;
}


static ngx_uint_t
ngx_http_entra_mdm_directory_shared(ngx_conf_t *cf, const char *name)
{
    ngx_uint_t  i;

    for (i = 0; ngx_http_entra_mdm_shared_directories[i]; i++) {
        if (ngx_strcmp(name, ngx_http_entra_mdm_shared_directories[i]) == 0) {
            return 1;
        }
    }

    if (ngx_strncmp(name, "/home/", 6) == 0
        && ngx_strchr(&name[6], '/') == NULL)
    {
        return 1;
    }

    return ngx_http_entra_mdm_same_directory(name, &cf->cycle->prefix)
           || ngx_http_entra_mdm_same_directory(name, &cf->cycle->conf_prefix);
}


static char *
ngx_http_entra_mdm_state_directory(ngx_conf_t *cf,
    ngx_http_entra_mdm_state_t *state)
{
    char        *real;
    ngx_path_t  *path;
    ngx_uint_t   shared;

    static char  must[] = "its directory must be one of its own, since it is "
                          "given to the workers' user, such as "
                          "/var/lib/nginx/entra_mdm";

    if (ngx_http_entra_mdm_directory_shared(cf,
                                            (char *) state->directory.data))
    {
        return must;
    }

    /* by way of a symbolic link */

    real = realpath((char *) state->directory.data, NULL);

    if (real) {
        shared = ngx_http_entra_mdm_directory_shared(cf, real);
        free(real);

        if (shared) {
            return must;
        }
    }

    path = ngx_pcalloc(cf->pool, sizeof(ngx_path_t));
    if (path == NULL) {
        return NGX_CONF_ERROR;
    }

    path->name = state->directory;
    path->conf_file = cf->conf_file->file.name.data;
    path->line = cf->conf_file->line;

    if (ngx_add_path(cf, &path) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_http_entra_mdm_state_unique(ngx_conf_t *cf,
    ngx_http_entra_mdm_policy_t *policy)
{
    ngx_uint_t                       i;
    ngx_http_entra_mdm_state_t      *state;
    ngx_http_entra_mdm_policy_t    **other;
    ngx_http_entra_mdm_main_conf_t  *emmcf;

    emmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_entra_mdm_module);
    other = emmcf->policies.elts;

    for (i = 0; i < emmcf->policies.nelts; i++) {
        state = other[i]->state;

        if (other[i] != policy && state
            && ngx_strcmp(state->path.data, policy->state->path.data) == 0)
        {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "\"state %V\" is that of policy \"%V\" "
                               "already, in %V:%ui: each policy needs a file "
                               "of its own", &state->path, &other[i]->name,
                               &other[i]->file, other[i]->line);
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


#if (NGX_THREADS)

/*
 * Without a master, nginx would lose its threads in a reload, and crash at the
 * end for want of them: such a process writes by itself.
 */

static ngx_int_t
ngx_http_entra_mdm_state_threads(ngx_conf_t *cf,
    ngx_http_entra_mdm_state_t *state)
{
    ngx_core_conf_t  *ccf;

    ccf = (ngx_core_conf_t *) ngx_get_conf(cf->cycle->conf_ctx,
                                           ngx_core_module);
    if (ccf->master == 0) {
        return NGX_OK;
    }

    state->threads = ngx_thread_pool_add(cf, NULL);

    return state->threads ? NGX_OK : NGX_ERROR;
}

#endif


char *
ngx_http_entra_mdm_state(ngx_conf_t *cf, ngx_http_entra_mdm_block_t *block,
    ngx_str_t *value, ngx_uint_t n)
{
    ngx_str_t                    path;
    ngx_http_entra_mdm_state_t  *state;

    state = ngx_pcalloc(cf->pool, sizeof(ngx_http_entra_mdm_state_t));
    if (state == NULL) {
        return NGX_CONF_ERROR;
    }

    block->policy->state = state;
    block->policy->live = 1;

    path = *value;

    if (path.len == 0) {
        return "it must be the path of a file";
    }

    if (ngx_conf_full_name(cf->cycle, &path, 0) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    /* a copy, since messages have the value as it was written */

    state->path.len = path.len;
    state->path.data = ngx_pnalloc(cf->pool, path.len + 1);

    if (state->path.data == NULL) {
        return NGX_CONF_ERROR;
    }

    ngx_cpystrn(state->path.data, path.data, path.len + 1);

    if (ngx_http_entra_mdm_path_clean(&state->path) != NGX_OK) {
        return "it must not have \"..\" in it";
    }

    if (state->path.len == 0) {
        return "it must be the path of a file, not of a directory";
    }

    if (ngx_http_entra_mdm_state_names(cf, state) != NGX_OK
        || ngx_http_entra_mdm_state_unique(cf, block->policy) != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

#if (NGX_THREADS)
    if (ngx_http_entra_mdm_state_threads(cf, state) != NGX_OK) {
        return NGX_CONF_ERROR;
    }
#endif

    return ngx_http_entra_mdm_state_directory(cf, state);
}


/*** the directory ***/


/* the user that workers are going to run as, before nginx has looked it up */

static ngx_uid_t
ngx_http_entra_mdm_worker_user(ngx_conf_t *cf)
{
    struct passwd    *pwd;
    ngx_core_conf_t  *ccf;

    ccf = (ngx_core_conf_t *) ngx_get_conf(cf->cycle->conf_ctx,
                                           ngx_core_module);

    if (ccf->user != (ngx_uid_t) NGX_CONF_UNSET_UINT) {
        return ccf->user;
    }

    pwd = getpwnam(NGX_USER);

    return pwd ? pwd->pw_uid : (ngx_uid_t) NGX_CONF_UNSET_UINT;
}


static ngx_uint_t
ngx_http_entra_mdm_state_is(const ngx_http_entra_mdm_state_t *state,
    const ngx_str_t *directory, const u_char *name)
{
    size_t         len;
    const u_char  *own;

    if (state == NULL
        || ngx_strcmp(state->directory.data, directory->data) != 0)
    {
        return 0;
    }

    own = state->path.data + directory->len + 1;
    len = ngx_strlen(own);

    return ngx_strncmp(name, own, len) == 0
           && (name[len] == '\0' || ngx_strcmp(&name[len], ".tmp") == 0);
}


static ngx_uint_t
ngx_http_entra_mdm_state_own(ngx_http_entra_mdm_main_conf_t *emmcf,
    const ngx_str_t *directory, const u_char *name)
{
    ngx_uint_t                     i;
    ngx_http_entra_mdm_policy_t  **policy;

    if (ngx_strcmp(name, ".") == 0 || ngx_strcmp(name, "..") == 0
        || ngx_strcmp(name, "lost+found") == 0)
    {
        return 1;
    }

    policy = emmcf->policies.elts;

    for (i = 0; i < emmcf->policies.nelts; i++) {
        if (ngx_http_entra_mdm_state_is(policy[i]->state, directory, name)) {
            return 1;
        }
    }

    return 0;
}


static ngx_int_t
ngx_http_entra_mdm_state_look(ngx_conf_t *cf,
    ngx_http_entra_mdm_main_conf_t *emmcf,
    ngx_http_entra_mdm_policy_t *policy)
{
    u_char     *name;
    ngx_dir_t   dir;
    ngx_int_t   rc;
    ngx_str_t  *directory;

    directory = &policy->state->directory;
    rc = NGX_OK;

    if (ngx_open_dir(directory, &dir) == NGX_ERROR) {
        return NGX_OK;
    }

    while (ngx_read_dir(&dir) == NGX_OK) {
        name = ngx_de_name(&dir);

        if (ngx_http_entra_mdm_state_own(emmcf, directory, name)) {
            continue;
        }

        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "the directory \"%V\" of \"state\" in policy \"%V\" "
                      "would be given to the workers' user, but has \"%s\" "
                      "in it: name one of its own, such as "
                      "/var/lib/nginx/entra_mdm, in %V:%ui", directory,
                      &policy->name, name, &policy->file, policy->line);

        rc = NGX_ERROR;
        break;
    }

    (void) ngx_close_dir(&dir);

    return rc;
}


/*
 * The master gives the directory away by its name.  Where somebody else may
 * put a symbolic link in its place, that would be any directory.
 */

static ngx_int_t
ngx_http_entra_mdm_state_link(ngx_conf_t *cf,
    ngx_http_entra_mdm_policy_t *policy)
{
    ngx_str_t        *directory;
    ngx_file_info_t   fi;

    directory = &policy->state->directory;

    if (ngx_link_info(directory->data, &fi) == NGX_FILE_ERROR
        || !ngx_is_link(&fi) || fi.st_uid == 0)
    {
        return NGX_OK;
    }

    ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                  "the directory \"%V\" of \"state\" in policy \"%V\" is a "
                  "symbolic link that is not root's, and what it points to "
                  "would be given to the workers' user: remove it, and name "
                  "one where only root may write, such as "
                  "/var/lib/nginx/entra_mdm, in %V:%ui", directory,
                  &policy->name, &policy->file, policy->line);

    return NGX_ERROR;
}


ngx_int_t
ngx_http_entra_mdm_state_directories(ngx_conf_t *cf,
    ngx_http_entra_mdm_main_conf_t *emmcf)
{
    ngx_uid_t                      user;
    ngx_uint_t                     i;
    ngx_file_info_t                fi;
    ngx_http_entra_mdm_policy_t  **policy;

    if (geteuid() != 0) {
        /* nothing is given to anybody */
        return NGX_OK;
    }

    user = ngx_http_entra_mdm_worker_user(cf);
    policy = emmcf->policies.elts;

    for (i = 0; i < emmcf->policies.nelts; i++) {

        if (policy[i]->state == NULL) {
            continue;
        }

        if (ngx_http_entra_mdm_state_link(cf, policy[i]) != NGX_OK) {
            return NGX_ERROR;
        }

        if (ngx_file_info(policy[i]->state->directory.data, &fi)
            == NGX_FILE_ERROR
            || fi.st_uid == user)
        {
            continue;
        }

        if (ngx_http_entra_mdm_state_look(cf, emmcf, policy[i]) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}
