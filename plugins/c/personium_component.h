/* What components in C have in common: texts, named texts, and the memory in which the unit puts what it passes. */
#ifndef PERSONIUM_COMPONENT_H
#define PERSONIUM_COMPONENT_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* A text in UTF-8. It does not end with a zero byte. */
struct text {
    const char *data;
    size_t size;
};

/* A form field of a token request, or a setting. */
struct field {
    struct text name;
    struct text value;
};

static inline struct text text_of(const char *text) {
    return (struct text){text, strlen(text)};
}

/* The first value of a field or of a setting; empty if there is none. */
static inline struct text value_of(const struct field *fields, size_t count, const char *name) {
    for (size_t i = 0; i < count; i++) {
        if (fields[i].name.size == strlen(name) && memcmp(fields[i].name.data, name, fields[i].name.size) == 0) {
            return fields[i].value;
        }
    }
    return text_of("");
}

__attribute__((export_name("cabi_realloc"))) void *cabi_realloc(void *old, size_t old_size, size_t alignment, size_t size) {
    (void)old_size;
    (void)alignment;
    void *memory = size == 0 ? (void *)alignment : realloc(old, size);
    if (memory == NULL) {
        __builtin_trap();
    }
    return memory;
}

#endif
