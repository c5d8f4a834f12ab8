/*
 * What YAML nodes are, and what mappings hold.  libyaml resolves anchors; merge
 * keys are resolved here.
 */

#include "nodes.h"


#define CTL_MAX_MERGES  100             /* looked into for one key */
#define CTL_MAX_KEYS    10000


size_t
ctl_yaml_line(const yaml_node_t *node)
{
    return node->start_mark.line + 1;
}


entra_str_t
ctl_yaml_str(const yaml_node_t *node)
{
    return (entra_str_t) { (const char *) node->data.scalar.value,
                           node->data.scalar.length };
}


bool
ctl_yaml_plain(const yaml_node_t *node)
{
    return node->type == YAML_SCALAR_NODE
           && node->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
}


bool
ctl_yaml_null(const yaml_node_t *node)
{
    entra_str_t  text;

    if (strcmp((const char *) node->tag, YAML_NULL_TAG) == 0) {
        return true;
    }

    if (!ctl_yaml_plain(node)) {
        return false;
    }

    text = ctl_yaml_str(node);

    return text.len == 0
           || entra_str_eq(text, entra_lit("~"))
           || entra_str_eq(text, entra_lit("null"))
           || entra_str_eq(text, entra_lit("Null"))
           || entra_str_eq(text, entra_lit("NULL"));
}


const char *
ctl_yaml_kind(const yaml_node_t *node)
{
    switch (node->type) {

    case YAML_MAPPING_NODE:
        return "a mapping";

    case YAML_SEQUENCE_NODE:
        return "a list";

    default:
        return ctl_yaml_null(node) ? "null"
               : ctl_text("\"%s\"", ctl_text_of(ctl_yaml_str(node)));
    }
}


void
ctl_yaml_unique(const ctl_yaml_t *yaml, const yaml_node_t *map)
{
    entra_str_t         text;
    yaml_node_t        *key, *other;
    yaml_node_pair_t   *pair, *before, *first;

    first = map->data.mapping.pairs.start;

    if (map->data.mapping.pairs.top - first > CTL_MAX_KEYS) {
        ctl_die(CTL_ERROR, NULL, "%s:%zu: more than %d keys", yaml->path,
                ctl_yaml_line(map), CTL_MAX_KEYS);
    }

    for (pair = first; pair < map->data.mapping.pairs.top; pair++) {

        key = yaml_document_get_node(yaml->document, pair->key);

        if (key->type != YAML_SCALAR_NODE) {
            continue;
        }

        text = ctl_yaml_str(key);

        for (before = first; before < pair; before++) {
            other = yaml_document_get_node(yaml->document, before->key);

            if (other->type == YAML_SCALAR_NODE
                && entra_str_eq(text, ctl_yaml_str(other)))
            {
                ctl_die(CTL_ERROR, NULL, "%s:%zu: the key \"%s\" stands in "
                        "line %zu already", yaml->path, ctl_yaml_line(key),
                        ctl_text_of(text), ctl_yaml_line(other));
            }
        }
    }
}


static yaml_node_t *ctl_yaml_find_in(const ctl_yaml_t *yaml,
    yaml_node_t *map, const char *name, unsigned *merges);


/*
 * "<<": a mapping or a list of them, the first of which counts.  All are
 * counted, however deep: a few lines of aliases to lists of aliases have more
 * than could ever be looked into.
 */

static yaml_node_t *
ctl_yaml_merged(const ctl_yaml_t *yaml, yaml_node_t *value, const char *name,
    unsigned *merges)
{
    yaml_node_t       *found;
    yaml_node_item_t  *item;

    if ((*merges)++ == CTL_MAX_MERGES) {
        ctl_die(CTL_ERROR, NULL, "%s:%zu: more than %d merges", yaml->path,
                ctl_yaml_line(value), CTL_MAX_MERGES);
    }

    if (value->type == YAML_MAPPING_NODE) {
        ctl_yaml_unique(yaml, value);
        return ctl_yaml_find_in(yaml, value, name, merges);
    }

    if (value->type != YAML_SEQUENCE_NODE) {
        ctl_die(CTL_ERROR, NULL, "%s:%zu: \"<<\" must merge a mapping, not %s",
                yaml->path, ctl_yaml_line(value), ctl_yaml_kind(value));
    }

    for (item = value->data.sequence.items.start;
         item < value->data.sequence.items.top;
         item++)
    {
        found = ctl_yaml_merged(yaml,
                                yaml_document_get_node(yaml->document, *item),
                                name, merges);
        if (found != NULL) {
            return found;
        }
    }

    return NULL;
}


static yaml_node_t *
ctl_yaml_find_in(const ctl_yaml_t *yaml, yaml_node_t *map, const char *name,
    unsigned *merges)
{
    yaml_node_t       *key, *merge;
    yaml_node_pair_t  *pair;

    merge = NULL;

    for (pair = map->data.mapping.pairs.start;
         pair < map->data.mapping.pairs.top;
         pair++)
    {
        key = yaml_document_get_node(yaml->document, pair->key);

        if (key->type != YAML_SCALAR_NODE) {
            continue;
        }

        if (entra_str_eq(ctl_yaml_str(key), entra_str(name))) {
            return yaml_document_get_node(yaml->document, pair->value);
        }

        if (ctl_yaml_plain(key)
            && entra_str_eq(ctl_yaml_str(key), entra_lit("<<")))
        {
            merge = yaml_document_get_node(yaml->document, pair->value);
        }
    }

    return merge ? ctl_yaml_merged(yaml, merge, name, merges) : NULL;
}


yaml_node_t *
ctl_yaml_find(const ctl_yaml_t *yaml, yaml_node_t *map, const char *name)
{
    unsigned  merges;

    merges = 0;

    return ctl_yaml_find_in(yaml, map, name, &merges);
}
