/*
 * Reading a small file.
 */

#include "ngx_http_entra_mdm_file.h"


ngx_int_t
ngx_http_entra_mdm_file_stamp(const ngx_str_t *path, ngx_uint_t nofollow,
    ngx_http_entra_mdm_stamp_t *stamp)
{
    ngx_int_t        rc;
    ngx_file_info_t  fi;

    ngx_memzero(stamp, sizeof(ngx_http_entra_mdm_stamp_t));

    rc = nofollow ? ngx_link_info(path->data, &fi)
                  : ngx_file_info(path->data, &fi);

    if (rc == NGX_FILE_ERROR) {
        return ngx_errno == NGX_ENOENT ? NGX_DECLINED : NGX_ERROR;
    }

    stamp->dev = fi.st_dev;
    stamp->ino = fi.st_ino;
    stamp->size = fi.st_size;
    stamp->sec = fi.st_ctime;
#if !(NGX_DARWIN)
    stamp->nsec = fi.st_ctim.tv_nsec;
#endif

    return NGX_OK;
}


ngx_uint_t
ngx_http_entra_mdm_stamp_eq(const ngx_http_entra_mdm_stamp_t *one,
    const ngx_http_entra_mdm_stamp_t *two)
{
    return one->dev == two->dev && one->ino == two->ino
           && one->size == two->size && one->sec == two->sec
           && one->nsec == two->nsec;
}


static ngx_int_t
ngx_http_entra_mdm_file_failed(ngx_http_entra_mdm_file_t *file, ngx_err_t err,
    const char *why)
{
    file->err = err;
    ngx_cpystrn((u_char *) file->why, (u_char *) why, sizeof(file->why));

    return NGX_ERROR;
}


static ngx_int_t
ngx_http_entra_mdm_file_content(ngx_fd_t fd, size_t max,
    ngx_http_entra_mdm_file_t *file)
{
    char             *buffer;
    off_t             size;
    size_t            len;
    ssize_t           n;
    ngx_file_info_t   fi;

    if (ngx_fd_info(fd, &fi) == NGX_FILE_ERROR || !ngx_is_file(&fi)) {
        return ngx_http_entra_mdm_file_failed(file, 0, "is not a file");
    }

    size = ngx_file_size(&fi);

    if (size > (off_t) max) {
        *ngx_snprintf((u_char *) file->why, sizeof(file->why) - 1,
                      "has %O bytes, the limit is %uz", size, max) = '\0';
        return NGX_ERROR;
    }

    buffer = malloc((size_t) size + 1);
    if (buffer == NULL) {
        return ngx_http_entra_mdm_file_failed(file, ngx_errno,
                                              "needs memory that is not there");
    }

    for (len = 0; len < (size_t) size; len += n) {
        n = ngx_read_fd(fd, buffer + len, (size_t) size - len);

        if (n <= 0) {
            (void) ngx_http_entra_mdm_file_failed(file, n ? ngx_errno : 0,
                                                  "cannot be read");
            free(buffer);
            return NGX_ERROR;
        }
    }

    buffer[len] = '\0';
    file->text = (entra_str_t) { buffer, len };

    return NGX_OK;
}


ngx_int_t
ngx_http_entra_mdm_file_read(const ngx_str_t *path, size_t max,
    ngx_uint_t nofollow, ngx_http_entra_mdm_file_t *file)
{
    ngx_fd_t   fd;
    ngx_int_t  rc;

    ngx_memzero(file, sizeof(ngx_http_entra_mdm_file_t));

    fd = ngx_open_file(path->data, NGX_FILE_RDONLY,
                       NGX_FILE_NONBLOCK | (nofollow ? O_NOFOLLOW : 0), 0);

    if (fd == NGX_INVALID_FILE) {
        (void) ngx_http_entra_mdm_file_failed(file, ngx_errno,
                                              "cannot be opened");
        return file->err == NGX_ENOENT ? NGX_DECLINED : NGX_ERROR;
    }

    rc = ngx_http_entra_mdm_file_content(fd, max, file);

    (void) ngx_close_file(fd);

    return rc;
}
