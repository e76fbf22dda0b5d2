/* The contract of script extensions in C: the layout that the canonical ABI of WebAssembly components gives to the types of
 * plugins/wit/extension/extension.wit. Include it in one file, which defines `invoke`. */
#ifndef PERSONIUM_EXTENSION_H
#define PERSONIUM_EXTENSION_H

#include "personium_component.h"

/* The kinds of values. */
enum kind {
    ABSENT,
    BOOLEAN,
    NUMBER,
    TEXT,
    JSON,
    BYTES,
};

/* A value of a script. */
struct value {
    uint8_t kind;
    union {
        uint8_t boolean;
        double number;
        /* A text, an object or an array as JSON text, or bytes. */
        struct text text;
    } of;
};

/* A call of a method. */
struct call {
    struct text extension;
    struct text method;
    struct text cell;
    /* The arguments of the constructor. */
    const struct value *created_with;
    size_t created_with_count;
    const struct value *arguments;
    size_t argument_count;
    const struct field *settings;
    size_t setting_count;
};

/* What a method returns: see `returned` and `failed`. */
struct result {
    uint8_t is_error;
    union {
        struct value value;
        struct text message;
    } of;
};

/* The function that an extension defines. Its memory is fresh for each call and vanishes with it: nothing has to be freed. */
static struct result invoke(const struct call *call);

static inline struct result returned(struct value value) {
    return (struct result){.of.value = value};
}

/* The script gets an `Error` with this message. */
static inline struct result failed(struct text message) {
    return (struct result){.is_error = 1, .of.message = message};
}

/* A value of the kinds `TEXT`, `JSON` and `BYTES`. */
static inline struct value value_with(enum kind kind, struct text text) {
    return (struct value){.kind = kind, .of.text = text};
}

static inline struct value number_value(double number) {
    return (struct value){.kind = NUMBER, .of.number = number};
}

__attribute__((export_name("personium:extension/methods@1.0.0#invoke"))) const struct result *exported_invoke(
    const char *extension, size_t extension_size, const char *method, size_t method_size, const char *cell,
    size_t cell_size, const struct value *created_with, size_t created_with_count, const struct value *arguments,
    size_t argument_count, const struct field *settings, size_t setting_count) {
    static struct result result;
    struct call call = {
        .extension = {extension, extension_size},
        .method = {method, method_size},
        .cell = {cell, cell_size},
        .created_with = created_with,
        .created_with_count = created_with_count,
        .arguments = arguments,
        .argument_count = argument_count,
        .settings = settings,
        .setting_count = setting_count,
    };
    result = invoke(&call);
    return &result;
}

#endif
