/*
 * Inputs kept as files: dropping one into a folder makes it a test.
 */

#ifndef FILES_H
#define FILES_H

#include <dirent.h>

#include "pool.h"


/* a whole file; data NULL: there is none */

static inline entra_str_t
files_read(pool_t *pool, const char *path)
{
    FILE    *file;
    char    *data;
    size_t   len, n;

    file = fopen(path, "rb");
    if (file == NULL) {
        return ENTRA_STR_NONE;
    }

    data = pool_alloc(pool, 1 << 20);
    len = 0;

    while ((n = fread(data + len, 1, (1 << 20) - len, file)) > 0) {
        len += n;
    }

    fclose(file);

    return (entra_str_t) { data, len };
}


static inline int
files_wanted(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}


/*
 * Calls each(folder, name) for every file of the folder whose name ends so,
 * in the order of their names; an empty folder is a mistake.
 */

static inline void
files_each(const char *folder, const char *ending,
    void (*each)(const char *folder, const char *name))
{
    int              i, n;
    size_t           found, len;
    struct dirent  **entries;

    found = 0;
    n = scandir(folder, &entries, files_wanted, alphasort);

    for (i = 0; i < n; i++) {
        len = strlen(entries[i]->d_name);

        if (len > strlen(ending)
            && strcmp(entries[i]->d_name + len - strlen(ending), ending) == 0)
        {
            each(folder, entries[i]->d_name);
            found++;
        }

        free(entries[i]);
    }

    if (n >= 0) {
        free(entries);
    }

    tap_ok(found > 0, "%s: there are files", folder);
}


/* text with every occurrence of mark replaced */

static inline entra_str_t
files_fill(pool_t *pool, entra_str_t text, const char *mark, entra_str_t value)
{
    char    *out, *p;
    size_t   i, n;

    n = strlen(mark);
    out = pool_alloc(pool, text.len + (text.len / n + 1) * value.len + 1);
    p = out;

    for (i = 0; i < text.len; /* void */) {

        if (text.len - i >= n && memcmp(text.data + i, mark, n) == 0) {
            memcpy(p, value.data, value.len);
            p += value.len;
            i += n;
            continue;
        }

        *p++ = text.data[i++];
    }

    return (entra_str_t) { out, (size_t) (p - out) };
}


#endif /* FILES_H */
