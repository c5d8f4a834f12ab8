/*
 * SOAP messages in pieces: however a message is cut, it comes to the same end
 * with the same credential.
 */

#include "entra_soap.h"
#include "fuzz.h"


#define MAX_TOKEN  4096
#define CUTS       8


typedef struct {
    bool                  header;       /* the credential was told */
    entra_soap_state_t    state;
    entra_reason_t        reason;       /* of a refusal */
    entra_soap_message_t  message;
} fuzz_end_t;


/* in pieces of these lengths, over and over; NULL: all at once */

static void
fuzz_read(pool_t *pool, entra_str_t text, const uint8_t *cuts, fuzz_end_t *end)
{
    bool           last;
    size_t         i, n;
    const char    *why;
    entra_soap_t  *soap;

    memset(end, 0, sizeof(fuzz_end_t));

    soap = entra_soap_create(MAX_TOKEN, &pool->mem);
    fuzz_claim(soap != NULL);

    i = 0;

    do {
        n = text.len;

        if (cuts != NULL && n > (size_t) cuts[i % CUTS] + 1) {
            n = (size_t) cuts[i++ % CUTS] + 1;
        }

        last = (n == text.len);

        /* a piece ends where its memory ends */
        end->state = entra_soap_feed(soap,
            fuzz_copy(pool, (const uint8_t *) text.data, n), last);
        text = entra_str_from(text, n);

        if (end->state == ENTRA_SOAP_HEADER) {
            fuzz_claim(!end->header);
            end->header = true;
            end->state = entra_soap_feed(soap, ENTRA_STR_NONE, last);
        }

    } while (!last && end->state == ENTRA_SOAP_MORE);

    fuzz_claim(end->state == ENTRA_SOAP_DONE
               || end->state == ENTRA_SOAP_REFUSED);

    if (end->state == ENTRA_SOAP_REFUSED) {
        end->reason = entra_soap_reason(soap, &why);
        fuzz_claim(end->reason != ENTRA_OK && end->reason != ENTRA_INTERNAL);
    }

    end->message = *entra_soap_message(soap);

    entra_soap_free(soap);
}


static void
fuzz_token(pool_t *pool, const entra_soap_message_t *message)
{
    const char      *why;
    entra_str_t      token;
    entra_reason_t   reason;

    reason = entra_soap_token(message, &pool->mem, &token, &why);

    fuzz_claim(reason != ENTRA_INTERNAL);
    fuzz_claim(reason != ENTRA_OK || (token.len && token.len <= MAX_TOKEN));
    fuzz_claim(message->message_id.len <= ENTRA_SOAP_MAX_MESSAGE_ID);
}


/* lengths of pieces that follow from the text, so that seeds are plain XML */

static void
fuzz_cuts(entra_str_t text, uint8_t cuts[CUTS])
{
    size_t    i;
    uint32_t  hash;

    hash = 2166136261u;

    for (i = 0; i < text.len; i++) {
        hash = (hash ^ (uint8_t) text.data[i]) * 16777619u;
    }

    for (i = 0; i < CUTS; i++) {
        hash = hash * 1664525u + 1013904223u;

        /* now and then byte by byte, as far as the pool has pieces */
        cuts[i] = (uint8_t) (text.len > 2048 ? 255 : hash >> 24);
        cuts[i] = (uint8_t) (hash & 0x10000 && text.len <= 2048
                             ? cuts[i] % 4 : cuts[i]);
    }
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    pool_t       pool;
    uint8_t      cuts[CUTS];
    fuzz_end_t   whole, cut;
    entra_str_t  text;

    if (size > 256 * 1024) {
        return 0;
    }

    text = (entra_str_t) { (const char *) data, size };

    pool_init(&pool);
    fuzz_cuts(text, cuts);

    fuzz_read(&pool, text, NULL, &whole);
    fuzz_read(&pool, text, cuts, &cut);

    fuzz_claim(whole.header == cut.header);
    fuzz_claim(whole.state == cut.state);
    fuzz_claim(whole.reason == cut.reason);

    if (whole.header) {
        fuzz_claim(whole.message.credential == cut.message.credential);
        fuzz_claim(whole.message.too_long == cut.message.too_long);
        fuzz_claim(entra_str_eq(whole.message.encoded, cut.message.encoded));
        fuzz_claim(entra_str_eq(whole.message.message_id,
                                cut.message.message_id));
        fuzz_claim(entra_str_eq(whole.message.action, cut.message.action));
        fuzz_token(&pool, &whole.message);

    } else {
        /* nothing may be accepted of which no credential was told */
        fuzz_claim(whole.state == ENTRA_SOAP_REFUSED);
    }

    pool_free(&pool);

    return 0;
}
