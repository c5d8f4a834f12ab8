/*
 * Linked into a module of its own, with --wrap: each of these calls goes wrong
 * when it is its turn.  Whose turn it is stands in the file that is named by
 * ENTRA_MDM_FAULT and shared by the test and all processes of nginx.
 */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <expat.h>
#include <fcntl.h>
#include <hiredis/hiredis.h>
#include <jansson.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>


/* kinds of calls, a bit each: see EntraMDM::Fault */

#define POOL     1                      /* nginx's pools */
#define SLAB     2                      /* its shared memory */
#define HEAP     4
#define NGINX    8                      /* what else of nginx can fail */
#define LIBRARY  16                     /* jansson, expat, OpenSSL, hiredis */
#define SYSTEM   32

static struct {
    uint64_t  kinds;                    /* 0: nothing goes wrong */
    uint64_t  at;                       /* which of the calls, from 1 on */
    uint64_t  lasting;                  /* and all that follow */
    uint64_t  pid;                      /* only in that process; 0: in all */
    uint64_t  calls;
    uint64_t  failed;
    uint64_t  site;                     /* in the module, of the first */
    char      name[80];
} *fault;


__attribute__((constructor))
static void
fault_init(void)
{
    int          fd;
    const char  *file = getenv("ENTRA_MDM_FAULT");

    fd = file ? open(file, O_RDWR|O_CLOEXEC) : -1;

    if (fd == -1) {
        return;
    }

    fault = mmap(NULL, 4096, PROT_READ|PROT_WRITE, MAP_SHARED, fd, 0);

    if (fault == MAP_FAILED) {
        fault = NULL;
    }

    (void) close(fd);
}


static int
fault_now(int kind, const char *name, const void *site)
{
    Dl_info   info;
    uint64_t  n;

    if (fault == NULL
        || !(__atomic_load_n(&fault->kinds, __ATOMIC_ACQUIRE) & kind)
        || (fault->pid && fault->pid != (uint64_t) getpid()))
    {
        return 0;
    }

    n = __atomic_add_fetch(&fault->calls, 1, __ATOMIC_ACQ_REL);

    if (n < fault->at || (n > fault->at && !fault->lasting)) {
        return 0;
    }

    if (__atomic_add_fetch(&fault->failed, 1, __ATOMIC_ACQ_REL) == 1) {
        strncpy(fault->name, name, sizeof(fault->name) - 1);

        if (dladdr(site, &info)) {
            fault->site = (char *) site - (char *) info.dli_fbase;
        }
    }

    return 1;
}


