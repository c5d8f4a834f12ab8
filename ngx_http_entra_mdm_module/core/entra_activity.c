/*
 * Activities, as Fleet names them.
 */

#include "entra_activity.h"


const char *const  entra_activity_types[ENTRA_LISTS][2] = {
    { "deleted_microsoft_entra_client_id", "added_microsoft_entra_client_id" },
    { "deleted_microsoft_entra_tenant", "added_microsoft_entra_tenant" },
};

const char *const  entra_activity_details[ENTRA_LISTS] = {
    "client_id", "tenant_id"
};


void
entra_activity_text(char *to, size_t size, entra_str_t text)
{
    size_t  len;

    len = text.len;

    if (len > size - 1) {
        for (len = size - 1; len && (text.data[len] & 0xc0) == 0x80; len--) {
            /* a byte within a character */
        }
    }

    memset(to, 0, size);

    if (len) {
        memcpy(to, text.data, len);
    }
}
