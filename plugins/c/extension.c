/* A script extension with three methods. What they do is decided in `invoke`. */
#include "personium_extension.h"

static int is_named(struct text text, const char *name) {
    return text.size == strlen(name) && memcmp(text.data, name, text.size) == 0;
}

/* The texts one after the other. */
static struct text joined(const struct text *texts, size_t count) {
    size_t size = 0;
    for (size_t i = 0; i < count; i++) {
        size += texts[i].size;
    }
    char *data = malloc(size + 1);
    if (data == NULL) {
        __builtin_trap();
    }
    size = 0;
    for (size_t i = 0; i < count; i++) {
        memcpy(data + size, texts[i].data, texts[i].size);
        size += texts[i].size;
    }
    return (struct text){data, size};
}

static struct result greet(const struct call *call) {
    struct text greeting = value_of(call->settings, call->setting_count, "greeting");
    if (call->created_with_count > 0 && call->created_with[0].kind == TEXT) {
        greeting = call->created_with[0].of.text;
    }
    struct text parts[] = {greeting, text_of(", "), call->arguments[0].of.text, text_of("!")};
    return returned(value_with(TEXT, joined(parts, 4)));
}

static struct result total(const struct call *call) {
    double sum = 0;
    for (size_t i = 0; i < call->argument_count; i++) {
        if (call->arguments[i].kind != NUMBER) {
            return failed(text_of("total adds numbers"));
        }
        sum += call->arguments[i].of.number;
    }
    return returned(number_value(sum));
}

/* A stream, or what a method has returned as one. */
static struct result shout(const struct call *call) {
    struct text bytes = joined(&call->arguments[0].of.text, 1);
    for (char *byte = (char *)bytes.data; byte < bytes.data + bytes.size; byte++) {
        if (*byte >= 'a' && *byte <= 'z') {
            *byte -= 'a' - 'A';
        }
    }
    return returned(value_with(BYTES, bytes));
}

static struct result invoke(const struct call *call) {
    int has_one = call->argument_count == 1;
    if (is_named(call->method, "greet") && has_one && call->arguments[0].kind == TEXT) {
        return greet(call);
    }
    if (is_named(call->method, "total")) {
        return total(call);
    }
    if (is_named(call->method, "shout") && has_one && call->arguments[0].kind == BYTES) {
        return shout(call);
    }
    struct text parts[] = {call->method, text_of(" does not take these arguments")};
    return failed(joined(parts, 2));
}
