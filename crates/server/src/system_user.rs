//! The user of the system who runs a command, and the name of the machine.

use std::fs;

/// The file in which Linux has the name of the host.
const HOST_NAME_FILE: &str = "/proc/sys/kernel/hostname";

/// The file in which Linux has the number of the user who logged in, also after a change of the user.
const LOGIN_USER_FILE: &str = "/proc/self/loginuid";

/// The number in [`LOGIN_USER_FILE`] if nobody logged in.
const NOBODY: u32 = u32::MAX;

/// The names of users.
const USERS_FILE: &str = "/etc/passwd";

/// The names of groups.
const GROUPS_FILE: &str = "/etc/group";

/// The name of the host; empty if the system does not say.
pub(crate) fn host_name() -> String {
    let host = fs::read_to_string(HOST_NAME_FILE).unwrap_or_default();
    host.trim_end().to_owned()
}

/// The user of this process, and the one who logged in if it is another one: `root (0), logged in as bob (1000)`.
pub(crate) fn describe() -> String {
    let users = fs::read_to_string(USERS_FILE).unwrap_or_default();
    let user = rustix::process::getuid().as_raw();
    let logged_in = fs::read_to_string(LOGIN_USER_FILE).ok();
    let logged_in = logged_in.and_then(|text| text.trim().parse().ok());
    text_of(user, logged_in, &users)
}

/// A user as it may be shown: `bob (1000)`, or the number of one without a name.
pub(crate) fn user(number: u32) -> String {
    shown(number, &fs::read_to_string(USERS_FILE).unwrap_or_default())
}

/// A group as it may be shown: `users (100)`, or the number of one without a name.
pub(crate) fn group(number: u32) -> String {
    shown(number, &fs::read_to_string(GROUPS_FILE).unwrap_or_default())
}

/// A number with its name in the lines of [`USERS_FILE`] or [`GROUPS_FILE`].
fn shown(number: u32, names: &str) -> String {
    match name_of(number, names) {
        Some(name) => format!("{name} ({number})"),
        None => number.to_string(),
    }
}

fn text_of(user: u32, logged_in: Option<u32>, users: &str) -> String {
    let shown = |number: u32| shown(number, users);
    match logged_in.filter(|logged_in| *logged_in != user && *logged_in != NOBODY) {
        None => shown(user),
        Some(logged_in) => format!("{}, logged in as {}", shown(user), shown(logged_in)),
    }
}

/// The name of a user or group in the lines of its file, which begin with name, password and number.
fn name_of(number: u32, names: &str) -> Option<&str> {
    let number = number.to_string();
    names.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == number).then_some(name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_who_logged_in_is_named_beside_the_one_of_the_process() {
        let users = "root:x:0:0:root:/root:/bin/sh\nbob:x:1000:1000::/srv/bob:/bin/sh\n";
        for (user, logged_in, expected) in [
            (0, None, "root (0)"),
            (0, Some(NOBODY), "root (0)"),
            (0, Some(0), "root (0)"),
            (0, Some(1000), "root (0), logged in as bob (1000)"),
            (1001, Some(1000), "1001, logged in as bob (1000)"),
        ] {
            assert_eq!(text_of(user, logged_in, users), expected);
        }
    }
}
