/*
 * Small files that others may change: key sets, states, passwords.
 */

#ifndef NGX_HTTP_ENTRA_MDM_FILE_H
#define NGX_HTTP_ENTRA_MDM_FILE_H

#include <ngx_config.h>
#include <ngx_core.h>

#include "entra_str.h"


typedef struct {
    entra_str_t  text;
    ngx_err_t    err;                   /* errno of what failed, or 0 */
    char         why[80];               /* "cannot be opened" and so on */
} ngx_http_entra_mdm_file_t;


/* tells one content of a path from another, without reading it */

typedef struct {
    dev_t        dev;
    ino_t        ino;
    off_t        size;
    time_t       sec;                   /* of the last change, to file or */
    long         nsec;                  /*   inode: nobody can set it back */
} ngx_http_entra_mdm_stamp_t;


/*
 * NGX_OK, or NGX_DECLINED if there is no such file, or NGX_ERROR, with the
 * error in errno; *stamp is all zero unless it is NGX_OK.
 */
ngx_int_t ngx_http_entra_mdm_file_stamp(const ngx_str_t *path,
    ngx_uint_t nofollow, ngx_http_entra_mdm_stamp_t *stamp);

ngx_uint_t ngx_http_entra_mdm_stamp_eq(const ngx_http_entra_mdm_stamp_t *one,
    const ngx_http_entra_mdm_stamp_t *two);

/*
 * Reads a regular file of at most max bytes into memory of its own, which the
 * caller gives back with ngx_free(file->text.data); a NUL follows the text.
 * Never waits as a FIFO would; with nofollow, a symbolic link is not read.
 * Logs nothing and uses no pool, so that a thread may call it; path ends with
 * a NUL.
 *
 *   NGX_OK        read
 *   NGX_DECLINED  there is no such file
 *   NGX_ERROR     cannot be read; file->why and file->err say why
 */
ngx_int_t ngx_http_entra_mdm_file_read(const ngx_str_t *path, size_t max,
    ngx_uint_t nofollow, ngx_http_entra_mdm_file_t *file);


#endif /* NGX_HTTP_ENTRA_MDM_FILE_H */
