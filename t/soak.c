/*
 * Sends requests as fast as they are answered and judges every answer, until
 * its standard input ends.
 *
 *     soak PORT CONNECTIONS BAD FILE
 *
 * The file has cases, one after the other:
 *
 *     + or -, the policy, the length of the request, on one line
 *     the verdict that is expected; several, if it changes meanwhile, are
 *         parted by tabs
 *     the bytes of the request
 *
 * One request in BAD is one of those that begin with a minus.  A verdict is
 * what a response says in its status, X-Result and X-Action, and if it is a
 * 200 its body, where the backend tells what it has seen.
 *
 * Prints "POLICY ACTION RESULT N" for each that came, "# wrong"
 * lines, and totals.  A request on a connection that was idle, and is closed without a
 * byte, was not read by anybody: it is sent once more.
 */

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>


#define MAX_RESPONSE  65536
#define MAX_TALLIES   256
#define MAX_WRONG     20                /* shown by each connection */


typedef struct {
    char     policy[32];
    char    *expected;
    char    *request;
    size_t   len;
} test_case_t;


typedef struct {
    test_case_t  *cases;
    size_t        count;
} cases_t;


typedef struct {
    char           key[256];
    unsigned long  count;
} tally_t;


typedef struct {
    pthread_t      thread;
    uint64_t       random;
    int            fd;
    int            used;                /* the connection has had an answer */
    unsigned long  sent, bad, repeated, wrong, shown;
    size_t         ntallies;
    tally_t        tally[MAX_TALLIES];
    char           response[MAX_RESPONSE + 1];
    size_t         len;
} client_t;


static int           port, one_in;
static cases_t       good, bad;
static volatile int  enough;


static void
fail(const char *why)
{
    fprintf(stderr, "soak: %s: %s\n", why, strerror(errno));
    exit(2);
}


static void
read_cases(const char *name)
{
    char          kind, line[65536];
    FILE         *file;
    cases_t      *to;
    test_case_t  *one;

    file = fopen(name, "r");
    if (file == NULL) {
        fail(name);
    }

    while (fgets(line, sizeof(line), file) != NULL) {
        kind = line[0];
        to = kind == '+' ? &good : &bad;
        to->cases = realloc(to->cases, (to->count + 1) * sizeof(test_case_t));

        if (to->cases == NULL) {
            fail("memory");
        }

        one = &to->cases[to->count++];

        if (sscanf(line + 1, "%31s %zu", one->policy, &one->len) != 2
            || fgets(line, sizeof(line), file) == NULL)
        {
            fail("a case that is none");
        }

        line[strcspn(line, "\n")] = '\0';
        one->expected = strdup(line);
        one->request = malloc(one->len);

        if (one->expected == NULL || one->request == NULL
            || fread(one->request, 1, one->len, file) != one->len)
        {
            fail("a case cut short");
        }
    }

    fclose(file);

    if (good.count == 0 || bad.count == 0) {
        errno = 0;
        fail("no cases");
    }
}


static uint64_t
next(client_t *client)
{
    client->random ^= client->random << 13;
    client->random ^= client->random >> 7;
    client->random ^= client->random << 17;

    return client->random;
}


/*** connections ***/


static void
disconnect(client_t *client)
{
    if (client->fd != -1) {
        close(client->fd);
        client->fd = -1;
    }
}


static int
reach(client_t *client)
{
    int                 one = 1;
    struct timeval      patience = { 60, 0 };
    struct sockaddr_in  to;

    memset(&to, 0, sizeof(to));
    to.sin_family = AF_INET;
    to.sin_port = htons((uint16_t) port);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);

    client->used = 0;
    client->fd = socket(AF_INET, SOCK_STREAM, 0);

    if (client->fd == -1) {
        return 0;
    }

    setsockopt(client->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    setsockopt(client->fd, SOL_SOCKET, SO_RCVTIMEO, &patience,
               sizeof(patience));

    return connect(client->fd, (struct sockaddr *) &to, sizeof(to)) == 0;
}


static void
transmit(client_t *client, const char *data, size_t len)
{
    ssize_t  n;

    while (len) {
        n = send(client->fd, data, len, MSG_NOSIGNAL);

        if (n <= 0) {
            /* whatever the server has to say is still there to be read */
            return;
        }

        data += n;
        len -= (size_t) n;
    }
}


/* the value of a header, or NULL */

static const char *
header(const char *head, const char *name)
{
    size_t       len;
    const char  *p;

    len = strlen(name);

    for (p = strstr(head, "\r\n"); p != NULL; p = strstr(p, "\r\n")) {
        p += 2;

        if (strncasecmp(p, name, len) == 0 && p[len] == ':') {
            for (p += len + 1; *p == ' '; p++) { /* void */ }
            return p;
        }
    }

    return NULL;
}


static void
value(const char *head, const char *name, char *out, size_t size)
{
    size_t       len;
    const char  *p;

    p = header(head, name);
    len = p ? strcspn(p, "\r") : 0;

    if (len == 0) {
        p = "-";
        len = 1;
    }

    snprintf(out, size, "%.*s", (int) len, p);
}


/* the whole response; 1: read, 0: nothing came, -1: it broke off */

