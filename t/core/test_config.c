/*
 * What the management API takes: files of whole bodies, then sizes, the tag
 * and running out of memory.
 *
 * data/config/valid/NAME.json is taken; NAME.lists has "client_ids" or
 * "tenant_ids" for each list named, then its members in ascending order.
 * data/config/invalid/NAME.json is refused; NAME.error has the HTTP status,
 * then "FIELD: REASON" for each error.
 */

#include "entra_config.h"
#include "files.h"
#include "guard.h"


#define A  "0123abcd-4567-89ef-0123-456789abcdef"
#define B  "11111111-2222-3333-4444-555555555555"


static pool_t  pool;


static const char *
companion(const char *folder, const char *name, const char *ending)
{
    entra_str_t  text;

    text = files_read(&pool, pool_text(&pool, "%s/%.*s%s", folder,
                                   (int) (strrchr(name, '.') - name), name,
                                   ending));

    return pool_text(&pool, "%.*s", (int) text.len, text.data);
}


static unsigned
status(entra_config_result_t result)
{
    switch (result) {

    case ENTRA_CONFIG_OK:
        return 200;

    case ENTRA_CONFIG_NOT_JSON:
        return 400;

    case ENTRA_CONFIG_INVALID:
        return 422;

    case ENTRA_CONFIG_TOO_LARGE:
        return 413;

    default:
        return 500;
    }
}


static const char *
show_lists(const entra_config_patch_t *patch)
{
    char        *text, guid[ENTRA_GUID_LEN];
    size_t       i, n;

    static const char  *names[ENTRA_LISTS] = { "client_ids", "tenant_ids" };

    text = pool_text(&pool, "%s", "");

    for (i = 0; i < ENTRA_LISTS; i++) {

        if (!(patch->lists & (1u << i))) {
            continue;
        }

        text = pool_text(&pool, "%s%s\n", text, names[i]);

        for (n = 0; n < patch->list[i].count; n++) {
            (void) entra_guid_write_typed(&patch->list[i].ids[n],
                                          patch->list[i].upper[n], guid);
            text = pool_text(&pool, "%s%.*s\n", text, ENTRA_GUID_LEN, guid);
        }
    }

    return text;
}


static void
each_valid(const char *folder, const char *name)
{
    entra_str_t            text;
    entra_config_patch_t   patch;
    entra_config_result_t  result;

    text = files_read(&pool, pool_text(&pool, "%s/%s", folder, name));
    result = entra_config_parse(guard(text), &pool.mem, &patch);

    tap_is_size(status(result), 200, name);
    tap_is_text(show_lists(&patch), companion(folder, name, ".lists"), name);
    tap_is_size(patch.nerrors, 0, name);

    pool_free(&pool);
}


static void
each_invalid(const char *folder, const char *name)
{
    char                  *said;
    size_t                 i;
    entra_str_t            text;
    entra_config_patch_t   patch;
    entra_config_result_t  result;

    text = files_read(&pool, pool_text(&pool, "%s/%s", folder, name));
    result = entra_config_parse(guard(text), &pool.mem, &patch);

    said = pool_text(&pool, "%u\n", status(result));

    for (i = 0; i < patch.nerrors; i++) {
        said = pool_text(&pool, "%s%.*s: %.*s\n", said,
                         (int) patch.errors[i].name.len,
                         patch.errors[i].name.data,
                         (int) patch.errors[i].reason.len,
                         patch.errors[i].reason.data);
    }

    tap_is_text(said, companion(folder, name, ".error"), name);

    pool_free(&pool);
}


/*** sizes ***/


/* a body with so many IDs, all different or all bad */

static entra_str_t
body_of(size_t n, bool bad)
{
    char    *text, *p;
    size_t   i;

    text = pool_alloc(&pool, n * 40 + 100);
    p = text + sprintf(text, "{\"mdm\":{\"windows_entra_tenant_ids\":[");

    for (i = 0; i < n; i++) {
        p += bad ? sprintf(p, "%s\"%zu\"", i ? "," : "", i)
                 : sprintf(p, "%s\"%08zx-2222-3333-4444-55555555555F\"",
                           i ? "," : "", n - i);
    }

    p += sprintf(p, "]}}");

    return (entra_str_t) { text, (size_t) (p - text) };
}


static void
test_sizes(void)
{
    entra_config_patch_t   patch;
    entra_config_result_t  result;

    result = entra_config_parse(body_of(ENTRA_CONFIG_MAX_IDS, false),
                                &pool.mem, &patch);
    tap_ok(result == ENTRA_CONFIG_OK
           && patch.list[ENTRA_TENANT_IDS].count == ENTRA_CONFIG_MAX_IDS,
           "25,000 IDs");
    pool_free(&pool);

    result = entra_config_parse(body_of(ENTRA_CONFIG_MAX_IDS + 1, false),
                                &pool.mem, &patch);
    tap_is_size(status(result), 413, "one more");
    tap_is_size(patch.nerrors, 1, "one error");
    tap_is_str(patch.errors[0].name, entra_lit("mdm.windows_entra_tenant_ids"),
               "it names the list");
    pool_free(&pool);

    result = entra_config_parse(body_of(1000, true), &pool.mem, &patch);
    tap_is_size(status(result), 422, "a thousand bad values");
    tap_is_size(patch.nerrors, ENTRA_CONFIG_MAX_ERRORS,
                "the first hundred are told");
    pool_free(&pool);
}


