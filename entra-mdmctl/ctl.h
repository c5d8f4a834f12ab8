/*
 * What every part of the command shares: how it ends, what it says, memory,
 * files, and the options.
 *
 * A command runs once and ends: memory is given back at the end, and whatever
 * goes wrong ends it on the spot, with a message, by ctl_die().
 */

#ifndef CTL_H
#define CTL_H

#include <stdarg.h>
#include <stdio.h>

#include "entra_mem.h"


/* exit codes, which the manual page tells */

typedef enum {
    CTL_DONE = 0,               /* done, or nothing to do; explain: accepted */
    CTL_ERROR = 1,
    CTL_USAGE = 2,
    CTL_REFUSED = 3,            /* by the server */
    CTL_UNREACHABLE = 4,
    CTL_WOULD_REFUSE = 5,       /* explain: the gate would */
    CTL_DIFFERENT = 6,          /* --dry-run --exit-code */
    CTL_UNVERIFIED = 7          /* explain: nothing to refuse, but no keys */
} ctl_exit_t;


/*** what is said ***/

/*
 * Each writes one line, in which every byte but printable ASCII is written as
 * \xXX: whatever a server, a file or a token holds, a terminal obeys none of
 * it.
 */

__attribute__((format(printf, 1, 2)))
void ctl_say(const char *format, ...);          /* the answer, to stdout */

__attribute__((format(printf, 1, 2)))
void ctl_note(const char *format, ...);         /* stdout, but for --quiet */

__attribute__((format(printf, 1, 2)))
void ctl_warn(const char *format, ...);         /* stderr */

/* stderr, and the end; a second line is written if way_out is not NULL */
__attribute__((format(printf, 3, 4), noreturn))
void ctl_die(ctl_exit_t code, const char *way_out, const char *format, ...);

extern bool  ctl_quiet;

/* ends the process if what was said could not be written */
void ctl_flush(void);


/*** memory ***/

/* never NULL, and aligned for anything */
void *ctl_alloc(size_t size);

/* the same for the core */
extern const entra_mem_t  ctl_mem;

/* frees all of it */
void ctl_free(void);

__attribute__((format(printf, 1, 2)))
char *ctl_text(const char *format, ...);

char *ctl_text_of(entra_str_t s);

/* " view, view" and the like grow by this: old and more, as one text */
char *ctl_join(const char *old, const char *between, const char *more);


/*** files ***/

/*
 * The whole file, or standard input for "-".  Where there are more than max
 * bytes, *more is set and the first max returned; with more NULL, that ends
 * the process.
 */
entra_str_t ctl_read(const char *path, size_t max, bool *more);

/* the first line of a file that holds a secret */
char *ctl_read_secret(const char *path);

/* asks at the terminal, without echo; NULL: there is none */
char *ctl_prompt(const char *prompt);


/*** options ***/

typedef struct {
    const char  **values;
    size_t        count;
} ctl_values_t;

typedef struct {
    /* the API, and who asks it */
    const char    *url;
    const char    *user;
    const char    *password_file;
    const char    *cert;
    const char    *key;
    const char    *cacert;
    const char    *unix_socket;
    const char    *timeout;
    bool           allow_http;

    /* changes */
    const char    *file;
    bool           json;
    bool           dry_run;
    bool           exit_code;

    /* Fleet */
    const char    *fleet;
    const char    *fleet_token_file;
    const char    *fleet_cacert;

    /* what the gate trusts */
    const char    *jwks;
    ctl_values_t   client_ids;
    ctl_values_t   tenant_ids;
    ctl_values_t   server_urls;
    ctl_values_t   issuers;
    const char    *cloud;
    const char    *scope;
    const char    *leeway;
    const char    *now;
    const char    *device_token;
    const char    *max_token;
    const char    *max_body;
    bool           require_upn;
    bool           from_api;

    bool           quiet;
    bool           help;
    bool           version;
} ctl_options_t;


typedef struct {
    const char     *name;
    unsigned        bit;                /* in the options' commands */
    const char     *arguments;
    const char     *summary;
    ctl_exit_t    (*run)(const ctl_options_t *options, char **arguments);
} ctl_command_t;

extern const ctl_command_t  ctl_commands[];

#define CTL_GET       0x01
#define CTL_ADD       0x02
#define CTL_REMOVE    0x04
#define CTL_GENERATE  0x08
#define CTL_GITOPS    0x10
#define CTL_SYNC      0x20
#define CTL_EXPLAIN   0x40
#define CTL_ALL       0x7f

/*
 * Reads the command line.  Returns the command, or NULL with --help or
 * --version alone; *arguments are the words behind it, ended by NULL.  A
 * mistake ends the process.
 */
const ctl_command_t *ctl_options_read(char **argv, ctl_options_t *options,
    char ***arguments);

/* for a command that takes options only */
void ctl_no_arguments(const char *command, char **arguments);

/* the options that a command takes, for --help; 0: those of every command */
void ctl_options_help(unsigned command);


/*** the commands, in the order of the manual page ***/

ctl_exit_t ctl_get(const ctl_options_t *options, char **arguments);
ctl_exit_t ctl_add(const ctl_options_t *options, char **arguments);
ctl_exit_t ctl_remove(const ctl_options_t *options, char **arguments);
ctl_exit_t ctl_generate_gitops(const ctl_options_t *options, char **arguments);
ctl_exit_t ctl_gitops(const ctl_options_t *options, char **arguments);
ctl_exit_t ctl_sync_fleet(const ctl_options_t *options, char **arguments);
ctl_exit_t ctl_explain(const ctl_options_t *options, char **arguments);


#endif /* CTL_H */
