/*
 * What is said, memory, and files.
 */

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <termios.h>
#include <unistd.h>

#include "ctl.h"


#define CTL_MAX_SECRET  8192


bool  ctl_quiet;


/*** memory ***/


typedef struct ctl_piece_s {
    struct ctl_piece_s  *next;
    max_align_t          bytes[];
} ctl_piece_t;

static ctl_piece_t  *ctl_pieces;


void *
ctl_alloc(size_t size)
{
    ctl_piece_t  *piece;

    piece = size < SIZE_MAX / 2 ? malloc(sizeof(ctl_piece_t) + size) : NULL;

    if (piece == NULL) {
        ctl_die(CTL_ERROR, NULL, "out of memory");
    }

    piece->next = ctl_pieces;
    ctl_pieces = piece;

    memset(piece->bytes, 0, size);

    return piece->bytes;
}


static void *
ctl_alloc_for_core(void *data, size_t size)
{
    (void) data;

    return ctl_alloc(size);
}


const entra_mem_t  ctl_mem = { ctl_alloc_for_core, NULL };


void
ctl_free(void)
{
    ctl_piece_t  *piece;

    while (ctl_pieces != NULL) {
        piece = ctl_pieces;
        ctl_pieces = piece->next;
        free(piece);
    }
}


__attribute__((format(printf, 1, 0)))
static char *
ctl_format(const char *format, va_list args)
{
    char  *text, *copy;

    if (vasprintf(&text, format, args) < 0) {
        ctl_die(CTL_ERROR, NULL, "out of memory");
    }

    copy = ctl_text_of(entra_str(text));
    free(text);

    return copy;
}


char *
ctl_text(const char *format, ...)
{
    char    *text;
    va_list  args;

    va_start(args, format);
    text = ctl_format(format, args);
    va_end(args);

    return text;
}


char *
ctl_text_of(entra_str_t s)
{
    char  *text;

    text = ctl_alloc(s.len + 1);

    if (s.len) {
        memcpy(text, s.data, s.len);
    }

    return text;
}


char *
ctl_join(const char *old, const char *between, const char *more)
{
    return old == NULL ? ctl_text("%s", more)
                       : ctl_text("%s%s%s", old, between, more);
}


/*** what is said ***/


static void
ctl_line(FILE *out, const char *text)
{
    unsigned char  c;

    for ( /* void */ ; *text; text++) {
        c = (unsigned char) *text;

        if (c >= ' ' && c < 0x7f) {
            (void) putc(c, out);

        } else {
            (void) fprintf(out, "\\x%02X", c);
        }
    }

    (void) putc('\n', out);
}


__attribute__((format(printf, 3, 0)))
static void
ctl_vline(FILE *out, const char *prefix, const char *format, va_list args)
{
    (void) fputs(prefix, out);
    ctl_line(out, ctl_format(format, args));
}


void
ctl_say(const char *format, ...)
{
    va_list  args;

    va_start(args, format);
    ctl_vline(stdout, "", format, args);
    va_end(args);
}


void
ctl_note(const char *format, ...)
{
    va_list  args;

    if (ctl_quiet) {
        return;
    }

    va_start(args, format);
    ctl_vline(stdout, "", format, args);
    va_end(args);
}


void
ctl_warn(const char *format, ...)
{
    va_list  args;

    va_start(args, format);
    ctl_vline(stderr, "entra-mdmctl: ", format, args);
    va_end(args);
}


/* malloc() may have failed: memory is not asked for where it was */

void
ctl_die(ctl_exit_t code, const char *way_out, const char *format, ...)
{
    char     text[4096];
    va_list  args;

    va_start(args, format);
    (void) vsnprintf(text, sizeof(text), format, args);
    va_end(args);

    (void) fflush(stdout);

    (void) fputs("entra-mdmctl: ", stderr);
    ctl_line(stderr, text);

    if (way_out != NULL) {
        (void) fputs("entra-mdmctl: ", stderr);
        ctl_line(stderr, way_out);
    }

    exit(code);
}


void
ctl_flush(void)
{
    if (fflush(stdout) != 0 || ferror(stdout)) {
        ctl_die(CTL_ERROR, NULL, "standard output: %s", strerror(errno));
    }
}


/*** files ***/


static entra_str_t
ctl_read_stream(FILE *in, const char *name, size_t max, bool *more)
{
    char    *text, *larger;
    size_t   len, room;

    len = 0;
    room = 16384;
    text = ctl_alloc(room);

    while (!feof(in) && !ferror(in)) {

        if (len == room) {
            larger = ctl_alloc(room * 2);
            memcpy(larger, text, len);
            text = larger;
            room *= 2;
        }

        len += fread(text + len, 1, room - len, in);

        if (len <= max) {
            continue;
        }

        if (more == NULL) {
            ctl_die(CTL_ERROR, NULL, "%s has more than %zu bytes", name, max);
        }

        *more = true;

        return (entra_str_t) { text, max };
    }

    if (ferror(in)) {
        ctl_die(CTL_ERROR, NULL, "%s: %s", name, strerror(errno));
    }

    return (entra_str_t) { text, len };
}


entra_str_t
ctl_read(const char *path, size_t max, bool *more)
{
    FILE         *in;
    entra_str_t   text;

    if (strcmp(path, "-") == 0) {
        return ctl_read_stream(stdin, "standard input", max, more);
    }

    in = fopen(path, "rbe");
    if (in == NULL) {
        ctl_die(CTL_ERROR, NULL, "%s: %s", path, strerror(errno));
    }

    text = ctl_read_stream(in, path, max, more);
    (void) fclose(in);

    return text;
}


char *
ctl_read_secret(const char *path)
{
    size_t       len;
    entra_str_t  text;

    text = ctl_read(path, CTL_MAX_SECRET, NULL);

    for (len = 0; len < text.len; len++) {
        if (text.data[len] == '\n' || text.data[len] == '\r') {
            break;
        }
    }

    text.len = len;

    if (len == 0 || memchr(text.data, '\0', len) != NULL) {
        ctl_die(CTL_ERROR, NULL, "%s: its first line is not a secret", path);
    }

    return ctl_text_of(text);
}


/* with the echo go the signals, or one would leave the terminal mute */

char *
ctl_prompt(const char *prompt)
{
    char            line[CTL_MAX_SECRET], *secret;
    FILE           *tty;
    size_t          len;
    struct termios  saved, mute;

    tty = fopen("/dev/tty", "r+e");
    if (tty == NULL) {
        return NULL;
    }

    if (tcgetattr(fileno(tty), &saved) != 0) {
        (void) fclose(tty);
        return NULL;
    }

    (void) setvbuf(tty, NULL, _IONBF, 0);

    mute = saved;
    mute.c_lflag &= (tcflag_t) ~(ECHO|ISIG);
    tcsetattr(fileno(tty), TCSAFLUSH, &mute);

    (void) fputs(prompt, tty);

    /* C wants this between writing and reading, whatever the buffer */
    (void) fflush(tty);

    if (fgets(line, sizeof(line), tty) == NULL) {
        line[0] = '\0';
    }

    (void) putc('\n', tty);

    tcsetattr(fileno(tty), TCSAFLUSH, &saved);
    (void) fclose(tty);

    len = strcspn(line, "\n");
    line[len] = '\0';

    secret = ctl_text("%s", line);
    explicit_bzero(line, sizeof(line));

    return secret;
}
