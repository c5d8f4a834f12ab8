/*
 * TLS for Redis.  hiredis up to 1.4 verifies the chain but not the name, so
 * both contexts are made here, and hiredis gets a finished SSL.
 */

#include "ngx_http_entra_mdm_redis_connect.h"


#if (NGX_ENTRA_HAVE_REDIS_TLS)

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <hiredis/hiredis_ssl.h>


/*** at load ***/


static const char *
ngx_http_entra_mdm_redis_tls_error(void)
{
    const char  *why;

    why = ERR_reason_error_string(ERR_peek_last_error());
    ERR_clear_error();

    return why ? why : "unknown error";
}


static void
ngx_http_entra_mdm_redis_tls_cleanup(void *data)
{
    SSL_CTX_free(data);
}


static ngx_int_t
ngx_http_entra_mdm_redis_tls_file(ngx_conf_t *cf, const char *name,
    ngx_str_t *path, int ok)
{
    if (ok == 1) {
        return NGX_OK;
    }

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "\"%V\" of \"%s\" in \"redis\" cannot be used: %s",
                       path, name, ngx_http_entra_mdm_redis_tls_error());

    return NGX_ERROR;
}


ngx_int_t
ngx_http_entra_mdm_redis_tls_init(ngx_conf_t *cf,
    ngx_http_entra_mdm_redis_t *redis)
{
    int                  ok;
    SSL_CTX             *ctx;
    const char          *ca, *cert, *key;
    ngx_pool_cleanup_t  *cln;

    ctx = SSL_CTX_new(TLS_client_method());
    cln = ngx_pool_cleanup_add(cf->pool, 0);

    if (ctx == NULL || cln == NULL) {
        SSL_CTX_free(ctx);
        return NGX_ERROR;
    }

    cln->handler = ngx_http_entra_mdm_redis_tls_cleanup;
    cln->data = ctx;

    redis->ssl_ctx = ctx;

    SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);

    ca = (const char *) redis->tls_ca.data;

    ok = redis->tls_ca.len ? SSL_CTX_load_verify_locations(ctx, ca, NULL)
                           : SSL_CTX_set_default_verify_paths(ctx);

    if (ngx_http_entra_mdm_redis_tls_file(cf, "tls_ca=", &redis->tls_ca, ok)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (redis->tls_cert.len == 0) {
        return NGX_OK;
    }

    cert = (const char *) redis->tls_cert.data;
    key = (const char *) redis->tls_key.data;

    ok = SSL_CTX_use_certificate_chain_file(ctx, cert);

    if (ngx_http_entra_mdm_redis_tls_file(cf, "tls_cert=", &redis->tls_cert,
                                          ok)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    ok = SSL_CTX_use_PrivateKey_file(ctx, key, SSL_FILETYPE_PEM);

    return ngx_http_entra_mdm_redis_tls_file(cf, "tls_key=", &redis->tls_key,
                                             ok);
}


/*** a connection ***/


static ngx_int_t
ngx_http_entra_mdm_redis_tls_name(ngx_http_entra_mdm_redis_t *redis, SSL *ssl)
{
    char                              text[256];
    ngx_str_t                        *name;
    X509_VERIFY_PARAM                *param;
    ngx_http_entra_mdm_redis_host_t  *host;

    host = redis->hosts.elts;
    name = redis->tls_name.len ? &redis->tls_name : &host->name;

    if (name->len >= sizeof(text)) {
        return NGX_ERROR;
    }

    ngx_cpystrn((u_char *) text, name->data, name->len + 1);

    param = SSL_get0_param(ssl);

    if (X509_VERIFY_PARAM_set1_ip_asc(param, text) == 1) {
        return NGX_OK;
    }

    /* it is a name, then, which the server may need to know too */

    ERR_clear_error();

    X509_VERIFY_PARAM_set_hostflags(param,
                                    X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);

    if (SSL_set1_host(ssl, text) != 1
        || SSL_set_tlsext_host_name(ssl, text) != 1)
    {
        return NGX_ERROR;
    }

    return NGX_OK;
}


const char *
ngx_http_entra_mdm_redis_tls_start(ngx_http_entra_mdm_redis_t *redis,
    redisContext *rc, void **data)
{
    SSL  *ssl;

    ssl = SSL_new(redis->ssl_ctx);

    if (ssl == NULL
        || ngx_http_entra_mdm_redis_tls_name(redis, ssl) != NGX_OK)
    {
        SSL_free(ssl);
        ERR_clear_error();
        return "TLS cannot be set up";
    }

    /* connected or not: the handshake goes on with the first events */

    if (redisInitiateSSL(rc, ssl) != REDIS_OK) {
        SSL_free(ssl);
        ERR_clear_error();
        return rc->errstr;
    }

    *data = ssl;

    return NULL;
}

#endif
