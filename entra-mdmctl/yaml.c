/*
 * Reading Fleet's YAML: of all that default.yml holds only two lists matter
 * here, but those exactly, and nothing is guessed.
 */

#include "gitops.h"
#include "nodes.h"


#define CTL_MAX_YAML   (16 * 1024 * 1024)
#define CTL_MAX_DEPTH  100


/*** the lists ***/


static const char *
ctl_yaml_not_followed(const ctl_yaml_t *yaml, yaml_node_t *map)
{
    yaml_node_t  *path;

    path = map->type == YAML_MAPPING_NODE
           ? ctl_yaml_find(yaml, map, "path") : NULL;

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

    path = ctl_yaml_find(yaml, controls, "path");

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
        node = ctl_yaml_find(yaml, controls, ctl_names[i].key);

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

    controls = ctl_yaml_find(yaml, root, "controls");

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


static void
ctl_yaml_start(yaml_parser_t *parser, entra_str_t text)
{
    if (!yaml_parser_initialize(parser)) {
        ctl_die(CTL_ERROR, NULL, "out of memory");
    }

    yaml_parser_set_input_string(parser, (const unsigned char *) text.data,
                                 text.len);
}


/* libyaml takes time by the square of the depth, and sets no limit to it */

static void
ctl_yaml_depth(entra_str_t text, const char *path)
{
    unsigned           depth;
    yaml_event_t       event;
    yaml_parser_t      parser;
    yaml_event_type_t  type;

    ctl_yaml_start(&parser, text);
    depth = 0;

    do {
        if (!yaml_parser_parse(&parser, &event)) {
            ctl_yaml_failed(&parser, path);
        }

        type = event.type;

        if (type == YAML_MAPPING_START_EVENT
            || type == YAML_SEQUENCE_START_EVENT)
        {
            if (++depth > CTL_MAX_DEPTH) {
                ctl_die(CTL_ERROR, NULL, "%s:%zu: more than %d levels", path,
                        event.start_mark.line + 1, CTL_MAX_DEPTH);
            }

        } else if (type == YAML_MAPPING_END_EVENT
                   || type == YAML_SEQUENCE_END_EVENT)
        {
            depth--;
        }

        yaml_event_delete(&event);

    } while (type != YAML_STREAM_END_EVENT);

    yaml_parser_delete(&parser);
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

    ctl_yaml_depth(text, yaml.path);
    ctl_yaml_start(&parser, text);

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
