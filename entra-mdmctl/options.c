/*
 * The command line, read by one table; --help is written from the same.
 */

#include <stddef.h>
#include <stdlib.h>

#include "ctl.h"


typedef enum {
    CTL_FLAG = 0,
    CTL_VALUE,
    CTL_VALUES                          /* may be repeated */
} ctl_kind_t;


typedef struct {
    const char  *name;
    char         letter;                /* or 0 */
    ctl_kind_t   kind;
    size_t       offset;                /* in ctl_options_t */
    unsigned     commands;              /* that take it; 0: no command at all */
    const char  *value;                 /* what --help calls it */
    const char  *help;
} ctl_option_t;


#define CTL_API      (CTL_ALL)
#define CTL_CHANGES  (CTL_GITOPS | CTL_SYNC)

#define OPTION(member)  offsetof(ctl_options_t, member)


static const ctl_option_t  ctl_option_table[] = {
    { "url", 0, CTL_VALUE, OPTION(url), CTL_API, "URL",
      "location of the gate's API (or ENTRA_MDM_URL)" },
    { "user", 0, CTL_VALUE, OPTION(user), CTL_API, "NAME",
      "user; the password is in ENTRA_MDM_PASSWORD, or is asked for" },
    { "password-file", 0, CTL_VALUE, OPTION(password_file), CTL_API, "FILE",
      "the password is the file's first line" },
    { "cert", 0, CTL_VALUE, OPTION(cert), CTL_API, "FILE",
      "client certificate" },
    { "key", 0, CTL_VALUE, OPTION(key), CTL_API, "FILE",
      "its key, if the certificate's file does not hold it" },
    { "cacert", 0, CTL_VALUE, OPTION(cacert), CTL_API, "FILE",
      "whom to trust instead of the system's authorities" },
    { "unix-socket", 0, CTL_VALUE, OPTION(unix_socket), CTL_API, "PATH",
      "connect there, whatever the host of the URL" },
    { "allow-http", 0, CTL_FLAG, OPTION(allow_http), CTL_API, NULL,
      "let a password or token go unencrypted to another machine" },
    { "timeout", 0, CTL_VALUE, OPTION(timeout), CTL_API, "SECONDS",
      "for one request, 30 if not said" },

    { "json", 0, CTL_FLAG, OPTION(json), CTL_GET, NULL,
      "print JSON" },
    { "file", 'f', CTL_VALUE, OPTION(file), CTL_GITOPS, "FILE",
      "Fleet's YAML, or - for standard input" },
    { "fleet", 0, CTL_VALUE, OPTION(fleet), CTL_SYNC, "URL",
      "the Fleet server" },
    { "fleet-token-file", 0, CTL_VALUE, OPTION(fleet_token_file), CTL_SYNC,
      "FILE", "its API token is the file's first line (or FLEET_TOKEN)" },
    { "fleet-cacert", 0, CTL_VALUE, OPTION(fleet_cacert), CTL_SYNC, "FILE",
      "whom to trust for Fleet" },
    { "dry-run", 0, CTL_FLAG, OPTION(dry_run), CTL_CHANGES, NULL,
      "print the difference, change nothing" },
    { "exit-code", 0, CTL_FLAG, OPTION(exit_code), CTL_CHANGES, NULL,
      "with --dry-run: exit with 6 if there is a difference" },

    { "jwks", 0, CTL_VALUE, OPTION(jwks), CTL_EXPLAIN, "FILE",
      "key set, without which the signature is not checked" },
    { "client-id", 0, CTL_VALUES, OPTION(client_ids), CTL_EXPLAIN, "GUID",
      "audience of v2 tokens; may be repeated" },
    { "tenant-id", 0, CTL_VALUES, OPTION(tenant_ids), CTL_EXPLAIN, "GUID",
      "tenant; may be repeated" },
    { "server-url", 0, CTL_VALUES, OPTION(server_urls), CTL_EXPLAIN, "URL",
      "audience of v1 tokens; may be repeated" },
    { "from-api", 0, CTL_FLAG, OPTION(from_api), CTL_EXPLAIN, NULL,
      "the lists of the gate at --url as well" },
    { "cloud", 0, CTL_VALUE, OPTION(cloud), CTL_EXPLAIN, "NAME",
      "public, usgov or china; public if not said" },
    { "issuer", 0, CTL_VALUES, OPTION(issuers), CTL_EXPLAIN, "TEMPLATE",
      "instead of --cloud, with {tid} for the tenant; may be repeated" },
    { "scope", 0, CTL_VALUE, OPTION(scope), CTL_EXPLAIN, "NAME",
      "mdm_delegation if not said; off: any" },
    { "leeway", 0, CTL_VALUE, OPTION(leeway), CTL_EXPLAIN, "TIME",
      "clock skew allowed, 60s if not said, at most 300s" },
    { "now", 0, CTL_VALUE, OPTION(now), CTL_EXPLAIN, "TIME",
      "seconds since 1970, or 2026-11-23T18:00:00Z" },
    { "require-upn", 0, CTL_FLAG, OPTION(require_upn), CTL_EXPLAIN, NULL,
      "refuse a token that names no user" },
    { "device-token", 0, CTL_VALUE, OPTION(device_token), CTL_EXPLAIN, "WORD",
      "Fleet's own tokens: deny, or pass; deny if not said" },
    { "max-token", 0, CTL_VALUE, OPTION(max_token), CTL_EXPLAIN, "SIZE",
      "16k if not said" },
    { "max-body", 0, CTL_VALUE, OPTION(max_body), CTL_EXPLAIN, "SIZE",
      "2m if not said" },

    { "quiet", 'q', CTL_FLAG, OPTION(quiet), CTL_ALL, NULL,
      "say only what was asked for, and errors" },
    { "help", 'h', CTL_FLAG, OPTION(help), CTL_ALL, NULL,
      "print this" },
    { "version", 0, CTL_FLAG, OPTION(version), CTL_ALL, NULL,
      "print the version" },

    { NULL, 0, CTL_FLAG, 0, 0, NULL, NULL }
};

