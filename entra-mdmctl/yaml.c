/*
 * Reading Fleet's YAML: of all that default.yml holds only two lists matter
 * here, but those exactly.  libyaml resolves anchors; merge keys are resolved
 * here, and nothing is guessed.
 */

#include <yaml.h>

#include "gitops.h"


#define CTL_MAX_YAML    (16 * 1024 * 1024)
#define CTL_MAX_MERGES  16
#define CTL_MAX_KEYS    10000


typedef struct {
    const char       *path;
    yaml_document_t  *document;
} ctl_yaml_t;


static size_t
ctl_yaml_line(const yaml_node_t *node)
{
    return node->start_mark.line + 1;
}


static entra_str_t
ctl_yaml_str(const yaml_node_t *node)
{
    return (entra_str_t) { (const char *) node->data.scalar.value,
                           node->data.scalar.length };
}


static bool
ctl_yaml_plain(const yaml_node_t *node)
{
    return node->type == YAML_SCALAR_NODE
           && node->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
}


/* YAML 1.2 10.2.1.1, by its forms and by its tag */

static bool
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


static const char *
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


/*** mappings ***/


/*
 * A key twice in a mapping: some parsers take the first, some the last.
 */

static void
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


static yaml_node_t *ctl_yaml_find(const ctl_yaml_t *yaml, yaml_node_t *map,
    const char *name, unsigned merges);


/* "<<": a mapping or a list of them, the first of which counts */

static yaml_node_t *
ctl_yaml_merged(const ctl_yaml_t *yaml, yaml_node_t *value, const char *name,
    unsigned merges)
{
    yaml_node_t       *found;
    yaml_node_item_t  *item;

    if (merges == CTL_MAX_MERGES) {
        ctl_die(CTL_ERROR, NULL, "%s:%zu: more than %d merges in each other",
                yaml->path, ctl_yaml_line(value), CTL_MAX_MERGES);
    }

    if (value->type == YAML_MAPPING_NODE) {
        ctl_yaml_unique(yaml, value);
        return ctl_yaml_find(yaml, value, name, merges + 1);
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
                                name, merges + 1);
        if (found != NULL) {
            return found;
        }
    }

    return NULL;
}


/* the value of a key; NULL: none */

static yaml_node_t *
ctl_yaml_find(const ctl_yaml_t *yaml, yaml_node_t *map, const char *name,
    unsigned merges)
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


/*** the lists ***/


static const char *
ctl_yaml_not_followed(const ctl_yaml_t *yaml, yaml_node_t *map)
{
    yaml_node_t  *path;

    path = map->type == YAML_MAPPING_NODE
           ? ctl_yaml_find(yaml, map, "path", 0) : NULL;

    if (path == NULL) {
        return NULL;
    }

    return ctl_text("\"path\" is not followed here: put the list itself in "
                    "place of %s", ctl_yaml_kind(path));
}


static void
ctl_yaml_list(const ctl_yaml_t *yaml, const ctl_names_t *names,
    yaml_node_t *node, ctl_list_t *list)
{
    yaml_node_t       *value;
    yaml_node_item_t  *item;

    if (node->type != YAML_SEQUENCE_NODE) {
        ctl_die(CTL_ERROR, ctl_yaml_not_followed(yaml, node),
                "%s:%zu: controls.%s must be a list, not %s", yaml->path,
                ctl_yaml_line(node), names->key, ctl_yaml_kind(node));
    }

    for (item = node->data.sequence.items.start;
         item < node->data.sequence.items.top;
         item++)
    {
        value = yaml_document_get_node(yaml->document, *item);

        if (value->type != YAML_SCALAR_NODE
            || ctl_list_add(list, ctl_yaml_str(value)) == CTL_LIST_NO_GUID)
        {
            ctl_die(CTL_ERROR, ctl_yaml_not_followed(yaml, value),
                    "%s:%zu: controls.%s must hold GUIDs, not %s",
                    yaml->path, ctl_yaml_line(value), names->key,
                    ctl_yaml_kind(value));
        }
    }
}


/* what looks like one of the keys, and a place where they could be instead */

static void
ctl_yaml_elsewhere(const ctl_yaml_t *yaml, yaml_node_t *controls,
    const bool *given)
{
    entra_str_t        text;
    yaml_node_t       *key, *path;
    yaml_node_pair_t  *pair;

    for (pair = controls->data.mapping.pairs.start;
         pair < controls->data.mapping.pairs.top;
         pair++)
    {
        key = yaml_document_get_node(yaml->document, pair->key);

        if (key->type != YAML_SCALAR_NODE) {
            continue;
        }

        text = ctl_yaml_str(key);

        if (entra_str_starts(text, entra_lit("windows_entra_"))
            && !entra_str_eq(text, entra_str(ctl_names[0].key))
            && !entra_str_eq(text, entra_str(ctl_names[1].key)))
        {
            ctl_warn("%s:%zu: controls.%s is none of the two lists and is "
                     "left alone", yaml->path, ctl_yaml_line(key),
                     ctl_text_of(text));
        }
    }

    path = ctl_yaml_find(yaml, controls, "path", 0);

    if (path == NULL || (given[0] && given[1])) {
        return;
    }

    if (!given[0] && !given[1]) {
        ctl_die(CTL_ERROR, "put the lists into this file, below controls",
                "%s:%zu: the controls are in %s, which is not followed",
                yaml->path, ctl_yaml_line(path), ctl_yaml_kind(path));
    }

    ctl_warn("%s:%zu: %s is not followed: if controls.%s is there, it is left "
             "alone", yaml->path, ctl_yaml_line(path), ctl_yaml_kind(path),
             ctl_names[given[0] ? 1 : 0].key);
}


