/*
 * add, remove: some IDs of one list.
 */

#include "change.h"


typedef struct {
    entra_lists_e  which;
    ctl_list_t     ids;                 /* of the command line */
    ctl_list_t     list;                /* as it shall be */
} ctl_edit_t;


static void
ctl_edit_read(char **arguments, const char *command, ctl_edit_t *edit)
{
    memset(edit, 0, sizeof(ctl_edit_t));

    edit->which = arguments[0] ? ctl_list_named(arguments[0]) : ENTRA_LISTS;

    if (edit->which == ENTRA_LISTS || arguments[1] == NULL) {
        ctl_die(CTL_USAGE, NULL, "%s takes client-id or tenant-id, and GUIDs",
                command);
    }

    while (*++arguments != NULL) {
        if (ctl_list_add(&edit->ids, entra_str(*arguments))
            == CTL_LIST_NO_GUID)
        {
            ctl_die(CTL_USAGE, "nothing has changed", "\"%s\" is no %s: it "
                    "must be 8-4-4-4-12 hex digits", *arguments,
                    ctl_names[edit->which].title);
        }
    }
}


/* what there is, save those of minus */

static void
ctl_edit_copy(ctl_list_t *to, const ctl_list_t *from, const ctl_list_t *minus)
{
    size_t  i;

    for (i = 0; i < from->count; i++) {
        if (minus == NULL || !ctl_list_has(minus, &from->ids[i].guid)) {
            ctl_list_add(to, entra_str(from->ids[i].text));
        }
    }
}


static void
ctl_add_plan(const ctl_config_t *now, void *data, const ctl_list_t **wanted)
{
    ctl_edit_t *edit = data;

    memset(&edit->list, 0, sizeof(ctl_list_t));

    ctl_edit_copy(&edit->list, &now->live[edit->which], NULL);
    ctl_edit_copy(&edit->list, &edit->ids, &now->fixed[edit->which]);

    wanted[edit->which] = &edit->list;
}


ctl_exit_t
ctl_add(const ctl_options_t *options, char **arguments)
{
    size_t              i;
    ctl_edit_t          edit;
    const ctl_id_t     *id;
    ctl_server_t        server;
    ctl_config_t        now;
    const ctl_list_t   *wanted[ENTRA_LISTS];
    const ctl_names_t  *names;

    ctl_edit_read(arguments, "add", &edit);
    names = &ctl_names[edit.which];

    ctl_api_server(options, &server);
    ctl_change(&server, false, ctl_add_plan, &edit, &now, wanted);

    for (i = 0; i < edit.ids.count; i++) {
        id = &edit.ids.ids[i];

        if (ctl_list_has(&now.live[edit.which], &id->guid)) {
            ctl_note("%s %s is listed already", names->title, id->text);

        } else if (ctl_list_has(&now.fixed[edit.which], &id->guid)) {
            ctl_note("%s %s is listed already, by %s in nginx's configuration",
                     names->title, id->text, names->directive);

        } else {
            ctl_note("%s %s is added", names->title, id->text);
        }
    }

    return CTL_DONE;
}


static void
ctl_remove_plan(const ctl_config_t *now, void *data, const ctl_list_t **wanted)
{
    ctl_edit_t *edit = data;

    size_t              i;
    const ctl_id_t     *id;
    const ctl_names_t  *names;

    names = &ctl_names[edit->which];

    for (i = 0; i < edit->ids.count; i++) {
        id = &edit->ids.ids[i];

        if (ctl_list_has(&now->fixed[edit->which], &id->guid)) {
            ctl_die(CTL_ERROR, "nothing has changed: take it out there, and "
                    "reload nginx", "%s %s is listed by %s in nginx's "
                    "configuration, and cannot be removed from here",
                    names->title, id->text, names->directive);
        }
    }

    memset(&edit->list, 0, sizeof(ctl_list_t));
    ctl_edit_copy(&edit->list, &now->live[edit->which], &edit->ids);

    wanted[edit->which] = &edit->list;
}


ctl_exit_t
ctl_remove(const ctl_options_t *options, char **arguments)
{
    size_t              i;
    ctl_edit_t          edit;
    const ctl_id_t     *id;
    ctl_server_t        server;
    ctl_config_t        now;
    const ctl_list_t   *wanted[ENTRA_LISTS];

    ctl_edit_read(arguments, "remove", &edit);
    ctl_api_server(options, &server);
    ctl_change(&server, false, ctl_remove_plan, &edit, &now, wanted);

    for (i = 0; i < edit.ids.count; i++) {
        id = &edit.ids.ids[i];

        ctl_note("%s %s %s", ctl_names[edit.which].title, id->text,
                 ctl_list_has(&now.live[edit.which], &id->guid)
                 ? "is removed" : "is not listed");
    }

    return CTL_DONE;
}
