/*
 * gitops, sync-fleet: both lists made what somebody else says they are.
 */

#include <stdlib.h>

#include "change.h"
#include "gitops.h"


typedef struct {
    ctl_list_t  lists[ENTRA_LISTS];
    bool        given[ENTRA_LISTS];
} ctl_goal_t;


static void
ctl_goal_plan(const ctl_config_t *now, void *data, const ctl_list_t **wanted)
{
    ctl_goal_t *goal = data;

    unsigned  i;

    (void) now;

    for (i = 0; i < ENTRA_LISTS; i++) {
        wanted[i] = goal->given[i] ? &goal->lists[i] : NULL;
    }
}


/* prints the difference: what has changed, or would */

static ctl_exit_t
ctl_goal_reach(const ctl_options_t *options, const ctl_server_t *server,
    ctl_goal_t *goal)
{
    size_t             n;
    unsigned           i;
    ctl_config_t       now;
    const ctl_list_t  *wanted[ENTRA_LISTS];

    n = ctl_change(server, options->dry_run, ctl_goal_plan, goal, &now,
                   wanted);

    for (i = 0; i < ENTRA_LISTS; i++) {
        if (wanted[i] != NULL) {
            ctl_list_difference((entra_lists_e) i, &now.live[i], wanted[i],
                                options->dry_run ? ctl_say : ctl_note);
        }
    }

    if (n == 0) {
        ctl_note("nothing to change");
        return CTL_DONE;
    }

    if (!options->dry_run) {
        return CTL_DONE;
    }

    ctl_note("a dry run: nothing has changed");

    return options->exit_code ? CTL_DIFFERENT : CTL_DONE;
}


ctl_exit_t
ctl_gitops(const ctl_options_t *options, char **arguments)
{
    ctl_goal_t    goal;
    ctl_server_t  server;

    ctl_no_arguments("gitops", arguments);

    if (options->file == NULL) {
        ctl_die(CTL_USAGE, NULL, "gitops needs -f FILE");
    }

    ctl_yaml_read(options->file, goal.lists, goal.given);
    ctl_api_server(options, &server);

    return ctl_goal_reach(options, &server, &goal);
}


static void
ctl_fleet_server(const ctl_options_t *options, ctl_server_t *fleet)
{
    const char  *c;

    memset(fleet, 0, sizeof(ctl_server_t));

    if (options->fleet == NULL) {
        ctl_die(CTL_USAGE, NULL, "sync-fleet needs --fleet URL");
    }

    ctl_server_url(fleet, "--fleet", options->fleet);

    fleet->token = options->fleet_token_file
                   ? ctl_read_secret(options->fleet_token_file)
                   : getenv("FLEET_TOKEN");

    if (fleet->token == NULL || *fleet->token == '\0') {
        ctl_die(CTL_USAGE, NULL, "sync-fleet needs an API token of Fleet in "
                "FLEET_TOKEN or --fleet-token-file");
    }

    for (c = fleet->token; *c > ' ' && *c < 0x7f; c++) { /* void */ }

    if (*c != '\0') {
        ctl_die(CTL_ERROR, NULL, "Fleet's API token has a character that no "
                "token has");
    }

    fleet->cacert = options->fleet_cacert;
    fleet->timeout = ctl_timeout(options->timeout);

    ctl_server_check(fleet, options->allow_http);
}


ctl_exit_t
ctl_sync_fleet(const ctl_options_t *options, char **arguments)
{
    ctl_goal_t    goal;
    ctl_server_t  server, fleet;
    ctl_answer_t  answer;

    static const ctl_request_t  request = {
        "GET", "api/latest/fleet/config", NULL, NULL
    };

    ctl_no_arguments("sync-fleet", arguments);
    ctl_fleet_server(options, &fleet);
    ctl_api_server(options, &server);

    ctl_http(&fleet, &request, &answer);

    if (answer.status != 200) {
        ctl_http_failed(&answer, answer.status == 401 || answer.status == 403
                                 ? "Fleet does not take the API token, or its "
                                   "user may not read the configuration"
                                 : "is --fleet the URL of a Fleet server?");
    }

    ctl_api_lists(&answer, "mdm", "nothing has changed; is this Fleet too old "
                  "to have these lists?", goal.lists);

    goal.given[ENTRA_CLIENT_IDS] = true;
    goal.given[ENTRA_TENANT_IDS] = true;

    return ctl_goal_reach(options, &server, &goal);
}
