/*
 * JSON in one pass: jansson reads the same documents, and the same in them.
 */

#include "fuzz.h"
#include "scan.h"


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    pool_t       pool;
    const char  *wrong;

    pool_init(&pool);

    wrong = scan_differs(fuzz_copy(&pool, data, size), &pool);

    if (wrong != NULL) {
        fprintf(stderr, "%s\n", wrong);
    }

    fuzz_claim(wrong == NULL);

    pool_free(&pool);

    return 0;
}