#define FAULT(kind, type, failure, name, parameters, ...)                     \
    type __real_##name parameters __attribute__((weak));                      \
    type __wrap_##name parameters;                                            \
                                                                              \
    type                                                                      \
    __wrap_##name parameters                                                  \
    {                                                                         \
        if (fault_now(kind, #name, __builtin_return_address(0))) {            \
            return failure;                                                   \
        }                                                                     \
                                                                              \
        return __real_##name(__VA_ARGS__);                                    \
    }


/* nginx, whose types do not matter here: -1 is NGX_ERROR */

FAULT(POOL, void *, NULL, ngx_palloc, (void *pool, size_t n), pool, n)
FAULT(POOL, void *, NULL, ngx_pcalloc, (void *pool, size_t n), pool, n)
FAULT(POOL, void *, NULL, ngx_pnalloc, (void *pool, size_t n), pool, n)
FAULT(POOL, void *, NULL, ngx_pstrdup, (void *pool, void *s), pool, s)
FAULT(POOL, void *, NULL, ngx_create_pool, (size_t n, void *log), n, log)
FAULT(POOL, void *, NULL, ngx_array_push, (void *array), array)
FAULT(POOL, void *, NULL, ngx_list_push, (void *list), list)
FAULT(POOL, void *, NULL, ngx_pool_cleanup_add, (void *pool, size_t n), pool,
      n)
FAULT(POOL, void *, NULL, ngx_http_cleanup_add, (void *r, size_t n), r, n)

FAULT(SLAB, void *, NULL, ngx_slab_alloc, (void *pool, size_t n), pool, n)
FAULT(SLAB, void *, NULL, ngx_slab_calloc, (void *pool, size_t n), pool, n)

FAULT(HEAP, void *, NULL, malloc, (size_t n), n)
FAULT(HEAP, void *, NULL, calloc, (size_t m, size_t n), m, n)
FAULT(HEAP, void *, NULL, ngx_alloc, (size_t n, void *log), n, log)

FAULT(NGINX, void *, NULL, ngx_get_connection, (int fd, void *log), fd, log)
FAULT(NGINX, void *, NULL, ngx_http_create_request, (void *c), c)
FAULT(NGINX, intptr_t, -1, ngx_http_subrequest,
      (void *r, void *uri, void *args, void *sr, void *ps, uintptr_t flags),
      r, uri, args, sr, ps, flags)
FAULT(NGINX, void *, NULL, ngx_resolve_start, (void *resolver, void *temp),
      resolver, temp)
FAULT(NGINX, intptr_t, -1, ngx_resolve_name, (void *ctx), ctx)
FAULT(NGINX, intptr_t, -1, ngx_http_send_header, (void *r), r)
FAULT(NGINX, intptr_t, -1, ngx_http_output_filter, (void *r, void *in), r, in)
FAULT(NGINX, intptr_t, 500, ngx_http_discard_request_body, (void *r), r)
FAULT(NGINX, intptr_t, -1, ngx_http_complex_value,
      (void *r, void *value, void *s), r, value, s)
FAULT(NGINX, void *, NULL, ngx_http_get_indexed_variable,
      (void *r, uintptr_t index), r, index)
FAULT(NGINX, intptr_t, -1, ngx_handle_read_event,
      (void *event, uintptr_t flags), event, flags)
FAULT(NGINX, intptr_t, -1, ngx_thread_task_post, (void *pool, void *task),
      pool, task)

FAULT(LIBRARY, json_t *, NULL, json_loadb,
      (const char *s, size_t n, size_t flags, json_error_t *error),
      s, n, flags, error)
FAULT(LIBRARY, char *, NULL, json_dumps, (const json_t *json, size_t flags),
      json, flags)
FAULT(LIBRARY, size_t, 0, json_dumpb,
      (const json_t *json, char *s, size_t n, size_t flags), json, s, n, flags)
FAULT(LIBRARY, XML_Parser, NULL, XML_ParserCreateNS,
      (const XML_Char *encoding, XML_Char separator), encoding, separator)
FAULT(LIBRARY, EVP_MD *, NULL, EVP_MD_fetch,
      (OSSL_LIB_CTX *ctx, const char *name, const char *properties),
      ctx, name, properties)
FAULT(LIBRARY, EVP_MD_CTX *, NULL, EVP_MD_CTX_new, (void))
FAULT(LIBRARY, int, 0, EVP_MD_CTX_copy_ex,
      (EVP_MD_CTX *to, const EVP_MD_CTX *from), to, from)
FAULT(LIBRARY, int, 0, EVP_DigestInit_ex,
      (EVP_MD_CTX *ctx, const EVP_MD *type, ENGINE *engine), ctx, type, engine)
FAULT(LIBRARY, int, 0, EVP_DigestInit_ex2,
      (EVP_MD_CTX *ctx, const EVP_MD *type, const OSSL_PARAM *params),
      ctx, type, params)
FAULT(LIBRARY, int, 0, EVP_DigestUpdate,
      (EVP_MD_CTX *ctx, const void *data, size_t n), ctx, data, n)
FAULT(LIBRARY, int, 0, EVP_DigestFinal_ex,
      (EVP_MD_CTX *ctx, unsigned char *md, unsigned int *n), ctx, md, n)
FAULT(LIBRARY, int, 0, EVP_DigestVerifyInit_ex,
      (EVP_MD_CTX *ctx, EVP_PKEY_CTX **pctx, const char *name,
       OSSL_LIB_CTX *lib, const char *properties, EVP_PKEY *key,
       const OSSL_PARAM *params), ctx, pctx, name, lib, properties, key, params)
FAULT(LIBRARY, EVP_PKEY_CTX *, NULL, EVP_PKEY_CTX_new_from_name,
      (OSSL_LIB_CTX *lib, const char *name, const char *properties),
      lib, name, properties)
FAULT(LIBRARY, int, -1, EVP_PKEY_fromdata_init, (EVP_PKEY_CTX *ctx), ctx)
FAULT(LIBRARY, int, -1, EVP_PKEY_fromdata,
      (EVP_PKEY_CTX *ctx, EVP_PKEY **key, int selection, OSSL_PARAM *params),
      ctx, key, selection, params)
FAULT(LIBRARY, OSSL_PARAM_BLD *, NULL, OSSL_PARAM_BLD_new, (void))
FAULT(LIBRARY, int, 0, OSSL_PARAM_BLD_push_BN,
      (OSSL_PARAM_BLD *builder, const char *key, const BIGNUM *n),
      builder, key, n)
FAULT(LIBRARY, OSSL_PARAM *, NULL, OSSL_PARAM_BLD_to_param,
      (OSSL_PARAM_BLD *builder), builder)
FAULT(LIBRARY, BIGNUM *, NULL, BN_bin2bn,
      (const unsigned char *s, int n, BIGNUM *to), s, n, to)
FAULT(LIBRARY, redisContext *, NULL, redisConnectNonBlock,
      (const char *address, int port), address, port)
FAULT(LIBRARY, redisContext *, NULL, redisConnectUnixNonBlock,
      (const char *path), path)
FAULT(LIBRARY, int, REDIS_ERR, redisAppendCommandArgv,
      (redisContext *rc, int n, const char **words, const size_t *len),
      rc, n, words, len)
FAULT(LIBRARY, int, REDIS_ERR, redisBufferRead, (redisContext *rc), rc)
FAULT(LIBRARY, int, REDIS_ERR, redisBufferWrite, (redisContext *rc, int *done),
      rc, done)
FAULT(LIBRARY, int, REDIS_ERR, redisGetReplyFromReader,
      (redisContext *rc, void **reply), rc, reply)

#define FAILS_EMFILE  (errno = EMFILE, -1)
#define FAILS_EIO     (errno = EIO, -1)
#define FAILS_ENOSPC  (errno = ENOSPC, -1)
#define FAILS_EROFS   (errno = EROFS, -1)

FAULT(SYSTEM, int, FAILS_EMFILE, open,
      (const char *path, int flags, mode_t mode), path, flags, mode)
FAULT(SYSTEM, int, FAILS_EMFILE, open64,
      (const char *path, int flags, mode_t mode), path, flags, mode)
FAULT(SYSTEM, ssize_t, FAILS_EIO, read, (int fd, void *to, size_t n),
      fd, to, n)
FAULT(SYSTEM, ssize_t, FAILS_ENOSPC, write,
      (int fd, const void *from, size_t n), fd, from, n)
FAULT(SYSTEM, int, FAILS_EIO, fsync, (int fd), fd)
FAULT(SYSTEM, int, FAILS_EROFS, rename,
      (const char *from, const char *to), from, to)
FAULT(SYSTEM, int, FAILS_EIO, unlink, (const char *path), path)