static void
ctl_yaml_controls(const ctl_yaml_t *yaml, yaml_node_t *controls,
    ctl_list_t *lists, bool *given)
{
    unsigned      i;
    yaml_node_t  *node;

    if (ctl_yaml_null(controls)) {
        return;
    }

    if (controls->type != YAML_MAPPING_NODE) {
        ctl_die(CTL_ERROR, NULL, "%s:%zu: controls must be a mapping, not %s",
                yaml->path, ctl_yaml_line(controls), ctl_yaml_kind(controls));
    }

    ctl_yaml_unique(yaml, controls);

    for (i = 0; i < ENTRA_LISTS; i++) {
        node = ctl_yaml_find(yaml, controls, ctl_names[i].key, 0);

        if (node != NULL && !ctl_yaml_null(node)) {
            ctl_yaml_list(yaml, &ctl_names[i], node, &lists[i]);
            given[i] = true;
        }
    }

    ctl_yaml_elsewhere(yaml, controls, given);
}


/* the line of controls in one document; 0: there are none */

static size_t
ctl_yaml_document(const ctl_yaml_t *yaml, ctl_list_t *lists, bool *given,
    size_t before)
{
    size_t        line;
    yaml_node_t  *root, *controls;

    root = yaml_document_get_root_node(yaml->document);

    if (root == NULL || ctl_yaml_null(root)) {
        return before;
    }

    if (root->type != YAML_MAPPING_NODE) {
        ctl_die(CTL_ERROR, NULL, "%s:%zu: it must be a mapping, not %s",
                yaml->path, ctl_yaml_line(root), ctl_yaml_kind(root));
    }

    ctl_yaml_unique(yaml, root);

    controls = ctl_yaml_find(yaml, root, "controls", 0);

    if (controls == NULL) {
        return before;
    }

    line = ctl_yaml_line(controls);

    if (before != 0) {
        ctl_die(CTL_ERROR, NULL, "%s:%zu: another document has controls too, "
                "in line %zu", yaml->path, line, before);
    }

    ctl_yaml_controls(yaml, controls, lists, given);

    return line;
}


__attribute__((noreturn))
static void
ctl_yaml_failed(const yaml_parser_t *parser, const char *path)
{
    const char  *problem;

    problem = parser->problem ? parser->problem : "it is not YAML";

    if (parser->error == YAML_READER_ERROR) {
        ctl_die(CTL_ERROR, NULL, "%s: byte %zu: %s", path,
                parser->problem_offset, problem);
    }

    ctl_die(CTL_ERROR, NULL, "%s:%zu: %s%s%s", path,
            parser->problem_mark.line + 1, problem,
            parser->context ? " " : "",
            parser->context ? parser->context : "");
}


/* documents end with an empty one */

static bool
ctl_yaml_load(yaml_parser_t *parser, const char *path,
    yaml_document_t *document)
{
    if (!yaml_parser_load(parser, document)) {
        ctl_yaml_failed(parser, path);
    }

    if (yaml_document_get_root_node(document) == NULL) {
        yaml_document_delete(document);
        return false;
    }

    return true;
}


void
ctl_yaml_read(const char *path, ctl_list_t *lists, bool *given)
{
    size_t           line;
    ctl_yaml_t       yaml;
    entra_str_t      text;
    yaml_parser_t    parser;
    yaml_document_t  document;

    text = ctl_read(path, CTL_MAX_YAML, NULL);

    memset(lists, 0, ENTRA_LISTS * sizeof(ctl_list_t));
    memset(given, 0, ENTRA_LISTS * sizeof(bool));

    line = 0;
    yaml.path = strcmp(path, "-") == 0 ? "standard input" : path;
    yaml.document = &document;

    if (!yaml_parser_initialize(&parser)) {
        ctl_die(CTL_ERROR, NULL, "out of memory");
    }

    yaml_parser_set_input_string(&parser, (const unsigned char *) text.data,
                                 text.len);

    while (ctl_yaml_load(&parser, yaml.path, &document)) {
        line = ctl_yaml_document(&yaml, lists, given, line);
        yaml_document_delete(&document);
    }

    yaml_parser_delete(&parser);

    if (line == 0) {
        ctl_die(CTL_ERROR, "\"entra-mdmctl generate-gitops\" writes one to "
                "begin with", "%s has no \"controls\"", yaml.path);
    }
}
