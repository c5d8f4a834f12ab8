/*
 * A GUID: 8-4-4-4-12 hex digits of either case as text, 16 bytes inside.  No
 * braces, no "urn:uuid:", no blanks; two spellings that differ in case are
 * the same GUID.
 */

#ifndef ENTRA_GUID_H
#define ENTRA_GUID_H

#include "entra_str.h"


#define ENTRA_GUID_LEN     36
#define ENTRA_GUID_PACKED  3            /* 24 letters; 12 is what most have */


typedef struct {
    uint8_t  bytes[16];
} entra_guid_t;


/* false: not a GUID, *guid is undefined */
bool entra_guid_parse(entra_str_t text, entra_guid_t *guid);

/* writes ENTRA_GUID_LEN lower-case characters, no NUL; returns their end */
char *entra_guid_write(const entra_guid_t *guid, char *out);

/*
 * How a GUID was typed, of text that entra_guid_parse() has taken: bit i is
 * set where its i-th hex digit is an upper-case letter.
 */
uint32_t entra_guid_upper(entra_str_t text);

/*
 * The same in fewer bytes, of letters only: bit i is set where the i-th letter
 * is upper-case.  false: there is one beyond, *packed is undefined.
 */
bool entra_guid_pack(const entra_guid_t *guid, uint32_t upper,
    uint8_t packed[ENTRA_GUID_PACKED]);

/* whether it would be packed */
bool entra_guid_packs(const entra_guid_t *guid, uint32_t upper);

/* whatever the bytes are, no more than some spelling of the GUID */
uint32_t entra_guid_unpack(const entra_guid_t *guid,
    const uint8_t packed[ENTRA_GUID_PACKED]);

/* entra_guid_write() as it was typed */
char *entra_guid_write_typed(const entra_guid_t *guid, uint32_t upper,
    char *out);


#endif /* ENTRA_GUID_H */
