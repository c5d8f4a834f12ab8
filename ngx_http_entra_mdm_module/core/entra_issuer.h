/*
 * Who may issue a token, and with which key.  An issuer template is an issuer
 * in which "{tid}" stands for the token's tenant.
 */

#ifndef ENTRA_ISSUER_H
#define ENTRA_ISSUER_H

#include "entra_str.h"


typedef enum {
    ENTRA_CLOUD_PUBLIC = 0,
    ENTRA_CLOUD_USGOV,
    ENTRA_CLOUD_CHINA,
    ENTRA_CLOUDS
} entra_cloud_t;


/*
 * The issuer templates of a cloud, v1 and v2, NUL-terminated; *count says how
 * many.  Static.
 */
const entra_str_t *entra_issuer_cloud(entra_cloud_t cloud, size_t *count);

/* iss equals the template, byte by byte, with tid in place of "{tid}" */
bool entra_issuer_matches(entra_str_t template, entra_str_t iss,
    entra_str_t tid);

/*
 * The issuer member of a JWK covers a token's issuer: they are equal once
 * "{tenantid}" is replaced by the token's tid.  Entra signs v1 tokens with
 * keys whose issuer is written in v2 form, so where a v1 token
 * (https://HOST/TENANT/) meets a v2 key (https://HOST/TENANT/v2.0), their
 * tenants are compared, without regard to case.
 */
bool entra_issuer_key_covers(entra_str_t key_issuer, entra_str_t iss,
    entra_str_t tid);


#endif /* ENTRA_ISSUER_H */
