/*
 * The key set of a policy, from a file.
 */

#include "ngx_http_entra_mdm_module.h"


#define MAX_JWKS  (128 * 1024)


static void ngx_http_entra_mdm_keys_cleanup(void *data);


/* the content of the file, from cf->temp_pool; logs what is wrong with it */

static ngx_int_t
ngx_http_entra_mdm_keys_read(ngx_conf_t *cf, ngx_str_t *path,
    entra_str_t *text)
{
    u_char           *buffer;
    off_t             size;
    ssize_t           n;
    ngx_fd_t          fd;
    ngx_int_t         rc;
    ngx_file_info_t   fi;

    /* non-blocking: opening a FIFO would wait for a writer */

    fd = ngx_open_file(path->data, NGX_FILE_RDONLY, NGX_FILE_NONBLOCK, 0);

    if (fd == NGX_INVALID_FILE) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, ngx_errno,
                           "cannot open the key set \"%V\" of \"jwks\"", path);
        return NGX_ERROR;
    }

    rc = NGX_ERROR;

    if (ngx_fd_info(fd, &fi) == NGX_FILE_ERROR || !ngx_is_file(&fi)) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "the key set \"%V\" of \"jwks\" is not a file",
                           path);
        goto done;
    }

    size = ngx_file_size(&fi);

    if (size > MAX_JWKS) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "the key set \"%V\" of \"jwks\" has %O bytes, "
                           "the limit is %d", path, size, MAX_JWKS);
        goto done;
    }

    buffer = ngx_palloc(cf->temp_pool, (size_t) size + 1);
    if (buffer == NULL) {
        goto done;
    }

    n = ngx_read_fd(fd, buffer, (size_t) size);

    if (n != size) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, n == -1 ? ngx_errno : 0,
                           "cannot read the key set \"%V\" of \"jwks\"", path);
        goto done;
    }

    *text = (entra_str_t) { (char *) buffer, (size_t) size };
    rc = NGX_OK;

done:

    if (ngx_close_file(fd) == NGX_FILE_ERROR) {
        ngx_conf_log_error(NGX_LOG_ALERT, cf, ngx_errno,
                           ngx_close_file_n " \"%V\" failed", path);
    }

    return rc;
}


static void
ngx_http_entra_mdm_keys_log_unusable(ngx_conf_t *cf, entra_jwks_t *jwks,
    ngx_str_t *path)
{
    size_t              i;
    ngx_str_t           kid;
    const entra_key_t  *key;

    for (i = 0; i < entra_jwks_count(jwks); i++) {
        key = entra_jwks_key(jwks, i);

        if (entra_key_unusable(key) == NULL) {
            continue;
        }

        kid.data = (u_char *) entra_key_kid(key).data;
        kid.len = entra_key_kid(key).len;

        ngx_conf_log_error(NGX_LOG_WARN, cf, 0,
                           "key \"%V\" in \"%V\" may not be used: %s",
                           &kid, path, entra_key_unusable(key));
    }
}


entra_jwks_t *
ngx_http_entra_mdm_keys_file(ngx_conf_t *cf, ngx_str_t *path)
{
    const char          *error;
    entra_str_t          text;
    entra_jwks_t        *jwks;
    ngx_pool_cleanup_t  *cln;

    if (ngx_http_entra_mdm_keys_read(cf, path, &text) != NGX_OK) {
        return NULL;
    }

    cln = ngx_pool_cleanup_add(cf->pool, 0);
    if (cln == NULL) {
        return NULL;
    }

    jwks = entra_jwks_parse(text, &error);

    if (jwks == NULL) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%V\" of \"jwks\" is not a key set: %s",
                           path, error);
        return NULL;
    }

    cln->handler = ngx_http_entra_mdm_keys_cleanup;
    cln->data = jwks;

    ngx_http_entra_mdm_keys_log_unusable(cf, jwks, path);

    return jwks;
}


static void
ngx_http_entra_mdm_keys_cleanup(void *data)
{
    entra_jwks_free(data);
}
