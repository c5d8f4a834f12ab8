/*
 * get, generate-gitops: the lists as they are.
 */

#include "api.h"


static void
ctl_get_say(const ctl_config_t *config, entra_lists_e which, bool both)
{
    size_t             i;
    const char        *word;
    const ctl_id_t    *id;
    const ctl_list_t  *live, *fixed;

    live = &config->live[which];
    fixed = &config->fixed[which];
    word = both ? ctl_text("%s ", ctl_names[which].word) : "";

    for (i = 0; i < live->count; i++) {
        id = &live->ids[i];
        ctl_say("%s%s%s", word, id->text,
                ctl_list_has(fixed, &id->guid) ? " static too" : "");
    }

    for (i = 0; i < fixed->count; i++) {
        id = &fixed->ids[i];

        if (!ctl_list_has(live, &id->guid)) {
            ctl_say("%s%s static", word, id->text);
        }
    }
}


static void
ctl_get_json_list(const char *name, const ctl_list_t *list, bool last)
{
    size_t  i;

    ctl_say("    \"%s\": [%s", name, list->count ? "" : last ? "]" : "],");

    for (i = 0; i < list->count; i++) {
        ctl_say("      \"%s\"%s", list->ids[i].text,
                i + 1 < list->count ? "," : "");
    }

    if (list->count) {
        ctl_say("    ]%s", last ? "" : ",");
    }
}


static void
ctl_get_json(const ctl_config_t *config, entra_lists_e which)
{
    unsigned  i;

    ctl_say("{");
    ctl_say("  \"mdm\": {");

    for (i = 0; i < ENTRA_LISTS; i++) {
        if (which == ENTRA_LISTS || which == i) {
            ctl_get_json_list(ctl_names[i].key, &config->live[i],
                              which == i || i + 1 == ENTRA_LISTS);
        }
    }

    ctl_say("  },");
    ctl_say("  \"static\": {");

    for (i = 0; i < ENTRA_LISTS; i++) {
        if (which == ENTRA_LISTS || which == i) {
            ctl_get_json_list(ctl_names[i].key, &config->fixed[i],
                              which == i || i + 1 == ENTRA_LISTS);
        }
    }

    ctl_say("  },");
    ctl_say("  \"generation\": %lld,", config->generation);
    ctl_say("  \"gitops_mode\": %s,", config->gitops_mode ? "true" : "false");
    ctl_say("  \"source\": \"%s\"%s", config->source,
            config->in_force ? "" : ",");

    if (!config->in_force) {
        ctl_say("  \"in_force\": false");
    }

    ctl_say("}");
}


ctl_exit_t
ctl_get(const ctl_options_t *options, char **arguments)
{
    ctl_server_t   server;
    ctl_config_t   config;
    entra_lists_e  which;

    which = ENTRA_LISTS;

    if (arguments[0] != NULL) {
        which = ctl_list_named(arguments[0]);

        if (which == ENTRA_LISTS || arguments[1] != NULL) {
            ctl_die(CTL_USAGE, NULL, "get takes client-ids, tenant-ids, or "
                    "nothing for both");
        }
    }

    ctl_api_server(options, &server);
    ctl_api_get(&server, &config);

    if (strcmp(config.source, "lost") == 0) {
        ctl_warn("Redis has lost its data: these are the lists from before, "
                 "and any change confirms them");
    }

    if (!config.in_force) {
        ctl_warn("these lists are not in force on this node: Redis has not "
                 "confirmed them for longer than \"max_stale\", or they were "
                 "never read");
    }

    if (options->json) {
        ctl_get_json(&config, which);
        return CTL_DONE;
    }

    if (which != ENTRA_LISTS) {
        ctl_get_say(&config, which, false);
        return CTL_DONE;
    }

    ctl_get_say(&config, ENTRA_CLIENT_IDS, true);
    ctl_get_say(&config, ENTRA_TENANT_IDS, true);

    return CTL_DONE;
}


ctl_exit_t
ctl_generate_gitops(const ctl_options_t *options, char **arguments)
{
    size_t             n;
    unsigned           i;
    ctl_server_t       server;
    ctl_config_t       config;
    const ctl_list_t  *list;

    ctl_no_arguments("generate-gitops", arguments);
    ctl_api_server(options, &server);
    ctl_api_get(&server, &config);

    ctl_say("controls:");

    for (i = 0; i < ENTRA_LISTS; i++) {
        list = &config.live[i];

        ctl_say("  %s:%s", ctl_names[i].key, list->count ? "" : " []");

        for (n = 0; n < list->count; n++) {
            ctl_say("    - %s", list->ids[n].text);
        }
    }

    return CTL_DONE;
}
