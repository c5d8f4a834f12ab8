/*
 * Lists of IDs and their differences.
 */

#include "lists.h"


const ctl_names_t  ctl_names[ENTRA_LISTS] = {
    [ENTRA_CLIENT_IDS] = { "client-id", "client-ids", "client ID",
                           "windows_entra_client_ids", "client_id" },
    [ENTRA_TENANT_IDS] = { "tenant-id", "tenant-ids", "tenant ID",
                           "windows_entra_tenant_ids", "tenant_id" },
};


entra_lists_e
ctl_list_named(const char *word)
{
    unsigned  i;

    for (i = 0; i < ENTRA_LISTS; i++) {
        if (strcmp(word, ctl_names[i].word) == 0
            || strcmp(word, ctl_names[i].words) == 0)
        {
            break;
        }
    }

    return (entra_lists_e) i;
}


/* where the GUID is in the index, or where it would be: FNV-1a, then on */

static size_t
ctl_list_slot(const ctl_list_t *list, const entra_guid_t *guid)
{
    size_t    i, mask;
    uint32_t  hash, at;

    hash = 2166136261u;

    for (i = 0; i < sizeof(guid->bytes); i++) {
        hash = (hash ^ guid->bytes[i]) * 16777619u;
    }

    mask = list->room * 2 - 1;

    for (i = hash & mask; /* void */ ; i = (i + 1) & mask) {
        at = list->index[i];

        if (at == 0
            || memcmp(&list->ids[at - 1].guid, guid, sizeof(entra_guid_t)) == 0)
        {
            return i;
        }
    }
}


static void
ctl_list_grow(ctl_list_t *list)
{
    size_t     i;
    ctl_id_t  *ids;

    list->room = list->room ? list->room * 2 : 16;

    ids = ctl_alloc(list->room * sizeof(ctl_id_t));

    if (list->count) {
        memcpy(ids, list->ids, list->count * sizeof(ctl_id_t));
    }

    list->ids = ids;
    list->index = ctl_alloc(list->room * 2 * sizeof(uint32_t));

    for (i = 0; i < list->count; i++) {
        list->index[ctl_list_slot(list, &ids[i].guid)] = (uint32_t) (i + 1);
    }
}


ctl_list_rc_t
ctl_list_add(ctl_list_t *list, entra_str_t text)
{
    size_t        slot;
    entra_guid_t  guid;

    if (!entra_guid_parse(text, &guid)) {
        return CTL_LIST_NO_GUID;
    }

    if (list->count == list->room) {
        ctl_list_grow(list);
    }

    slot = ctl_list_slot(list, &guid);

    if (list->index[slot] != 0) {
        return CTL_LIST_KNOWN;
    }

    list->ids[list->count].guid = guid;
    list->ids[list->count].text = ctl_text_of(text);
    list->count++;
    list->index[slot] = (uint32_t) list->count;

    return CTL_LIST_ADDED;
}


bool
ctl_list_has(const ctl_list_t *list, const entra_guid_t *guid)
{
    return list->count != 0 && list->index[ctl_list_slot(list, guid)] != 0;
}


entra_set_t
ctl_list_set(const ctl_list_t *list, const ctl_list_t *more)
{
    size_t         i, n;
    entra_guid_t  *guids;

    n = list->count + (more ? more->count : 0);
    guids = ctl_alloc(n * sizeof(entra_guid_t));

    for (i = 0; i < n; i++) {
        guids[i] = i < list->count ? list->ids[i].guid
                                   : more->ids[i - list->count].guid;
    }

    return entra_set_build(guids, n);
}


static size_t
ctl_list_only(const char *sign, const char *word, const ctl_list_t *list,
    const ctl_list_t *other, void (*say)(const char *format, ...))
{
    size_t  i, n;

    n = 0;

    for (i = 0; i < list->count; i++) {

        if (ctl_list_has(other, &list->ids[i].guid)) {
            continue;
        }

        n++;

        if (say != NULL) {
            say("%s %s %s", sign, word, list->ids[i].text);
        }
    }

    return n;
}


size_t
ctl_list_difference(entra_lists_e which, const ctl_list_t *old,
    const ctl_list_t *new, void (*say)(const char *format, ...))
{
    return ctl_list_only("-", ctl_names[which].word, old, new, say)
           + ctl_list_only("+", ctl_names[which].word, new, old, say);
}