static int
receive(client_t *client, char **body)
{
    char        *end;
    size_t       size;
    ssize_t      n;
    const char  *length;

    client->len = 0;
    size = 0;

    do {
        n = recv(client->fd, client->response + client->len,
                 MAX_RESPONSE - client->len, 0);

        if (n <= 0) {
            return client->len ? -1 : 0;
        }

        client->len += (size_t) n;
        client->response[client->len] = '\0';

        if (size) {
            continue;
        }

        end = strstr(client->response, "\r\n\r\n");

        if (end != NULL) {
            *end = '\0';
            *body = end + 4;

            length = header(client->response, "Content-Length");

            if (length == NULL) {
                return -1;
            }

            size = (size_t) (*body - client->response)
                   + strtoul(length, NULL, 10);
        }

    } while (size == 0 || client->len < size);

    return client->len == size ? 1 : -1;
}


/*** verdicts ***/


static void
count(client_t *client, const char *key)
{
    size_t  i;

    for (i = 0; i < client->ntallies; i++) {
        if (strcmp(client->tally[i].key, key) == 0) {
            client->tally[i].count++;
            return;
        }
    }

    if (i == MAX_TALLIES) {
        fail("too many kinds of verdicts");
    }

    snprintf(client->tally[i].key, sizeof(client->tally[i].key), "%s", key);
    client->tally[i].count = 1;
    client->ntallies++;
}


static int
is_expected(const char *expected, const char *verdict)
{
    size_t       len;
    const char  *p;

    len = strlen(verdict);

    for (p = expected; p != NULL; p = *p ? p + 1 : NULL) {

        if (strncmp(p, verdict, len) == 0
            && (p[len] == '\t' || p[len] == '\0'))
        {
            return 1;
        }

        p += strcspn(p, "\t");
    }

    return 0;
}


static void
wrong(client_t *client, const test_case_t *one, const char *verdict)
{
    client->wrong++;

    if (client->shown++ < MAX_WRONG) {
        printf("# wrong %s: %s instead of %s\n", one->policy, verdict,
               one->expected);
    }
}


static void
judge(client_t *client, const test_case_t *one, const char *body)
{
    int   status;
    char  result[64], action[64], key[256], verdict[1024];

    status = atoi(client->response + strlen("HTTP/1.1 "));

    value(client->response, "X-Result", result, sizeof(result));
    value(client->response, "X-Action", action, sizeof(action));

    snprintf(key, sizeof(key), "%s %s %s", one->policy, action, result);
    count(client, key);

    snprintf(verdict, sizeof(verdict), "%d %s %s%s%.800s", status, result,
             action, status == 200 ? " " : "", status == 200 ? body : "");

    if (!is_expected(one->expected, verdict)) {
        wrong(client, one, verdict);
    }
}


static void
ask(client_t *client, const test_case_t *one)
{
    int    rc;
    char  *body, connection[16];

    for ( ;; ) {

        if (client->fd == -1 && !reach(client)) {
            wrong(client, one, "no connection");
            disconnect(client);
            return;
        }

        transmit(client, one->request, one->len);
        rc = receive(client, &body);

        if (rc == 0 && client->used) {
            client->repeated++;
            disconnect(client);
            continue;
        }

        if (rc != 1) {
            wrong(client, one, rc ? "half an answer" : "no answer");
            disconnect(client);
            return;
        }

        client->used = 1;
        judge(client, one, body);

        value(client->response, "Connection", connection, sizeof(connection));

        if (strcasecmp(connection, "close") == 0) {
            disconnect(client);
        }

        return;
    }
}


static void *
run(void *data)
{
    client_t       *client = data;
    const cases_t  *of;

    while (!enough) {
        of = next(client) % (uint64_t) one_in == 0 ? &bad : &good;

        client->sent++;
        client->bad += of == &bad;

        ask(client, &of->cases[next(client) % of->count]);
    }

    disconnect(client);

    return NULL;
}


int
main(int argc, char **argv)
{
    int             i, n;
    char            c;
    size_t          j;
    client_t       *clients;
    unsigned long   sent = 0, refusals = 0, repeated = 0, amiss = 0;

    if (argc != 5) {
        errno = EINVAL;
        fail("soak PORT CONNECTIONS BAD FILE");
    }

    port = atoi(argv[1]);
    n = atoi(argv[2]);
    one_in = atoi(argv[3]);

    read_cases(argv[4]);

    clients = calloc((size_t) n, sizeof(client_t));
    if (clients == NULL) {
        fail("memory");
    }

    for (i = 0; i < n; i++) {
        clients[i].fd = -1;
        clients[i].random = 0x9e3779b97f4a7c15u * (uint64_t) (i + 1);

        if (pthread_create(&clients[i].thread, NULL, run, &clients[i]) != 0) {
            fail("a thread");
        }
    }

    while (read(STDIN_FILENO, &c, 1) > 0) { /* void */ }

    enough = 1;

    for (i = 0; i < n; i++) {
        pthread_join(clients[i].thread, NULL);

        sent += clients[i].sent;
        refusals += clients[i].bad;
        repeated += clients[i].repeated;
        amiss += clients[i].wrong;

        for (j = 0; j < clients[i].ntallies; j++) {
            printf("%s %lu\n", clients[i].tally[j].key,
                   clients[i].tally[j].count);
        }
    }

    printf("sent %lu\nbad %lu\nrepeated %lu\nwrong %lu\n", sent, refusals,
           repeated, amiss);

    return 0;
}
