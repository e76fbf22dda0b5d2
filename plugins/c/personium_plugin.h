/* The contract of authentication plugins in C: the layout that the canonical ABI of WebAssembly components gives to the types
 * of plugins/wit/authentication.wit. Include it in one file, which defines `authenticate`. */
#ifndef PERSONIUM_PLUGIN_H
#define PERSONIUM_PLUGIN_H

#include "personium_component.h"

/* A token request. */
struct login {
    struct text plugin;
    struct text grant_type;
    const struct text *account_types;
    size_t account_type_count;
    struct text cell;
    const struct field *fields;
    size_t field_count;
    const struct field *settings;
    size_t setting_count;
};

/* The errors of OAuth 2.0. */
enum oauth_error {
    INVALID_REQUEST,
    INVALID_CLIENT,
    INVALID_GRANT,
    INVALID_SCOPE,
    UNSUPPORTED_GRANT_TYPE,
    UNSUPPORTED_RESPONSE_TYPE,
    UNAUTHORIZED_CLIENT,
    ACCESS_DENIED,
    SERVER_ERROR,
    TEMPORARILY_UNAVAILABLE,
};

/* What a plugin returns: see `account_of`, `nobody` and `refused`. */
struct answer {
    uint8_t is_refusal;
    union {
        struct {
            uint8_t is_there;
            struct text name;
            struct text account_type;
        } account;
        struct {
            uint8_t error;
            struct text description;
        } refusal;
    } of;
};

/* The function that a plugin defines. Its memory is fresh for each call and vanishes with it: nothing has to be freed. */
static struct answer authenticate(const struct login *login);

/* An account is authenticated. */
static inline struct answer account_of(struct text name, struct text account_type) {
    struct answer answer = {0};
    answer.of.account.is_there = 1;
    answer.of.account.name = name;
    answer.of.account.account_type = account_type;
    return answer;
}

/* Nobody is authenticated. */
static inline struct answer nobody(void) {
    return (struct answer){0};
}

/* The request is refused. */
static inline struct answer refused(enum oauth_error error, const char *description) {
    struct answer answer = {0};
    answer.is_refusal = 1;
    answer.of.refusal.error = error;
    answer.of.refusal.description = text_of(description);
    return answer;
}

__attribute__((export_name("personium:authentication/authenticator@1.0.0#authenticate"))) const struct answer *
exported_authenticate(
    const char *plugin, size_t plugin_size, const char *grant_type, size_t grant_type_size,
    const struct text *account_types, size_t account_type_count, const char *cell, size_t cell_size,
    const struct field *fields, size_t field_count, const struct field *settings, size_t setting_count) {
    static struct answer answer;
    struct login login = {
        .plugin = {plugin, plugin_size},
        .grant_type = {grant_type, grant_type_size},
        .account_types = account_types,
        .account_type_count = account_type_count,
        .cell = {cell, cell_size},
        .fields = fields,
        .field_count = field_count,
        .settings = settings,
        .setting_count = setting_count,
    };
    answer = authenticate(&login);
    return &answer;
}

#endif
