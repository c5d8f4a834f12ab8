/*
 * The live lists as the management API shows and takes them, in the form of
 * Fleet's configuration:
 *
 *     { "mdm": { "windows_entra_client_ids": [...],
 *                "windows_entra_tenant_ids": [...] } }
 */

#ifndef ENTRA_CONFIG_H
#define ENTRA_CONFIG_H

#include "entra_mem.h"
#include "entra_policy.h"


#define ENTRA_CONFIG_MAX_IDS     25000  /* a list, repeated ones included */
#define ENTRA_CONFIG_MAX_VALUES  51000  /* in a body; two lists, and others */
#define ENTRA_CONFIG_MAX_ERRORS  100
#define ENTRA_CONFIG_MAX_VALUE   128    /* bytes of one in a message */
#define ENTRA_CONFIG_TAG_LEN     64


/* "windows_entra_client_ids" and so on */
extern const entra_str_t  entra_config_fields[ENTRA_LISTS];


typedef enum {
    ENTRA_CONFIG_OK = 0,
    ENTRA_CONFIG_NOT_JSON,              /* or not an object, or ambiguous */
    ENTRA_CONFIG_INVALID,               /* a field is wrong */
    ENTRA_CONFIG_TOO_LARGE,             /* a list is */
    ENTRA_CONFIG_NO_MEMORY
} entra_config_result_t;


typedef struct {
    entra_str_t            name;        /* "mdm.windows_entra_client_ids" */
    entra_str_t            reason;      /* may hold what the client sent */
} entra_config_error_t;


typedef struct {
    unsigned               lists;       /* named: bits, 1 << ENTRA_..._IDS */
    entra_set_t            list[ENTRA_LISTS];

    entra_config_error_t  *errors;
    size_t                 nerrors;     /* at most ENTRA_CONFIG_MAX_ERRORS */
} entra_config_patch_t;


/*
 * Reads what a client wants the lists to be.  On ENTRA_CONFIG_OK those named
 * are in *patch, else at least one error, but for ENTRA_CONFIG_NO_MEMORY.
 * Everything is allocated from mem; nothing points into text.
 */
entra_config_result_t entra_config_parse(entra_str_t text,
    const entra_mem_t *mem, entra_config_patch_t *patch);

/*
 * SHA-256 of the members of both lists in hex, the same wherever they are
 * the same, however they are spelled.  false: out of memory.
 */
bool entra_config_tag(const entra_lists_t *lists,
    char out[ENTRA_CONFIG_TAG_LEN]);


#endif /* ENTRA_CONFIG_H */