#define CTL_OPTIONS  (sizeof(ctl_option_table) / sizeof(ctl_option_t) - 1)


static const char  ctl_see_help[] = "\"entra-mdmctl --help\" tells the usage";


/*** --help ***/


void
ctl_options_help(unsigned command)
{
    const ctl_option_t  *o;

    for (o = ctl_option_table; o->name != NULL; o++) {

        if (command ? o->commands == CTL_ALL || !(o->commands & command)
                    : o->commands != CTL_ALL)
        {
            continue;
        }

        ctl_say("  %s%c%s--%s%s%-*s %s",
                o->letter ? "-" : "", o->letter ? o->letter : ' ',
                o->letter ? ", " : "   ", o->name, o->value ? " " : "",
                (int) (26 - strlen(o->name) - (o->value != NULL)),
                o->value ? o->value : "", o->help);
    }
}


/*** reading ***/


/* "name" or "name=value"; *value is what follows the "=", or NULL */

static const ctl_option_t *
ctl_option_long(const char *word, const char **value)
{
    size_t               len;
    const ctl_option_t  *o;

    len = strcspn(word, "=");
    *value = word[len] == '=' ? word + len + 1 : NULL;

    for (o = ctl_option_table; o->name != NULL; o++) {
        if (strlen(o->name) == len && memcmp(o->name, word, len) == 0) {
            return o;
        }
    }

    return NULL;
}


/* "f" or "fvalue" */

static const ctl_option_t *
ctl_option_short(const char *word, const char **value)
{
    const ctl_option_t  *o;

    *value = NULL;

    for (o = ctl_option_table; o->name != NULL; o++) {

        if (o->letter == 0 || o->letter != *word) {
            continue;
        }

        if (word[1] != '\0') {
            *value = word + 1;
        }

        return o;
    }

    return NULL;
}


