/*
 * The text of an activity: cut to what there is room for, between characters.
 */

#include "entra_activity.h"
#include "guard.h"


static const struct {
    const char  *name;
    const char  *text;
    size_t       size;                  /* of the room, the NUL included */
    const char  *kept;
} rows[] = {
    { "nothing", "", 4, "" },
    { "less than there is room for", "ab", 4, "ab" },
    { "just as much", "abc", 4, "abc" },
    { "one byte too much", "abcd", 4, "abc" },
    { "a character of two bytes fits", "a\xc3\xa9", 4, "a\xc3\xa9" },
    { "it would be cut after its first byte", "ab\xc3\xa9", 4, "ab" },
    { "a character of four bytes would be cut", "a\xf0\x9f\x98\x80", 5, "a" },
    { "nothing fits", "\xf0\x9f\x98\x80", 4, "" },
    { "bytes that are no UTF-8, all of one kind", "\x80\x80\x80\x80", 3, "" },
};


int
main(void)
{
    char    to[8];
    size_t  i, n;
    bool    zeros;

    for (i = 0; i < tap_count(rows); i++) {
        memset(to, 'x', sizeof(to));

        entra_activity_text(to, rows[i].size, guard(entra_str(rows[i].text)));

        zeros = true;

        for (n = strlen(rows[i].kept); n < rows[i].size; n++) {
            zeros = zeros && to[n] == '\0';
        }

        tap_ok(strncmp(to, rows[i].kept, strlen(rows[i].kept)) == 0 && zeros,
               "%s", rows[i].name);
        tap_ok(to[rows[i].size] == 'x', "and no more is written");
    }

    return tap_done();
}
