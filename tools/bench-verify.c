/*
 * What OpenSSL alone takes for one RS256 verification with a 2048-bit key: a
 * context that has been set up is copied, used and freed, again and again for
 * some tenths of a second.  Prints microseconds of CPU time.
 */

#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>


#define INPUT  1300                     /* header "." payload */
#define TIMES  20000


static double
now(void)
{
    struct timespec  ts;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);

    return ts.tv_sec * 1e6 + ts.tv_nsec / 1e3;
}


static void
verify(const EVP_MD_CTX *prepared, const unsigned char *signature, size_t len,
    const unsigned char *input)
{
    EVP_MD_CTX  *ctx;

    ctx = EVP_MD_CTX_new();

    if (ctx == NULL || !EVP_MD_CTX_copy_ex(ctx, prepared)
        || EVP_DigestVerify(ctx, signature, len, input, INPUT) != 1)
    {
        exit(1);
    }

    EVP_MD_CTX_free(ctx);
}


int
main(void)
{
    int            i;
    double         start;
    size_t         len;
    EVP_PKEY      *key;
    EVP_MD_CTX    *ctx, *prepared;
    unsigned char  input[INPUT], signature[256];

    memset(input, 'x', INPUT);
    len = sizeof(signature);

    key = EVP_RSA_gen(2048);
    ctx = EVP_MD_CTX_new();
    prepared = EVP_MD_CTX_new();

    if (key == NULL || ctx == NULL || prepared == NULL
        || !EVP_DigestSignInit_ex(ctx, NULL, "SHA256", NULL, NULL, key, NULL)
        || !EVP_DigestSign(ctx, signature, &len, input, INPUT)
        || !EVP_DigestVerifyInit_ex(prepared, NULL, "SHA256", NULL, NULL, key,
                                    NULL))
    {
        return 1;
    }

    start = now();

    for (i = 0; i < TIMES; i++) {
        verify(prepared, signature, len, input);
    }

    printf("%.3f\n", (now() - start) / TIMES);

    EVP_MD_CTX_free(prepared);
    EVP_MD_CTX_free(ctx);
    EVP_PKEY_free(key);

    return 0;
}
