/*
 * Digests, by OpenSSL.
 */

#include <openssl/err.h>
#include <openssl/evp.h>
#include <stdlib.h>

#include "entra_digest.h"


/* what OpenSSL looks up and allocates for a digest, kept for the next one */

struct entra_digester_s {
    EVP_MD      *sha256;
    EVP_MD_CTX  *all;
    EVP_MD_CTX  *first;
};


bool
entra_digest(entra_str_t text, entra_digest_t *digest)
{
    if (EVP_Digest(text.data, text.len, digest->bytes, NULL, EVP_sha256(),
                   NULL))
    {
        return true;
    }

    ERR_clear_error();

    return false;
}


entra_digester_t *
entra_digester_create(void)
{
    entra_digester_t  *digester;

    digester = calloc(1, sizeof(entra_digester_t));
    if (digester == NULL) {
        return NULL;
    }

    digester->sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
    digester->all = EVP_MD_CTX_new();
    digester->first = EVP_MD_CTX_new();

    if (digester->sha256 == NULL || digester->all == NULL
        || digester->first == NULL)
    {
        ERR_clear_error();
        entra_digester_free(digester);
        return NULL;
    }

    return digester;
}


void
entra_digester_free(entra_digester_t *digester)
{
    if (digester == NULL) {
        return;
    }

    EVP_MD_CTX_free(digester->first);
    EVP_MD_CTX_free(digester->all);
    EVP_MD_free(digester->sha256);
    free(digester);
}


bool
entra_digest_both(entra_digester_t *digester, entra_str_t text, size_t n,
    entra_digest_t *all, entra_digest_t *first)
{
    if (EVP_DigestInit_ex2(digester->all, digester->sha256, NULL)
        && EVP_DigestUpdate(digester->all, text.data, n)
        && EVP_MD_CTX_copy_ex(digester->first, digester->all)
        && EVP_DigestUpdate(digester->all, text.data + n, text.len - n)
        && EVP_DigestFinal_ex(digester->all, all->bytes, NULL)
        && EVP_DigestFinal_ex(digester->first, first->bytes, NULL))
    {
        return true;
    }

    /* OpenSSL 3.5 takes what is left of a copy that failed for a whole one */

    EVP_MD_CTX_reset(digester->first);
    EVP_MD_CTX_reset(digester->all);
    ERR_clear_error();

    return false;
}
