/*
 * An activity: an ID that was put on a list or taken off it, by whom and when.
 */

#ifndef ENTRA_ACTIVITY_H
#define ENTRA_ACTIVITY_H

#include "entra_policy.h"


#define ENTRA_ACTIVITY_ACTOR  63
#define ENTRA_ACTIVITY_ROLE   15


typedef struct {
    uint64_t      id;                   /* 1, 2, 3 ... */
    int64_t       time;                 /* seconds since 1970 */
    entra_guid_t  guid;
    uint32_t      upper;                /* as it was typed */
    uint8_t       list;                 /* ENTRA_..._IDS */
    uint8_t       added;                /* 0: deleted */
    char          actor[ENTRA_ACTIVITY_ACTOR + 1];
    char          role[ENTRA_ACTIVITY_ROLE + 1];
} entra_activity_t;


/* "deleted_microsoft_entra_client_id", "added_..."; "client_id" and so on */
extern const char *const  entra_activity_types[ENTRA_LISTS][2];
extern const char *const  entra_activity_details[ENTRA_LISTS];

/* text, cut to fit to, whole characters of UTF-8, with zeros behind */
void entra_activity_text(char *to, size_t size, entra_str_t text);


#endif /* ENTRA_ACTIVITY_H */