/* a member that nobody knows, full of that */

static entra_str_t
full_of(const char *value, size_t n)
{
    char    *text, *p;
    size_t   i;

    text = pool_alloc(&pool, n * (strlen(value) + 1) + 100);
    p = text + sprintf(text, "{\"mdm\":{},\"x\":[");

    for (i = 0; i < n; i++) {
        p += sprintf(p, "%s%s", i ? "," : "", value);
    }

    p += sprintf(p, "]}");

    return (entra_str_t) { text, (size_t) (p - text) };
}


/* what jansson makes of a value takes a hundred times its bytes, and time */

static void
test_values(void)
{
    size_t                i, n;
    entra_config_patch_t  patch;

    static const struct {
        const char  *value;
        size_t       n;
        unsigned     status;
    } row[] = {
        { "{}", 2 * ENTRA_CONFIG_MAX_IDS, 422 },
        { "{}", 4 * ENTRA_CONFIG_MAX_IDS, 413 },
        { "1", 4 * ENTRA_CONFIG_MAX_IDS, 413 },
        { "\"\\\"\"", 4 * ENTRA_CONFIG_MAX_IDS, 413 },
        { "\"\\\\,\\\",,,,,,,\"", ENTRA_CONFIG_MAX_IDS, 422 },
    };

    for (i = 0; i < tap_count(row); i++) {
        n = status(entra_config_parse(full_of(row[i].value, row[i].n),
                                      &pool.mem, &patch));

        tap_ok(n == row[i].status, "%zu times %s", row[i].n, row[i].value);
        tap_is_size(patch.nerrors, 1, "said once");
        pool_free(&pool);
    }
}


/*** the tag ***/


static void
tag_of(const char *client_ids, const char *tenant_ids, char *tag)
{
    entra_lists_t          lists;
    entra_config_patch_t   patch;

    tag[ENTRA_CONFIG_TAG_LEN] = '\0';

    (void) entra_config_parse(
               entra_str(pool_text(&pool,
                             "{\"mdm\":{\"windows_entra_client_ids\":[%s],"
                             "\"windows_entra_tenant_ids\":[%s]}}",
                             client_ids, tenant_ids)),
               &pool.mem, &patch);

    lists.list[0].ids = patch.list[0];
    lists.list[1].ids = patch.list[1];

    tap_ok(patch.lists == 3 && entra_config_tag(&lists, tag), "a tag of %s|%s",
           client_ids, tenant_ids);
}


static void
test_tag(void)
{
    size_t  i, j, same;
    char    tag[5][ENTRA_CONFIG_TAG_LEN + 1], other[ENTRA_CONFIG_TAG_LEN + 1];

    tag_of("", "", tag[0]);
    tag_of("\"" A "\"", "", tag[1]);
    tag_of("", "\"" A "\"", tag[2]);
    tag_of("\"" A "\", \"" B "\"", "", tag[3]);
    tag_of("\"" A "\"", "\"" B "\"", tag[4]);

    for (i = 0, same = 0; i < tap_count(tag); i++) {
        for (j = 0; j < i; j++) {
            same += strcmp(tag[i], tag[j]) == 0;
        }
    }

    tap_is_size(same, 0, "other lists, another tag");

    tag_of("\"" B "\", \"0123ABCD-4567-89EF-0123-456789ABCDEF\"", "", other);
    tap_is_text(other, tag[3], "another order and spelling, the same tag");

    /* SHA-256 of eight zero bytes: two lengths */
    tap_is_text(tag[0], "af5570f5a1810b7af78caf4bc70a660f"
                        "0df51e42baf91d4de5b2328de0e83dfc",
                "the tag of nothing");

    pool_free(&pool);
}


/*** memory ***/


static void
test_memory(void)
{
    bool                   ok;
    size_t                 n;
    entra_str_t            text[2];
    entra_config_patch_t   patch;
    entra_config_result_t  result;

    static const unsigned  expected[2] = { 200, 422 };

    text[0] = entra_lit("{\"mdm\":{\"windows_entra_client_ids\":[\"" A "\"]}}");
    text[1] = entra_lit("{\"mdm\":{\"windows_entra_client_ids\":[\"x\",\"y\"],"
                        "\"z\":1}}");

    for (n = 0; n < 2; n++) {
        size_t  fail_at = 0;

        do {
            pool_free(&pool);
            pool.fail_at = ++fail_at;
            result = entra_config_parse(text[n], &pool.mem, &patch);
            ok = result == ENTRA_CONFIG_NO_MEMORY;
        } while (ok);

        tap_is_size(status(result), expected[n], "no memory, then enough");
        tap_ok(fail_at > 3, "which was asked for several times");
        pool_free(&pool);
    }
}


int
main(void)
{
    pool_init(&pool);

    files_each("data/config/valid", ".json", each_valid);
    files_each("data/config/invalid", ".json", each_invalid);

    test_sizes();
    test_values();
    test_tag();
    test_memory();

    return tap_done();
}