static void
ctl_option_set(const ctl_option_t *o, const char *value,
    ctl_options_t *options)
{
    char          *at;
    const char   **values;
    ctl_values_t  *list;

    at = (char *) options + o->offset;

    switch (o->kind) {

    case CTL_FLAG:
        *(bool *) at = true;
        return;

    case CTL_VALUE:
        memcpy(at, &value, sizeof(value));
        return;

    case CTL_VALUES:
        list = (ctl_values_t *) (void *) at;
        values = ctl_alloc((list->count + 1) * sizeof(char *));

        if (list->count) {
            memcpy(values, list->values, list->count * sizeof(char *));
        }

        values[list->count++] = value;
        list->values = values;
    }
}


/* takes the option at argv[0], and its value; returns the words taken */

static int
ctl_option_take(char **argv, ctl_options_t *options, const ctl_option_t **taken)
{
    int                  words;
    const char          *word, *value;
    const ctl_option_t  *o;

    word = argv[0];
    words = 1;

    o = word[1] == '-' ? ctl_option_long(word + 2, &value)
                       : ctl_option_short(word + 1, &value);

    if (o == NULL) {
        /* what follows a "=" may be a secret that has no business here */
        ctl_die(CTL_USAGE, ctl_see_help, "unknown option %.*s",
                (int) strcspn(word, "="), word);
    }

    if (o->kind == CTL_FLAG && value != NULL) {
        ctl_die(CTL_USAGE, ctl_see_help, "--%s takes no value", o->name);
    }

    if (o->kind != CTL_FLAG && value == NULL) {
        value = argv[1];
        words = 2;
    }

    if (o->kind != CTL_FLAG && (value == NULL || *value == '\0')) {
        ctl_die(CTL_USAGE, ctl_see_help, "--%s needs a value: %s", o->name,
                o->value);
    }

    ctl_option_set(o, value, options);
    *taken = o;

    return words;
}


static const ctl_command_t *
ctl_command_named(const char *word)
{
    const ctl_command_t  *command;

    for (command = ctl_commands; command->name != NULL; command++) {
        if (strcmp(word, command->name) == 0) {
            return command;
        }
    }

    ctl_die(CTL_USAGE, ctl_see_help, "unknown command \"%s\"", word);
}


static void
ctl_option_suits(const ctl_option_t *o, const ctl_command_t *command)
{
    if (!(o->commands & command->bit)) {
        ctl_die(CTL_USAGE, ctl_see_help, "--%s is no option of \"%s\"",
                o->name, command->name);
    }
}


const ctl_command_t *
ctl_options_read(char **argv, ctl_options_t *options, char ***arguments)
{
    size_t                i, n, count;
    const ctl_option_t  **taken;
    const ctl_command_t  *command;

    memset(options, 0, sizeof(ctl_options_t));

    for (count = 0; argv[count] != NULL; count++) { /* void */ }

    n = 0;
    taken = ctl_alloc(count * sizeof(ctl_option_t *));
    *arguments = ctl_alloc((count + 1) * sizeof(char *));
    count = 0;

    while (*argv != NULL) {

        if (strcmp(*argv, "--") == 0) {
            while (*++argv != NULL) {
                (*arguments)[count++] = *argv;
            }

            break;
        }

        if ((*argv)[0] == '-' && (*argv)[1] != '\0') {
            argv += ctl_option_take(argv, options, &taken[n]);
            n++;
            continue;
        }

        (*arguments)[count++] = *argv++;
    }

    if (count == 0) {

        if (!options->help && !options->version) {
            ctl_die(CTL_USAGE, ctl_see_help, "which command?");
        }

        return NULL;
    }

    command = ctl_command_named((*arguments)[0]);
    (*arguments)++;

    for (i = 0; i < n; i++) {
        ctl_option_suits(taken[i], command);
    }

    return command;
}


void
ctl_no_arguments(const char *command, char **arguments)
{
    if (arguments[0] != NULL) {
        ctl_die(CTL_USAGE, NULL, "%s takes no argument: \"%s\"", command,
                arguments[0]);
    }
}
