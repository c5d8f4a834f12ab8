/*
 * The two lists in Fleet's YAML, below controls.
 */

#ifndef CTL_GITOPS_H
#define CTL_GITOPS_H

#include "lists.h"


/*
 * Reads a file, or standard input for "-".  given[i] says whether the file
 * has that list: one that is absent or null is to be left alone.  Whatever is
 * wrong with it ends the process, with key, value and line.
 */
void ctl_yaml_read(const char *path, ctl_list_t *lists, bool *given);


#endif /* CTL_GITOPS_H */
