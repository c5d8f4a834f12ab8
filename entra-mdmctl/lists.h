/*
 * Lists of IDs, client IDs and tenant IDs alike: in the order and the spelling
 * in which they came, each GUID once.
 */

#ifndef CTL_LISTS_H
#define CTL_LISTS_H

#include "ctl.h"
#include "entra_policy.h"


/* what the two lists are called, by entra_lists_e */

typedef struct {
    const char  *word;                  /* "client-id", as commands say */
    const char  *words;                 /* "client-ids" */
    const char  *title;                 /* "client ID", as messages say */
    const char  *key;                   /* in Fleet's configuration */
    const char  *directive;             /* in nginx's */
} ctl_names_t;

extern const ctl_names_t  ctl_names[ENTRA_LISTS];

/* by word or words; ENTRA_LISTS: neither list is called so */
entra_lists_e ctl_list_named(const char *word);


typedef struct {
    entra_guid_t  guid;
    const char   *text;                 /* as typed */
} ctl_id_t;

typedef struct {
    ctl_id_t     *ids;
    size_t        count;
    size_t        room;                 /* a power of two, or 0 */
    uint32_t     *index;                /* open hashing, twice the room */
} ctl_list_t;


typedef enum {
    CTL_LIST_ADDED = 0,
    CTL_LIST_KNOWN,                     /* there already, in some spelling */
    CTL_LIST_NO_GUID
} ctl_list_rc_t;

/* text is copied */
ctl_list_rc_t ctl_list_add(ctl_list_t *list, entra_str_t text);

bool ctl_list_has(const ctl_list_t *list, const entra_guid_t *guid);

/* the same as a set of the core, which also holds those of more, if not NULL */
entra_set_t ctl_list_set(const ctl_list_t *list, const ctl_list_t *more);


/*
 * One line for each ID that is only in one of the lists: "- client-id GUID"
 * for one that would go, "+ client-id GUID" for one that would come.  Returns
 * how many; say may be NULL.
 */
size_t ctl_list_difference(entra_lists_e which, const ctl_list_t *old,
    const ctl_list_t *new, void (*say)(const char *format, ...));


#endif /* CTL_LISTS_H */
