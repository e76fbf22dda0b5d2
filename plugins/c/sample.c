/* A plugin that knows one password. What is true of a person is decided in `authenticate`. */
#include "personium_plugin.h"

/* Compares in a time that does not depend on where the texts differ. */
static int is_equal(struct text a, struct text b) {
    unsigned char difference = 0;
    if (a.size != b.size) {
        return 0;
    }
    for (size_t i = 0; i < a.size; i++) {
        difference |= (unsigned char)a.data[i] ^ (unsigned char)b.data[i];
    }
    return difference == 0;
}

static struct answer authenticate(const struct login *login) {
    struct text name = value_of(login->fields, login->field_count, "sample_account");
    struct text password = value_of(login->fields, login->field_count, "sample_password");
    struct text expected = value_of(login->settings, login->setting_count, "password");
    if (name.size == 0 || password.size == 0) {
        return refused(INVALID_REQUEST, "sample_account and sample_password are needed");
    }
    if (expected.size == 0 || !is_equal(password, expected)) {
        return nobody();
    }
    return account_of(name, login->account_types[0]);
}
