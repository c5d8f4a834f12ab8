/*
 * Nodes of a YAML document, as libyaml composes it.
 */

#ifndef CTL_NODES_H
#define CTL_NODES_H

#include <yaml.h>

#include "ctl.h"


typedef struct {
    const char       *path;             /* for messages */
    yaml_document_t  *document;
} ctl_yaml_t;


size_t ctl_yaml_line(const yaml_node_t *node);

/* the bytes of a scalar */
entra_str_t ctl_yaml_str(const yaml_node_t *node);

/* a scalar without quotes */
bool ctl_yaml_plain(const yaml_node_t *node);

/* null by its form (YAML 1.2, 10.3.2) or by its tag */
bool ctl_yaml_null(const yaml_node_t *node);

/* "a list", "a mapping", "null", or a scalar in quotes, for messages */
const char *ctl_yaml_kind(const yaml_node_t *node);

/*
 * Ends the process for a key that a mapping has twice: some parsers take the
 * first, some the last.
 */
void ctl_yaml_unique(const ctl_yaml_t *yaml, const yaml_node_t *map);

/* the value of a key, its own or a merged one; NULL: none */
yaml_node_t *ctl_yaml_find(const ctl_yaml_t *yaml, yaml_node_t *map,
    const char *name);


#endif /* CTL_NODES_H */
