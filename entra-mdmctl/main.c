/*
 * entra-mdmctl: the lists of a gate, and what the gate thinks of a token.
 */

#include <curl/curl.h>

#include "ctl.h"
#include "entra_version.h"


const ctl_command_t  ctl_commands[] = {
    { "get", CTL_GET, "[client-ids | tenant-ids]",
      "print the lists", ctl_get },
    { "add", CTL_ADD, "client-id | tenant-id GUID ...",
      "let an application or a tenant in", ctl_add },
    { "remove", CTL_REMOVE, "client-id | tenant-id GUID ...",
      "shut it out", ctl_remove },
    { "generate-gitops", CTL_GENERATE, "",
      "print the lists as Fleet's YAML", ctl_generate_gitops },
    { "gitops", CTL_GITOPS, "-f FILE [--dry-run]",
      "make the lists what Fleet's YAML says", ctl_gitops },
    { "sync-fleet", CTL_SYNC, "--fleet URL [--dry-run]",
      "make the lists what a Fleet server has", ctl_sync_fleet },
    { "explain", CTL_EXPLAIN, "[FILE]",
      "say what the gate thinks of a token or message", ctl_explain },
    { NULL, 0, NULL, NULL, NULL }
};


static void
ctl_usage(void)
{
    const ctl_command_t  *command;

    ctl_say("usage: entra-mdmctl COMMAND [OPTION ...] [ARGUMENT ...]");
    ctl_say("%s", "");

    for (command = ctl_commands; command->name != NULL; command++) {
        ctl_say("  %-16s %s", command->name, command->summary);
    }

    ctl_say("%s", "");
    ctl_say("\"entra-mdmctl COMMAND --help\" tells more, entra-mdmctl(1) all.  "
            "Options of every command:");
    ctl_say("%s", "");
    ctl_options_help(0);
}


static void
ctl_command_usage(const ctl_command_t *command)
{
    ctl_say("usage: entra-mdmctl %s %s%s[OPTION ...]", command->name,
            command->arguments, *command->arguments ? " " : "");
    ctl_say("%s", "");
    ctl_say("  %s", command->summary);
    ctl_say("%s", "");
    ctl_options_help(command->bit);
    ctl_options_help(0);
}


static ctl_exit_t
ctl_main(char **argv)
{
    char                 **arguments;
    ctl_options_t          options;
    const ctl_command_t   *command;

    command = ctl_options_read(argv + 1, &options, &arguments);
    ctl_quiet = options.quiet;

    if (options.version) {
        ctl_say("entra-mdmctl %s", ENTRA_VERSION);
        return CTL_DONE;
    }

    if (command == NULL) {
        ctl_usage();
        return CTL_DONE;
    }

    if (options.help) {
        ctl_command_usage(command);
        return CTL_DONE;
    }

    return command->run(&options, arguments);
}


int
main(int argc, char **argv)
{
    ctl_exit_t  code;

    (void) argc;

    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        ctl_die(CTL_ERROR, NULL, "libcurl cannot be initialized");
    }

    code = ctl_main(argv);

    ctl_flush();
    ctl_free();
    curl_global_cleanup();

    return (int) code;
}
